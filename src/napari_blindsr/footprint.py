"""How much memory a run takes, before it is begun.

A model of the peak, measured by ``benchmarks/footprint.py``: the largest part that is made in one
go takes so much a pixel, and what all parts have in common comes on top.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_blindsr.engine.kernels import Gaussian
from napari_blindsr.parts import BLEND, context_for, field_tile, tile_side
from napari_blindsr.settings import ONE_BLUR, method_named

if TYPE_CHECKING:
    from napari_blindsr.settings import Settings

RESULT = 4
"""Bytes of a value of the result."""

OPTIMISED_SIDE = 96
"""Largest side, in pixels of the input, of what an optimisation finds the kernel of tiles on."""

FIXED = 1_000_000
"""Bytes that do not depend on the image."""

PRIOR = 305
"""Bytes a pixel of what the image prior is given, whatever the number of channels."""

PLANE = 20
"""The same for each channel, with any finish."""

SPARSE = 285
"""And with the finish from the measurement alone."""

FEATURE = 30
"""Bytes a pixel and a channel of the image generator, kept for its gradients."""

STEP = 1000
"""Bytes a pixel of an optimisation step for everything else."""

WEIGHTS = 1700
"""Bytes a squared channel of the image generator: weights, gradients and the optimiser's state."""

TILED = 1.5
"""How much more a tile takes than an image of its size: the one before is still there."""

SUPPORT = 4
"""Bytes a pixel of the result for where data are lacking."""


def estimate_memory(
    shape: tuple[int, int], channels: int, settings: Settings, *, planes: int = 1
) -> int:
    """Return how many bytes a run takes at its peak, above the loaded interpreter.

    Parameters
    ----------
    shape : tuple of int
        (h, w) of the image, or of the region of it that is restored.
    channels : int
        3 for RGB.
    settings : Settings
    planes : int
        Planes of a stack whose results are kept in memory; 0 if they go to a file.

    Returns
    -------
    int
        With the image prior and for optimisations within a quarter of what was measured on a CPU;
        from the measurement alone within a half. A blur that is read and turns out much wider than
        its family's usual kernels takes more.
    """
    kept = result_memory(shape, channels, settings) * max(planes - 1, 0)
    return FIXED + round(_largest_part(shape, channels, settings)) + kept


def result_memory(shape: tuple[int, int], channels: int, settings: Settings) -> int:
    """Return how many bytes the restored image of one plane takes, in 32-bit floating point."""
    return RESULT * channels * settings.scale**2 * math.prod(shape)


def _largest_part(shape: tuple[int, int], channels: int, settings: Settings) -> float:
    """Return the bytes of the largest part that is made in one go, and of what all share."""
    scale = settings.scale
    height, width = scale * shape[0], scale * shape[1]
    family = Gaussian() if settings.kernel == "known" else settings.kernel
    size = family.size(scale)
    tile = tile_side((height, width), settings.tile)
    if settings.field != ONE_BLUR:
        tile = field_tile(shape, settings.field, scale=scale, tile=settings.tile)
    needed = 0.0
    if method_named(settings.method).optimises:
        rows, columns = (min(n, scale * OPTIMISED_SIDE) if tile else n for n in (height, width))
        generator = settings.schedule.channels
        seen = (rows + size) * (columns + size)
        needed = WEIGHTS * generator**2 + seen * (FEATURE * generator + STEP)
    if settings.used_finish != "none":
        reach = context_for(size, scale) * scale
        margin = scale * (-(-size // scale) + 2)
        rows, columns = ((_piece(n, tile, reach) + 2 * margin) for n in (height, width))
        pixel = PLANE * channels
        pixel += SPARSE * channels if settings.used_finish == "measurement" else PRIOR
        needed = max(needed, rows * columns * pixel * (1 if tile is None else TILED))
    return needed + height * width * (SUPPORT + RESULT * channels)


def _piece(side: int, tile: int | None, reach: int) -> int:
    """Return the longest side of what a part of a result sees, in pixels of the result."""
    if tile is None:
        return side
    count = math.ceil(side / tile)
    seen = min(count - 1, 2) * (reach + BLEND // 2)
    return min(side, math.ceil(side / count) + seen)
