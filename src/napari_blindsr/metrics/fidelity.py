"""How far an image is from a reference: as in published tables, and in its own intensities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity
from skimage.transform import downscale_local_mean

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


PEAK = 255.0
WINDOW_SIZE = 11
WINDOW_SIGMA = 1.5


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
    """Return the lumas (1, H, W) of both images without their borders."""
    first, second = luma(estimate), luma(truth)
    _check(first, second)
    if crop < 0 or min(first.shape) <= 2 * crop:
        raise InputError(f"cannot crop {crop} pixels off each side of {first.shape}")
    inner = (None, *(slice(crop, side - crop) for side in first.shape))
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
    return psnr(*_pair(estimate, truth, crop), data_range=PEAK)


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
    return ssim(*_pair(estimate, truth, crop), data_range=PEAK)


SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, the finest first (Wang et al., 2003)."""


def _check(image: NDArray[np.float64], reference: NDArray[np.float64]) -> None:
    if image.shape != reference.shape:
        raise InputError(
            f"images to be compared have shapes {image.shape} and {reference.shape}; "
            "expected the same"
        )


def psnr(image: NDArray[np.float64], reference: NDArray[np.float64], *, data_range: float) -> float:
    """Return 10·log10(data_range² / mean squared difference) of images (C, H, W) in dB."""
    _check(image, reference)
    if np.array_equal(image, reference):
        return math.inf
    return float(peak_signal_noise_ratio(reference, image, data_range=data_range))


def nrmse(image: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return ‖image − reference‖₂ / ‖reference‖₂ of images (C, H, W)."""
    _check(image, reference)
    if not reference.any():
        raise InputError("the reference is 0 everywhere; an error relative to it has no meaning")
    return float(normalized_root_mse(reference, image, normalization="euclidean"))


def ssim(image: NDArray[np.float64], reference: NDArray[np.float64], *, data_range: float) -> float:
    """Return the mean structural similarity of images (C, H, W), with the settings of Wang (2004).

    A Gaussian window of 11×11 pixels with σ = 1.5, where it fits in, constants (0.01·data_range)²
    and (0.03·data_range)²; the mean over channels.
    """
    _check(image, reference)
    if min(image.shape[1:]) < WINDOW_SIZE:
        raise InputError(
            f"images of {image.shape[1]} × {image.shape[2]} pixels are too small for SSIM; "
            f"expected at least {WINDOW_SIZE} a side"
        )
    return float(
        structural_similarity(
            reference,
            image,
            data_range=data_range,
            channel_axis=0,
            gaussian_weights=True,
            sigma=WINDOW_SIGMA,
            use_sample_covariance=False,
        )
    )


def ms_ssim(
    image: NDArray[np.float64], reference: NDArray[np.float64], *, data_range: float
) -> float:
    """Return the multi-scale structural similarity of images (C, H, W).

    Wang, Simoncelli & Bovik (2003): contrast and structure on five scales, each half as fine as the
    one before, and luminance on the coarsest; their means, raised to fixed exponents, are
    multiplied. What is negative counts as 0. The mean over channels; at least 176 pixels a side.
    """
    _check(image, reference)
    least = WINDOW_SIZE * 2 ** (len(SCALE_WEIGHTS) - 1)
    if min(image.shape[1:]) < least:
        raise InputError(
            f"images of {image.shape[1]} × {image.shape[2]} pixels are too small for MS-SSIM; "
            f"expected at least {least} a side"
        )
    pairs = zip(image, reference, strict=True)
    return float(np.mean([_multi_scale(one, other, data_range) for one, other in pairs]))


def _multi_scale(
    image: NDArray[np.float64], reference: NDArray[np.float64], data_range: float
) -> float:
    product = 1.0
    for index, weight in enumerate(SCALE_WEIGHTS):
        if index:
            image, reference = _halved(image), _halved(reference)
        luminance, structure = _similarities(image, reference, data_range)
        last = index == len(SCALE_WEIGHTS) - 1
        mean = float(np.mean(luminance * structure if last else structure))
        product *= max(mean, 0.0) ** weight
    return product


def _similarities(
    image: NDArray[np.float64], reference: NDArray[np.float64], data_range: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return luminance, and contrast times structure, where the window fits in."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_1, mean_2 = _windowed(image), _windowed(reference)
    variances = _windowed(image * image) - mean_1**2 + _windowed(reference**2) - mean_2**2
    covariance = _windowed(image * reference) - mean_1 * mean_2
    luminance = (2 * mean_1 * mean_2 + c1) / (mean_1**2 + mean_2**2 + c1)
    return luminance, (2 * covariance + c2) / (variances + c2)


def _windowed(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average with the window of SSIM, where it fits in."""
    reach = WINDOW_SIZE // 2
    blurred = gaussian_filter(plane, WINDOW_SIGMA, radius=reach)
    result: NDArray[np.float64] = blurred[reach:-reach, reach:-reach]
    return result


def _halved(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average blocks of 2×2 pixels; the last row or column of an odd number counts twice."""
    even = np.pad(plane, [(0, side % 2) for side in plane.shape], mode="edge")
    return np.asarray(downscale_local_mean(even, 2))
