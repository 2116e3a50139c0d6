"""From crops to augmented batches with targets."""

from dacapo_hd.sampling.augment import Augment, GeometricAugment, Geometry, IntensityAugment, SectionAugment, Space
from dacapo_hd.sampling.geometric import Elastic, Mirror, Rotate, Scale, Transpose
from dacapo_hd.sampling.intensity import Defects, Gamma, IntensityScaleShift, Noise
from dacapo_hd.sampling.loader import Batch, BatchLoader, WorkerError, make_loader
from dacapo_hd.sampling.sampling import Sampling
from dacapo_hd.sampling.sections import LoseSections, PasteDefects, SectionContrast, ShiftSections

__all__ = [
    "Augment",
    "Batch",
    "BatchLoader",
    "Defects",
    "Elastic",
    "Gamma",
    "GeometricAugment",
    "Geometry",
    "IntensityAugment",
    "IntensityScaleShift",
    "LoseSections",
    "Mirror",
    "Noise",
    "PasteDefects",
    "Rotate",
    "Sampling",
    "Scale",
    "SectionAugment",
    "SectionContrast",
    "ShiftSections",
    "Space",
    "Transpose",
    "WorkerError",
    "make_loader",
]
