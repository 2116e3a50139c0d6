"""The W-Net against its own arithmetic, and what its second U-Net sees."""

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_unet import all_dependencies, networks
from torch.nn import functional

from dacapo_hd.architectures import UNet, WNet
from dacapo_hd.architectures.unet_shapes import TwiceAxisShapes
from dacapo_hd.architectures.wnet import DEFAULT_FMAPS

checked = settings(deadline=None, max_examples=20, derandomize=True)
SAME_2D = {"dims": 2, "padding": "same", "num_fmaps": 2, "out_fmaps": 4, "input_shape_vx": (2, 16, 20)}


def twice(unet, steps, **fields):
    """Make a W-Net of a U-Net whose output is so many steps large."""
    axes = [TwiceAxisShapes(**attrs.asdict(axis)) for axis in unet.axes]
    shape = tuple(axis.input_for(n * axis.step) for n, axis in zip(steps, axes, strict=True))
    own = {field.name: getattr(unet, field.name) for field in attrs.fields(UNet)}
    return WNet(**{**own, "input_shape_vx": shape, "intermediate": "distance_map", **fields})


few_steps = st.tuples(*[st.integers(1, 2)] * 3)


@given(networks(), few_steps)
@checked
def test_shapes_are_those_of_the_forward_pass(unet, steps):
    network = twice(unet, steps)
    with torch.inference_mode():
        first, second = network.build()(torch.zeros(1, 1, *network.input_shape_vx))
    assert tuple(second[0].shape[2:]) == network.output_shape_vx(network.input_shape_vx)
    assert tuple(second[0].shape[2:]) == tuple(n * axis.step for n, axis in zip(steps, network.axes, strict=True))
    assert all((a - b) % 2 == 0 for a, b in zip(first[0].shape[2:], second[0].shape[2:], strict=True))
    assert [[maps.shape[1] for maps in stage] for stage in (first, second)] == [
        [described.channels for described in stage] for stage in network.stages()
    ]


@given(networks(padding="valid"), few_steps)
@checked
def test_output_moves_with_the_input_by_steps(unet, steps):
    torch.manual_seed(0)
    network = twice(unet, steps)
    module = network.build().double()
    step = [axis.step for axis in network.axes]
    image = torch.rand(1, 1, *(n + s for n, s in zip(network.input_shape_vx, step, strict=True)), dtype=torch.double)
    with torch.inference_mode():
        whole, part = (module(i)[-1][0] for i in (image, image[..., step[0] :, step[1] :, step[2] :]))
    torch.testing.assert_close(whole[..., step[0] :, step[1] :, step[2] :], part)


@given(networks(padding="valid"))
@checked
def test_context_is_the_receptive_field_of_a_step_of_output(unet):
    network = twice(unet, (1, 1, 1))
    step = [axis.step for axis in network.axes]
    begin = [-(-c // s) * s for s, c in zip(step, network.context_vx, strict=True)]
    shape = network.input_shape_for([s + 2 * b for s, b in zip(step, begin, strict=True)])
    module = network.build().double()
    module.first, module.second = (all_dependencies(part) for part in network.unets())
    torch.nn.init.ones_(module.project.weight)
    image = torch.zeros(1, 1, *shape, dtype=torch.double, requires_grad=True)
    output = module(image)[-1][0]
    output[0, 0][tuple(slice(b, b + s) for b, s in zip(begin, step, strict=True))].sum().backward()
    for axis, touched in enumerate(image.grad[0, 0].nonzero().T):
        first = begin[axis] + network.axes[axis].lost // 2
        reach = max(first - touched.min().item(), touched.max().item() - (first + step[axis] - 1))
        assert reach == network.context_vx[axis]


def seen_by_the_second(network, image):
    """Return the stages, and the input of the second U-Net."""
    torch.manual_seed(0)
    module, seen = network.build().eval(), []
    module.second.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        stages = module(image)
    return module, stages, seen[0]


@pytest.mark.parametrize("intermediate", ["distance_features", "embedding_features"])
@pytest.mark.parametrize("fmaps", [8, 32])
def test_the_second_unet_sees_the_image_and_unit_vectors_made_of_the_features(intermediate, fmaps):
    network = WNet(**SAME_2D, intermediate=intermediate, intermediate_fmaps=fmaps)
    image = torch.rand(2, 1, 2, 16, 20)
    module, stages, seen = seen_by_the_second(network, image)
    torch.testing.assert_close(seen[:, :1], image)
    assert seen.shape[1] == 1 + fmaps
    with torch.no_grad():
        expected = functional.normalize(module.project(stages[0][0]), dim=1)
    torch.testing.assert_close(seen[:, 1:], expected)
    assert stages[0][0].shape[1] == 4


def test_the_second_unet_sees_the_very_map_that_is_the_distance():
    image = torch.linspace(-20, 20, 640).sin().view(1, 1, 2, 16, 20) * 10
    _, stages, seen = seen_by_the_second(WNet(**SAME_2D, intermediate="distance_map"), image)
    assert seen.shape[1] == 2
    assert (stages[0][0] < 0).any()
    torch.testing.assert_close(seen[:, 1:], stages[0][0].clamp(min=0))
    assert len(seen[:, 1:].unique()) > 100


def test_coordinates_run_from_minus_one_to_one():
    image = torch.rand(2, 1, 2, 16, 20)
    _, _, seen = seen_by_the_second(WNet(**SAME_2D, intermediate="coordinates"), image)
    y, x = seen[1, 1, 1], seen[1, 2, 1]
    torch.testing.assert_close(y, torch.linspace(-1, 1, 16)[:, None].expand(16, 20))
    torch.testing.assert_close(x, torch.linspace(-1, 1, 20).expand(16, 20))


def test_without_anything_between_the_second_unet_sees_the_image_alone():
    image = torch.rand(2, 1, 2, 16, 20)
    _, _, seen = seen_by_the_second(WNet(**SAME_2D, intermediate="none"), image)
    torch.testing.assert_close(seen, image)


@pytest.mark.parametrize(
    ("intermediate", "meant_for"),
    [
        ("distance_features", "distance"),
        ("distance_map", "distance"),
        ("coordinates", "distance"),
        ("none", "distance"),
        ("embedding_features", "embedding"),
    ],
)
def test_stages_say_what_the_first_unet_is_for(intermediate, meant_for):
    first, second = WNet(**SAME_2D, intermediate=intermediate).stages()
    assert first[0].meant_for == (meant_for,)
    assert all(maps.meant_for == () for maps in (*first[1:], *second))
    assert first[0].is_prediction == (intermediate == "distance_map")


@pytest.mark.parametrize("intermediate", DEFAULT_FMAPS)
def test_what_the_second_unet_learns_reaches_the_first(intermediate):
    module = WNet(**SAME_2D, intermediate=intermediate).build()
    module(torch.rand(1, 1, 2, 16, 20))[-1][0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())


def test_features_are_unit_vectors_in_half_precision_too():
    network = WNet(**SAME_2D)
    _, _, seen = seen_by_the_second(network, torch.rand(1, 1, 2, 16, 20))
    module = network.build().bfloat16()
    found = []
    module.second.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0]))
    with torch.inference_mode():
        module(1e4 * torch.rand(1, 1, 2, 16, 20).bfloat16())
    lengths = [maps[:, 1:].float().norm(dim=1) for maps in (seen, found[0])]
    torch.testing.assert_close(lengths[0], torch.ones_like(lengths[0]))
    torch.testing.assert_close(lengths[1], torch.ones_like(lengths[1]), atol=0.02, rtol=0)


def test_only_coordinates_depend_on_the_block():
    independent = {name: WNet(**SAME_2D, intermediate=name).block_independent for name in ("none", "coordinates")}
    assert independent == {"none": True, "coordinates": False}
    assert not WNet(**SAME_2D, normalization="group").block_independent


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"intermediate": "distances"},
            "must be one of 'distance_map', 'distance_features', 'embedding_features', 'coordinates', 'none', "
            "got 'distances'",
        ),
        (
            {"intermediate": "none", "intermediate_fmaps": 8},
            "must not be given with intermediate 'none', which has no projection",
        ),
        ({"intermediate_fmaps": 0}, "must be > 0, got 0"),
        (
            {"padding": "valid", "input_shape_vx": (1, 82, 84)},
            "82 along y is too small for this network; smallest valid: 84",
        ),
    ],
)
def test_what_does_not_fit_is_said(fields, message):
    with pytest.raises(ValueError) as raised:
        WNet(**{**SAME_2D, **fields})
    assert str(raised.value) == message
