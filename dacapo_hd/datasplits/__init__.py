"""Crops to train and validate on: listed or found in folders, opened with all their problems named at once."""

from dacapo_hd.datasplits.base import Datasplit, Part
from dacapo_hd.datasplits.crop import Crop, OpenCrop
from dacapo_hd.datasplits.crops import Crops
from dacapo_hd.datasplits.folder import Folder
from dacapo_hd.datasplits.intensity import IntensityRange, normalise

__all__ = [
    "Crop",
    "Crops",
    "Datasplit",
    "Folder",
    "IntensityRange",
    "OpenCrop",
    "Part",
    "normalise",
]
