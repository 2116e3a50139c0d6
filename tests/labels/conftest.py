import numpy as np
import pytest

from dacapo_hd.arrays import ArrayRef, create_volume
from dacapo_hd.geometry import Grid


@pytest.fixture(params=[2, 3], ids=["zarr2", "zarr3"])
def store(request, tmp_path):
    """Write an array to disk and return the reference to it."""

    def write(name, data, voxel_size_nm=(4, 4, 4), offset_nm=(0, 0, 0), **attributes):
        data = np.asarray(data)
        grid = Grid.from_nm(data.shape[-3:], voxel_size_nm, offset_nm)
        channels = data.shape[0] if data.ndim == 4 else None
        path = tmp_path / "crop.zarr" / name
        volume = create_volume(
            path, grid, data.dtype, channels=channels, zarr_format=request.param, attributes=attributes
        )
        volume.write(grid.roi, data)
        return ArrayRef(str(path))

    return write
