"""How far an estimated blur kernel is from the true one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PADDING = 12
"""Zeros around both kernels, so that moving one cuts nothing off."""


def _kernel(values: ArrayLike) -> NDArray[np.float64]:
    kernel = np.asarray(values, dtype=np.float64)
    if kernel.ndim != 2 or not np.isfinite(kernel).all() or kernel.max(initial=0) <= 0:
        raise InputError(
            f"kernel to be scored has shape {kernel.shape}; expected a finite (K, K) array "
            "with positive values"
        )
    return kernel


def kernel_psnr(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Return 10·log10(1 / mean squared difference) of two kernels in dB.

    Kernels are compared where they are, with a peak of 1 whatever their true peak: a
    published figure, which hides much. Prefer `kernel_error`.

    Parameters
    ----------
    estimate, truth : array_like, (K, K)
        Of sum 1.
    """
    first, second = _kernel(estimate), _kernel(truth)
    if first.shape != second.shape:
        raise InputError(
            f"kernels to be compared have shapes {first.shape} and {second.shape}; "
            "expected the same"
        )
    error = float(np.mean((first - second) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def kernel_error(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Return the relative error e_k = ‖k̂ − k‖₂ / ‖k‖₂ of a kernel after centring.

    The estimate is moved so that the centres of both, in the sense of
    `napari_blindsr.engine.recentre.locate`, coincide; what the data cannot tell, the common
    position of kernel and image, is thus left out.

    Parameters
    ----------
    estimate, truth : array_like, (K, K)
        Of sum 1; their sizes may differ.

    Returns
    -------
    float
        0 for kernels that differ in position only, to the accuracy of the interpolation.
    """
    # torch takes seconds to import.
    import torch  # noqa: PLC0415

    from napari_blindsr.engine.recentre import locate, shift  # noqa: PLC0415

    side = max(*np.shape(estimate), *np.shape(truth)) + 2 * PADDING
    first, second = (_embed(_kernel(values), side) for values in (estimate, truth))
    here, there = locate(torch.from_numpy(first)), locate(torch.from_numpy(second))
    offset = (here[0] - there[0], here[1] - there[1])
    if max(map(abs, offset)) > 1e-6:
        first = shift(torch.from_numpy(first), offset, border="zero").numpy()
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


def same_size(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pad the smaller of two square kernels of odd sides with zeros; K//2 stays K//2."""
    missing = (len(second) - len(first)) // 2
    return np.pad(first, max(missing, 0)), np.pad(second, max(-missing, 0))


def _embed(kernel: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Put a kernel into the middle of a larger array of zeros."""
    canvas = np.zeros((side, side))
    top, left = ((side - length) // 2 for length in kernel.shape)
    canvas[top : top + kernel.shape[0], left : left + kernel.shape[1]] = kernel
    return canvas
