"""Each flag is raised by a case that deserves it, and by none that does not."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_blindsr import estimate_kernel, restore
from napari_blindsr.estimation.consistency import Consistency
from napari_blindsr.evaluation.samples import fluorescence, photograph
from napari_blindsr.optics import Optics
from napari_blindsr.physics.acquisition import compressed
from napari_blindsr.physics.kernels import Gaussian, Line
from napari_blindsr.physics.kernels.base import FWHM
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.physics.simulate import Degradation, degrade, gaussian_kernel, interpolate
from napari_blindsr.restoration.diagnostics import (
    BLOCKY,
    FLAGS,
    RunEvidence,
    run_checks,
)
from napari_blindsr.restoration.evidence import piled_up
from napari_blindsr.restoration.result import Result


def blurred(variance: float, side: int = 64) -> NDArray[np.uint8]:
    """Return a piece of a photograph, blurred and sampled at every fourth pixel, in 8 bit."""
    kernel = gaussian_kernel((variance, variance), 0.0, scale=4, size=33)
    length = 4 * side + 32
    sharp = data.camera()[40 : 40 + length, 120 : 120 + length]
    made = degrade(sharp, kernel, Degradation(scale=4, quantise=True))
    image: NDArray[np.uint8] = made.image
    return image


def two_blurs() -> NDArray[np.uint8]:
    """Return a picture whose right half is three times as blurred."""
    left, right = blurred(2.0), blurred(20.0)
    return np.concatenate((left[:, :32], right[:, 32:]), axis=1)


def moved() -> NDArray[np.uint8]:
    """Return coins that moved along a line while they were photographed."""
    kernel = Line(half_length=(6.0, 6.0)).sample(
        1,
        scale=4,
        size=25,
        center=kernel_center(25, 4, "camera"),
        generator=torch.Generator().manual_seed(1),
    )[0]
    made = degrade(data.coins()[:300, :380], kernel.numpy(), Degradation(scale=4, quantise=True))
    image: NDArray[np.uint8] = made.image
    return image


def overexposed(share: float = 0.1, side: int = 64) -> NDArray[np.uint16]:
    """Return cells, a share of which exceeds what a camera of 12 bit can count."""
    image = fluorescence().image[:side, :side].astype(float)
    brightest = np.quantile(image, 1 - share)
    counts: NDArray[np.uint16] = np.minimum(image * 4095 / brightest, 4095).astype(np.uint16)
    return counts


def soft() -> NDArray[np.uint16]:
    """Return nuclei without any sharp structure, as blurred as they may be or not."""
    rng = np.random.default_rng(3)
    image = gaussian_filter(rng.normal(size=(96, 96)), 7.0)
    image = (image - image.min()) / np.ptp(image)
    counts: NDArray[np.uint16] = (rng.poisson(400 * image) + 100).astype(np.uint16)
    return counts


def noisy(level: float = 8.0) -> NDArray[np.float64]:
    """Return a blurred picture with much noise."""
    image = blurred(8.0)
    return image + np.random.default_rng(0).normal(0, level, image.shape)


def run(image: NDArray[Any], **options: Any) -> Result:
    return restore(image, **{"scale": 4, "device": "cpu", "finish": "measurement", **options})


WIDE = gaussian_kernel((36.0, 36.0), 0.0, scale=4, size=41)
NARROW = gaussian_kernel((0.5, 0.5), 0.0, scale=4, size=41)

DESERVED: dict[str, Callable[[], Result]] = {
    "blur_not_identifiable": lambda: run(soft(), scale=2),
    "noise_not_white": lambda: run(255 * compressed(blurred(2.0, 96) / 255, 30)),
    "no_blur": lambda: run(photograph().truth[:128, :128], scale=1),
    "kernel_at_bound": lambda: run(blurred(8.0), kernel=Gaussian(variance=(1.0, 2.0))),
    "another_family": lambda: run(moved(), kernel="gaussian"),
    "kernel_unstable": lambda: run(two_blurs()),
    "kernel_unlike_image": lambda: run(photograph().image, kernel=NARROW),
    "residual_not_white": lambda: run(photograph().image, kernel=WIDE),
    "saturated_or_covered": lambda: run(overexposed()),
    "scale_beyond_kernel": lambda: run(noisy(), kernel=WIDE),
}

HEALTHY: dict[str, Callable[[], Result]] = {
    "photograph": lambda: run(photograph().image),
    "photograph, image prior": lambda: run(photograph().image, finish="prior"),
    "fluorescence": lambda: run(fluorescence().image, finish="prior"),
    "true kernel": lambda: run(photograph().image, kernel=photograph().kernel),
    "one blur": lambda: run(blurred(2.0)),
    "noise, image prior": lambda: run(noisy(), finish="prior"),
}


@pytest.fixture(scope="module")
def healthy() -> dict[str, Result]:
    return {name: make() for name, make in HEALTHY.items()}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_cases_raise_none(name: str, healthy: dict[str, Result]) -> None:
    assert healthy[name].flags == ()
    assert healthy[name].report()["flags"] == []


@pytest.mark.parametrize("name", [kind.name for kind in FLAGS])
def test_every_flag_is_raised_where_it_is_deserved(name: str) -> None:
    result = DESERVED[name]()
    found = {flag.name: flag for flag in result.flags}
    assert name in found
    flag = found[name]
    assert flag.message
    assert flag.meaning.endswith(".")
    assert flag.advice.endswith(".")
    record = json.loads(json.dumps(result.report()))
    assert flag.report() in record["flags"]


def test_missing_pixels_are_reported_and_mislead_nothing_else() -> None:
    mask = np.zeros((64, 64), dtype=bool)
    mask[20:40, 20:40] = True
    result = run(photograph().image, mask=mask)
    assert [flag.name for flag in result.flags] == ["saturated_or_covered"]
    assert "10% of the pixels are missing" in result.flags[0].message


def test_few_saturated_pixels_are_ignored_with_a_note() -> None:
    result = run(overexposed(0.02))
    assert any("saturated pixels were ignored" in note for note in result.notes)
    assert "saturated_or_covered" not in {flag.name for flag in result.flags}


def evidence(**options: Any) -> RunEvidence:
    return RunEvidence(scale=2, kernel=WIDE, widths=(2.0, 2.0), known=False, **options)


def names_of(evidence: RunEvidence) -> set[str]:
    return {flag.name for flag in run_checks(evidence)}


def test_optics_help_where_the_blur_is_not_identifiable() -> None:
    optics = Optics(numerical_aperture=1.2, emission_nm=520, pixel_size_nm=65)
    plain, informed = (
        estimate_kernel(soft(), scale=2, device="cpu", optics=one) for one in (None, optics)
    )
    assert plain.posterior is not None
    assert informed.posterior is not None
    assert informed.posterior.log_variance_sd < plain.posterior.log_variance_sd
    flag = next(kind for kind in FLAGS if kind.name == "blur_not_identifiable")
    assert "optics" in flag.advice


def test_the_two_by_hand() -> None:
    assert "noise_not_white" in names_of(evidence(blocking=1.2 * BLOCKY))
    assert "noise_not_white" not in names_of(evidence(blocking=0.8 * BLOCKY))
    assert "noise_not_white" in names_of(evidence(further_noise=1.0))


def test_a_kernel_that_is_cut_off_is_at_its_bound() -> None:
    cut = WIDE[16:-16, 16:-16]
    names = [flag.name for flag in run(photograph().image, kernel=cut).flags]
    assert "kernel_at_bound" in names


@pytest.mark.parametrize(
    ("factor", "raised"), [(0.25, True), (0.5, True), (1.0, False), (2.0, True)]
)
def test_a_kernel_of_another_width_is_unlike_the_image(factor: float, raised: bool) -> None:
    image = blurred(8.0)
    kernel = gaussian_kernel((8 * factor**2, 8 * factor**2), 0.0, scale=4, size=41)
    flags = {flag.name: flag.message for flag in run(image, kernel=kernel).flags}
    assert ("kernel_unlike_image" in flags) is raised
    if raised:
        # FWHM in pixels of the image: the kernel's, and the estimate.
        widths = map(float, re.findall(r"\d\.\d\d", flags["kernel_unlike_image"]))
        own, estimate = (width / FWHM for width in widths)
        assert own == pytest.approx(factor * math.sqrt(8) / 4, abs=0.03)
        assert estimate == pytest.approx(math.sqrt(8) / 4, rel=0.2)


def test_a_blur_beyond_what_can_be_read_is_not_unlike_a_wide_one() -> None:
    informed = Consistency(
        disagreement=0.5, spread=0.1, range=(2.0, 2.2), variance=math.log(4.5), log_variance_sd=0.1
    )
    wide = gaussian_kernel((16 * 20.0, 16 * 20.0), 0.0, scale=4, size=121)
    evidence = RunEvidence(
        scale=4, kernel=wide, widths=(17.9, 17.9), known=True, consistency=informed
    )
    assert "kernel_unlike_image" not in [flag.name for flag in run_checks(evidence)]
    narrower = dataclasses.replace(evidence, widths=(4.0, 4.0))
    assert "kernel_unlike_image" in [flag.name for flag in run_checks(narrower)]
    # What is uncertain is no reason.
    unsure = dataclasses.replace(
        narrower, consistency=dataclasses.replace(informed, log_variance_sd=1.0)
    )
    assert "kernel_unlike_image" not in [flag.name for flag in run_checks(unsure)]


def test_a_kernel_as_good_as_none_supports_no_scale() -> None:
    narrow = gaussian_kernel((0.3, 0.3), 0.0, scale=4)
    evidence = RunEvidence(scale=4, kernel=narrow, widths=(0.55, 0.55), known=True)
    assert [flag.name for flag in run_checks(evidence)] == ["scale_beyond_kernel"]
    assert run_checks(dataclasses.replace(evidence, scale=1)) == ()


@pytest.mark.parametrize("method", ["mlmc", "ddsr"])
def test_optimising_methods_have_flags_too(method: str) -> None:
    result = run(overexposed(side=32), method=method, steps=2, finish=None, scale=2)
    assert "saturated_or_covered" in {flag.name for flag in result.flags}


def test_the_end_of_a_range_is_distinguished_from_a_tail() -> None:
    rng = np.random.default_rng(0)
    tail = rng.normal(100, 20, (1, 100, 100)).astype(np.float32)
    assert piled_up(tail) == 0
    assert piled_up(np.rint(tail)) == 0
    assert piled_up(np.rint(rng.exponential(3, (1, 100, 100))).astype(np.float32)) == 0
    cut = np.minimum(tail, 130)
    assert piled_up(cut) == pytest.approx((tail > 130).mean(), abs=1e-3)
    # In one channel is enough.
    assert piled_up(np.concatenate((tail, cut))) == piled_up(cut)


def test_correlated_noise_is_reported_and_not_taken_for_detail() -> None:
    sample = fluorescence()
    clean = gaussian_filter(sample.image.astype(float), 1)
    noise = gaussian_filter(np.random.default_rng(0).normal(size=clean.shape), 0.9)
    image = clean + 0.5 * clean.std() * noise / noise.std()
    result = restore(image, scale=2, device="cpu")
    (flag,) = (flag for flag in result.flags if flag.name == "noise_not_white")
    assert flag.message == "the noise of neighbouring pixels is correlated"
    # Less noise than in the image, not more: with the noise that neighbours show, it is 1.7 times.
    expected = interpolate(clean.astype(np.float32), 2)
    found, cubic = (
        np.sqrt(np.mean(np.square(one - expected)))
        for one in (result.image, interpolate(image.astype(np.float32), 2))
    )
    assert found < cubic
