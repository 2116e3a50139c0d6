"""Prediction -> labels."""

from dacapo_hd.segmentation.base import InstanceSegmenter, Prediction, SeededSegmenter, Segmentation, Segmenter
from dacapo_hd.segmentation.clusters import AngularClustering, HdbscanClustering, MeanShiftClustering
from dacapo_hd.segmentation.instances import ConnectedComponents, Watershed
from dacapo_hd.segmentation.masks import Argmax, Threshold

__all__ = [
    "AngularClustering",
    "Argmax",
    "ConnectedComponents",
    "HdbscanClustering",
    "InstanceSegmenter",
    "MeanShiftClustering",
    "Prediction",
    "SeededSegmenter",
    "Segmentation",
    "Segmenter",
    "Threshold",
    "Watershed",
]
