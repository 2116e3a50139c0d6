"""Commands on experiments: train, validate, apply, check, preview, phantom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dacapo_hd.cli.options import (
    Numbers,
    Place,
    Range,
    VoxelSize,
    array_options,
    place_options,
    quiet_option,
    set_option,
)
from dacapo_hd.errors import UserError

if TYPE_CHECKING:
    from dacapo_hd.inference import SegmentedCount
    from dacapo_hd.run import Run


@click.command()
@click.argument("target", metavar="FILE|NAME")
@set_option
@click.option(
    "--replace", is_flag=True, help="If another config is stored under that name, archive that run and train this one."
)
@click.option(
    "--tensorboard",
    envvar="DACAPO_HD_TENSORBOARD",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write losses and scores for TensorBoard, into FOLDER/RUN (also DACAPO_HD_TENSORBOARD).",
)
@place_options
@quiet_option
def train(
    target: str, overrides: tuple[str, ...], replace: bool, tensorboard: Path | None, place: Place, quiet: bool
) -> None:
    """Train the run or sweep of FILE, or go on with the stored run NAME.

    A run that was interrupted continues from its last checkpoint.
    """
    runs = _runs_of(target, overrides, place)
    place.manager(make=True).train_all(runs, progress=not quiet, replace=replace, tensorboard=tensorboard)


@click.command()
@click.argument("name")
@click.option("--iteration", type=int, help="Which checkpoint; the newest by default.")
@click.option("--all", "everything", is_flag=True, help="Print every segmenter's scores, not the best one's only.")
@place_options
@quiet_option
def validate(name: str, iteration: int | None, everything: bool, place: Place, quiet: bool) -> None:
    """Score a run's checkpoint on the validation crops and store the scores."""
    from dacapo_hd.report.terminal import print_scores

    manager = place.manager()
    counts: list[SegmentedCount] = []
    rows = manager.validate(name, iteration, progress=not quiet, counts=counts)
    print_scores(rows, manager.load(name).task.score, everything, counts)


@click.command()
@click.argument("name")
@click.argument("source", metavar="INPUT")
@click.argument("output", metavar="OUTPUT")
@click.option("--roi", metavar="Z:Z,Y:Y,X:X", help="Part of INPUT, in its voxels, or in nm when it ends with nm.")
@click.option("--iteration", default="best", show_default=True, metavar="best|latest|N", help="Which checkpoint.")
@click.option(
    "--parameters", metavar="YAML", help="Segmenter, e.g. '{type: Threshold, threshold: 0.1}'; best if absent."
)
@click.option("--score", help="The score that best refers to; the task's own if absent.")
@array_options("INPUT")
@click.option(
    "--intensity-range", type=Range(), help="Intensities of INPUT that become -1 and 1, instead of the run's."
)
@click.option(
    "--mask",
    metavar="ARRAY|YAML",
    help="Predict only where this array is not 0; any voxel size; '{path: ..., axes: zyx}'.",
)
@click.option("--flips", is_flag=True, help="Average over mirrored copies of the data; takes up to 8 times as long.")
@click.option("--skip-empty", is_flag=True, help="Leave out blocks whose raw data are one constant: background.")
@click.option(
    "--zarr-format", default="2", show_default=True, type=click.Choice(["2", "3"]), help="OME-Zarr 0.4 (2) or 0.5 (3)."
)
@click.option("--memory", default="4GB", show_default=True, metavar="SIZE", help="For each worker; sets the blocks.")
@click.option("--workers", type=click.IntRange(min=1), help="How many processes, or jobs of --compute.")
@click.option("--compute", metavar="FILE|YAML", help="Where to work, e.g. '{type: Slurm, workers: 8, gpus: 1}'.")
@click.option("--device", metavar="auto|cpu|cuda|cuda:N|mps", help="Instead of the run's trainer.device.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and how large it is; write nothing.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists; begin anew if it is not finished.")
@place_options
@quiet_option
def apply(
    name: str,
    source: str,
    output: str,
    voxel_size: str | None,
    assumed_voxel_size: str | None,
    offset: tuple[float, ...] | None,
    zarr_format: str,
    place: Place,
    quiet: bool,
    **options: Any,
) -> None:
    """Predict and segment the volume INPUT with a trained run; write OUTPUT (OME-Zarr).

    The same command finishes what an interrupted one has begun. If blocks fail, the others are done and the exit code
    is 4.
    """
    written = place.manager().apply(
        name,
        source,
        output,
        voxel_size_nm=voxel_size,
        assumed_voxel_size_nm=assumed_voxel_size,
        offset_nm=offset,
        zarr_format=int(zarr_format),
        progress=not quiet,
        **options,
    )
    for path in written:
        click.echo(path)


@click.command()
@click.argument("target", metavar="FILE|NAME")
@set_option
@place_options
def check(target: str, overrides: tuple[str, ...], place: Place) -> None:
    """Open everything that a run needs and print what is there; exit code 1 if something is wrong."""
    # mistakes in the file are said before anything heavy is imported
    runs = _runs_of(target, overrides, place)
    from dacapo_hd.check import check_runs

    check_runs(runs, place.open() if place.exists else None)


@click.command()
@click.argument("target", metavar="FILE|NAME")
@click.argument("picture", metavar="OUT.png", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--samples", default=4, show_default=True, type=click.IntRange(1, 16), help="How many samples.")
@set_option
@place_options
def preview(target: str, picture: Path, samples: int, overrides: tuple[str, ...], place: Place) -> None:
    """Draw augmented training samples: raw, known labels, every target with its weight."""
    run = _runs_of(target, overrides, place)[0]
    from dacapo_hd.manager import preview_run

    preview_run(run, picture, samples)
    click.echo(picture)


@click.command()
@click.argument("output", metavar="OUT.zarr")
@click.option("--shape", type=Numbers(int), default="128,256,256", show_default=True, help="Voxels of a volume.")
@click.option("--voxel-size", type=VoxelSize(), default="8,8,8", show_default=True, help="Voxel size in nm.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first volume's seed.")
@click.option(
    "--crop",
    "crops",
    multiple=True,
    metavar="PART[/every=N][/only=CLASS+CLASS][/box=Z:Z,Y:Y,X:X]",
    help="Add a crop to a dataset; PART is train, validate or test, what follows limits its annotation.",
)
@click.option("--overwrite", is_flag=True, help="Replace arrays that exist.")
def phantom(
    output: str,
    shape: tuple[int, ...],
    voxel_size: str,
    seed: int,
    crops: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Make a synthetic FIB-SEM volume with ground truth, or with --crop a dataset of several."""
    from dacapo_hd.arrays import in_3d
    from dacapo_hd.phantom.options import write_phantoms

    for path in write_phantoms(output, shape, in_3d(voxel_size), seed, crops, overwrite):
        click.echo(path)


def _runs_of(target: str, overrides: Sequence[str], place: Place) -> tuple[Run, ...]:
    """Read the runs of a file, or the stored run of that name."""
    from dacapo_hd.sweep import load_runs

    path = Path(target)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return load_runs(path, overrides)
    if overrides:
        raise UserError(f"--set: the stored run {target!r} cannot be changed; use --set with a file")
    return (place.manager().load(target),)
