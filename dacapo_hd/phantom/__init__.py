"""Synthetic FIB-SEM volumes with complete ground truth."""

from dacapo_hd.phantom.annotation import Annotation
from dacapo_hd.phantom.options import write_phantoms
from dacapo_hd.phantom.phantom import Phantom, PhantomVolume, make
from dacapo_hd.phantom.scheme import CLASSES, INSTANCE_CLASSES, scheme
from dacapo_hd.phantom.write import PhantomCrop, write_phantom, write_phantom_dataset, write_scheme

__all__ = [
    "CLASSES",
    "INSTANCE_CLASSES",
    "Annotation",
    "Phantom",
    "PhantomCrop",
    "PhantomVolume",
    "make",
    "scheme",
    "write_phantom",
    "write_phantom_dataset",
    "write_phantoms",
    "write_scheme",
]
