"""Prediction -> labels."""

from dacapo_hd.segmentation.base import InstanceSegmenter, Prediction, SeededSegmenter, Segmentation, Segmenter
from dacapo_hd.segmentation.instances import ConnectedComponents, Watershed
from dacapo_hd.segmentation.masks import Argmax, Threshold
from dacapo_hd.segmentation.partition import MutexWatershed, SuperpixelAgglomeration

__all__ = [
    "Argmax",
    "ConnectedComponents",
    "InstanceSegmenter",
    "MutexWatershed",
    "Prediction",
    "SeededSegmenter",
    "Segmentation",
    "Segmenter",
    "SuperpixelAgglomeration",
    "Threshold",
    "Watershed",
]
