"""What every architecture must do; a new one joins by a line in EXAMPLES."""

import pickle
import subprocess
import sys
from itertools import pairwise

import attrs
import pytest
import torch

from dacapo_hd.architectures import Architecture, UNet, WNet
from dacapo_hd.architectures.sizes import memory_estimate_bytes, parameter_count
from dacapo_hd.config import structure, unstructure
from dacapo_hd.errors import UserError

EXAMPLES = {
    "UNet": UNet(input_shape_vx=(44, 48, 52), num_fmaps=2),
    "UNet same": UNet(
        input_shape_vx=(8, 12, 16), num_fmaps=2, padding="same", residual=True, normalization="group", in_channels=2
    ),
    "UNet anisotropic": UNet(
        input_shape_vx=(14, 68, 68),
        num_fmaps=2,
        fmap_inc_factor=(3, 1),
        out_fmaps=5,
        downsample_factors=((1, 2, 2), (2, 3, 3)),
        kernel_sizes_down=(((1, 3, 3),) * 2, ((3, 3, 3),), ((3, 3, 3),)),
        kernel_sizes_up=(((1, 3, 3),) * 2, ((3, 3, 3),)),
        upsampling="nearest",
    ),
    "UNet 2D": UNet(input_shape_vx=(3, 44, 52), dims=2, num_fmaps=2),
    "WNet": WNet(input_shape_vx=(84, 84, 88), num_fmaps=2, out_fmaps=3),
    "WNet 2D": WNet(input_shape_vx=(3, 84, 92), dims=2, num_fmaps=2, intermediate="distance_map", in_channels=2),
    "WNet anisotropic": WNet(
        input_shape_vx=(9, 35, 38),
        num_fmaps=2,
        downsample_factors=((1, 3, 3),),
        kernel_sizes_down=(((1, 3, 3),), ((3, 3, 3),)),
        kernel_sizes_up=(((3, 3, 3),),),
        intermediate="coordinates",
    ),
    "WNet same": WNet(
        input_shape_vx=(8, 12, 16), num_fmaps=2, padding="same", intermediate="embedding_features", intermediate_fmaps=8
    ),
    "WNet without": WNet(input_shape_vx=(1, 20, 24), dims=2, num_fmaps=2, padding="same", intermediate="none"),
}


@pytest.fixture(params=EXAMPLES.values(), ids=EXAMPLES.keys())
def architecture(request):
    return request.param


def forward(architecture, shape):
    with torch.inference_mode():
        return architecture.build().eval()(torch.zeros(2, architecture.in_channels, *shape))


def test_stages_describe_what_the_network_returns(architecture):
    found = forward(architecture, architecture.input_shape_vx)
    described = architecture.stages()
    assert [[maps.shape[1] for maps in stage] for stage in found] == [
        [m.channels for m in stage] for stage in described
    ]
    assert all(maps.shape[0] == 2 for stage in found for maps in stage)
    assert described[-1][0].scale == (1, 1, 1)
    for stage in described:
        for fine, coarse in pairwise(stage):
            assert all(c % f == 0 for f, c in zip(fine.scale, coarse.scale, strict=True))


def test_output_shape_is_known_without_running(architecture):
    for extra in range(2):
        output = architecture.output_shape_vx(architecture.input_shape_vx)
        shape = architecture.input_shape_for([n + extra for n in output])
        assert tuple(forward(architecture, shape)[-1][0].shape[2:]) == architecture.output_shape_vx(shape)


def test_input_shape_for_one_voxel_is_valid_and_smallest(architecture):
    smallest = architecture.input_shape_for((1, 1, 1))
    assert all(n >= 1 for n in architecture.output_shape_vx(smallest))
    for axis in range(3):
        shape = [n - (a == axis) for a, n in enumerate(smallest)]
        with pytest.raises(UserError):
            architecture.output_shape_vx(shape)


def test_output_is_centred_in_the_input(architecture):
    shape = architecture.input_shape_vx
    assert all((i - o) % 2 == 0 for i, o in zip(shape, architecture.output_shape_vx(shape), strict=True))


def test_context_lies_inside_the_input_of_a_network_that_does_not_pad(architecture):
    shape = architecture.input_shape_vx
    lost = [i - o for i, o in zip(shape, architecture.output_shape_vx(shape), strict=True)]
    pads = all(n == 0 for n in lost)
    assert all(c >= 0 and (pads or c <= n // 2) for c, n in zip(architecture.context_vx, lost, strict=True))


def test_building_is_deterministic_under_a_seed(architecture):
    torch.manual_seed(1)
    first = architecture.build().state_dict()
    torch.manual_seed(1)
    second = architecture.build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_can_be_frozen_pickled_and_configured(architecture):
    assert isinstance(architecture, Architecture)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        architecture.in_channels = 3
    assert pickle.loads(pickle.dumps(architecture)) == architecture
    assert structure(unstructure(architecture), Architecture) == architecture


def test_sizes_are_known_without_running(architecture):
    assert parameter_count(architecture) == sum(p.numel() for p in architecture.build().parameters())
    one, two = (memory_estimate_bytes(architecture, batch_size) for batch_size in (1, 2))
    assert two - one == one - 16 * parameter_count(architecture)


def test_configurations_load_without_torch():
    code = "import dacapo_hd.architectures, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
