from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.physics.noise import estimate_noise, noise_map, shot_noise


@pytest.mark.parametrize("size", [32, 64, 200])
@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
def test_pure_noise(size: int, sigma: float) -> None:
    noise = np.random.default_rng(0).normal(0.3, sigma, (3, size, size)).astype(np.float32)
    assert estimate_noise(noise) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("sigma", [0.02, 0.04, 0.08])
def test_noise_of_a_picture(sigma: float) -> None:
    sharp = np.moveaxis(data.coffee(), -1, 0) / 255
    coarse = gaussian_filter(sharp, (0, 3, 3))[:, ::4, ::4]
    noise = np.random.default_rng(0).normal(0, sigma, coarse.shape)
    assert estimate_noise((coarse + noise).astype(np.float32)) == pytest.approx(sigma, rel=0.15)
    assert estimate_noise(coarse.astype(np.float32)) < 0.01


def test_covered_pixels_do_not_count() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0.5, 0.05, (1, 64, 64)).astype(np.float32)
    measured = rng.random((64, 64)) > 0.02
    measured[10:20, 30:50] = False
    spoilt = np.where(measured, noise, 0)
    assert estimate_noise(spoilt, measured) == pytest.approx(0.05, rel=0.15)


def test_a_tiny_image_has_an_estimate() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (1, 9, 11)).astype(np.float32)
    assert 0.3 < estimate_noise(noise) < 2


def test_where_nothing_tells_of_the_noise_there_is_none() -> None:
    rng = np.random.default_rng(0)
    assert estimate_noise(rng.normal(size=(1, 2, 30)).astype(np.float32)) == 0
    checkered = np.indices((16, 16)).sum(axis=0) % 2 == 0
    assert estimate_noise(rng.normal(size=(1, 16, 16)).astype(np.float32), checkered) == 0


def camera_image(
    peak: float, *, seed: int, offset: float = 0.1
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a plane with shot and read noise, and the standard deviation of its noise."""
    photons = gaussian_filter(fluorescent_cells((128, 128), seed=seed), 2)
    photons *= peak / photons.max()
    rng = np.random.default_rng(seed)
    counts = rng.poisson(photons) + rng.normal(0, 1.5, photons.shape)
    unit = 2 * peak
    return (counts / unit + offset).astype(np.float32), np.sqrt(photons + 1.5**2) / unit


@pytest.mark.parametrize("peak", [100, 1000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_that_grows_with_the_light_is_found_in_each_pixel(peak: float, seed: int) -> None:
    plane, truth = camera_image(peak, seed=seed)
    found = shot_noise(plane[None])
    assert found is not None
    assert found.shape == (1, 128, 128)
    bright, dark = truth > np.quantile(truth, 0.98), truth < np.median(truth)
    assert found[0][bright].mean() == pytest.approx(truth[bright].mean(), rel=0.3)
    assert found[0][dark].mean() == pytest.approx(truth[dark].mean(), rel=0.3)


@pytest.mark.parametrize("sigma", [0.02, 0.06])
@pytest.mark.parametrize("name", ["camera", "moon", "coins", "page"])
def test_noise_that_is_the_same_everywhere_is_not_taken_for_much_else(
    name: str, sigma: float
) -> None:
    picture = getattr(data, name)()[:300:2, :300:2] / 255
    noise = np.random.default_rng(0).normal(0, sigma, picture.shape)
    found = shot_noise((picture + noise)[None].astype(np.float32))
    assert found is None or sigma / 1.6 < np.sqrt((found**2).mean()) < 1.6 * sigma


@pytest.mark.parametrize("name", ["camera", "coins", "page"])
def test_detail_is_not_taken_for_noise(name: str) -> None:
    picture = getattr(data, name)()[::2, ::2] / 255
    assert shot_noise(picture[None].astype(np.float32)) is None


def test_covered_pixels_tell_nothing_of_noise_that_grows() -> None:
    plane, _ = camera_image(300, seed=1)
    measured = np.ones(plane.shape, dtype=bool)
    measured[40:80, 30:90] = False
    spoilt = np.where(measured, plane, 0)[None]
    again = np.where(measured, plane, 5)[None]
    first, second = shot_noise(spoilt, measured), shot_noise(again, measured)
    assert first is not None
    assert second is not None
    far = np.ones(plane.shape, dtype=bool)
    far[36:84, 26:94] = False
    np.testing.assert_allclose(first[0][far], second[0][far], rtol=1e-4)


def test_a_plane_without_contrast_has_no_noise_that_grows() -> None:
    assert shot_noise(np.full((1, 32, 32), 0.5, np.float32)) is None
    assert shot_noise(np.zeros((1, 3, 3), np.float32)) is None


def test_a_map_of_noise_follows_the_light() -> None:
    plane = np.full((8, 8), 0.5, np.float32)
    np.testing.assert_allclose(noise_map(plane, shot=0.02, base=0.01), np.sqrt(0.02), rtol=1e-5)
    dark = noise_map(plane, shot=0.02, base=0.01, black=0.7)
    np.testing.assert_allclose(dark, 0.1, rtol=1e-5)
