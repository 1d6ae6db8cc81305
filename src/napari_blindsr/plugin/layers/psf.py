"""Point spread functions as images: one, or those of a field side by side over the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.plugin.layers.frame import Frame
    from napari_blindsr.plugin.layers.inputs import Source


GAP = 2
"""Pixels of a kernel that are free between neighbours, at least."""


def shown_psf(
    kernel: NDArray[np.float32], kernel_center: tuple[float, float]
) -> NDArray[np.float32]:
    """Return a correlation kernel as a point spread function with its centre in the middle."""
    # Flipping the kernel flips its centre.
    side = kernel.shape[0]
    return _centred(kernel[::-1, ::-1], (side - 1 - kernel_center[0], side - 1 - kernel_center[1]))


def montage(field: KernelField, center: float) -> NDArray[np.float32]:
    """Return the point spread functions of a field (R·P, C·Q) side by side.

    Each region has P × Q pixels in about its proportions in the image, with its kernel in the
    middle. `center` is the row and column of a kernel at the position of a coarse pixel.
    """
    psfs = [shown_psf(field.kernels[place], (center, center)) for place in field.places]
    side = max(psfs[0].shape)
    regions = [
        length / count for length, count in zip(field.extent.shape, field.shape, strict=True)
    ]
    cell = [round((side + GAP) * region / min(regions)) for region in regions]
    rows, columns = field.shape
    canvas = np.zeros((rows * cell[0], columns * cell[1]), dtype=np.float32)
    for (row, column), psf in zip(field.places, psfs, strict=True):
        top, left = (
            at * length + (length - n) // 2
            for at, length, n in zip((row, column), cell, psf.shape, strict=True)
        )
        canvas[top : top + psf.shape[0], left : left + psf.shape[1]] = psf
    return canvas


def montage_frame(field: KernelField, shape: tuple[int, int], source: Source) -> Frame:
    """Return the placement of a montage (h, w) whose edges are those of the whole image."""
    steps = [length / n for length, n in zip(field.extent.shape, shape, strict=True)]
    spatial = dict(zip(source.plane.axes, steps, strict=True))
    origin = [
        float(spatial[axis] / 2 - 0.5) if at is None else float(at)
        for axis, at in enumerate(source.plane.index)
    ]
    step = [spatial[axis] if at is None else 1.0 for axis, at in enumerate(source.plane.index)]
    return source.frame.resampled(origin, step)


def _centred(kernel: NDArray[np.float32], center: tuple[float, float]) -> NDArray[np.float32]:
    """Pad a kernel with zeros so that its centre, to half a pixel, is that of the array."""
    pads = []
    for position, size in zip(center, kernel.shape, strict=True):
        excess = round(2 * position - (size - 1))
        pads.append((max(-excess, 0), max(excess, 0)))
    return np.pad(kernel, pads)
