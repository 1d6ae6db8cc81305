"""Each step of a recording against what it is said to be."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_blindsr.physics.acquisition import (
    JPEG_RANGE,
    Acquisition,
    compressed,
    haze,
    random_camera,
    random_jpeg,
    random_microscope,
)

RAMP = np.tile(np.linspace(0, 1, 96), (64, 1))


def of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def record(image: NDArray[Any] = RAMP, *, seed: int = 0, **options: Any) -> NDArray[np.float32]:
    return Acquisition(**options).record(image, of(seed))


def test_nothing_happens_unless_it_is_asked_for() -> None:
    found = record()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, RAMP.astype(np.float32))


def test_the_offset_is_added() -> None:
    np.testing.assert_allclose(record(offset=0.2), RAMP + 0.2, atol=1e-6)


def test_photons_come_as_poisson_has_them() -> None:
    image = np.full((300, 300), 0.5)
    found = record(image, photons=40, read_noise=3.0, offset=0.1)
    assert found.mean() == pytest.approx(0.6, rel=0.01)
    # 24 photons and what reading them adds.
    assert found.var() == pytest.approx((24 + 9) / 40**2, rel=0.03)
    counts = 40 * record(image, photons=40).astype(float)
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-3)


def test_noise_is_gaussian_and_white() -> None:
    error = record(noise=0.05) - RAMP
    assert error.std() == pytest.approx(0.05, rel=0.05)
    assert abs(np.corrcoef(error[:, 1:].ravel(), error[:, :-1].ravel())[0, 1]) < 0.05


def test_correlated_noise_keeps_its_standard_deviation() -> None:
    white, smooth = (record(noise=0.05, correlation=width) - RAMP for width in (0.0, 0.8))
    assert smooth.std() == pytest.approx(white.std(), rel=1e-3)
    assert np.corrcoef(smooth[:, 1:].ravel(), smooth[:, :-1].ravel())[0, 1] > 0.4
    expected = gaussian_filter(white, 0.8)
    np.testing.assert_allclose(smooth, expected * white.std() / expected.std(), atol=1e-5)


def test_sharpening_is_unsharp_masking() -> None:
    edge = (RAMP > 0.5).astype(float)
    expected = edge + 0.5 * (edge - gaussian_filter(edge, 1.2))
    np.testing.assert_allclose(record(edge, sharpening=0.5, halo=1.2), expected, atol=1e-6)


def test_hot_and_dead_pixels() -> None:
    image = np.full((400, 400), 0.4)
    found = record(image, hot=0.01, dead=0.02)
    assert set(np.unique(found)) == {np.float32(0), np.float32(0.4), np.float32(1)}
    assert (found == 1).mean() == pytest.approx(0.01, rel=0.1)
    assert (found == 0).mean() == pytest.approx(0.02, rel=0.1)


def test_saturation_cuts_off() -> None:
    np.testing.assert_allclose(record(saturation=0.7), np.minimum(RAMP, 0.7), atol=1e-7)


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_levels_are_rounded_to(levels: int) -> None:
    found = record(levels=levels, offset=0.25)
    steps = found.astype(float) / 1.25 * (levels - 1)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert len(np.unique(found)) <= levels
    assert found.max() == pytest.approx(1.25)
    # Rounded down, then spread over the whole range.
    assert np.abs(found - (RAMP + 0.25)).max() <= 1.25 * 1.01 / (levels - 1)


def test_jpeg_is_what_pillow_makes_of_it() -> None:
    grey = np.rint(255 * RAMP).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=40)
    once = np.asarray(Image.open(file), dtype=float) / 255
    np.testing.assert_allclose(record(jpeg=(40,)), once, atol=1e-7)
    np.testing.assert_allclose(record(jpeg=(40, 80)), compressed(once, 80), atol=1e-7)
    colour = np.stack([RAMP, 1 - RAMP, 0.5 * RAMP], axis=-1)
    assert compressed(colour, 90).shape == colour.shape
    assert np.abs(compressed(colour, 95) - colour).max() < 0.1


ALL: dict[str, Any] = {
    "photons": 200.0, "read_noise": 1.5, "offset": 0.05, "noise": 0.01, "correlation": 0.6,
    "sharpening": 0.3, "hot": 0.002, "dead": 0.002, "saturation": 0.9, "levels": 128,
    "jpeg": (70,),
}  # fmt: skip


def test_a_seed_repeats_a_recording() -> None:
    first, again, other = (record(seed=seed, **ALL) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert np.isfinite(first).all()


@pytest.mark.parametrize("shape", [(12, 12), (64, 40), (7, 131)])
def test_haze_changes_slowly(shape: tuple[int, int]) -> None:
    for seed in range(5):
        light, more = haze(shape, of(seed))
        for field in (light, more):
            assert field.shape == shape
            assert field.dtype == np.float32
        assert 0.5 <= light.min() <= light.max() <= 1
        assert 0 <= more.min() <= more.max() <= 0.5
    light, more = haze((240, 240), of(0))
    for field in (light, more):
        assert max(np.abs(np.diff(field, axis=axis)).max() for axis in (0, 1)) < 0.02


@pytest.mark.parametrize("draw", [random_microscope, random_camera])
def test_random_recordings_are_seeded_and_can_be_made(
    draw: Callable[[np.random.Generator], Acquisition],
) -> None:
    drawn = [draw(of(seed)) for seed in range(200)]
    assert drawn[7] == draw(of(7))
    assert len({one.levels for one in drawn}) > 1
    shares = [np.mean([bool(one.jpeg) for one in drawn])]
    assert 0.02 < shares[0] < 0.6
    for one in drawn[:25]:
        found = one.record(RAMP, of(1))
        assert found.shape == RAMP.shape
        assert np.isfinite(found).all()
    microscope = draw is random_microscope
    assert all((one.photons is not None) is microscope for one in drawn)
    assert all(one.noise == 0 for one in drawn) is microscope
    if microscope:
        assert all(20 <= (one.photons or 0) <= 5000 for one in drawn)
        assert any(math.isfinite(one.saturation) for one in drawn)


def test_jpeg_is_applied_once_or_twice() -> None:
    drawn = [random_jpeg(of(seed)) for seed in range(100)]
    assert {len(one) for one in drawn} == {1, 2}
    low, high = JPEG_RANGE
    assert all(low <= quality <= high for one in drawn for quality in one)


def test_draws_cover_what_they_promise() -> None:
    drawn = [random_microscope(of(seed)) for seed in range(800)]
    smooth = [one.correlation for one in drawn if one.correlation > 0]
    assert 0.2 < len(smooth) / len(drawn) < 0.3
    assert 0.4 <= min(smooth) <= max(smooth) <= 1.2
    hot = [one.hot for one in drawn if one.hot > 0]
    assert 0 < len(hot) / len(drawn) < 0.06
    assert 1e-4 <= min(hot) < 10**-3.5 < max(hot) <= 10**-2.5
    noisy = [one.noise > 0 for one in (random_camera(of(seed)) for seed in range(300))]
    assert 0.3 < np.mean(noisy) < 0.5


def test_dead_pixels_need_no_hot_ones() -> None:
    found = Acquisition(dead=0.2).record(np.full((50, 50), 0.5), of(0))
    assert 0.1 < np.mean(found == 0) < 0.3
    assert found.max() == 0.5


def test_what_is_too_bright_for_jpeg_is_white() -> None:
    np.testing.assert_allclose(compressed(np.full((16, 16), 1.7), 90), 1.0)
