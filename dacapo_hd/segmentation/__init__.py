"""Prediction -> labels."""

from dacapo_hd.segmentation.base import InstanceSegmenter, Prediction, SeededSegmenter, Segmentation, Segmenter
from dacapo_hd.segmentation.clusters import AngularClustering, HdbscanClustering, MeanShiftClustering
from dacapo_hd.segmentation.cosine import CosineMutexWatershed
from dacapo_hd.segmentation.instances import ConnectedComponents, Watershed
from dacapo_hd.segmentation.masks import Argmax, Threshold
from dacapo_hd.segmentation.partition import MutexWatershed, SuperpixelAgglomeration

__all__ = [
    "AngularClustering",
    "Argmax",
    "ConnectedComponents",
    "CosineMutexWatershed",
    "HdbscanClustering",
    "InstanceSegmenter",
    "MeanShiftClustering",
    "MutexWatershed",
    "Prediction",
    "SeededSegmenter",
    "Segmentation",
    "Segmenter",
    "SuperpixelAgglomeration",
    "Threshold",
    "Watershed",
]
