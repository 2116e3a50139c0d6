"""Blockwise inference."""

from dacapo_hd.prediction.predict import predict, predict_in_memory
from dacapo_hd.prediction.predictor import Predictor
from dacapo_hd.prediction.stored import create_prediction, read_prediction

__all__ = ["Predictor", "create_prediction", "predict", "predict_in_memory", "read_prediction"]
