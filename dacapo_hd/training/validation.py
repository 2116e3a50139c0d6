"""Validation of one crop: blockwise prediction, the task's segmenter grid, scores on the known voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dacapo_hd.datasplits.crop import OpenCrop
from dacapo_hd.evaluation import Evaluator, ScoreValue
from dacapo_hd.prediction.predict import predict_in_memory
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.segmentation.base import Prediction, Segmentation, Segmenter
from dacapo_hd.segmentation.uncertainty import uncertainty_of


def predict_crop(predictor: Predictor, crop: OpenCrop) -> Prediction:
    """Predict where a crop has labels, with the raw data around them as context."""
    return predict_in_memory(predictor, crop.raw, crop.label_grid, crop.intensity_range)


def count_objects(segmentation: Segmentation) -> dict[str, int]:
    """Return how many objects each class has, of masks how many voxels."""
    if not segmentation.instances:
        return {name: int(np.count_nonzero(labels)) for name, labels in segmentation.labels.items()}
    return {name: len(np.setdiff1d(np.unique(labels), 0)) for name, labels in segmentation.labels.items()}


def validate_crop(
    predictor: Predictor,
    crop: OpenCrop,
    segmenters: Sequence[Segmenter],
    tolerance_nm: float,
    counted: Callable[[Segmenter, Segmentation], object] = lambda segmenter, segmentation: None,
) -> Iterator[tuple[Segmenter, ScoreValue]]:
    """Yield every score of every segmenter; the prediction, and what follows from the labels alone, are made once.

    `counted` gets each segmentation.
    """
    prediction = predict_crop(predictor, crop)
    channels = {channel.name for channel in predictor.task.output_channels() if channel.uncertainty}
    uncertainty = uncertainty_of(prediction, channels)
    evaluator = Evaluator(crop.read_labels(crop.label_grid.roi), tolerance_nm)
    for segmenter in segmenters:
        segmentation = segmenter.segment(prediction)
        counted(segmenter, segmentation)
        for value in evaluator.scores(segmentation, uncertainty):
            yield segmenter, value
