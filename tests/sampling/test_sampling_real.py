"""Sampling with the parts of a run as they are: stored arrays, a U-Net, Hot-Distance."""

import numpy as np
import pytest
import torch

from dacapo_hd.architectures import UNet
from dacapo_hd.architectures.network import Network
from dacapo_hd.arrays import ArrayRef, create_volume
from dacapo_hd.datasplits import Crop, Crops
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels import ClassArrays, ClassScheme
from dacapo_hd.sampling import Elastic, Rotate, Sampling, make_loader
from dacapo_hd.tasks import HotDistance

VOXEL_SIZE_NM = (4.6, 4.6, 4.6)


@pytest.fixture
def open_crops(tmp_path):
    def make(broken=False):
        rng = np.random.default_rng(0)
        z, y, x = np.meshgrid(*(np.arange(n) for n in (40, 60, 60)), indexing="ij")
        mito = ((z - 20) ** 2 + (y - 30) ** 2 + (x - 30) ** 2 < 14**2).astype(np.uint8)
        raw = (0.5 + 0.3 * mito + 0.05 * rng.standard_normal(mito.shape)).astype(np.float32)
        if broken:
            raw[7, 8, 9] = np.nan
        paths = {"raw": raw, "mito": np.where(z < 30, mito, 255).astype(np.uint8)}
        for name, data in paths.items():
            grid = Grid.from_nm(data.shape, VOXEL_SIZE_NM, (2.3, 0.0, 9.2))
            create_volume(str(tmp_path / name), grid, data.dtype).write(grid.roi, data)
        labels = ClassArrays(arrays={"mito": ArrayRef(str(tmp_path / "mito"))})
        crop = Crop(name="ball", raw=ArrayRef(str(tmp_path / "raw")), labels=(labels,))
        scheme = ClassScheme(classes={"mito": ()})
        return Crops(scheme=scheme, train=(crop,), intensity_range=(0.0, 1.0)).open("train", ("mito",))

    return make


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        (UNet(input_shape_vx=(28, 28, 28), downsample_factors=((2, 2, 2),), num_fmaps=2), HotDistance(("mito",))),
        (
            UNet(input_shape_vx=(1, 32, 32), dims=2, padding="same", num_fmaps=2),
            HotDistance(("mito",), distance_axes="yx"),
        ),
    ],
)
def test_batches_fit_the_network_and_the_loss(open_crops, architecture, task):
    sampling = Sampling(locations="balanced", augments=(*Sampling().augments, Rotate(), Elastic()))
    network = Network(architecture, task)
    with make_loader(open_crops(), task, architecture, sampling, 2, 0, workers=1) as batches:
        batch = next(batches)
    predictions = network(batch.raw)
    for name, (_, weight) in batch.targets.items():
        assert predictions[name].shape[2:] == weight.shape[2:]
        assert weight.any()
    assert all(torch.isfinite(value) for value in task.loss(predictions, batch.targets).values())
    inside, outside = (batch.targets["one_hot"][0] == k for k in (1, 0))
    margin = [(n - m) // 2 for n, m in zip(batch.raw.shape[2:], inside.shape[2:], strict=True)]
    raw = batch.raw[:, :, *(slice(m, m + n) for m, n in zip(margin, inside.shape[2:], strict=True))]
    known = batch.targets["one_hot"][1] > 0
    assert raw[inside & known].mean() > raw[outside & known].mean() + 0.3


def test_nan_in_raw_stops_the_run_with_one_line(open_crops):
    architecture = UNet(input_shape_vx=(40, 60, 60), padding="same", num_fmaps=2)
    whole = Sampling(augments=())
    with pytest.raises(UserError) as caught:
        next(make_loader(open_crops(broken=True), HotDistance(("mito",)), architecture, whole, 1, 0, workers=1))
    (problem,) = caught.value.problems
    assert problem.startswith("crop 'ball': raw ") and "at voxel (7, 8, 9) (z, y, x);" in problem
