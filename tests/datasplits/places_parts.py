"""`check` of a datasplit, without a file."""

from dacapo_hd.architectures.unet import UNet
from dacapo_hd.check import check_run
from dacapo_hd.run import Run
from dacapo_hd.tasks.one_hot import OneHot
from dacapo_hd.training.trainer import Trainer


def check(datasplit):
    """Return what `check` finds of a tiny run on a datasplit."""
    network = UNet(
        dims=2, input_shape_vx=(1, 8, 8), padding="same", num_fmaps=2, fmap_inc_factor=2, downsample_factors=[(1, 2, 2)]
    )
    trainer = Trainer(iterations=2, workers=0, device="cpu", tolerance_nm=8)
    return check_run(
        Run(name="a", task=OneHot(classes=("mito",)), architecture=network, datasplit=datasplit, trainer=trainer)
    )
