"""YAML and dicts <-> frozen attrs classes, with errors that a user can act on."""

from dacapo_hd.config.component import ADDED_LATER, NAMING_FOLDER, Component
from dacapo_hd.config.files import expand_env, local_path, placed
from dacapo_hd.config.problems import ConfigError, EntryErrors
from dacapo_hd.config.structuring import load, structure
from dacapo_hd.config.unstructuring import canonical_hash, unstructure
from dacapo_hd.config.validators import each_positive, fraction, non_empty, non_negative, one_of, optional, positive

__all__ = [
    "ADDED_LATER",
    "NAMING_FOLDER",
    "Component",
    "ConfigError",
    "EntryErrors",
    "canonical_hash",
    "each_positive",
    "expand_env",
    "fraction",
    "load",
    "local_path",
    "non_empty",
    "non_negative",
    "one_of",
    "optional",
    "placed",
    "positive",
    "structure",
    "unstructure",
]
