"""The peak memory of a run, predicted before it starts; measured by ``benchmarks/footprint.py``.

The largest part that is solved at once takes memory for each pixel; the result adds to it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_blindsr.images.tiling import (
    BLEND,
    OPTIMISED_SIDE,
    context_for,
    field_tile,
    tile_side,
)
from napari_blindsr.methods import method_named
from napari_blindsr.physics.kernels import Gaussian
from napari_blindsr.settings import ONE_BLUR

if TYPE_CHECKING:
    from napari_blindsr.settings import Settings


RESULT = 4
"""Bytes of a value of the result."""

FIXED = 1_000_000
"""Bytes that do not depend on the image."""

PRIOR, PRIOR_HALF = 365, 305
"""Bytes a pixel of the image prior's input, whatever the number of channels: in float32 and in
bfloat16."""

PLANE = 20
"""The same for each channel."""

SPARSE, SPARSE_PLANE = 95, 10
"""The same for the classical reconstruction: for one channel at a time, and for each."""

LEFT, LEFT_COLOUR = 270, 190
"""Bytes a pixel that it leaves free in the heap while its planes are small; less for several
channels."""

LEFT_WHOLE, LEFT_NONE = 0.55e6, 1.27e6
"""Pixels of a plane up to which this holds, and from which on freed memory returns to the
system."""

SPARSE_FIXED = 2_000_000
"""Bytes that the classical reconstruction takes for each channel but the first."""

FEATURE, FEATURE_HALF = 36, 30
"""Bytes a pixel and a channel of the image generator, kept for its gradients."""

STEP, STEP_HALF = 2400, 1000
"""Bytes a pixel of an optimisation step for everything else."""

WEIGHTS = 1700
"""Bytes a squared channel of the image generator: weights, gradients and the optimiser's state."""

TILED, TILED_SPARSE = 1.5, 1.2
"""Factor of a tile over an image of its size: the tile before is still in memory."""

SUPPORT = 4
"""Bytes a pixel of the result for the support."""


def estimate_memory(
    shape: tuple[int, int],
    channels: int,
    settings: Settings,
    *,
    planes: int = 1,
    half: bool = False,
) -> int:
    """Return the bytes that a run takes at its peak, above the loaded interpreter.

    `planes` of a stack stay in memory, 0 if they go to a file; `half` is for networks in bfloat16.
    Within a quarter of the measurement on a CPU, under Linux; within a third for the classical
    reconstruction in colour. Much wider kernels than the family's usual ones take more.
    """
    kept = result_memory(shape, channels, settings) * max(planes - 1, 0)
    return FIXED + round(_largest_part(shape, channels, settings, half=half)) + kept


def result_memory(shape: tuple[int, int], channels: int, settings: Settings) -> int:
    """Return the bytes of the restored image of one plane, in float32."""
    return RESULT * channels * settings.scale**2 * math.prod(shape)


def _largest_part(
    shape: tuple[int, int], channels: int, settings: Settings, *, half: bool
) -> float:
    """Return the bytes of the largest part that is solved at once, and of the result."""
    scale = settings.scale
    height, width = scale * shape[0], scale * shape[1]
    family = Gaussian() if settings.kernel == "known" else settings.kernel
    size = family.size(scale)
    tile = tile_side((height, width), settings.tile)
    if settings.field != ONE_BLUR:
        tile = field_tile(shape, settings.field, scale=scale, tile=settings.tile)
    margin = scale * (-(-size // scale) + 2)
    prior = PRIOR_HALF if half else PRIOR
    needed = 0.0
    if method_named(settings.method).optimises:
        rows, columns = (min(n, scale * OPTIMISED_SIDE) if tile else n for n in (height, width))
        generator = settings.schedule.channels
        seen = (rows + size) * (columns + size)
        feature, step = (FEATURE_HALF, STEP_HALF) if half else (FEATURE, STEP)
        needed = WEIGHTS * generator**2 + seen * (feature * generator + step)
    if settings.used_finish != "none":
        reach = context_for(size, scale) * scale
        rows, columns = ((_piece(n, tile, reach) + 2 * margin) for n in (height, width))
        if settings.used_finish == "measurement":
            part = _sparse(rows * columns, channels) * (1 if tile is None else TILED_SPARSE)
        else:
            part = rows * columns * (prior + PLANE * channels) * (1 if tile is None else TILED)
        needed = max(needed, part)
    return needed + height * width * (SUPPORT + RESULT * channels)


def _sparse(pixels: int, channels: int) -> float:
    """Return the bytes that the classical reconstruction takes for so many pixels."""
    left = min(1.0, max(0.0, (LEFT_NONE - pixels) / (LEFT_NONE - LEFT_WHOLE)))
    left *= LEFT if channels == 1 else LEFT_COLOUR
    return pixels * (SPARSE + SPARSE_PLANE * channels + left) + SPARSE_FIXED * (channels - 1)


def _piece(side: int, tile: int | None, reach: int) -> int:
    """Return the longest side of a tile's input region, in pixels of the result."""
    if tile is None:
        return side
    count = math.ceil(side / tile)
    seen = min(count - 1, 2) * (reach + BLEND // 2)
    return min(side, math.ceil(side / count) + seen)
