"""A run with a random network and a volume for it; `python apply_parts.py STORE OPTIONS` applies it in a process."""

import json
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from dacapo_hd.architectures.network import Network
from dacapo_hd.arrays import create_volume
from dacapo_hd.config import structure, unstructure
from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid
from dacapo_hd.manager import RunManager, record_of
from dacapo_hd.run import Run
from dacapo_hd.segmentation import ConnectedComponents
from dacapo_hd.stores import FileStore
from dacapo_hd.stores.rows import ScoreRow
from dacapo_hd.training.checkpoint import Checkpoints

SHAPE = (20, 90, 110)
VOXEL_SIZE_NM = (8.0, 8.0, 8.0)
# Python and torch are counted as half a gigabyte, so that this leaves room for small blocks only
SMALL = "505MB"


def make_store(folder, raw, datasplit=None, **architecture):
    """Store the run `tiny` with checkpoints 1 and 2, of which the first is the better one; its network is flat."""
    config = {
        "name": "tiny",
        "task": {"type": "HotDistance", "classes": ["mito", "pm"], "scale_nm": 40},
        "architecture": {
            "type": "UNet",
            "dims": 2,
            "input_shape_vx": [1, 48, 48],
            "num_fmaps": 4,
            "padding": "same",
            "downsample_factors": [[1, 2, 2]],
            **architecture,
        },
        "datasplit": {"type": "Crops", "train": [{"name": "a", "raw": raw, "labels": []}], **(datasplit or {})},
        "trainer": {"device": "cpu"},
    }
    run = structure(config, Run)
    store = FileStore(folder)
    store.add_run(record_of(run))
    for iteration in (1, 2):
        torch.manual_seed(iteration)
        network = Network(run.architecture, run.task).state_dict()
        data = {"voxel_size_nm": list(VOXEL_SIZE_NM), "intensity_range": [0.0, 255.0], "dtype": "uint8"}
        with store.lock("tiny"):
            Checkpoints(store, "tiny").save(iteration, {"network": network, "data": data})
        segmenter = json.dumps(unstructure(ConnectedComponents("distance", -0.2, 6)))
        common = (segmenter, "mito", run.task.score, 1 / iteration, "")
        store.write_scores("tiny", [ScoreRow("tiny", run.config_hash, run.group_hash, 0, iteration, "c", *common)])
    return store


def make_raw(path, shape=SHAPE):
    """Write blobs, with nothing in the last sections."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), 2)
    data = np.clip(128 + 400 * noise, 0, 255).astype(np.uint8)
    data[-6:] = 50
    grid = Grid.from_nm(shape, VOXEL_SIZE_NM)
    volume = create_volume(path, grid, np.uint8, chunk_shape_vx=(16, 32, 32))
    volume.write(grid.roi, data)
    return volume


def files(folder):
    """Return what lies in a folder, but for the notes of an unfinished command."""
    folder = Path(folder)
    found = (path for path in folder.rglob("*") if path.is_file() and ".dacapo_hd" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


if __name__ == "__main__":
    # the shell that started the tests may have it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    try:
        RunManager(FileStore(sys.argv[1])).apply("tiny", progress=False, **json.loads(sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit(130)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
