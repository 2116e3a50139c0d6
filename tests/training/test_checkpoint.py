"""Checkpoints: whole or not at all, verified when read, and never executed."""

import pytest
import torch

from dacapo_hd.errors import UserError
from dacapo_hd.training.checkpoint import Checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    found = Checkpoints(tmp_path / "checkpoints")
    for iteration in (10, 20, 30):
        found.save(iteration, {"iteration": iteration, "weight": torch.full((3,), float(iteration))})
    return found


def test_the_newest_checkpoint_is_loaded(checkpoints):
    iteration, state = checkpoints.load_latest()
    assert iteration == state["iteration"] == 30
    assert torch.equal(state["weight"], torch.full((3,), 30.0))


def test_no_checkpoint_is_no_error(tmp_path):
    assert Checkpoints(tmp_path / "none").load_latest() is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "no checksum"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(checkpoints, caplog, damage):
    path = checkpoints.folder / "00000030.pt"
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.with_suffix(".sha256").unlink()
    assert checkpoints.load_latest()[0] == 20
    assert caplog.messages == [f"{path}: damaged checkpoint (its checksum differs); remove it to use the one before"]


def test_only_damaged_checkpoints_are_an_error_not_a_new_start(checkpoints):
    for path in checkpoints.folder.glob("*.pt"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="no sound checkpoint is left; remove the folder to train from the start"):
        checkpoints.load_latest()


def test_a_missing_iteration_says_which_there_are(checkpoints):
    with pytest.raises(UserError) as error:
        checkpoints.load(25)
    path = checkpoints.folder / "00000025.pt"
    assert str(error.value) == f"{path}: no checkpoint of iteration 25; there are: 10, 20, 30"


def test_pruning_keeps_the_newest_and_the_named(checkpoints):
    checkpoints.prune(keep={10}, newest=1)
    assert checkpoints.iterations() == (10, 30)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        "00000010.pt",
        "00000010.sha256",
        "00000030.pt",
        "00000030.sha256",
    ]


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def test_code_in_a_checkpoint_is_not_executed(checkpoints, capsys):
    checkpoints.save(40, {"weight": Malicious()})
    with pytest.raises(UserError, match="not a checkpoint of weights alone; refused, because it could run code"):
        checkpoints.load(40)
    assert "executed" not in capsys.readouterr().out
