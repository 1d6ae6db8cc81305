"""Degradation against the published data; interpolation in its right place."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.metrics import psnr_y, ssim_y
from napari_blindsr.physics.simulate import Degradation, degrade, gaussian_kernel, interpolate
from napari_blindsr.types import BORDERS, GEOMETRIES, Border, Geometry

needs_data = pytest.mark.skipif(
    "BLINDSR_DATA" not in os.environ, reason="BLINDSR_DATA does not name the reference data"
)


def sharp() -> np.ndarray:
    picture: np.ndarray = data.chelsea()[60:180, 100:240]
    return picture


@needs_data
def test_published_degradation_is_reproduced() -> None:
    with np.load(Path(os.environ["BLINDSR_DATA"]) / "golden.npz") as golden:
        degraded = degrade(
            golden["degrade_hr"],
            golden["degrade_kernel"],
            Degradation(scale=4, geometry="benchmark", border="circular"),
        )
        np.testing.assert_allclose(degraded.image, golden["degrade_lr_x4"], atol=1e-6)
        np.testing.assert_array_equal(degraded.truth, golden["degrade_hr"])


@needs_data
@pytest.mark.parametrize(
    ("name", "psnr", "ssim"),
    [
        ("Set5/baby", 29.66, 0.811),
        ("Set5/butterfly", 19.39, 0.621),
        ("lane128/bird", 28.58, 0.860),
    ],
)
def test_published_scores_of_interpolation_are_reproduced(
    name: str, psnr: float, ssim: float
) -> None:
    folder, picture = name.split("/")
    root = Path(os.environ["BLINDSR_DATA"]) / folder
    image = np.asarray(Image.open(root / "DDSR_lr_x4" / f"{picture}.png").convert("RGB"))
    truth = np.asarray(Image.open(root / "HR" / f"{picture}.png").convert("RGB"))
    estimate = interpolate(image, 4, geometry="benchmark", border="circular") / 255
    truth = truth[: len(estimate), : estimate.shape[1]]
    assert psnr_y(estimate, truth, crop=4) == pytest.approx(psnr, abs=0.006)
    assert ssim_y(estimate, truth, crop=4) == pytest.approx(ssim, abs=0.0006)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interpolation_lies_where_the_truth_lies(
    scale: int, border: Border, geometry: Geometry
) -> None:
    kernel = gaussian_kernel((1.5, 1.0), 0.3, scale=scale, geometry=geometry)
    degraded = degrade(sharp(), kernel, Degradation(scale=scale, geometry=geometry, border=border))
    assert degraded.truth.shape[:2] == tuple(scale * n for n in degraded.image.shape[:2])
    placed = interpolate(degraded.image, scale, geometry=geometry, border=border)
    other: Geometry = "camera" if geometry == "benchmark" else "benchmark"
    misplaced = interpolate(degraded.image, scale, geometry=other, border=border)
    right = psnr_y(placed, degraded.truth, crop=scale)
    assert right > psnr_y(misplaced, degraded.truth, crop=scale) + 1.5
    # No shift by one pixel is better.
    for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        assert right > psnr_y(np.roll(placed, step, (0, 1)), degraded.truth, crop=scale)


def test_camera_geometry_keeps_a_ramp() -> None:
    """A ramp is unchanged by a symmetric blur, so its values give positions."""
    scale, size = 4, 19
    ramp = np.tile(np.arange(120.0), (80, 1))
    kernel = gaussian_kernel((5, 3), 0.2, scale=scale, size=27)
    degraded = degrade(ramp, kernel, Degradation(scale=scale))
    first = degraded.truth[0, 0]
    expected = first + scale * np.arange(degraded.image.shape[1]) + degraded.offset
    np.testing.assert_allclose(degraded.image[3], expected, atol=0.02)
    assert degraded.offset == 1.5
    assert gaussian_kernel((5, 3), 0.2, scale=scale).shape == (size, size)
    enlarged = interpolate(degraded.image, scale)
    inner = slice(12, -12)
    np.testing.assert_allclose(enlarged[40, inner], degraded.truth[40, inner], atol=0.03)


def test_extended_border_is_the_inside_of_a_larger_picture() -> None:
    kernel = gaussian_kernel((6, 3), 1.0, scale=4)
    wide = degrade(sharp(), kernel, Degradation(scale=4))
    changed = sharp().copy()
    changed[: 2 * 9] = 0
    # Only rows within the kernel's reach of the change differ.
    other = degrade(changed, kernel, Degradation(scale=4))
    assert not np.allclose(other.image[0], wide.image[0], atol=1e-3)
    np.testing.assert_allclose(other.image[5:], wide.image[5:], atol=1e-6)


def test_constant_stays_constant() -> None:
    kernel = gaussian_kernel((6, 3), 1.0, scale=4)
    for border in BORDERS:
        flat = degrade(np.full((64, 72), 0.4), kernel, Degradation(scale=4, border=border))
        np.testing.assert_allclose(flat.image, 0.4, rtol=1e-6)


def test_noise_gain_and_rounding() -> None:
    kernel = gaussian_kernel((6, 3), 1.0, scale=2)
    clean = degrade(sharp(), kernel, Degradation(scale=2))
    noisy = [
        degrade(sharp(), kernel, Degradation(scale=2, noise=0.05, seed=seed)).image
        for seed in (3, 3, 4)
    ]
    assert np.array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])
    assert np.std(noisy[0] - clean.image) == pytest.approx(0.05, rel=0.05)
    dark = degrade(sharp(), kernel, Degradation(scale=2, gain=0.25))
    np.testing.assert_allclose(dark.image, 0.25 * clean.image, rtol=1e-6)
    eight = degrade(sharp(), kernel, Degradation(scale=2, quantise=True)).image
    assert eight.dtype == np.uint8
    np.testing.assert_array_equal(eight, np.floor(255 * clean.image))


def test_grey_and_colour_agree() -> None:
    kernel = gaussian_kernel((6, 3), 1.0, scale=2)
    colour = degrade(sharp(), kernel, Degradation(scale=2))
    grey = degrade(sharp()[..., 1], kernel, Degradation(scale=2))
    np.testing.assert_allclose(colour.image[..., 1], grey.image, atol=1e-6)
    np.testing.assert_allclose(
        interpolate(colour.image, 2)[..., 1], interpolate(grey.image, 2), atol=1e-6
    )


@pytest.mark.parametrize(
    ("image", "kernel", "message"),
    [
        (np.zeros(5), np.ones((3, 3)), "sharp image has shape"),
        (np.zeros((9, 9), int), np.ones((3, 3)), "expected uint8 or floats"),
        (np.zeros((9, 9)), np.ones((4, 4)), "K odd"),
        (np.zeros((9, 9)), np.zeros((3, 3)), "sum must be positive"),
        (np.zeros((9, 9)), np.ones((19, 19)), "too small for a kernel"),
    ],
)
def test_bad_input_is_refused(image: np.ndarray, kernel: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        degrade(image, kernel, Degradation(scale=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"scale": 0}, "scale"), ({"gain": 0.0}, "gain"), ({"noise": -1.0}, "noise")],
)
def test_bad_degradations_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Degradation(**{"scale": 2, **changes})  # type: ignore[arg-type]
