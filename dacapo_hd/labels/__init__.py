"""Partial annotation: class schemes, label sources, and what they say about each class."""

from dacapo_hd.labels.block import ABSENT, PRESENT, UNKNOWN, LabelBlock
from dacapo_hd.labels.derive import derive
from dacapo_hd.labels.scheme import ClassScheme
from dacapo_hd.labels.sources import ClassArrays, InstanceArray, LabelSource, OpenLabels, SemanticArray

__all__ = [
    "ABSENT",
    "PRESENT",
    "UNKNOWN",
    "ClassArrays",
    "ClassScheme",
    "InstanceArray",
    "LabelBlock",
    "LabelSource",
    "OpenLabels",
    "SemanticArray",
    "derive",
]
