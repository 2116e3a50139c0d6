"""Which of another network's weights fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dacapo_hd.architectures.network import Network
from dacapo_hd.architectures.unet import UNet
from dacapo_hd.config import ConfigError, structure
from dacapo_hd.errors import UserError
from dacapo_hd.starting import head_rows
from dacapo_hd.tasks import HotDistance, ObjectSize, OneHot, Task
from dacapo_hd.training.start import Start, Transfer, match, require


def network(task: Task, num_fmaps: int = 4, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(UNet(dims=2, input_shape_vx=(1, 18, 18), num_fmaps=num_fmaps, downsample_factors=((1, 2, 2),)), task)


def transfer(task: Task, other: Task, num_fmaps: int = 4) -> tuple[Network, Network, Transfer]:
    own, theirs = network(task), network(other, num_fmaps, seed=1)
    return own, theirs, match(own, head_rows(own, task), theirs.state_dict(), head_rows(theirs, other))


def test_equal_networks_fit_fully():
    own, theirs, found = transfer(ObjectSize(("a", "b")), OneHot(("a", "b")))
    found.into(own)
    assert all(torch.equal(first, second) for first, second in zip(own.parameters(), theirs.parameters(), strict=True))
    assert found.left == found.unused == ()
    names = len(own.state_dict()) + 2
    assert found.report() == f"{names} of {names} weights loaded"
    require(Start("other"), found, "other")


def test_channels_of_the_head_go_by_name():
    own, theirs, found = transfer(HotDistance(("c", "a")), OneHot(("a", "b")))
    before = own.head.project.weight.detach().clone()
    found.into(own)
    weight = own.head.project.weight
    # one_hot c, one_hot a, distance c, distance a
    assert torch.equal(weight[1], theirs.head.project.weight[0])
    assert torch.equal(weight[[0, 2, 3]], before[[0, 2, 3]])
    backbones = own.backbone.state_dict(), theirs.backbone.state_dict()
    assert all(torch.equal(backbones[0][name], tensor) for name, tensor in backbones[1].items())
    assert found.left == tuple(
        f"head.project.{part}[{row}]"
        for part in ("weight", "bias")
        for row in ("one_hot/c", "distance/c", "distance/a")
    )
    assert found.unused == ("head.project.weight[one_hot/b]", "head.project.bias[one_hot/b]")


def test_what_is_not_asked_for_is_refused():
    _, _, found = transfer(HotDistance(("a",)), OneHot(("a",)))
    require(Start("other", load="matching"), found, "other")
    with pytest.raises(UserError) as caught:
        require(Start("other"), found, "other")
    count = len(found.loaded)
    assert str(caught.value) == (
        f"start: the weights of run 'other' do not fit ({count} of {count + 2} weights loaded; random: "
        "head.project.weight[distance/a], head.project.bias[distance/a]); give both runs the same network, or set "
        "start.load: matching"
    )


def test_nothing_in_common_is_an_error_in_any_case():
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.elsewhere = nn.Linear(2, 2)

    found = match(network(OneHot(("a",))), ["one_hot/a"], Other().state_dict(), None)
    with pytest.raises(UserError) as caught:
        require(Start("other", load="matching"), found, "other")
    assert str(caught.value) == "start: no weight of run 'other' fits this network; leave `start` out"


def test_of_another_width_only_equal_shapes_fit():
    own, _, found = transfer(OneHot(("a",)), OneHot(("a",)), num_fmaps=6)
    state = own.state_dict()
    assert all("bias" not in name or state[name.partition("[")[0]].shape == (1,) for name in found.loaded)
    assert found.left


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        ({"run": "other", "iteration": "bests"}, "start.yaml: iteration: "),
        ({"run": "other", "iteration": 0}, "start.yaml: iteration: must be best, latest or an iteration > 0, got 0"),
        ({"run": "", "iteration": 3}, "start.yaml: run: must be"),
        ({"run": "other", "load": "part"}, "start.yaml: load: must be one of 'full', 'matching', got 'part'"),
    ],
)
def test_wrong_starts_are_named(start, problem):
    with pytest.raises(ConfigError) as caught:
        structure(start, Start, source="start.yaml")
    assert problem in str(caught.value)
