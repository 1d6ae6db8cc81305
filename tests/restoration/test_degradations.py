"""Covered, dark and noisy inputs, and the finish, through the library."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_blindsr import Schedule, restore
from napari_blindsr.errors import InputError, SettingsError, WeightsError
from napari_blindsr.methods import METHOD_TABLE, METHODS, method_named
from napari_blindsr.progress import StopReason
from tests.helpers import reference_data

QUICK = Schedule(image_steps=6, warmup_steps=2, structural_steps=3, channels=8)

DEGRADED = ("fast", "ddsr")
"""Methods for covered and dark inputs: one that estimates the blur at once, one that optimises."""


def picture() -> NDArray[np.uint8]:
    small: NDArray[np.uint8] = data.coffee()[100:300:8, 100:340:8]
    return small


def grey() -> NDArray[np.float64]:
    smooth: NDArray[np.float64] = gaussian_filter(picture()[..., 0].astype(float), 1)
    return smooth


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1, 2])
def test_every_method_runs(method: str, scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = reference_data() / "usrnet_tiny.pth"
    monkeypatch.setenv("NAPARI_BLINDSR_USRNET", str(weights))
    image = np.tile(picture(), (2, 2, 1)) if scale == 1 else picture()
    result = restore(image, scale=scale, method=method, schedule=QUICK)
    assert result.image.shape == (scale * image.shape[0], scale * image.shape[1], 3)
    assert np.isfinite(result.image).all()
    assert result.finish == method_named(method).finish
    assert result.covered is None


@pytest.mark.parametrize("method", DEGRADED)
def test_covered_pixels_are_filled_in_and_marked(method: str) -> None:
    mask = np.zeros((25, 30), dtype=np.uint8)
    mask[6:18, 8:22] = 5
    image = picture()
    spoilt = np.where(mask[..., None] > 0, 255, image).astype(np.uint8)
    first = restore(spoilt, scale=2, method=method, mask=mask, schedule=QUICK)
    second = restore(
        np.where(mask[..., None] > 0, 0, image), scale=2, method=method, mask=mask, schedule=QUICK
    )
    # What lies under the mask has no influence.
    np.testing.assert_array_equal(first.image, second.image)
    assert first.covered is not None
    assert first.covered.shape == (50, 60)
    assert first.covered[23:26, 29:32].all()
    assert not first.covered[:12].any()
    assert first.report()["covered"] == first.covered.sum()


@pytest.mark.parametrize("method", DEGRADED)
def test_pixels_that_are_not_finite_are_covered_by_themselves(method: str) -> None:
    image = grey()
    image[4:16, 4:16] = np.nan
    image[18:23, 20:27] = np.inf
    result = restore(image, scale=2, method=method, schedule=QUICK)
    assert np.isfinite(result.image).all()
    assert result.covered is not None
    assert result.covered[19:21, 19:21].all()
    with pytest.raises(InputError, match="NaN or infinite"):
        restore(image, scale=2, method="mlmc", schedule=QUICK)


@pytest.mark.parametrize("method", DEGRADED)
def test_saturated_pixels_are_covered_on_request(method: str) -> None:
    image = picture()
    image[4:18, 4:18] = 255
    plain = restore(image, scale=2, method=method, schedule=QUICK)
    assert plain.covered is None
    masked = restore(image, scale=2, method=method, mask_saturated=True, schedule=QUICK)
    assert masked.covered is not None
    assert masked.covered[20:23, 20:23].all()


@pytest.mark.parametrize("method", DEGRADED)
@pytest.mark.parametrize("gain", [0.3, "auto"])
def test_a_dark_image_comes_out_at_normal_brightness(gain: Any, method: str) -> None:
    image = picture()
    dark = np.round(0.3 * image).astype(np.uint8)
    result = restore(
        dark, scale=2, method=method, gain=gain, schedule=Schedule(channels=16).scaled(100)
    )
    assert result.gain == pytest.approx(0.3, rel=0.15)
    assert result.image.mean() == pytest.approx(image.mean(), rel=0.15)


def test_a_dark_image_is_fitted_like_the_bright_one() -> None:
    bright = picture().astype(np.float64)
    plain = restore(bright, scale=2, method="ddsr", bounded=True, schedule=QUICK)
    dark = restore(0.5 * bright, scale=2, method="ddsr", gain=0.5, bounded=True, schedule=QUICK)
    np.testing.assert_allclose(dark.image, plain.image, rtol=1e-3, atol=0.1)
    published = replace(QUICK, brighten=False)
    other = restore(
        0.5 * bright, scale=2, method="ddsr", gain=0.5, bounded=True, schedule=published
    )
    assert not np.allclose(other.image, plain.image, rtol=1e-3, atol=0.1)


@pytest.mark.parametrize("method", DEGRADED)
def test_noise_is_estimated_in_the_unit_of_the_image(method: str) -> None:
    noisy = grey() + np.random.default_rng(0).normal(0, 12, grey().shape)
    for factor in (1.0, 1000.0):
        result = restore(factor * noisy, scale=2, method=method, noise="auto", schedule=QUICK)
        assert result.noise == pytest.approx(12 * factor, rel=0.35)


def test_a_run_ends_before_it_fits_the_noise() -> None:
    noisy = grey() + np.random.default_rng(0).normal(0, 40, grey().shape)
    schedule = Schedule(channels=16).scaled(200)
    result = restore(noisy, scale=2, method="ddsr", noise=40.0, schedule=schedule)
    assert result.reason is StopReason.CONVERGED
    assert result.trace.size < 200


def test_without_weights_the_first_stage_is_delivered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("NAPARI_BLINDSR_USRNET", str(tmp_path / "missing.pth"))
    plain = restore(picture(), scale=2, method="mlmc", schedule=QUICK)
    result = restore(picture(), scale=2, method="mlmc-usrnet", schedule=QUICK)
    np.testing.assert_array_equal(plain.image, result.image)
    assert result.finish == "none"
    assert "missing.pth" in result.notes[0]
    with pytest.raises(WeightsError, match=r"other\.pth"):
        restore(
            picture(),
            scale=2,
            method="mlmc-usrnet",
            usrnet_weights=tmp_path / "other.pth",
            schedule=QUICK,
        )


@pytest.mark.parametrize("method", [m.name for m in METHOD_TABLE if not m.degradations])
@pytest.mark.parametrize(
    "options", [{"mask": np.zeros((25, 30))}, {"gain": 0.5}, {"mask_saturated": True}]
)
def test_a_method_without_degradations_says_so(method: str, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="use one of"):
        restore(picture(), scale=2, method=method, schedule=QUICK, **options)


@pytest.mark.parametrize("method", DEGRADED)
@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"mask": np.zeros((25, 31))}, InputError, "mask is 25 × 31; expected 25 × 30"),
        ({"mask": np.ones((25, 30))}, InputError, "covers the whole image"),
        ({"gain": 0.0}, SettingsError, "gain is 0.0"),
        ({"gain": -2.0}, SettingsError, "gain is -2.0"),
        ({"noise": -1.0}, SettingsError, "noise is -1.0"),
        ({"finish": "magic"}, SettingsError, "finish is 'magic'"),
    ],
)
def test_bad_degradations_are_named(
    options: dict[str, Any], kind: type[Exception], words: str, method: str
) -> None:
    with pytest.raises(kind, match=words):
        restore(picture(), scale=2, method=method, schedule=QUICK, **options)


@pytest.mark.parametrize("method", ["fast", "mlmc"])
def test_a_held_kernel_is_finished_too(method: str) -> None:
    weights = reference_data() / "usrnet_tiny.pth"
    kernel = torch.ones(5, 5).numpy() / 25
    result = restore(
        grey(), scale=2, method=method, kernel=kernel, finish="usrnet", usrnet_weights=weights,
        schedule=QUICK,
    )  # fmt: skip
    assert result.finish == "usrnet"
    assert result.image.shape == (50, 60)
    assert result.image.mean() == pytest.approx(grey().mean(), rel=0.1)


def test_usrnet_gets_the_residual_of_an_optimised_kernel_as_noise() -> None:
    weights = reference_data() / "usrnet_tiny.pth"

    def image(unexplained: float, **options: Any) -> NDArray[np.float32]:
        schedule = replace(QUICK, unexplained=unexplained)
        finished = restore(
            grey(), scale=2, method="mlmc-usrnet", usrnet_weights=weights, schedule=schedule,
            geometry="benchmark", **options,
        )  # fmt: skip
        return finished.image

    level, span = 2 / 255, float(np.ptp(grey()))
    plain = image(0.0)
    # As if there were so much noise.
    np.testing.assert_allclose(image(level), image(0.0, noise=level * span), atol=1e-3)
    assert np.abs(image(level) - plain).max() > 0.5
    # A known kernel explains all.
    kernel = torch.ones(5, 5).numpy() / 25
    np.testing.assert_array_equal(image(level, kernel=kernel), image(0.0, kernel=kernel))
    assert Schedule().unexplained > 0
    assert Schedule.named("reference").unexplained == 0


@pytest.mark.parametrize("method", ["fast", "mlmc-usrnet"])
def test_a_restorer_gets_the_noise_of_a_camera(method: str) -> None:
    weights = reference_data() / "usrnet_tiny.pth"
    noisy = grey() + np.random.default_rng(0).normal(0, 8, grey().shape)
    options: dict[str, Any] = {
        "scale": 2, "method": method, "usrnet_weights": weights, "schedule": QUICK,
    }  # fmt: skip
    assert restore(noisy, **options).noise == pytest.approx(8, rel=0.35)
    assert restore(noisy, noise=3.0, **options).noise == pytest.approx(3)
    assert restore(noisy, geometry="benchmark", **options).noise == 0
