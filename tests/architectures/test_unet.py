"""The U-Net against its own arithmetic, and its errors."""

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dacapo_hd.architectures import UNet
from dacapo_hd.errors import UserError

ODD = st.sampled_from([1, 3, 5])
KERNEL = st.tuples(st.sampled_from([1, 3]), ODD, ODD)
FACTOR = st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3]))


@st.composite
def networks(draw, **fixed):
    """Draw a tiny network whose input is up to two steps larger than the smallest."""
    levels = draw(st.integers(1, 2))
    kernels = st.lists(KERNEL, min_size=1, max_size=2).map(tuple)
    fields = {
        "num_fmaps": 1,
        "fmap_inc_factor": 1,
        "downsample_factors": tuple(draw(FACTOR) for _ in range(levels)),
        "kernel_sizes_down": tuple(draw(kernels) for _ in range(levels + 1)),
        "kernel_sizes_up": tuple(draw(kernels) for _ in range(levels)),
        "padding": draw(st.sampled_from(["valid", "same"])),
        "upsampling": draw(st.sampled_from(["transposed", "nearest"])),
        "residual": draw(st.booleans()),
        **fixed,
    }
    smallest = smallest_input(fields)
    probe = UNet(**fields, input_shape_vx=smallest)
    more = draw(st.tuples(*[st.integers(0, 1)] * 3))
    shape = tuple(n + k * axis.step for n, k, axis in zip(smallest, more, probe.axes, strict=True))
    return attrs.evolve(probe, input_shape_vx=shape)


def smallest_input(fields):
    """Find the smallest input shape by trying."""
    shape = [1, 1, 1]
    while True:
        try:
            return UNet(**fields, input_shape_vx=tuple(shape)).input_shape_vx
        except ValueError as error:
            for problem in str(error).split("; "):
                if " along " in problem:
                    axis = "zyx".index(problem.split(" along ")[1][0])
                    shape[axis] += 1


def all_dependencies(network):
    """Build a network whose gradient is positive wherever the output may depend on the input.

    Positive weights cannot cancel and no ReLU cuts them; a mean sees what a maximum may choose from.
    """
    module = network.build().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.1)
    mean = {torch.nn.MaxPool2d: torch.nn.AvgPool2d, torch.nn.MaxPool3d: torch.nn.AvgPool3d}
    module.pool = torch.nn.ModuleList(mean[type(pool)](pool.kernel_size) for pool in module.pool)
    return module


@given(networks())
@settings(deadline=None, max_examples=30, derandomize=True)
def test_shapes_are_those_of_the_forward_pass(network):
    with torch.inference_mode():
        (stage,) = network.build()(torch.zeros(1, 1, *network.input_shape_vx))
    assert tuple(stage[0].shape[2:]) == network.output_shape_vx(network.input_shape_vx)
    assert [maps.shape[1] for maps in stage] == [described.channels for described in network.stages()[0]]


@given(networks())
@settings(deadline=None, max_examples=30, derandomize=True)
def test_input_shape_for_is_the_smallest_that_is_enough(network):
    output = network.output_shape_vx(network.input_shape_vx)
    assert network.input_shape_for(output) == network.input_shape_vx
    for axis in range(3):
        more = [n + (a == axis) for a, n in enumerate(output)]
        larger = network.input_shape_for(more)
        assert larger[axis] == network.input_shape_vx[axis] + network.axes[axis].step
        assert network.output_shape_vx(larger)[axis] >= more[axis]


@given(networks(padding="valid"))
@settings(deadline=None, max_examples=20, derandomize=True)
def test_sizes_that_arithmetic_refuses_cannot_be_downsampled_evenly(network):
    axis = network.axes[2]
    for size in range(axis.step + axis.lost, 2 * axis.step + axis.lost + 1):
        sizes, even = size, True
        for factor, shrink in zip(axis.factors, axis.shrink_down, strict=False):
            even = even and (sizes - shrink) % factor == 0
            sizes = (sizes - shrink) // factor
        assert axis.fits(size) == even


@given(networks())
@settings(deadline=None, max_examples=20, derandomize=True)
def test_context_is_the_receptive_field_of_a_step_of_output(network):
    """The gradient of the first step of a long output reaches exactly `context_vx` on the farther side."""
    step = [axis.step for axis in network.axes]
    begin = [-(-c // s) * s for s, c in zip(step, network.context_vx, strict=True)]
    shape = network.input_shape_for([s + 2 * b for s, b in zip(step, begin, strict=True)])
    image = torch.zeros(1, 1, *shape, dtype=torch.double, requires_grad=True)
    output = all_dependencies(network)(image)[0][0]
    output[0, 0][tuple(slice(b, b + s) for b, s in zip(begin, step, strict=True))].sum().backward()
    for axis, touched in enumerate(image.grad[0, 0].nonzero().T):
        first = begin[axis] + network.axes[axis].lost // 2
        reach = max(first - touched.min().item(), touched.max().item() - (first + step[axis] - 1))
        assert reach == network.context_vx[axis]


def test_context_of_same_padding_is_measured_inside_the_volume():
    network = UNet(input_shape_vx=(1, 64, 64), dims=2, num_fmaps=1, fmap_inc_factor=1, padding="same")
    image = torch.zeros(1, 1, 1, 64, 64, dtype=torch.double, requires_grad=True)
    all_dependencies(network)(image)[0][0][..., 24:28, 24:28].sum().backward()
    rows = image.grad[0, 0, 0].abs().sum(1).nonzero()
    assert (24 - rows.min().item(), rows.max().item() - 27) == (22, 22)
    assert network.context_vx == (0, 22, 22)


@given(networks(padding="valid"))
@settings(deadline=None, max_examples=20, derandomize=True)
def test_output_is_centred_and_moves_with_the_input_by_steps(network):
    torch.manual_seed(0)
    module = network.build().double()
    step = [axis.step for axis in network.axes]
    image = torch.rand(1, 1, *(n + s for n, s in zip(network.input_shape_vx, step, strict=True)), dtype=torch.double)
    moved = image[..., step[0] :, step[1] :, step[2] :]
    with torch.inference_mode():
        whole, part = module(image)[0][0], module(moved)[0][0]
    assert all((a - b) % 2 == 0 for a, b in zip(moved.shape[2:], part.shape[2:], strict=True))
    torch.testing.assert_close(whole[..., step[0] :, step[1] :, step[2] :], part)


def test_two_dimensional_network_treats_sections_as_independent_images():
    torch.manual_seed(0)
    module = UNet(input_shape_vx=(4, 44, 48), dims=2, num_fmaps=2, out_fmaps=5).build()
    image = torch.rand(2, 1, 4, 44, 48)
    with torch.inference_mode():
        together = module(image)[0]
        alone = module(image[1:, :, 2:3])[0]
    assert together[0].shape == (2, 5, 4, 4, 8)
    for maps, section in zip(together, alone, strict=True):
        torch.testing.assert_close(maps[1:, :, 2:3], section)
    assert {type(layer).__name__ for layer in module.modules()} >= {"Conv2d", "ConvTranspose2d"}
    assert "Conv3d" not in {type(layer).__name__ for layer in module.modules()}


def test_stages_report_channels_and_scales():
    network = UNet(
        input_shape_vx=(20, 84, 84),
        num_fmaps=4,
        fmap_inc_factor=(3, 2),
        out_fmaps=7,
        downsample_factors=((1, 2, 2), (2, 2, 2)),
        kernel_sizes_down=(((1, 3, 3),) * 2, ((3, 3, 3),), ((3, 3, 3),)),
        kernel_sizes_up=(((1, 3, 3),) * 2, ((3, 3, 3),)),
    )
    assert [(maps.channels, maps.scale) for maps in network.stages()[0]] == [
        (7, (1, 1, 1)),
        (12, (1, 2, 2)),
        (24, (2, 4, 4)),
    ]


@pytest.mark.parametrize("normalization", ["group", "batch", "instance"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu"])
def test_every_normalization_and_activation_trains(normalization, activation):
    network = UNet(
        input_shape_vx=(8, 8, 8),
        padding="same",
        num_fmaps=3,
        normalization=normalization,
        activation=activation,
        residual=True,
    )
    module = network.build()
    module(torch.rand(2, 1, 8, 8, 8))[0][0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())
    assert network.block_independent == (normalization == "batch")


def test_the_same_seed_makes_the_same_network():
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(UNet(input_shape_vx=(44, 44, 44)).build().state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_initial_features_neither_vanish_nor_explode(upsampling):
    torch.manual_seed(0)
    module = UNet(
        input_shape_vx=(1, 128, 128),
        dims=2,
        downsample_factors=((1, 2, 2),) * 4,
        padding="same",
        num_fmaps=16,
        upsampling=upsampling,
    ).build()
    with torch.inference_mode():
        features = module(torch.randn(1, 1, 1, 128, 128))[0][0]
    assert 0.1 < features.std() < 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"input_shape_vx": (92, 92, 90)},
            "90 along x does not fit the downsampling by 4 with valid padding; nearest valid: 88, 92",
        ),
        ({"input_shape_vx": (20, 92, 92)}, "20 along z is too small for this network; smallest valid: 44"),
        (
            {"input_shape_vx": (6, 90, 92), "padding": "same"},
            "6 along z does not fit the downsampling by 4 with same padding; nearest valid: 4, 8; "
            "90 along y does not fit the downsampling by 4 with same padding; nearest valid: 88, 92",
        ),
        ({"input_shape_vx": (92, 92)}, "must be three sizes > 0 (z, y, x), got (92, 92)"),
        ({"num_fmaps": -1}, "must be > 0, got -1"),
        ({"padding": "full"}, "must be one of 'valid', 'same', got 'full'"),
        ({"downsample_factors": ((2, 2),)}, "level 0: must be three factors >= 1 (z, y, x), got (2, 2)"),
        ({"dims": 2, "downsample_factors": ((2, 2, 2),)}, "level 0: must be 1 along z for dims 2, got (2, 2, 2)"),
        ({"fmap_inc_factor": (2,)}, "must be a number or one number per level (2), got 1 numbers"),
        ({"fmap_inc_factor": 0}, "must be >= 1, got 0"),
        (
            {"kernel_sizes_up": (((3, 3, 3),),) * 3},
            "must have 2 entries (one list per level), got 3",
        ),
        (
            {"kernel_sizes_down": (((3, 3, 3),),) * 2},
            "must have 3 entries (one list per level and one for the bottom), got 2",
        ),
        (
            {"kernel_sizes_up": (((3, 3, 3),), ((3, 2, 3),))},
            "level 1: must be three odd sizes (z, y, x), got (3, 2, 3)",
        ),
        ({"kernel_sizes_up": (((3, 3, 3),), ())}, "level 1: must have at least one convolution"),
        ({"dims": 2, "kernel_sizes_up": (((3, 3, 3),),) * 2}, "level 0: must be 1 along z for dims 2, got (3, 3, 3)"),
    ],
)
def test_what_does_not_fit_is_said(fields, message):
    with pytest.raises(ValueError) as raised:
        UNet(**{"input_shape_vx": (92, 92, 92), **fields})
    assert str(raised.value) == message


def test_output_shape_of_an_invalid_input_is_a_user_error():
    with pytest.raises(UserError) as raised:
        UNet(input_shape_vx=(92, 92, 92)).output_shape_vx((92, 92, 91))
    assert str(raised.value) == (
        "input shape (92, 92, 91): 91 along x does not fit the downsampling by 4 with valid padding; "
        "nearest valid: 88, 92"
    )
