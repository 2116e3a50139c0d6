"""Networks: shapes and context without running them, modules on demand."""

from dacapo_hd.architectures.base import Architecture, FeatureMap
from dacapo_hd.architectures.unet import UNet

__all__ = ["Architecture", "FeatureMap", "UNet"]
