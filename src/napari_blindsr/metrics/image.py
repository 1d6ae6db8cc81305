"""PSNR and SSIM of the luma, as the field's published tables have them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

PEAK = 255.0
WINDOW_SIZE = 11
WINDOW_SIGMA = 1.5
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def to_8bit(image: ArrayLike) -> NDArray[np.uint8]:
    """Return an image as 8 bit.

    Parameters
    ----------
    image : array_like
        uint8 is returned as it is; floats in [0, 1] are scaled, rounded and clipped.

    Raises
    ------
    InputError
        For any other type: its range is not known.
    """
    array = np.asarray(image)
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"image to be scored is {array.dtype}; expected uint8, or floats in [0, 1]"
        )
    return np.asarray(np.rint(255 * np.clip(array, 0, 1)), dtype=np.uint8)


def luma(image: ArrayLike) -> NDArray[np.float64]:
    """Return the luma Y of an image, in 8-bit units.

    Parameters
    ----------
    image : array_like
        (H, W) or (H, W, 1): grey, returned unchanged but for its type. (H, W, 3): RGB,
        Y = 16 + 65.481 R + 128.553 G + 24.966 B with R, G, B in [0, 1] (BT.601). As in
        `to_8bit`.

    Returns
    -------
    ndarray, (H, W)
    """
    array = to_8bit(image).astype(np.float64)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        return array
    if array.ndim == 3 and array.shape[2] == 3:
        weights = np.array([65.481, 128.553, 24.966])
        result: NDArray[np.float64] = 16.0 + array @ weights / 255.0
        return result
    raise InputError(f"image to be scored has shape {array.shape}; expected (H, W) or (H, W, 3)")


def _pair(
    estimate: ArrayLike, truth: ArrayLike, crop: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lumas of both images without their borders."""
    first, second = luma(estimate), luma(truth)
    if first.shape != second.shape:
        raise InputError(
            f"images to be compared have shapes {first.shape} and {second.shape}; expected the same"
        )
    if crop < 0 or min(first.shape) <= 2 * crop:
        raise InputError(f"cannot crop {crop} pixels off each side of {first.shape}")
    inner = (slice(crop, first.shape[0] - crop), slice(crop, first.shape[1] - crop))
    return first[inner], second[inner]


def psnr_y(estimate: ArrayLike, truth: ArrayLike, *, crop: int = 0) -> float:
    """Return the peak signal-to-noise ratio of the luma in dB, with peak 255.

    Parameters
    ----------
    estimate, truth : array_like, (H, W) or (H, W, 3)
        uint8, or floats in [0, 1], which are rounded to 8 bit first.
    crop : int
        Pixels left out on each side; published tables use the scale.

    Returns
    -------
    float
        Infinite if both are the same.
    """
    first, second = _pair(estimate, truth, crop)
    error = float(np.mean((first - second) ** 2))
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def ssim_y(estimate: ArrayLike, truth: ArrayLike, *, crop: int = 0) -> float:
    """Return the mean structural similarity of the luma.

    Gaussian window of 11×11 pixels with σ = 1.5 where it fits in, constants (0.01·255)²
    and (0.03·255)² (Wang et al., 2004).

    Parameters
    ----------
    estimate, truth : array_like
        As in `psnr_y`; at least 11 pixels a side after cropping.
    crop : int

    Returns
    -------
    float
        1 for equal images.
    """
    first, second = _pair(estimate, truth, crop)
    if min(first.shape) < WINDOW_SIZE:
        raise InputError(
            f"images of {first.shape} are too small for SSIM; expected at least "
            f"{WINDOW_SIZE} pixels a side after cropping"
        )
    mean_1, mean_2 = _blur(first), _blur(second)
    variance_1 = _blur(first * first) - mean_1**2
    variance_2 = _blur(second * second) - mean_2**2
    covariance = _blur(first * second) - mean_1 * mean_2
    numerator = (2 * mean_1 * mean_2 + C1) * (2 * covariance + C2)
    denominator = (mean_1**2 + mean_2**2 + C1) * (variance_1 + variance_2 + C2)
    return float(np.mean(numerator / denominator))


def _blur(image: NDArray[Any]) -> NDArray[np.float64]:
    """Average with the window, only where it fits into the image."""
    axis = np.arange(WINDOW_SIZE) - WINDOW_SIZE // 2
    taps = np.exp(-(axis**2) / (2 * WINDOW_SIGMA**2))
    taps /= taps.sum()
    windows = np.lib.stride_tricks.sliding_window_view(image, WINDOW_SIZE, axis=0)
    windows = np.lib.stride_tricks.sliding_window_view(windows @ taps, WINDOW_SIZE, axis=1)
    result: NDArray[np.float64] = windows @ taps
    return result
