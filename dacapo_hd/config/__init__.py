"""YAML and dicts <-> frozen attrs classes, with errors that a user can act on."""

from dacapo_hd.config.component import Component
from dacapo_hd.config.validators import each_positive, fraction, non_empty, non_negative, one_of, optional, positive

__all__ = ["Component", "each_positive", "fraction", "non_empty", "non_negative", "one_of", "optional", "positive"]
