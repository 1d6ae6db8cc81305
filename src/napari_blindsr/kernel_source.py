"""Where the kernel of a run comes from: a family, a known kernel, or those of regions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F

from napari_blindsr.arrays import check_kernels
from napari_blindsr.engine.observation import kernel_center
from napari_blindsr.engine.recentre import NEGLIGIBLE, locate, shift
from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.kernel_field import KernelField
from napari_blindsr.methods import METHOD_TABLE
from napari_blindsr.parts import Box
from napari_blindsr.settings import ONE_BLUR, Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.engine.kernels import KernelFamily

Source: TypeAlias = "KernelFamily | NDArray[np.float32] | KernelField"
"""Where a kernel comes from."""


def kernel_source(
    settings: Settings, known_kernel: NDArray[Any] | KernelField | None, shape: tuple[int, int]
) -> Source:
    """Return where the kernel comes from, for an image (h, w); checked.

    Raises
    ------
    BlindSRError
    """
    if settings.kernel == "known":
        if isinstance(known_kernel, KernelField):
            _check_field(known_kernel.shape, settings, shape)
            kernels = known_kernel.kernels
            if settings.recentres and known_kernel.gaussians is None:
                kernels = _centred(kernels, settings)
            return replace(known_kernel, kernels=kernels, extent=Box.whole(shape))
        if known_kernel is not None:
            known = check_kernels(known_kernel)
            if known.ndim == 4:
                _check_field((known.shape[0], known.shape[1]), settings, shape)
                kernels = _centred(known, settings) if settings.recentres else known
                return KernelField(kernels=kernels, extent=Box.whole(shape))
            _check_grid(settings, ONE_BLUR)
            return _with_room(known, settings) if settings.recentres else known
    elif known_kernel is None:
        return settings.kernel
    raise InputError(
        f"kernel is {settings.kernel!r} and known_kernel is "
        f"{'missing' if known_kernel is None else 'given'}; "
        "a known kernel goes with kernel='known', and only with it"
    )


def _check_field(grid: tuple[int, int], settings: Settings, shape: tuple[int, int]) -> None:
    """Raise an error if a grid of known kernels does not go with an image (h, w) or settings."""
    rows, columns = grid
    _check_grid(settings, grid)
    # All that a field forbids, also where the settings do not tell of it.
    checked = replace(settings, field=(rows, columns))
    if checked.used_finish == "none":
        raise SettingsError(
            f"the kernels are a grid of {rows} × {columns}, but method {settings.method!r} makes "
            "its image in one go, with one kernel; expected a finish (finish='prior') or a method "
            f"that has one ({[m.name for m in METHOD_TABLE if m.finish != 'none']})"
        )
    if rows > shape[0] or columns > shape[1]:
        raise InputError(
            f"the kernels are a grid of {rows} × {columns} for an image of {shape[0]} × {shape[1]} "
            "pixels; expected no more kernels than pixels"
        )


def _check_grid(settings: Settings, grid: tuple[int, int]) -> None:
    """Raise a `SettingsError` if a field is asked for that known kernels do not have."""
    if settings.field not in (ONE_BLUR, grid):
        raise SettingsError(
            f"field is {settings.field[0]} × {settings.field[1]}, but the known kernels are a grid "
            f"of {grid[0]} × {grid[1]}; expected the same, or no field"
        )


def _centred(kernels: NDArray[np.float32], settings: Settings) -> NDArray[np.float32]:
    """Move each kernel (R, C, K, K) to where its centre belongs, so that they can be mixed.

    What moves an image by different amounts in different places distorts it. As with one kernel,
    the result has the geometry of the image that was given.
    """
    size = kernels.shape[-1]
    center = kernel_center(size, settings.scale, settings.geometry)
    flat = torch.from_numpy(kernels.reshape(-1, size, size))
    offsets = [(row - center, column - center) for row, column in map(locate, flat)]
    farthest = max(max(map(abs, offset)) for offset in offsets)
    if farthest < NEGLIGIBLE:
        return kernels
    margin = math.ceil(farthest)
    padded = F.pad(flat, (margin,) * 4)
    moved = [
        kernel
        if max(map(abs, offset)) < NEGLIGIBLE
        else shift(kernel, offset, border="zero").clamp_min(0)
        for kernel, offset in zip(padded, offsets, strict=True)
    ]
    stacked = torch.stack([kernel / kernel.sum() for kernel in moved])
    side = size + 2 * margin
    return np.asarray(stacked.numpy().reshape(*kernels.shape[:2], side, side), dtype=np.float32)


def _with_room(kernel: NDArray[np.float32], settings: Settings) -> NDArray[np.float32]:
    """Pad a known kernel so that moving its centre to its place does not cut it."""
    center = kernel_center(len(kernel), settings.scale, settings.geometry)
    distance = max(abs(found - center) for found in locate(torch.from_numpy(kernel)))
    # Equal padding on all sides leaves K//2, and so the geometry, as it is.
    return kernel if distance < NEGLIGIBLE else np.pad(kernel, math.ceil(distance))


def size_of(source: Source, settings: Settings) -> int:
    """Return the side of a kernel in HR pixels."""
    if isinstance(source, KernelField):
        return source.size
    return source.shape[0] if isinstance(source, np.ndarray) else source.size(settings.scale)


def moved(source: Source, rows: int, columns: int) -> Source:
    """Return where the kernel comes from, for planes that begin so much further up and left."""
    return source.moved(rows, columns) if isinstance(source, KernelField) else source
