"""Crops to train and validate on: listed or found in folders, opened with all their problems named at once."""

from dacapo_hd.datasplits.base import Datasplit, Part
from dacapo_hd.datasplits.crop import Crop, OpenCrop
from dacapo_hd.datasplits.crops import Crops
from dacapo_hd.datasplits.fingerprint import CropFingerprint, Fractions, fingerprint, unknown_everywhere
from dacapo_hd.datasplits.folder import Folder
from dacapo_hd.datasplits.intensity import normalise

__all__ = [
    "Crop",
    "CropFingerprint",
    "Crops",
    "Datasplit",
    "Folder",
    "Fractions",
    "OpenCrop",
    "Part",
    "fingerprint",
    "normalise",
    "unknown_everywhere",
]
