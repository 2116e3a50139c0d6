"""How intensities and predicted quantities are drawn: programs in Neuroglancer's shading language."""

from __future__ import annotations

import numpy as np

from dacapo_hd.arrays import Volume

COLOURS = ("#ff4040", "#40c0ff", "#60ff60", "#ffc040", "#ff60ff", "#40ffd0", "#a080ff", "#ffff60")
SAMPLED_BOX_VX = (32, 256, 256)
PERCENTILES = (0.5, 99.5)


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def image_shader(volume: Volume, channel: int | None) -> str:
    """Gray values between two percentiles of the middle of a volume."""
    low, high = intensity_range(volume, channel)
    return f"#uicontrol invlerp normalized(range=[{low:g}, {high:g}])\nvoid main() {{ emitGrayscale(normalized()); }}\n"


def rgb_shader() -> str:
    values = ", ".join(f"toNormalized(getDataValue({n}))" for n in range(3))
    return f"void main() {{ emitRGB(vec3({values})); }}\n"


def quantity_shader(name: str, low: float, high: float, number: int) -> str:
    """Draw a quantity that is stored as 0..255 for `low`..`high`, the more opaque the higher, in its own units."""
    from_value = max(low, 0.0) if high > 0 else low
    return f"""// {name}: {low:g} to {high:g}
#uicontrol vec3 color color(default="{colour(number)}")
#uicontrol float low slider(min={low:g}, max={high:g}, default={from_value:g})
#uicontrol float high slider(min={low:g}, max={high:g}, default={high:g})
void main() {{
  float value = {_float(low)} + toNormalized(getDataValue()) * {_float(high - low)};
  emitRGBA(vec4(color, clamp((value - low) / max(high - low, 1e-6), 0.0, 1.0)));
}}
"""


def _float(value: float) -> str:
    # a number without a point is an integer in GLSL
    return f"float({value:g})"


def intensity_range(volume: Volume, channel: int | None) -> tuple[float, float]:
    """Return two percentiles of the values in the middle of a volume, with something between them."""
    grid = volume.grid
    shape = [min(n, most) for n, most in zip(grid.shape_vx, SAMPLED_BOX_VX, strict=True)]
    begin = [(n - m) // 2 for n, m in zip(grid.shape_vx, shape, strict=True)]
    data = volume.read(grid.roi_of(begin, shape))
    data = data if channel is None else data[channel]
    finite = data[np.isfinite(data)] if data.dtype.kind == "f" else data
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, PERCENTILES, method="inverted_cdf"))
    return (low, high) if high > low else (low, low + 1)
