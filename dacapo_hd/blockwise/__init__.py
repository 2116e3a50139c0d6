"""Work on volumes block by block: several workers here or on a cluster, restarts, failing blocks. Stands on daisy."""

from dacapo_hd.blockwise.compute import Compute, Local, Lsf, Slurm
from dacapo_hd.blockwise.directly import run_directly
from dacapo_hd.blockwise.grid import Block, BlockGrid
from dacapo_hd.blockwise.run import run_blocks
from dacapo_hd.blockwise.work import BlockFunction, BlocksFailedError, BlockWork, BrokenWorkerError

__all__ = [
    "Block",
    "BlockFunction",
    "BlockGrid",
    "BlockWork",
    "BlocksFailedError",
    "BrokenWorkerError",
    "Compute",
    "Local",
    "Lsf",
    "Slurm",
    "run_blocks",
    "run_directly",
]
