"""Commands on arrays: convert, view."""

from __future__ import annotations

import click

from dacapo_hd.cli.options import Numbers, Place, array_options, place_options, quiet_option


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("output", metavar="OUT.zarr")
@click.option("--dataset", metavar="PATH", help="The array in SOURCE, where that is a file or group of several.")
@array_options("SOURCE")
@click.option(
    "--labels/--intensities",
    default=None,
    help="Coarser levels are the most frequent label, or the mean; 32 and 64 bit integers need one of the two.",
)
@click.option("--chunks", type=Numbers(int), default="64,64,64", show_default=True, help="Voxels of a chunk.")
@click.option("--shards", type=Numbers(int), help="Voxels of a file that holds several chunks (Zarr 3).")
@click.option(
    "--zarr-format", type=click.Choice(["2", "3"]), default="2", show_default=True, help="OME-Zarr 0.4 or 0.5."
)
@click.option("--workers", type=click.IntRange(min=1), help="How many workers; one by default.")
@click.option("--compute", metavar="FILE|YAML", help="Where workers run, e.g. '{type: Slurm, workers: 8}'.")
@click.option("--memory", default="2GB", show_default=True, help="Memory of a worker.")
@click.option("--overwrite", is_flag=True, help="Replace OUT.zarr if it exists.")
@quiet_option
def convert(
    source: str,
    output: str,
    dataset: str | None,
    axes: str | None,
    voxel_size: str | None,
    assumed_voxel_size: str | None,
    offset: tuple[float, ...] | None,
    channel: int | None,
    labels: bool | None,
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    zarr_format: str,
    workers: int | None,
    compute: str | None,
    memory: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Turn a TIFF or PNG stack, HDF5, N5 or Zarr into OME-Zarr with a pyramid.

    SOURCE is a path or a URL. A conversion that was interrupted is finished by the same command.
    """
    from dacapo_hd import conversion
    from dacapo_hd.application.choice import choose_compute
    from dacapo_hd.application.roi import parse_bytes

    path = conversion.convert(
        source,
        output,
        dataset=dataset,
        axes=axes,
        voxel_size_nm=voxel_size,
        assumed_voxel_size_nm=assumed_voxel_size,
        offset_nm=offset,
        channel=channel,
        labels=labels,
        chunk_shape_vx=chunks,
        shard_shape_vx=shards,
        zarr_format=int(zarr_format),
        compute=choose_compute(compute, workers),
        memory_bytes=parse_bytes(memory),
        overwrite=overwrite,
        progress=not quiet,
    )
    click.echo(path)


@click.command()
@click.argument("targets", nargs=-1, metavar="RUN|PATH...")
@click.option("--labels", multiple=True, metavar="PATH", help="A segmentation that does not look like one; repeatable.")
@click.option("--crop", "crops", multiple=True, metavar="NAME", help="Which crops of a run; repeatable.")
@array_options("PATH")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; any free one by default.")
@click.option("--no-open", is_flag=True, help="Only print the address, open no browser.")
@place_options
def view(
    targets: tuple[str, ...],
    labels: tuple[str, ...],
    crops: tuple[str, ...],
    axes: str | None,
    voxel_size: str | None,
    assumed_voxel_size: str | None,
    offset: tuple[float, ...] | None,
    channel: int | None,
    port: int,
    no_open: bool,
    place: Place,
) -> None:
    """Show the crops of RUN, and arrays, predictions and segmentations, in Neuroglancer."""
    from dacapo_hd import viewing

    viewing.view(
        targets,
        lambda name: place.manager().load(name),
        labels=labels,
        crops=crops,
        axes=axes,
        voxel_size_nm=voxel_size,
        assumed_voxel_size_nm=assumed_voxel_size,
        offset_nm=offset,
        channel=channel,
        port=port,
        open_browser=not no_open,
        write=click.echo,
    )
