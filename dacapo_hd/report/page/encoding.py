"""Sections as text: raw as JPEG, everything else exactly, zlib; as fine as the bytes that there are allow."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from dacapo_hd.report.page.plain import short
from dacapo_hd.report.page.sections import ClassPixels, Pixels, Sections


@attrs.frozen
class Fidelity:
    """How finely sections are kept: how many, pixels of the longer side, quality of the JPEG, levels of predictions."""

    sections: int
    longest_px: int
    jpeg_quality: int
    levels: int


# pixels of the longer side, quality and levels; fewer sections are better than coarser ones
_SIZES = ((768, 80, 64), (512, 75, 32), (384, 70, 32), (256, 65, 16), (192, 60, 16), (128, 55, 8), (96, 50, 8))
_COUNTS = (64, 48, 32, 24, 16, 10)
_LAST = tuple(Fidelity(count, 96, 50, 8) for count in (6, 3))
FIDELITIES = (*(Fidelity(count, *size) for size in _SIZES for count in _COUNTS), *_LAST)
FINEST = FIDELITIES[0]
SAMPLED = 3


def encode_all(shown: Mapping[str, Sections], most_bytes: int) -> tuple[Fidelity | None, dict[str, dict[str, Any]]]:
    """Encode crops as finely as fits into `most_bytes`; returns how, or None and nothing if the coarsest is too large.

    The result for each crop is plain data; see docs/report.md.
    """
    bytes_per_section: dict[tuple[str, int], float] = {}
    for fidelity in FIDELITIES:
        needed = 0.0
        for name, sections in shown.items():
            key = (name, fidelity.longest_px)
            if key not in bytes_per_section:
                bytes_per_section[key] = _bytes_per_section(sections, fidelity)
            needed += bytes_per_section[key] * min(len(sections.numbers), fidelity.sections)
        # an estimate: what nearly fits is tried
        if needed > 1.1 * most_bytes:
            continue
        encoded = {name: encode(sections, fidelity) for name, sections in shown.items()}
        if sum(_size(one) for one in encoded.values()) <= most_bytes:
            return fidelity, encoded
    return None, {}


def encode(sections: Sections, fidelity: Fidelity) -> dict[str, Any]:
    """Encode the sections of a crop."""
    reduced = sections.reduced(fidelity.sections, fidelity.longest_px)
    height, width = reduced.raw.shape[1:]
    return {
        "numbers": list(reduced.numbers),
        "of": reduced.of,
        "depths_nm": [short(depth) for depth in reduced.depths_nm],
        "height": height,
        "width": width,
        "pixel_nm": [short(size * reduced.factor) for size in reduced.voxel_size_nm[1:]],
        "factor": reduced.factor,
        "box": [list(bounds) for bounds in reduced.box] if reduced.box else None,
        "raw": [_jpeg(section, fidelity.jpeg_quality) for section in reduced.raw],
        "classes": [_encode_class(pixels, fidelity.levels) for pixels in reduced.classes],
    }


def _encode_class(pixels: ClassPixels, levels: int) -> dict[str, Any]:
    layers = {"marks": pixels.marks, "truth": pixels.truth, "found": pixels.found}
    encoded: dict[str, Any] = {
        "name": pixels.name,
        "channel": pixels.channel,
        "low": pixels.low,
        "high": pixels.high,
        "levels": levels,
        "prediction": None,
    }
    if pixels.prediction is not None:
        numbers = np.round(pixels.prediction * ((levels - 1) / 255)).astype(np.uint8)
        encoded["prediction"] = [_packed(section) for section in numbers]
    for name, data in layers.items():
        encoded[name] = None if data is None else [_packed(section) for section in data]
    return encoded


def _packed(section: Pixels) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(section).tobytes(), 9)).decode()


def _jpeg(section: Pixels, quality: int) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(section).save(buffer, "JPEG", quality=quality, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _bytes_per_section(sections: Sections, fidelity: Fidelity) -> float:
    """Return the mean of a few sections."""
    few = encode(sections.reduced(SAMPLED, fidelity.longest_px), fidelity)
    return _size(few) / len(few["numbers"])


def _size(encoded: Mapping[str, Any]) -> int:
    """Count the bytes of the pictures and arrays in plain data."""
    texts: Sequence[Any] = [encoded["raw"]]
    texts = [*texts, *(one[layer] for one in encoded["classes"] for layer in ("prediction", "marks", "truth", "found"))]
    return sum(len(text) + 3 for layer in texts if layer for text in layer)
