"""Arrays in files, on servers and in memory as `Volume`s with exact world coordinates."""

from dacapo_hd.arrays.create import Downsampling, create_volume
from dacapo_hd.arrays.opening import arrays_in, check_sections, downsampling_of
from dacapo_hd.arrays.places import is_remote, local_folder
from dacapo_hd.arrays.pyramid import fill_pyramid
from dacapo_hd.arrays.ref import ArrayRef, open_volume, shared_arrays
from dacapo_hd.arrays.volume import MemoryVolume, Volume

__all__ = [
    "ArrayRef",
    "Downsampling",
    "MemoryVolume",
    "Volume",
    "arrays_in",
    "check_sections",
    "create_volume",
    "downsampling_of",
    "fill_pyramid",
    "is_remote",
    "local_folder",
    "open_volume",
    "shared_arrays",
]
