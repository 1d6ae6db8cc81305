"""Scores against a reference: published implementations, and images that were moved."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.metrics import (
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from napari_blindsr.errors import InputError
from napari_blindsr.metrics import MetricInputs
from napari_blindsr.metrics.fidelity import ms_ssim, nrmse, psnr, ssim
from napari_blindsr.metrics.registration import find_shift, fit_intensity, move

# What pytorch-msssim 1.0.0 gives for the images below, whose window has single precision.
MS_SSIM = {"noisy": 0.9302461157, "blurred": 0.9434677666, "dark": 0.8269612927}


def camera() -> NDArray[np.float64]:
    picture: NDArray[np.float64] = data.camera()[100:292, 120:344].astype(np.float64)
    return picture


def degraded(name: str) -> NDArray[np.float64]:
    truth = camera()
    if name == "noisy":
        return truth + np.random.default_rng(0).normal(0, 12, truth.shape)
    blurred: NDArray[np.float64] = gaussian_filter(truth, 2.0)
    return blurred if name == "blurred" else 0.5 * truth + 10


@pytest.mark.parametrize("name", MS_SSIM)
def test_ms_ssim_is_the_published_one(name: str) -> None:
    found = ms_ssim(degraded(name)[None], camera()[None], data_range=255)
    assert found == pytest.approx(MS_SSIM[name], abs=1e-6)


@pytest.mark.parametrize("name", MS_SSIM)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [False, True])
def test_scores_are_those_of_scikit_image(name: str, bits: int, colour: bool) -> None:
    image, truth = degraded(name), camera()
    if colour:
        image, truth = (
            np.stack([a, a[::-1], a.T[:192, :192].repeat(2, 1)[:, :224]], 2) for a in (image, truth)
        )
    if bits == 16:
        image, truth = 100 * image, 100 * truth
    given = truth.astype(np.uint8 if bits == 8 else np.uint16)
    evidence = MetricInputs(image=image, reference=given, registers=False, crop=3)
    span = 255.0 if bits == 8 else np.ptp(given).astype(float)
    inner = (slice(3, -3), slice(3, -3))
    image, truth = image[inner], truth[inner]
    one, other = evidence.compared.image, evidence.compared.reference
    assert evidence.peak == span
    assert psnr(one, other, data_range=evidence.peak) == pytest.approx(
        peak_signal_noise_ratio(truth, image, data_range=span), abs=1e-6
    )
    assert nrmse(one, other) == pytest.approx(normalized_root_mse(truth, image), abs=1e-6)
    expected = structural_similarity(
        truth,
        image,
        data_range=span,
        channel_axis=2 if colour else None,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(one, other, data_range=evidence.peak) == pytest.approx(expected, abs=1e-6)


def scene(shift: tuple[float, float] = (0, 0)) -> NDArray[np.float64]:
    """Return blobs in known places: moving them needs no interpolation."""
    rng = np.random.default_rng(4)
    rows, columns = np.indices((96, 80), dtype=float)
    total = np.zeros((96, 80))
    for y, x, width, height in zip(
        rng.uniform(-10, 106, 60), rng.uniform(-10, 90, 60),
        rng.uniform(1.2, 4, 60), rng.uniform(20, 90, 60), strict=True,
    ):  # fmt: skip
        distance = (rows - y - shift[0]) ** 2 + (columns - x - shift[1]) ** 2
        total += height * np.exp(-distance / (2 * width**2))
    return total


@settings(max_examples=12, deadline=None)
@given(st.floats(-6, 6), st.floats(-6, 6))
def test_shifts_are_found_to_a_fraction_of_a_pixel(row: float, column: float) -> None:
    noise = np.random.default_rng(1).normal(0, 2, (96, 80))
    found = find_shift(scene((row, column)) + noise, scene())
    assert found == pytest.approx((-row, -column), abs=0.06)


def test_moving_neither_blurs_nor_wraps() -> None:
    moved = move(scene((1.3, -0.6)), (-1.3, 0.6))
    assert np.abs(moved - scene())[3:-3, 3:-3].max() < 0.02 * scene().std()


def test_a_moved_image_scores_as_one_that_was_not() -> None:
    truth = scene()
    noise = np.random.default_rng(2).normal(0, 1, truth.shape)
    there = MetricInputs(image=scene((2.4, -1.7)) + noise, reference=truth)
    left = MetricInputs(image=scene((2.4, -1.7)) + noise, reference=truth, registers=False)
    assert there.compared.shift == pytest.approx((-2.4, 1.7), abs=0.03)
    error = nrmse(there.compared.image, there.compared.reference)
    assert error == pytest.approx(1 / np.sqrt(np.mean(truth**2)), rel=0.1)
    assert nrmse(left.compared.image, left.compared.reference) > 5 * error


def test_intensities_are_fitted_on_request() -> None:
    truth = scene()
    scaled = MetricInputs(image=0.2 * truth + 30, reference=truth, fits_intensity=True)
    assert nrmse(scaled.compared.image, scaled.compared.reference) < 1e-9
    plain = MetricInputs(image=0.2 * truth + 30, reference=truth)
    assert nrmse(plain.compared.image, plain.compared.reference) > 0.3
    _, factor, offset = fit_intensity(0.2 * truth + 30, truth)
    assert (factor, offset) == pytest.approx((5, -150))
    assert fit_intensity(np.ones((3, 3)), np.arange(9.0).reshape(3, 3))[1:] == (0, 4)


def test_equal_images_have_the_best_scores() -> None:
    truth = camera()[None]
    assert psnr(truth, truth, data_range=255) == math.inf
    assert ssim(truth, truth, data_range=255) == pytest.approx(1)
    assert ms_ssim(truth, truth, data_range=255) == pytest.approx(1)
    assert nrmse(truth, truth) == 0


def test_unfit_images_are_refused() -> None:
    small = np.zeros((1, 100, 300))
    with pytest.raises(InputError, match=r"100 × 300 .* too small for MS-SSIM; expected .* 176"):
        ms_ssim(small, small, data_range=1)
    with pytest.raises(InputError, match="too small for SSIM"):
        ssim(small[:, :10], small[:, :10], data_range=1)
    with pytest.raises(InputError, match="expected the same"):
        psnr(small, small[:, 1:], data_range=1)
    with pytest.raises(InputError, match="0 everywhere"):
        nrmse(small, small)
    with pytest.raises(InputError, match="constant"):
        find_shift(small[0], small[0])
    blob = np.pad(np.ones((6, 6)), ((20, 70), (45, 45)))
    with pytest.raises(InputError, match="expected the same place"):
        find_shift(np.roll(blob, 45, 0), blob)
