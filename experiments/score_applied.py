"""Score what `dacapo-hd apply` wrote on the validation crops of a datasplit, e.g. a test volume.

.venv/bin/python experiments/score_applied.py OUTPUT.zarr experiments/datasplits/epfl_10nm_test.yaml [TOLERANCE_NM]
"""

from __future__ import annotations

import sys
from pathlib import Path

from dacapo_hd.arrays import open_volume
from dacapo_hd.config.structuring import load
from dacapo_hd.datasplits.base import Datasplit
from dacapo_hd.evaluation import evaluate
from dacapo_hd.segmentation.base import Segmentation


def main(applied: str, datasplit: str, tolerance_nm: float = 20.0) -> None:
    """Print a line per class and score; only voxels that were both applied and annotated count."""
    folders = sorted((Path(applied) / "segmentation").iterdir())
    volumes = {folder.name: open_volume(str(folder)) for folder in folders if folder.is_dir()}
    for crop in load(datasplit, Datasplit).open("validate", tuple(volumes)):
        part = crop.label_grid.roi.intersect(next(iter(volumes.values())).grid.roi)
        labels = {name: volume.read(part) for name, volume in volumes.items()}
        instances = any(data.dtype.itemsize > 1 for data in labels.values())
        for value in evaluate(Segmentation(labels, instances), crop.read_labels(part), tolerance_nm):
            print(f"{crop.name} {value.class_name} {value.score} {value.value:.4f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
