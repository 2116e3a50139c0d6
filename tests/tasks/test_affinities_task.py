from __future__ import annotations

import numpy as np
import pytest

from dacapo_hd.architectures import UNet
from dacapo_hd.config import structure
from dacapo_hd.config.problems import ConfigError
from dacapo_hd.labels.block import ABSENT, PRESENT, LabelBlock
from dacapo_hd.tasks import Affinities, Task

NETWORK = UNet(input_shape_vx=(24, 48, 48), padding="same", downsample_factors=((1, 2, 2), (2, 2, 2)))


def problems(**fields):
    with pytest.raises(ConfigError) as error:
        structure({"type": "Affinities", "classes": ["mito"], **fields}, Task)
    return list(error.value.problems)


def test_offsets_have_three_numbers():
    assert problems(offsets=[[0, -1], [-1, 0]]) == [
        "offsets: must be three numbers each (z, y, x), 0 along z within a section; got (0,-1)"
    ]
    assert problems(offsets=[[0, 0, 0]]) == ["offsets: must lead to another voxel, got (0,0,0)"]
    assert problems(offsets=[[0, 0, 1.5]]) == ["offsets: must be whole numbers of voxels, got (0,0,1.5)"]
    assert problems(offsets=[[0, 0, 1], [0, 0, 1]]) == ["offsets: must differ from each other"]
    assert problems(branches=[{"level": 1, "offsets": [[1, 0]]}]) == [
        "branches: must be three numbers each (z, y, x), 0 along z within a section; got (1,0)"
    ]
    assert problems(dice_weight=0, cross_entropy_weight=0) == [
        "cross_entropy_weight: must be > 0 where dice_weight is 0"
    ]


def test_what_does_not_fit_the_network_or_the_data_is_told():
    wide = Affinities(("mito",), offsets=((-1, 0, 0), (0, 0, -48), (30, 0, 0)))
    assert wide.problems_with(NETWORK, (8.0, 8.0, 8.0), (60, 60, 60)) == [
        "task: the offset (0,0,-48) reaches out of the network's input, which is 48 voxels along x; enlarge "
        "architecture.input_shape_vx or choose a shorter offset",
        "task: the offset (30,0,0) reaches out of the network's input, which is 24 voxels along z; enlarge "
        "architecture.input_shape_vx or choose a shorter offset",
    ]
    flat = Affinities(("mito",), offsets=((0, -1, 0), (0, 0, -1)))
    assert flat.problems_with(NETWORK, (8.0, 8.0, 8.0), (60, 60, 60)) == [
        "task: no offset leaves the section, but the volume has 60 sections, whose objects would fall apart; add an "
        "offset along z such as (-1,0,0)"
    ]
    assert flat.problems_with(NETWORK, (8.0, 8.0, 8.0), (1, 60, 60)) == []
    broken = Affinities(("mito",), offsets=((-8, 0, 0), (0, 0, -12)), offset_unit="nm")
    assert broken.problems_with(NETWORK, (8.0, 8.0, 8.0), (60, 60, 60)) == [
        "task: the offset (0,0,-12) nm is no whole number of voxels of 8, 8, 8 nm; choose multiples of the voxel "
        "size, or offsets in voxels"
    ]
    deep = structure(
        {"type": "Affinities", "classes": ["mito"], "branches": [{"level": 3, "offsets": [[1, 0, 0]]}]}, Task
    )
    assert deep.problems_with(NETWORK, (8.0, 8.0, 8.0), (60, 60, 60)) == [
        "task.branches: the network has no decoder level 3, only 0 to 2"
    ]


@pytest.mark.parametrize("unit", ["vx", "nm"])
def test_labels_are_seen_as_far_as_targets_reach(unit):
    offsets = ((-2, 0, 0), (0, 3, -1), (0, 0, 4))
    size = (20.0, 4.0, 4.0)
    given = offsets if unit == "vx" else tuple(tuple(o * s for o, s in zip(off, size, strict=True)) for off in offsets)
    task = Affinities(("mito",), offsets=given, offset_unit=unit)
    rng = np.random.default_rng(0)
    ids = np.repeat(rng.integers(0, 3, (8, 6, 16)), 2, axis=1).astype(np.uint32)

    def target(box):
        code = np.where(ids[box] > 0, PRESENT, ABSENT).astype(np.uint8)
        return task.targets(LabelBlock(("mito",), code[None], size, {"mito": ids[box]}))["affinity"]

    context = [max(int(np.ceil(task.context_nm / s)), vx) for s, vx in zip(size, task.context_vx, strict=True)]
    core = (slice(3, 5), slice(4, 8), slice(6, 10))
    wide = tuple(slice(max(s.start - c, 0), s.stop + c) for s, c in zip(core, context, strict=True))
    inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(core, wide, strict=True))
    whole, part = target((slice(None),) * 3), target(wide)
    np.testing.assert_array_equal(part.value[:, *inner], whole.value[:, *core])
    np.testing.assert_array_equal(part.weight[:, *inner], whole.weight[:, *core])
    assert whole.weight[:, *core].all()
