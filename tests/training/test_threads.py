"""Parallel kernels do not change how many threads torch has in the middle of a training."""

import os
import subprocess
import sys

AFTER_A_KERNEL = """
import numba, numpy, torch
from dacapo_hd.training.device import settle_threads

@numba.njit(parallel=True)
def kernel(values):
    total = 0.0
    for index in numba.prange(values.size):
        total += values[index]
    return total

settle_threads()
kernel(numpy.ones(100))
print(torch.get_num_threads())
"""


def test_a_parallel_kernel_leaves_torch_its_number_of_threads():
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-c", AFTER_A_KERNEL]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "1\n"
