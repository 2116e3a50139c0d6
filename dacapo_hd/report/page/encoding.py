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


# each about 0.6 times as large as the one before
FIDELITIES = (
    Fidelity(64, 768, 85, 256),
    Fidelity(48, 640, 80, 64),
    Fidelity(40, 512, 75, 64),
    Fidelity(32, 448, 75, 32),
    Fidelity(24, 384, 70, 32),
    Fidelity(20, 320, 70, 32),
    Fidelity(16, 288, 65, 16),
    Fidelity(12, 256, 65, 16),
    Fidelity(10, 224, 60, 16),
    Fidelity(8, 192, 60, 16),
    Fidelity(6, 160, 55, 8),
    Fidelity(4, 128, 50, 8),
    Fidelity(2, 96, 50, 8),
)
FINEST = FIDELITIES[0]
SAMPLED = 3


def encode_all(shown: Mapping[str, Sections], most_bytes: int) -> tuple[Fidelity | None, dict[str, dict[str, Any]]]:
    """Encode crops as finely as fits into `most_bytes`; returns how, or None and nothing if the coarsest is too large.

    The result for each crop is plain data; see docs/report.md.
    """
    for fidelity in FIDELITIES:
        if sum(_estimate(sections, fidelity) for sections in shown.values()) > most_bytes:
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


def _estimate(sections: Sections, fidelity: Fidelity) -> float:
    """Estimate the size from a few sections, a little too small so that nothing that fits is passed over."""
    few = encode(sections.reduced(SAMPLED, fidelity.longest_px), fidelity)
    count = min(len(sections.numbers), fidelity.sections)
    return 0.9 * _size(few) * count / len(few["numbers"])


def _size(encoded: Mapping[str, Any]) -> int:
    """Count the bytes of the pictures and arrays in plain data."""
    texts: Sequence[Any] = [encoded["raw"]]
    texts = [*texts, *(one[layer] for one in encoded["classes"] for layer in ("prediction", "marks", "truth", "found"))]
    return sum(len(text) + 3 for layer in texts if layer for text in layer)
