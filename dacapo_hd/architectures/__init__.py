"""Networks: shapes and context without running them, modules on demand."""

from dacapo_hd.architectures.base import Architecture, FeatureMap
from dacapo_hd.architectures.unet import UNet
from dacapo_hd.architectures.wnet import WNet

__all__ = ["Architecture", "FeatureMap", "UNet", "WNet"]
