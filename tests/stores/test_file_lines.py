"""The lines of a file store: what goes in comes out, and damage is named."""

import json
import os
import zlib

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_runs import add_run, file, stats

from dacapo_hd.stores import CheckpointRow, ScoreRow, StatRow
from dacapo_hd.stores.base import DamageError
from dacapo_hd.stores.jsonl import encode, read_rows, truncated


def score(iteration=10, crop="a", value=0.5, score="dice"):
    return ScoreRow("run", "aaaa", "bbbb", 0, iteration, crop, "{}", "mito", score, value, "abc")


def checkpoint(iteration):
    return CheckpointRow(iteration, "0" * 64, 123, "2026-01-01T00:00:00+00:00")


class TestLines:
    def test_each_has_the_checksum_of_what_is_before_it(self, store):
        store.append_stats("run", [StatRow(1, "loss", 0.25, 0.5)])
        line = file(store, "stats.jsonl").read_text()
        text = '{"iteration": 1, "name": "loss", "value": 0.25, "seconds": 0.5}'
        assert line == f'{text[:-1]}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n'
        assert json.loads(line)["iteration"] == 1

    def test_every_flipped_bit_is_seen(self, store):
        rows = [score(10, 'a", "crc": "00000000'), score(20)]
        store.write_scores("run", rows)
        assert store.scores("run") == rows
        path = file(store, "scores.jsonl")
        sound = path.read_bytes()
        for place in range(len(sound)):
            harmed = bytearray(sound)
            harmed[place] ^= 1 << place % 8
            path.write_bytes(harmed)
            with pytest.raises(DamageError):
                store.scores("run")

    def test_every_cut_within_one_is_seen_where_none_is_appended(self, store, caplog):
        store.write_scores("run", [score(10), score(20)])
        path = file(store, "scores.jsonl")
        sound = path.read_bytes()
        first = sound.index(b"\n") + 1
        for end in {*range(1, len(sound) - 1)} - {first - 1, first}:
            path.write_bytes(sound[:end])
            with pytest.raises(DamageError, match=f":{1 + (end > first)}: damaged line"):
                store.scores("run")
        for end in (first - 1, len(sound) - 1):
            # all that counts is there
            path.write_bytes(sound[:end])
            assert store.scores("run") == [score(10), score(20)][: 1 + (end > first)]

    def test_a_half_written_last_one_does_not_count(self, store):
        store.append_stats("run", stats(1, 2))
        whole = file(store, "stats.jsonl").read_bytes()
        before = whole[: whole[:-1].rindex(b"\n") + 1]
        for end in range(len(before), len(whole)):
            file(store, "stats.jsonl").write_bytes(whole[:end])
            assert store.stats("run") == stats(1, 2)[:-1]
            assert store.newest_iteration("run") == 2

    def test_a_half_written_last_one_is_cut_off_by_the_next_append(self, store):
        store.append_stats("run", stats(1, 2))
        path = file(store, "stats.jsonl")
        path.write_bytes(path.read_bytes()[:-10])
        store.append_stats("run", stats(3, 3))
        assert store.stats("run") == [*stats(1, 2)[:-1], *stats(3, 3)]

    def test_a_file_of_a_half_written_line_alone_begins_anew(self, store):
        file(store, "stats.jsonl").write_bytes(b'{"iter' * 100_000)
        assert store.stats("run") == []
        assert store.newest_iteration("run") == 0
        store.append_stats("run", stats(1, 1))
        assert store.stats("run") == stats(1, 1)

    @pytest.mark.parametrize("damaged", ["rubbish", "", "[1]", '{"iteration": 1}', "\x00" * 100, "[" * 100_000])
    def test_a_damaged_one_is_named(self, store, damaged):
        store.append_stats("run", stats(1, 2))
        path = file(store, "stats.jsonl")
        lines = path.read_text().splitlines()
        path.write_text("\n".join([lines[0], damaged, *lines[1:], damaged]) + "\n")
        with pytest.raises(DamageError) as error:
            store.stats("run")
        way_out = "damaged line; remove it to go on without that row"
        assert error.value.problems == (f"{path}:2: {way_out}", f"{path}:6: {way_out}")

    def test_of_many_damaged_ones_the_first_are_named(self, store):
        file(store, "stats.jsonl").write_text("rubbish\n" * 1000)
        with pytest.raises(DamageError) as error:
            store.stats("run")
        assert len(error.value.problems) == 10

    def test_a_resumed_run_drops_damaged_ones_with_a_warning(self, store, caplog):
        add_run(store, checkpoints=(10, 20), last=21)
        before = store.stats("run"), store.scores("run"), store.checkpoints("run")
        for name in ("stats.jsonl", "scores.jsonl", "checkpoints.jsonl"):
            path = file(store, name)
            lines = path.read_text().splitlines()
            path.write_text("\n".join([lines[0].replace("0", "1"), *lines[1:]]) + "\n")
        store.truncate("run", 20)
        assert [entry.getMessage() for entry in caplog.records] == [
            f"{file(store, name)}:1: damaged line; it is dropped"
            for name in ("stats.jsonl", "scores.jsonl", "checkpoints.jsonl")
        ]
        assert store.stats("run") == [row for row in before[0][1:] if row.iteration <= 20]
        assert repr(store.scores("run")) == repr(before[1][1:])
        assert store.checkpoints("run") == before[2][1:]
        assert list(store.damage()) == []

    def test_a_damaged_checkpoint_row_leaves_the_others(self, store, caplog):
        for iteration in (10, 20, 30):
            store.add_checkpoint("run", checkpoint(iteration))
        path = file(store, "checkpoints.jsonl")
        path.write_text(path.read_text().replace('"iteration": 30', '"iteration": 31'))
        assert [row.iteration for row in store.checkpoints("run")] == [10, 20]
        assert caplog.messages == [f"{path}:3: damaged line; that checkpoint is not used"]
        store.add_checkpoint("run", checkpoint(40))
        assert [row.iteration for row in store.checkpoints("run")] == [10, 20, 40]

    def test_a_resume_where_nothing_is_later_rewrites_nothing(self, store):
        add_run(store, checkpoints=(10, 20), last=20)
        before = {path.name: path.stat().st_ino for path in file(store, "").iterdir()}
        store.truncate("run", 20)
        assert {path.name: path.stat().st_ino for path in file(store, "").iterdir()} == before

    @settings(deadline=None)
    @given(
        st.lists(
            st.builds(
                StatRow,
                iteration=st.integers(0, 2**70),
                name=st.text(),
                value=st.floats(allow_nan=True),
                seconds=st.floats(0, 1e9),
            )
        )
    )
    def test_any_rows_come_back(self, tmp_path_factory, rows):
        path = tmp_path_factory.getbasetemp() / "any.jsonl"
        path.write_bytes(encode(rows))
        assert repr(read_rows(path, StatRow)) == repr(rows)


def test_the_newest_iteration_is_read_from_the_end_alone(store):
    store.append_stats("run", stats(1, 3))
    path = file(store, "stats.jsonl")
    path.write_text("rubbish\n" + path.read_text())
    assert store.newest_iteration("run") == 3
    path.write_text(path.read_text() + "rubbish\n")
    with pytest.raises(DamageError):
        store.newest_iteration("run")


def test_appending_does_not_read_what_is_there(store):
    path = file(store, "stats.jsonl")
    with path.open("wb") as opened:
        opened.truncate(1 << 40)
        opened.seek(0, os.SEEK_END)
        opened.write(b"\n")
    store.append_stats("run", stats(1, 1))
    assert store.newest_iteration("run") == 1


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            ScoreRow,
            iteration=st.integers(0, 20),
            crop=st.text() | st.just('"iteration": 99,') | st.just('\\", "iteration": 99, "'),
            segmenter=st.just('{"iteration": 99}'),
            value=st.floats(),
            **{name: st.just("x") for name in ("run", "config_hash", "group_hash", "class_name", "score", "git_sha")},
            seed=st.integers(),
        )
    )
)
def test_a_truncation_keeps_the_lines_of_earlier_iterations(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "truncated.jsonl"
    path.write_bytes(encode(rows))
    expected = [row for row in rows if row.iteration <= 10]
    assert truncated(path, ScoreRow, 10) == (encode(expected), [])
    # as schema 1 wrote it
    path.write_text("".join(json.dumps(attrs.asdict(row)) + "\n" for row in rows))
    data, damaged = truncated(path, ScoreRow, 10)
    assert data.decode() == "".join(json.dumps(attrs.asdict(row)) + "\n" for row in expected)
    assert damaged == []
