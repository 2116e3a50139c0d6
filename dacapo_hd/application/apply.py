"""The stages of `apply`: predict, segment, pyramids. The same command finishes what an interrupted one has begun."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dacapo_hd.application.choice import (
    choose,
    choose_compute,
    choose_range,
    open_mask,
    open_source,
    require_readable,
    require_suitable,
    warn_of_copies,
)
from dacapo_hd.application.decision import Decision
from dacapo_hd.application.estimate import Estimate
from dacapo_hd.application.network import RunNetwork
from dacapo_hd.application.output import Output
from dacapo_hd.application.roi import parse_bytes, parse_roi
from dacapo_hd.arrays import ArgumentRef, ArrayRef, Volume, create_volume, fill_pyramid, local_folder, open_volume
from dacapo_hd.arrays.levels import level_grids
from dacapo_hd.arrays.pyramid import BLOCK_BYTES
from dacapo_hd.blockwise import Compute, run_blocks
from dacapo_hd.datasplits.intensity import trained_intensities
from dacapo_hd.labels.values import blocks
from dacapo_hd.prediction.flips import require_undirected
from dacapo_hd.prediction.inside import InsideMask
from dacapo_hd.prediction.plan import BASE_BYTES, CHUNK_VX, DEFAULT_MEMORY_BYTES, Plan
from dacapo_hd.prediction.stored import create_prediction
from dacapo_hd.prediction.work import PredictWork
from dacapo_hd.stitching import segment_volume
from dacapo_hd.training.checkpoint import Checkpoints

if TYPE_CHECKING:
    from dacapo_hd.manager import RunManager
    from dacapo_hd.run import Run

logger = logging.getLogger(__name__)

MEMORY = f"{DEFAULT_MEMORY_BYTES / 1e9:g}GB"
# a worker holds a block of a finer level five times while it makes a coarser one, beside what earlier stages have left
LEVEL_PART = 1 / 16


def apply_run(
    manager: RunManager,
    name: str,
    source: str,
    output: str,
    *,
    roi: str | None = None,
    iteration: str | int = "best",
    parameters: str | None = None,
    score: str | None = None,
    axes: str | None = None,
    voxel_size_nm: tuple[float, ...] | str | None = None,
    assumed_voxel_size_nm: tuple[float, ...] | str | None = None,
    offset_nm: tuple[float, ...] | None = None,
    channel: int | None = None,
    intensity_range: tuple[float, float] | None = None,
    mask: str | None = None,
    flips: bool = False,
    skip_empty: bool = False,
    zarr_format: int = 2,
    memory: str = MEMORY,
    compute: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Write `OUTPUT/prediction` (uint8) and `OUTPUT/segmentation/CLASS` as pyramids; returns the paths of these.

    `roi` is `z:z,y:y,x:x` in voxels of the source, or in nm with `nm` at the end. `parameters` is a segmenter in YAML,
    by default the best one of the chosen iteration. `axes` to `channel` say what the source does not, as in ArrayRef;
    `intensity_range` replaces the run's. Only where `mask` is not 0 anything is
    predicted; `flips` averages over mirrored copies, `skip_empty` leaves out blocks of constant raw data. `memory` is
    for each worker; `compute` is a `Compute` in YAML or a YAML file. `dry_run` prints what would be done. Raises
    UserError for anything that does not fit, and BlocksFailedError when blocks failed.
    """
    run = manager.load(name)
    request = Request(
        run=name,
        config_hash=run.config_hash,
        input=source,
        roi=roi,
        iteration=str(iteration),
        parameters=parameters,
        score=score,
        axes=axes,
        voxel_size_nm=voxel_size_nm,
        assumed_voxel_size_nm=assumed_voxel_size_nm,
        offset_nm=offset_nm,
        channel=channel,
        intensity_range=intensity_range,
        mask=mask,
        flips=flips,
        skip_empty=skip_empty,
        zarr_format=zarr_format,
    )
    where, memory_bytes = choose_compute(compute, workers), parse_bytes(memory)
    place = Output(local_folder(output))
    decided = place.begun(request.to_dict(), overwrite)
    begins = decided is None
    decision = decide(manager, run, request, memory_bytes) if decided is None else Decision.from_dict(decided)
    application = Application(run, request, decision, place, where, device, progress)
    if progress or dry_run:
        print(*application.understood(), sep="\n", file=sys.stdout if dry_run else sys.stderr)
    if dry_run:
        estimate = application.estimate()
        print(*estimate.lines(), sep="\n")
        estimate.require_disk()
        return []
    with place.lock():
        if begins:
            application.begin(manager)
        written = application.run_all(replace=overwrite and begins)
        place.finish()
    for path in written[1:]:
        _say_what_was_found(path, progress)
    return written


def _say_what_was_found(segmentation: Path, progress: bool) -> None:
    """Print how many objects a segmentation has; warn if it has nothing at all."""
    table, volume = segmentation.with_name(f"{segmentation.name}.csv"), open_volume(segmentation)
    if table.exists():
        with table.open("rb") as file:
            count = sum(1 for _ in file) - 1
        found = f"{count} objects"
    else:
        count = next((1 for roi in blocks(volume.grid) if volume.read(roi).any()), 0)
        found = "present"
    if not count:
        logger.warning("%s: nothing was segmented", segmentation)
    elif progress:
        print(f"{segmentation}: {found}", file=sys.stderr)


@attrs.frozen
class Request:
    """What a command says of the result; the same again goes on with an unfinished output."""

    run: str
    config_hash: str
    input: str
    roi: str | None
    iteration: str
    parameters: str | None
    score: str | None
    axes: str | None
    voxel_size_nm: tuple[float, ...] | str | None
    assumed_voxel_size_nm: tuple[float, ...] | str | None
    offset_nm: tuple[float, ...] | None
    channel: int | None
    intensity_range: tuple[float, float] | None
    mask: str | None
    flips: bool
    skip_empty: bool
    zarr_format: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in attrs.asdict(self).items()}

    @property
    def source(self) -> ArgumentRef:
        """The volume that the command names."""
        return ArgumentRef(
            self.input,
            self.voxel_size_nm,
            self.offset_nm,
            axes=self.axes,
            channel=self.channel,
            assumed_voxel_size_nm=self.assumed_voxel_size_nm,
        )


def decide(manager: RunManager, run: Run, request: Request, memory_bytes: float) -> Decision:
    """Find everything that does not fit before anything is written; raises UserError."""
    iteration, segmenter = choose(manager, run, request.iteration, request.parameters, request.score)
    trained = Checkpoints(manager.store, run.name).load(iteration)["data"]
    source = open_source(run, request.source, trained, request.intensity_range)
    trained = {**trained, "intensity_range": choose_range(run, source, trained, request.intensity_range).to_list()}
    grid = parse_roi(request.roi, source.grid)
    require_suitable(segmenter, run, grid)
    warn_of_copies(run, request.input, source.grid)
    if request.mask is not None:
        open_mask(request.mask, source)
    if request.flips:
        require_undirected(run.task)
    plan = Plan(run.architecture, run.task, source, grid.roi, memory_bytes, request.flips)
    return Decision(iteration, segmenter, trained, memory_bytes, plan.grid())


@attrs.frozen(eq=False)
class Application:
    """The stages of one command."""

    run: Run
    request: Request
    decision: Decision
    place: Output
    compute: Compute
    device: str | None
    progress: bool

    def begin(self, manager: RunManager) -> None:
        """Note what is begun, and put the weights where workers find them."""
        self.place.begin(self.request.to_dict(), self.decision.to_dict())
        self._network().write(Checkpoints(manager.store, self.run.name).load(self.decision.iteration)["network"])

    def understood(self) -> list[str]:
        """Say in one line each how the arrays are read, and with which intensities."""
        mask = self._mask()
        return [
            f"input {self._source().described()}; {trained_intensities(self.decision.trained).described()}",
            *([] if mask is None else [f"mask {mask.described()}"]),
        ]

    def estimate(self) -> Estimate:
        """Return the size of what is to be done."""
        segmenter = self.decision.segmenter
        labels = require_readable(segmenter, self.run)
        return Estimate(self._plan(), self.decision.blocks, self.compute, self.place.folder, segmenter, labels)

    def run_all(self, replace: bool) -> list[Path]:
        """Do what is not done yet; `replace` arrays of others that are in the way."""
        prediction = self._prediction()
        self._predict(prediction)
        segmented = self._segment(prediction, replace)
        written = [self.place.prediction, *(self.place.folder / "segmentation" / path.name for path in segmented)]
        for path in written:
            # a volume that fits into a chunk has no other level
            if len(ArrayRef(str(path)).open_levels()) > 1:
                record = self.place.hidden / "pyramids" / path.name
                block_bytes = int(min(self._free_bytes * LEVEL_PART, BLOCK_BYTES))
                fill_pyramid(path, record, self.compute, self.progress, block_bytes=block_bytes)
        return written

    @property
    def _free_bytes(self) -> float:
        """What blocks may take: also a worker that only segments has torch in memory, if it has predicted."""
        return self.decision.memory_bytes - BASE_BYTES

    def _predict(self, prediction: Volume) -> None:
        request, low_high = self.request, trained_intensities(self.decision.trained)
        source, mask = self._source(), self._mask()
        options = (request.flips, request.skip_empty, mask, self._plan().cache_bytes(self.decision.blocks))
        work = PredictWork(self._network(), source, prediction, low_high, *options)
        name = f"predict {self.run.name}@{self.decision.iteration}"
        run_blocks(work, self.decision.blocks, self.place.hidden / "predict", self.compute, name, self.progress)

    def _segment(self, prediction: Volume, replace: bool) -> list[Path]:
        record, mask = self.place.hidden / "segment", self._mask()
        return segment_volume(
            prediction,
            self.decision.segmenter,
            self.place.folder / "segmentation",
            record,
            compute=self.compute,
            mask=None if mask is None else InsideMask(mask, prediction.grid),
            memory_bytes=self._free_bytes,
            create=partial(create_volume, levels=None, downsampling="mode"),
            zarr_format=self.request.zarr_format,
            attributes={**self._provenance(), "segmenter": self.decision.segmenter.label},
            fresh=replace and not record.exists(),
            progress=self.progress,
        )

    def _prediction(self) -> Volume:
        """Create the prediction, or open the one that an interrupted command has created."""
        created = self.place.hidden / "created"
        if created.exists():
            return open_volume(self.place.prediction)
        grid = parse_roi(self.request.roi, self._source().grid)
        volume = create_prediction(
            self.place.prediction,
            grid,
            self.run.task,
            overwrite=True,
            attributes=self._provenance(),
            chunk_shape_vx=self._plan().chunk_shape_vx(self.decision.blocks),
            # small blocks make small chunks, into which no level would fit
            levels=len(level_grids(grid, None, (CHUNK_VX,) * 3)),
            zarr_format=self.request.zarr_format,
        )
        created.touch()
        return volume

    def _network(self) -> RunNetwork:
        return RunNetwork.of(self.run, self.decision.iteration, self.place.hidden / "network.pt", self.device)

    def _source(self) -> Volume:
        request = self.request
        return open_source(self.run, request.source, self.decision.trained, request.intensity_range)

    def _mask(self) -> Volume | None:
        return None if self.request.mask is None else open_mask(self.request.mask, self._source())

    def _plan(self) -> Plan:
        source = self._source()
        roi = parse_roi(self.request.roi, source.grid).roi
        return Plan(self.run.architecture, self.run.task, source, roi, self.decision.memory_bytes, self.request.flips)

    def _provenance(self) -> dict[str, Any]:
        request = self.request
        options = {"mask": request.mask, "flips": request.flips, "skip_empty": request.skip_empty}
        return {
            "run": self.run.name,
            "iteration": self.decision.iteration,
            "config_hash": request.config_hash,
            "source": request.input,
            **{name: value for name, value in options.items() if value},
        }
