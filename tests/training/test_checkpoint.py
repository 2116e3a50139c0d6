"""Checkpoints: whole or not at all, verified when read, and never executed."""

import hashlib
import os
import resource

import attrs
import pytest
import torch

from dacapo_hd.errors import UserError
from dacapo_hd.training.checkpoint import Checkpoints
from dacapo_hd.training.retention import Retention


def state(iteration, **more):
    return {"iteration": iteration, "network": {"weight": torch.full((30,), float(iteration))}, **more}


@pytest.fixture
def checkpoints(store):
    found = Checkpoints(store, "run")
    for iteration in (10, 20, 30):
        found.save(iteration, state(iteration))
    return found


def files(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def make_schema_1(checkpoints):
    """Turn a run into what was written before checkpoints were listed."""
    for row in checkpoints.store.checkpoints("run"):
        checkpoints.path(row.iteration).with_suffix(".sha256").write_text(row.sha256)
    checkpoints.store.remove_checkpoints("run", checkpoints.iterations())


def test_the_newest_checkpoint_is_loaded(checkpoints):
    for load in (checkpoints.load_latest, checkpoints.resume):
        iteration, loaded = load()
        assert iteration == loaded["iteration"] == 30
        assert torch.equal(loaded["network"]["weight"], torch.full((30,), 30.0))
    assert torch.equal(checkpoints.load(20)["network"]["weight"], torch.full((30,), 20.0))


def test_no_checkpoint_is_no_error(store):
    assert Checkpoints(store, "run").load_latest() is None
    assert Checkpoints(store, "run").resume() is None


def test_a_missing_iteration_says_which_there_are(checkpoints):
    with pytest.raises(UserError) as error:
        checkpoints.load(25)
    assert str(error.value) == f"{checkpoints.path(25)}: no checkpoint of iteration 25; there are: 10, 20, 30"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "damaged checkpoint: it has {half} bytes instead of {size}"),
        (flip_a_bit, "damaged checkpoint: its SHA-256 differs"),
        (lambda path: path.unlink(), "missing checkpoint"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(checkpoints, caplog, damage, reason):
    path = checkpoints.path(30)
    size = path.stat().st_size
    reason = reason.format(size=size, half=size // 2)
    damage(path)
    before = files(checkpoints)

    assert checkpoints.load_latest()[0] == 20
    assert caplog.messages == [f"{path}: {reason}; iteration 20 is used instead"]
    with pytest.raises(UserError) as error:
        checkpoints.load(30)
    assert str(error.value) == f"{path}: {reason}; other checkpoints: 10, 20"
    assert files(checkpoints) == before, "reading does not write"

    caplog.clear()
    assert checkpoints.resume()[0] == 20
    kept = ", the file is kept as 00000030.pt.damaged" if damage is not None and len(before) == 3 else ""
    assert caplog.messages == [f"{path}: {reason}; iteration 20 is used instead{kept}"]
    assert files(checkpoints) == ["00000010.pt", "00000020.pt", *(["00000030.pt.damaged"] if kept else [])]


def test_two_damaged_checkpoints_are_both_named(checkpoints, caplog):
    for iteration in (20, 30):
        truncate(checkpoints.path(iteration))
    assert checkpoints.resume()[0] == 10
    assert [message.partition(":")[0] for message in caplog.messages] == [
        str(checkpoints.path(20)),
        str(checkpoints.path(30)),
    ]


def test_only_damaged_checkpoints_are_an_error_not_a_new_start(checkpoints):
    for iteration in (10, 20, 30):
        truncate(checkpoints.path(iteration))
    for load in (checkpoints.load_latest, checkpoints.resume):
        with pytest.raises(UserError) as error:
            load()
        assert len(error.value.problems) == 4
        assert error.value.problems[-1] == (
            "run 'run' has no sound checkpoint; restore one, or remove the run with `dacapo-hd runs rm run` to train "
            "it from the start"
        )
    assert files(checkpoints) == ["00000010.pt", "00000020.pt", "00000030.pt"]


def test_weights_that_nothing_lists_are_an_error_not_a_new_start(checkpoints):
    checkpoints.store.remove_checkpoints("run", (10, 20, 30))
    with pytest.raises(UserError) as error:
        checkpoints.resume()
    assert f"{checkpoints.path(30)}: not listed as a checkpoint in {checkpoints.store}" in error.value.problems


def test_a_newer_file_that_the_list_has_lost_is_named(checkpoints, caplog):
    checkpoints.store.remove_checkpoints("run", (30,))
    assert checkpoints.resume()[0] == 20
    assert caplog.messages == [
        f"{checkpoints.path(30)}: not listed as a checkpoint in {checkpoints.store}; iteration 20 is used instead"
    ]


def test_a_crash_while_the_file_was_written_leaves_the_checkpoints_before(checkpoints):
    (checkpoints.folder / ".00000040.pt.partial").write_bytes(b"half")
    assert checkpoints.load_latest()[0] == checkpoints.resume()[0] == 30
    assert files(checkpoints) == ["00000010.pt", "00000020.pt", "00000030.pt"]


@pytest.mark.parametrize("orphan", [False, True], ids=["new", "over an older file"])
def test_a_crash_before_a_listed_file_got_its_name_is_finished(checkpoints, caplog, orphan):
    path, partial = checkpoints.path(30), checkpoints.folder / ".00000030.pt.partial"
    path.rename(partial)
    if orphan:
        path.write_bytes(b"of a training before the one that was resumed")
    assert checkpoints.load_latest()[0] == 30
    assert partial.exists()
    assert checkpoints.resume()[0] == 30
    assert files(checkpoints) == ["00000010.pt", "00000020.pt", "00000030.pt"]
    assert checkpoints.load(30)["iteration"] == 30
    assert caplog.messages == []


def test_a_checkpoint_of_another_config_is_refused(checkpoints):
    checkpoints.save(40, state(40, config_hash="cccc"))
    with pytest.raises(UserError) as error:
        checkpoints.load_latest()
    assert str(error.value) == (
        f"{checkpoints.path(40)}: belongs to another config (cccc) than run 'run' (aaaa); put the file back where it "
        "came from"
    )
    checkpoints.save(40, state(40, config_hash="aaaa"))
    assert checkpoints.load_latest()[0] == 40


def test_checkpoints_of_schema_1_are_read_without_writing_and_listed_on_resume(checkpoints):
    rows = checkpoints.store.checkpoints("run")
    make_schema_1(checkpoints)
    before = files(checkpoints)
    assert checkpoints.load_latest()[0] == 30
    assert files(checkpoints) == before
    assert checkpoints.store.checkpoints("run") == []
    assert checkpoints.resume()[0] == 30
    assert files(checkpoints) == ["00000010.pt", "00000020.pt", "00000030.pt"]
    assert [attrs.evolve(row, created="") for row in checkpoints.store.checkpoints("run")] == [
        attrs.evolve(row, created="") for row in rows
    ]


def test_an_adoption_that_was_killed_is_finished(checkpoints):
    rows = checkpoints.store.checkpoints("run")
    make_schema_1(checkpoints)
    checkpoints.store.add_checkpoint("run", rows[0])
    checkpoints.resume()
    assert [row.iteration for row in checkpoints.store.checkpoints("run")] == [10, 20, 30]


def test_pruning_checkpoints_of_schema_1(checkpoints):
    make_schema_1(checkpoints)
    assert checkpoints.prune(Retention(last=1), best=[10]) == (20,)
    assert files(checkpoints) == ["00000010.pt", "00000010.sha256", "00000030.pt", "00000030.sha256"]


def test_pruning_keeps_the_newest_and_the_named(checkpoints):
    assert checkpoints.prune(Retention(last=1), best=[10]) == (20,)
    assert files(checkpoints) == ["00000010.pt", "00000030.pt"]
    assert [row.iteration for row in checkpoints.store.checkpoints("run")] == [10, 30]


@pytest.mark.parametrize("damage", [truncate, lambda path: path.unlink()])
def test_pruning_does_not_count_damaged_checkpoints(checkpoints, damage):
    damage(checkpoints.path(30))
    assert checkpoints.prune(Retention(last=1), best=[]) == (10,)
    assert checkpoints.iterations() == (20, 30)


def test_a_full_disk_leaves_the_checkpoints_before(checkpoints):
    (checkpoints.folder / ".00000040.pt.partial").symlink_to("/dev/full")
    with pytest.raises(UserError) as error:
        checkpoints.save(40, state(40))
    assert str(error.value).startswith(f"cannot write {checkpoints.folder}/.00000040.pt.partial: No space left")
    assert files(checkpoints) == ["00000010.pt", "00000020.pt", "00000030.pt"]
    assert checkpoints.resume()[0] == 30


def test_a_disk_that_fills_up_halfway_leaves_the_checkpoints_before(checkpoints):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(UserError, match="File too large"):
            checkpoints.save(40, state(40))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(checkpoints) == ["00000010.pt", "00000020.pt", "00000030.pt"]
    assert checkpoints.resume()[0] == 30


def test_a_read_only_folder_leaves_the_checkpoints_before(checkpoints, unprivileged):
    checkpoints.folder.chmod(0o555)
    with unprivileged(), pytest.raises(UserError) as error:
        checkpoints.save(40, state(40))
    assert str(error.value).startswith(f"cannot write {checkpoints.folder}/.00000040.pt.partial: Permission denied")
    assert checkpoints.load_latest()[0] == 30


def test_a_file_that_cannot_be_read_is_named(checkpoints, unprivileged, caplog):
    checkpoints.path(30).chmod(0)
    with unprivileged():
        assert checkpoints.load_latest()[0] == 20
    assert caplog.messages == [
        f"{checkpoints.path(30)}: unreadable checkpoint: Permission denied; iteration 20 is used instead"
    ]


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_code_in_a_checkpoint_is_not_executed(checkpoints, tmp_path, caplog):
    """Whoever can change the weights can change the list."""
    checkpoints.save(40, state(40, weight=Malicious(tmp_path / "executed")))
    reason = f"{checkpoints.path(40)}: not a checkpoint of weights alone; refused, because it could run code"
    with pytest.raises(UserError) as error:
        checkpoints.load(40)
    assert str(error.value) == f"{reason}; other checkpoints: 10, 20, 30"
    assert checkpoints.load_latest()[0] == 30
    assert checkpoints.resume()[0] == 30
    assert not (tmp_path / "executed").exists()
    assert caplog.messages[0] == f"{reason}; iteration 30 is used instead"


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 a broken zip"])
def test_what_was_never_a_checkpoint_is_refused(checkpoints, content):
    path = checkpoints.path(30)
    path.write_bytes(content)
    (row,) = (row for row in checkpoints.store.checkpoints("run") if row.iteration == 30)
    row = attrs.evolve(row, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    checkpoints.store.add_checkpoint("run", row)
    with pytest.raises(UserError, match="not a checkpoint"):
        checkpoints.load(30)
    assert checkpoints.load_latest()[0] == 20
