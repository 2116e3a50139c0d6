"""What the passes of one segmentation share: a folder that remembers what was done, and under which settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import filelock
from numpy.typing import DTypeLike

from dacapo_hd.arrays import Volume, create_volume, open_volume
from dacapo_hd.blockwise import BlockGrid, BlockWork, Compute, run_blocks
from dacapo_hd.errors import UserError
from dacapo_hd.stitching.source import Source
from dacapo_hd.stitching.tables import BlockTables, write

SETTINGS, CREATED, FINISHED, LOCK = "settings.json", "created.txt", "finished", "lock"


@attrs.frozen(eq=False)
class Job:
    """One segmentation; `folder` holds what it needs until it is finished."""

    folder: Path
    name: str
    settings: Mapping[str, Any]
    source: Source
    grid: BlockGrid
    chunk_vx: tuple[int, ...]
    compute: Compute | None
    progress: bool
    zarr_format: int = 2

    def run(self, work: BlockWork, words: str) -> None:
        """Do a pass over the blocks, or what is left of it."""
        name = f"{self.name}: {words}"
        run_blocks(work, self.grid, self.folder / "passes" / words, self.compute, name, self.progress)

    def tables(self, class_name: str) -> BlockTables:
        return BlockTables(self.folder / "tables" / class_name, len(self.grid))

    def scratch(self, name: str, dtype: DTypeLike) -> Volume:
        """Return a volume that is needed until the job is finished."""
        path = self.folder / "volumes" / name
        return self.once(
            path,
            lambda: create_volume(
                path,
                self.source.grid,
                dtype,
                chunk_shape_vx=self.chunk_vx,
                zarr_format=self.zarr_format,
                overwrite=True,
            ),
        )

    def once(self, path: Path, create: Callable[[], Volume]) -> Volume:
        """Create a volume, or open the one that an interrupted call has created."""
        created = self.folder / CREATED
        known = created.read_text().splitlines() if created.exists() else []
        volume = open_volume(str(path)) if str(path) in known else create()
        self._require_alignment(volume)
        text = "".join(f"{line}\n" for line in dict.fromkeys([*known, str(path)]))
        write(created, lambda file: file.write(text.encode()))
        return volume

    def finished(self) -> bool:
        return (self.folder / FINISHED).exists()

    def finish(self) -> None:
        """Remove what no later call needs."""
        (self.folder / FINISHED).touch()
        _clear(self.folder, keep=(LOCK, SETTINGS, CREATED, FINISHED))

    def _require_alignment(self, volume: Volume) -> None:
        axes = zip(volume.chunk_shape_vx, self.grid.length, self.grid.shape, strict=True)
        if any(count > 1 and length % chunk for chunk, length, count in axes):
            raise ValueError(
                f"{volume.path}: blocks of {self.grid.length} voxels cut chunks of {volume.chunk_shape_vx}"
            )


@contextmanager
def claimed(folder: Path, settings: Mapping[str, Any], outputs: Sequence[Path], fresh: bool) -> Iterator[None]:
    """Lock a job's folder, and make sure that it belongs to these settings and that the outputs are its own.

    Raises UserError if not. With `fresh`, or when its outputs have been removed, the job begins anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(f"{folder}: another process works here; wait for it, or stop it") from None
    try:
        _require_own(folder, json.loads(json.dumps(settings)), outputs, fresh)
        yield
    finally:
        lock.release()


def _require_own(folder: Path, settings: Mapping[str, Any], outputs: Sequence[Path], fresh: bool) -> None:
    created = folder / CREATED
    own = set(created.read_text().splitlines()) if created.exists() else set()
    if fresh or any(str(path) in own and not path.exists() for path in outputs):
        _clear(folder)
    kept = folder / SETTINGS
    if not kept.exists():
        taken = [path for path in outputs if path.exists() and str(path) not in own]
        if taken and not fresh:
            raise UserError(*(f"{path} exists; give --overwrite to replace it" for path in taken))
        write(kept, lambda file: file.write(json.dumps(settings, indent=1).encode()))
        return
    found = json.loads(kept.read_text())
    if found != settings:
        differing = sorted(key for key in {**found, **settings} if found.get(key) != settings.get(key))
        raise UserError(
            f"{folder}: this segmentation was begun with other settings ({', '.join(differing)}); repeat the "
            "command that began it, or give --overwrite to begin anew"
        )


def _clear(folder: Path, keep: Sequence[str] = (LOCK,)) -> None:
    """Remove what is in a folder."""
    for entry in folder.iterdir():
        if entry.name in keep:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
