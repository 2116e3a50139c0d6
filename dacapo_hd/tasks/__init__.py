"""One file per task: targets, head, loss, decoding, segmenters and score."""

from dacapo_hd.tasks.affinities import Affinities
from dacapo_hd.tasks.base import OutputChannel, Target, Task
from dacapo_hd.tasks.distance import Distance
from dacapo_hd.tasks.embeddings import Embeddings
from dacapo_hd.tasks.hot_distance import HotDistance
from dacapo_hd.tasks.instance import AffinityBranch
from dacapo_hd.tasks.latent_masks import LatentMasks
from dacapo_hd.tasks.mask_branch import MaskBranch
from dacapo_hd.tasks.object_size import ObjectSize
from dacapo_hd.tasks.one_hot import OneHot

__all__ = [
    "Affinities",
    "AffinityBranch",
    "Distance",
    "Embeddings",
    "HotDistance",
    "LatentMasks",
    "MaskBranch",
    "ObjectSize",
    "OneHot",
    "OutputChannel",
    "Target",
    "Task",
]
