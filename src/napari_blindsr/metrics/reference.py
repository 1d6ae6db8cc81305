"""How far an image is from a reference, in the image's own intensities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import correlate1d
from skimage.metrics import (
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW_SIZE, WINDOW_SIGMA = 11, 1.5

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, the finest first (Wang et al., 2003)."""


def _check(image: NDArray[np.float64], reference: NDArray[np.float64]) -> None:
    if image.shape != reference.shape:
        raise InputError(
            f"images to be compared have shapes {image.shape} and {reference.shape}; "
            "expected the same"
        )


def psnr(image: NDArray[np.float64], reference: NDArray[np.float64], *, data_range: float) -> float:
    """Return 10·log10(data_range² / mean squared difference) in dB; as scikit-image.

    Parameters
    ----------
    image, reference : ndarray, (C, H, W)
    data_range : float
        What a peak is.
    """
    _check(image, reference)
    if np.array_equal(image, reference):
        return math.inf
    return float(peak_signal_noise_ratio(reference, image, data_range=data_range))


def nrmse(image: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return ‖image − reference‖₂ / ‖reference‖₂; as scikit-image.

    Parameters
    ----------
    image, reference : ndarray, (C, H, W)
    """
    _check(image, reference)
    if not reference.any():
        raise InputError("the reference is 0 everywhere; an error relative to it has no meaning")
    return float(normalized_root_mse(reference, image, normalization="euclidean"))


def ssim(image: NDArray[np.float64], reference: NDArray[np.float64], *, data_range: float) -> float:
    """Return the mean structural similarity; as scikit-image with the settings of Wang (2004).

    A Gaussian window of 11×11 pixels with σ = 1.5, constants (0.01·data_range)² and
    (0.03·data_range)²; the mean over channels.

    Parameters
    ----------
    image, reference : ndarray, (C, H, W)
        At least 11 pixels a side.
    data_range : float
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
    """Return the multi-scale structural similarity (Wang, Simoncelli & Bovik, 2003).

    Contrast and structure on five scales, each half as fine as the one before, and luminance
    on the coarsest; their means, raised to fixed exponents, are multiplied. What is negative
    counts as 0. The mean over channels.

    Parameters
    ----------
    image, reference : ndarray, (C, H, W)
        At least 176 pixels a side, so that the window of 11 fits in on the coarsest scale.
    data_range : float
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
    axis = np.arange(WINDOW_SIZE) - WINDOW_SIZE // 2
    taps = np.exp(-(axis**2) / (2 * WINDOW_SIGMA**2))
    taps /= taps.sum()
    reach = WINDOW_SIZE // 2
    blurred = correlate1d(correlate1d(plane, taps, axis=0), taps, axis=1)
    result: NDArray[np.float64] = blurred[reach:-reach, reach:-reach]
    return result


def _halved(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average blocks of 2×2 pixels; the last row or column of an odd number counts twice."""
    even = np.pad(plane, [(0, side % 2) for side in plane.shape], mode="edge")
    rows, columns = even.shape[0] // 2, even.shape[1] // 2
    result: NDArray[np.float64] = even.reshape(rows, 2, columns, 2).mean(axis=(1, 3))
    return result
