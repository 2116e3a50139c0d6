"""The records of runs in a file store: people can read them, damage is named, and they run no code."""

import hashlib
import re

import pytest
import yaml
from stored_runs import file, record

from dacapo_hd.errors import UserError
from dacapo_hd.stores.base import DamageError
from dacapo_hd.stores.migrations import SCHEMA


class TestRecord:
    def test_people_can_read_it(self, store):
        lines = file(store, "run.yaml").read_text().splitlines()
        assert lines[:4] == [f"schema: {SCHEMA}", "name: run", "config:", "  name: run"]
        assert re.fullmatch("sha256: [0-9a-f]{64}", lines[-1])
        assert yaml.safe_load("\n".join(lines))["config"] == record().config

    @pytest.mark.parametrize(
        ("harm", "what"),
        [
            (lambda text: text.replace("scale_nm: 40", "scale_nm: 41"), "its checksum differs: it was edited"),
            (
                lambda text: text.replace(f"schema: {SCHEMA}", "schema: 99"),
                "its checksum differs: it was edited",
            ),
            (lambda text: text[: text.index("sha256")], "its end with the checksum is missing"),
            (lambda text: text[:-1], "its end with the checksum is missing"),
            (lambda text: text[:40], "its end with the checksum is missing"),
            (lambda text: text.replace("sha256", "sha257"), "its end with the checksum is missing"),
            (lambda text: "", "fields are missing or unknown"),
            (lambda text: "name: run\nconfig: {}\n", "fields are missing or unknown"),
            (lambda text: "[1, 2]", "fields are missing or unknown"),
            (lambda text: "{{{", "is not YAML of plain values"),
            (lambda text: "\x00\x01", "is not YAML of plain values"),
            (lambda text: "[" * 100_000, "is not YAML of plain values"),
            (lambda text: "- " * 5_000, "is not YAML of plain values"),
            (lambda text: "{a: " * 5_000 + "}" * 5_000, "is not YAML of plain values"),
        ],
    )
    def test_a_damaged_one_is_named_and_never_replaced(self, store, harm, what):
        path = file(store, "run.yaml")
        path.write_text(harm(path.read_text()))
        before = path.read_bytes()
        for operation in (lambda: store.run("run"), lambda: store.add_run(record())):
            with pytest.raises(DamageError) as error:
                operation()
            assert str(error.value).startswith(f"{path}: damaged run record ({what}")
            assert str(error.value).endswith("); restore the file from a backup, or remove the folder")
        assert path.read_bytes() == before

    def test_every_flipped_bit_is_seen(self, store):
        path = file(store, "run.yaml")
        sound = path.read_bytes()
        for place in range(0, len(sound), 7):
            harmed = bytearray(sound)
            harmed[place] ^= 1 << place % 8
            path.write_bytes(harmed)
            with pytest.raises(DamageError):
                store.run("run")

    def test_a_damaged_one_does_not_hide_the_others(self, store, caplog):
        store.add_run(record("other"))
        file(store, "run.yaml").write_text("rubbish")
        assert [found.name for found in store.runs()] == ["other"]
        assert [entry.getMessage().partition(":")[0] for entry in caplog.records] == [str(file(store, "run.yaml"))]

    def test_one_under_the_name_of_another_is_named(self, store):
        (store.folder / "run").rename(store.folder / "moved")
        with pytest.raises(DamageError) as error:
            store.run("moved")
        path = store.folder / "moved" / "run.yaml"
        assert str(error.value) == (
            f"{path}: the record of run 'run' lies in a folder of another name; name the folder 'run' again"
        )

    @pytest.mark.parametrize("name", ["../run", "/run", ".", "..", "", "a/b", ".hidden"])
    def test_a_path_is_no_name(self, store, name):
        with pytest.raises(UserError, match="not the name of a folder"):
            store.add_run(record(name))
        with pytest.raises(UserError, match="not the name of a folder"):
            store.rename_run("run", record(name))
        with pytest.raises(UserError, match="no run "):
            store.remove_run(name)
        assert [path.name for path in store.folder.parent.iterdir()] == ["runs"]
        assert store.run("run") == record()


ATTACKS = [
    "!!python/object/apply:os.system ['touch {}']",
    "!!python/object/new:os.system ['touch {}']",
    "!!python/object/apply:subprocess.check_call [[touch, '{}']]",
    '!!python/object/apply:builtins.exec [\'open("{}", "w")\']',
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_malicious_record_does_not_run_code(store, tmp_path, attack):
    path, mark = file(store, "run.yaml"), tmp_path / "attacked"
    lines = path.read_text().splitlines(keepends=True)[1:-1]
    text = "".join(
        ["archived: " + attack.format(mark) + "\n" if line.startswith("archived") else line for line in lines]
    )
    assert str(mark) in text
    for harmful in (
        text,
        attack.format(mark),
        f"{text}sha256: {hashlib.sha256(text.encode()).hexdigest()}\n",
    ):
        path.write_text(harmful)
        with pytest.raises(DamageError, match="is not YAML of plain values"):
            store.run("run")
        assert store.runs() == ()
        assert len(list(store.damage())) == 1
        with pytest.raises(UserError):
            store.scores("run")
    assert not mark.exists()
