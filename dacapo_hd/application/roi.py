"""What `--roi` and `--memory` say."""

from __future__ import annotations

import math
import re

from dacapo_hd.errors import UserError
from dacapo_hd.geometry import Grid, format_box, format_shape

_BYTES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30, "ti": 2.0**40}


def parse_roi(text: str | None, grid: Grid) -> Grid:
    """Return the part of a grid that `z:z,y:y,x:x` names; nm are widened to whole voxels; raises UserError."""
    if text is None:
        return grid
    in_nm = text.strip().endswith("nm")
    parts = text.strip().removesuffix("nm").split(",")
    whole = grid.roi.begin, grid.roi.end
    try:
        bounds = [tuple(None if not end.strip() else float(end) for end in part.split(":")) for part in parts]
        if len(bounds) != 3 or any(len(bound) != 2 for bound in bounds):
            raise ValueError
        if any(bound is not None and not math.isfinite(bound) for pair in bounds for bound in pair):
            raise ValueError
    except ValueError:
        raise UserError(f"--roi: expected z:z,y:y,x:x (voxels, or nm with nm at the end), got {text!r}") from None
    begin, end = [], []
    for axis, (low, high) in enumerate(bounds):
        size, corner = grid.voxel_size[axis], grid.offset[axis]
        scale = 1_000_000 if in_nm else size
        zero = 0 if in_nm else corner
        low_fm = whole[0][axis] if low is None else zero + round(low * scale)
        high_fm = whole[1][axis] if high is None else zero + round(high * scale)
        begin.append((low_fm - corner) // size)
        end.append(-((corner - high_fm) // size))
    try:
        return grid.part(begin, end)
    except UserError:
        raise UserError(
            f"--roi: {text} is voxels {format_box(begin, end)}, which is not inside the volume of shape "
            f"{format_shape(grid.shape_vx)} voxels"
        ) from None


def parse_bytes(text: str, option: str = "--memory") -> float:
    """Return how many bytes `8GB`, `500 MiB` or `1e9` are; raises UserError."""
    found = re.fullmatch(r"\s*([0-9.e+]+)\s*([kmgt]?i?)b?\s*", text.lower())
    try:
        value = float(found[1]) * _BYTES[found[2]] if found else 0.0
    except (ValueError, KeyError):
        value = 0.0
    if not 0 < value < math.inf:
        raise UserError(f"{option}: expected a size such as 8GB or 500MB, got {text!r}")
    return value


def format_bytes(count: float) -> str:
    """Write a number of bytes with three digits: `1.23 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            return f"{count:.3g} {unit}"
        count /= 1000
    return ""
