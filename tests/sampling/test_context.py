"""Labels that would be needed much further around a sample than the crop is long: a length in another unit."""

import numpy as np
import pytest

from dacapo_hd.architectures.unet import UNet
from dacapo_hd.arrays import ArrayRef, create_volume
from dacapo_hd.datasplits import Crop, Crops
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.labels import ClassArrays
from dacapo_hd.sampling.recipe import Recipe
from dacapo_hd.sampling.sampling import Sampling
from dacapo_hd.tasks.hot_distance import HotDistance

NETWORK = UNet(
    dims=2, input_shape_vx=(1, 8, 8), padding="same", num_fmaps=2, fmap_inc_factor=2, downsample_factors=[(1, 2, 2)]
)


@pytest.fixture
def crops(tmp_path):
    """Open a crop of 16 voxels that says itself how large they are."""

    def make(voxel_size_nm):
        grid = Grid.from_nm((4, 16, 16), (voxel_size_nm,) * 3)
        labels = np.zeros(grid.shape_vx, np.uint8)
        labels[:, 4:8] = 1
        for name in ("raw", "mito"):
            create_volume(tmp_path / name, grid, np.uint8, overwrite=True).write(grid.roi, labels)
        sources = (ClassArrays({"mito": ArrayRef(str(tmp_path / "mito"))}),)
        return Crops(train=(Crop("a", ArrayRef(str(tmp_path / "raw")), sources),)).open("train", ("mito",))

    return make


def test_a_context_of_many_crops_is_refused_unless_somebody_insists(crops):
    task = HotDistance(classes=("mito",), scale_nm=50)
    Recipe.of(crops(10), task, NETWORK, Sampling(), 0)
    # 10 nm in micrometres
    opened = crops(0.01)
    with pytest.raises(UserError) as error:
        Recipe.of(opened, task, NETWORK, Sampling(), 0)
    (message,) = error.value.problems
    assert message.startswith(f"crop 'a': the task needs labels up to {task.context_nm:g} nm (")
    assert (
        "voxels) around each patch, but raw is 16 voxels long; correct the voxel size [0.01, 0.01, 0.01] nm" in message
    )
    assert message.endswith("or set trainer.sampling.allow_large_context: true")
    Recipe.of(crops(0.5), task, NETWORK, Sampling(allow_large_context=True), 0)


def test_more_voxels_than_any_memory_holds_are_refused_whatever_the_crop(crops):
    with pytest.raises(UserError, match=r"the task needs labels up to"):
        Recipe.of(crops(1), HotDistance(classes=("mito",), scale_nm=2000), NETWORK, Sampling(), 0)
