"""Zarr 2, Zarr 3 and OME-Zarr arrays as `Volume`s with exact world coordinates."""

from dacapo_hd.arrays.create import create_volume
from dacapo_hd.arrays.ref import ArrayRef, open_volume
from dacapo_hd.arrays.volume import MemoryVolume, Volume

__all__ = ["ArrayRef", "MemoryVolume", "Volume", "create_volume", "open_volume"]
