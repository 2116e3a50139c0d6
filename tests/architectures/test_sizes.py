"""Parameters and memory, without running the network."""

import attrs
import pytest
import torch

from dacapo_hd.architectures import UNet
from dacapo_hd.architectures.network import Network
from dacapo_hd.architectures.sizes import bytes_per_input_voxel, memory_estimate_bytes, parameter_count

TINY = UNet(
    input_shape_vx=(8, 8, 8),
    num_fmaps=2,
    padding="same",
    downsample_factors=((2, 2, 2),),
    kernel_sizes_down=(((3, 3, 3),), ((3, 3, 3),)),
    kernel_sizes_up=(((3, 3, 3),),),
)


class TwoChannels:
    frozen = ()

    def head(self, stages):
        return torch.nn.ModuleDict({"out": torch.nn.Conv3d(stages[-1][0].channels, 2, 1)})


def test_parameters_are_counted_by_hand():
    # convolutions 1 -> 2, 2 -> 4, 4 -> 2; transposed 4 -> 2
    backbone = (27 * 2 + 2) + (27 * 2 * 4 + 4) + (27 * 4 * 2 + 2) + (8 * 4 * 2 + 2)
    assert parameter_count(TINY) == backbone
    assert parameter_count(TINY, TwoChannels()) == backbone + 2 * 2 + 2
    assert parameter_count(TINY) == sum(parameter.numel() for parameter in TINY.build().parameters())


def test_memory_of_a_training_step_is_counted_by_hand():
    fine, coarse, long = 8**3, 4**3, 2
    # image; encoder (2) and pooled (2); bottom (4); concatenated (4); decoder (2); indices of the maxima (2, 8 bytes)
    kept = 4 * (fine * (1 + 2 + 4 + 2) + coarse * (2 + 4) + coarse * 2 * long)
    largest = 4 * fine * (4 + 2)
    assert memory_estimate_bytes(TINY, 1) == 16 * parameter_count(TINY) + kept + largest
    assert memory_estimate_bytes(TINY, 3) == 16 * parameter_count(TINY) + 3 * (kept + largest)


def test_memory_of_inference_is_counted_by_hand():
    fine, coarse = 8**3, 4**3
    # when it is concatenated: image; encoder (2) and upsampled (2); concatenated (4); bottom (4)
    most = 4 * (fine * (1 + 2 + 2 + 4) + coarse * 4)
    assert bytes_per_input_voxel(TINY) == pytest.approx(1.5 * most / fine)
    # what a normalization keeps for the backward pass takes no memory in inference
    assert bytes_per_input_voxel(attrs.evolve(TINY, normalization="batch")) == bytes_per_input_voxel(TINY)
    # in the second of two convolutions: image (4), concatenated (4), what goes in (2) and comes out (2)
    twice = attrs.evolve(TINY, in_channels=4, kernel_sizes_up=(((3, 3, 3),) * 2,))
    most = 4 * (fine * (4 + 4 + 2 + 2) + coarse * 4)
    assert bytes_per_input_voxel(twice) == pytest.approx(1.5 * most / fine)


def test_network_names_the_predictions_of_its_head():
    class Task:
        frozen = ()

        def head(self, stages):
            class Head(torch.nn.Module):
                def forward(self, features):
                    return {"first": features[-1][0]}

            return Head()

    predictions = Network(TINY, Task())(torch.zeros(2, 1, 8, 8, 8))
    assert {name: tuple(p.shape) for name, p in predictions.items()} == {"first": (2, 2, 8, 8, 8)}
