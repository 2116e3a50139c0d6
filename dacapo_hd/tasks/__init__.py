"""One file per task: targets, head, loss, decoding, segmenters and score."""

from dacapo_hd.tasks.base import OutputChannel, Target, Task
from dacapo_hd.tasks.distance import Distance
from dacapo_hd.tasks.embeddings import Embeddings
from dacapo_hd.tasks.hot_distance import HotDistance
from dacapo_hd.tasks.one_hot import OneHot

__all__ = ["Distance", "Embeddings", "HotDistance", "OneHot", "OutputChannel", "Target", "Task"]
