from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.util import view_as_blocks

from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.physics.acquisition import compressed
from napari_blindsr.physics.noise import (
    STATISTICS,
    TEXTURE,
    blocking,
    estimate_noise,
    noise_map,
    noise_over_range,
    noise_statistics,
    shot_noise,
    smooth_range,
)


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


def test_without_valid_neighbours_the_noise_is_zero() -> None:
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
def test_shot_noise_is_estimated_in_each_pixel(peak: float, seed: int) -> None:
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


def test_missing_pixels_do_not_affect_shot_noise() -> None:
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


def test_a_plane_without_contrast_has_no_shot_noise() -> None:
    assert shot_noise(np.full((1, 32, 32), 0.5, np.float32)) is None
    assert shot_noise(np.zeros((1, 3, 3), np.float32)) is None


def test_a_map_of_noise_follows_the_light() -> None:
    plane = np.full((8, 8), 0.5, np.float32)
    np.testing.assert_allclose(noise_map(plane, shot=0.02, base=0.01), np.sqrt(0.02), rtol=1e-5)
    dark = noise_map(plane, shot=0.02, base=0.01, black=0.7)
    np.testing.assert_allclose(dark, 0.1, rtol=1e-5)


# What kind of noise it is.


def textured(side: int = 160) -> NDArray[np.float32]:
    """Return a smooth picture with some detail in [0, 1]."""
    picture: NDArray[np.float32] = gaussian_filter(data.camera()[:side, 100 : 100 + side] / 255, 1)
    return picture.astype(np.float32)


def statistics(plane: NDArray[Any]) -> NDArray[np.float32]:
    return noise_statistics(plane, estimate_noise(np.asarray(plane, np.float32)[None]))


def test_blocks_of_jpeg_are_seen() -> None:
    picture = textured()
    assert blocking(picture) < 0.2
    strengths = [blocking(compressed(picture, quality)) for quality in (90, 60, 30)]
    assert strengths == sorted(strengths)
    assert strengths[1] > 0.3
    # Wherever the picture was cut, and whichever way it was turned since.
    jpeg = compressed(picture, 50)
    for other in (jpeg[3:, 5:], jpeg[::-1], jpeg.T):
        assert blocking(other) == pytest.approx(blocking(jpeg), rel=0.2)


def test_white_noise_is_neither_blocky_nor_smooth() -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        noise = rng.normal(0, 0.05, (128, 128)).astype(np.float32)
        for plane in (noise, textured(128) + noise):
            _, grain, blocks = statistics(plane)[:3]
            assert blocks < 0.2
            assert abs(grain) < 0.4
    smooth = gaussian_filter(rng.normal(0, 0.05, (128, 128)), 0.9)
    assert statistics(smooth)[1] > 0.6


def resolution(plane: NDArray[Any], number: int) -> NDArray[np.float32]:
    """Return the texture of an image's means of 1, 2 or 4 pixels a side."""
    return statistics(plane)[4 + number * TEXTURE :][:TEXTURE]


def test_the_texture_of_white_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, (512, 512)).astype(np.float32)
    slope = 0.05 * np.sqrt(2)
    # What blocks of other noise of the same kind have: neighbours are unlike after the Laplacian.
    other = np.random.default_rng(1).normal(size=(800, 800))
    second = np.diff(np.diff(other, 2, axis=0), 2, axis=1)
    blocks = [
        block / np.sqrt(np.mean(block**2))
        for block in view_as_blocks(second[:792, :792], (8, 8)).reshape(-1, 8, 8)
        if np.mean(block**2) < 36
    ]
    row = np.mean([np.mean(block[:, 1:] * block[:, :-1]) for block in blocks])
    further = np.mean([np.mean(block[2:] * block[:-2]) for block in blocks])
    diagonal = np.mean([np.mean(block[1:, 1:] * block[:-1, :-1]) for block in blocks])
    assert (row, further, diagonal) == pytest.approx((-2 / 3, 1 / 6, 4 / 9), abs=0.1)
    for number in range(3):
        found = resolution(noise, number)
        low, middle, high, kurtosis = found[:4]
        # Means of n × n pixels are n times less noisy.
        assert low == pytest.approx(np.log(0.8 * 0.05 / slope), abs=0.06)
        assert 0.1 < middle < high < 0.5
        assert np.exp(kurtosis) == pytest.approx(3, abs=0.25)
        assert found[4:7] == pytest.approx([row, further, diagonal], abs=0.05)
        assert abs(found[7]) < 0.15
        assert found[9] < 0 < found[8] < 0.5


def test_the_texture_of_other_images() -> None:
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(256, 256)), 0.9)
    # Neighbours are alike in correlated noise, and means of pixels are noisier.
    assert resolution(smooth, 0)[4] > -0.2
    assert resolution(smooth, 1)[0] > resolution(smooth, 0)[0] + 0.5
    # Shot noise rises with the intensity; edges are no Gaussian noise, and not everywhere.
    light = np.linspace(1, 100, 256) * np.ones((256, 1))
    assert resolution(rng.poisson(light), 0)[7] > 0.8
    picture = resolution(data.camera(), 0)
    assert picture[3] > np.log(3)
    assert picture[2] > 1


def test_statistics_have_no_unit_and_no_direction() -> None:
    plane = compressed(textured(), 50) + np.random.default_rng(0).normal(0, 0.02, (160, 160))
    expected = statistics(plane)
    for other in (40 * plane, plane + 3, plane[::-1], plane[:, ::-1], plane.T):
        assert statistics(other) == pytest.approx(expected, abs=0.02)
    for constant in (np.zeros((20, 20)), np.full((20, 20), 7.0), np.ones((4, 5))):
        found = statistics(constant)
        assert found.shape == (STATISTICS,)
        assert np.isfinite(found).all()


def test_the_range_is_that_without_noise() -> None:
    rng = np.random.default_rng(0)
    plane = np.kron(np.eye(2), np.ones((40, 40))) + rng.normal(0, 0.1, (80, 80))
    low, high = smooth_range(plane.astype(np.float32))
    assert plane.min() < -0.3
    assert -0.15 < low < 0
    assert 1 < high < 1.15
    # A pixel that was not measured decides nothing.
    spoilt, measured = plane.copy(), np.ones((80, 80), dtype=bool)
    spoilt[10, 10], measured[10, 10] = 50.0, False
    assert smooth_range(spoilt, measured) == pytest.approx((low, high), abs=0.05)
    assert smooth_range(np.full((5, 5), 2.0)) == (2.0, 3.0)


def test_noise_over_range_does_not_depend_on_the_unit() -> None:
    sharp = np.moveaxis(data.coffee(), -1, 0)[:, ::4, ::4] / 255
    noise = np.random.default_rng(0).normal(0, 0.05, sharp.shape)
    found = noise_over_range((sharp + noise).astype(np.float32))
    low, high = sharp.min(), sharp.max()
    assert 0.05 / (high - low) < found < 2 * 0.05 / (high - low)
    assert noise_over_range((300 + 40 * (sharp + noise)).astype(np.float32)) == pytest.approx(
        found, rel=1e-3
    )
