from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_blindsr.noise import estimate_noise


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
