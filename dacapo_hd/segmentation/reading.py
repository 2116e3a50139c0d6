"""Whether a segmenter suits what a task predicts, told before there is a prediction."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from dacapo_hd.config.families import builtin_types
from dacapo_hd.errors import UserError
from dacapo_hd.segmentation.base import InstanceSegmenter, MissingChannelError, Prediction, Segmenter, kind_of


def quantities(channels: Sequence[str]) -> tuple[str, ...]:
    """Name the quantities of channels, each once: that of `class/embedding_0`, `class/embedding_1` is `embedding`."""
    return tuple(dict.fromkeys(re.sub(r"_\d+$", "", kind_of(channel)) for channel in channels))


def misread(segmenter: Segmenter, channels: Sequence[str], predictor: str) -> str | None:
    """Say which quantities a segmenter reads that are not among channels, and what would do; None if it suits.

    `predictor` names in the message what has these channels. A segmenter that does not say what it reads suits.
    """
    there = {*quantities(channels), *map(kind_of, channels)}
    if there.issuperset(segmenter.reads):
        return None
    reads = f"{type(segmenter).__name__} reads {_words(segmenter.reads, 'and')}"
    predicts = f"{predictor} predicts {_words(quantities(channels), 'and')}"
    return f"{reads}, but {predicts}; {_advice(segmenter, there)}"


def _advice(segmenter: Segmenter, there: set[str]) -> str:
    own = [entry[0] for entry in segmenter.readable if len(entry) == 1 and there.issuperset(entry)]
    if own and hasattr(segmenter, "quantity"):
        return f"set its quantity: {_words(own, 'or')}"
    # those that use most of what is predicted come first
    suited = {
        name: -max(map(len, entries))
        for name, cls in builtin_types(Segmenter).items()
        if (entries := [entry for entry in cls.readable if there.issuperset(entry)])
    }
    if not suited:
        return "choose a segmenter for what it predicts"
    return f"choose among {', '.join(sorted(suited, key=lambda name: suited[name]))}"


def _words(names: Sequence[str], last: str) -> str:
    """List names as a sentence does."""
    *most, final = names or ("nothing",)
    return f"{', '.join(most)} {last} {final}" if most else final


def unreadable(segmenter: Segmenter, channels: Sequence[str], predictor: str) -> str | None:
    """Say the same as `misread`; a segmenter that does not say what it reads is tried on one voxel."""
    if segmenter.reads:
        return misread(segmenter, channels, predictor)
    try:
        segmenter.segment(one_voxel(channels))
    except MissingChannelError as error:
        return f"{type(segmenter).__name__} does not suit {predictor}: {error}"
    except Exception:
        # for anything else, one voxel may be too few
        return None
    return None


def one_voxel(channels: Sequence[str], voxel_size_nm: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Prediction:
    """Return a prediction that stands for a volume of any size: a voxel in which all is 0."""
    return Prediction(tuple(channels), np.zeros((len(channels), 1, 1, 1), np.float32), voxel_size_nm)


def problem_with_volume(
    segmenter: Segmenter, channels: Sequence[str], voxel_size_nm: tuple[float, ...], shape_vx: Sequence[int]
) -> str | None:
    """Say what keeps a segmenter from segmenting a volume (z, y, x) with these channels; None if nothing does."""
    if not isinstance(segmenter, InstanceSegmenter):
        return None
    # as many sections as the volume has, which offsets must join, of hardly a voxel each
    shape = (shape_vx[0], *(min(2, size) for size in shape_vx[1:]))
    little = Prediction(tuple(channels), np.zeros((len(channels), *shape), np.float32), voxel_size_nm)
    try:
        segmenter.reach_vx(little)
    except UserError as error:
        return "; ".join(error.problems)
    return None
