"""Arrays in files, on servers and in memory as `Volume`s with exact world coordinates."""

from dacapo_hd.arrays.create import Downsampling, create_volume
from dacapo_hd.arrays.naming import parse_axes
from dacapo_hd.arrays.opening import arrays_in, check_sections, downsampling_of
from dacapo_hd.arrays.places import is_remote, local_folder
from dacapo_hd.arrays.pyramid import fill_pyramid
from dacapo_hd.arrays.ref import ArgumentRef, ArrayRef, is_voxel_size, open_volume, shared_arrays
from dacapo_hd.arrays.units import in_3d, typed_size_nm
from dacapo_hd.arrays.volume import MemoryVolume, StoredVolume, Volume

__all__ = [
    "ArgumentRef",
    "ArrayRef",
    "Downsampling",
    "MemoryVolume",
    "StoredVolume",
    "Volume",
    "arrays_in",
    "check_sections",
    "create_volume",
    "downsampling_of",
    "fill_pyramid",
    "in_3d",
    "is_remote",
    "is_voxel_size",
    "local_folder",
    "open_volume",
    "parse_axes",
    "shared_arrays",
    "typed_size_nm",
]
