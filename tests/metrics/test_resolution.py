"""Ring correlation and decorrelation on images whose cut-off is known; kernels of known width."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from napari_blindsr.errors import InputError
from napari_blindsr.metrics import MetricInputs
from napari_blindsr.metrics.decorrelation import decorrelation
from napari_blindsr.metrics.frc import half_image_correlation, ring_correlation
from napari_blindsr.metrics.kernel import diffraction_limit, kernel_shape
from napari_blindsr.physics.simulate import gaussian_kernel
from napari_blindsr.types import CRITERIA, Criterion

CUTOFFS = (0.1, 0.14, 0.2, 0.28, 0.4)
"""In cycles a pixel; a range of 4×."""


def low_passed(cutoff: float, kind: str = "camera") -> NDArray[np.float64]:
    """Return a picture, or noise, without anything beyond a frequency."""
    side = 400
    image = data.camera()[:side, :side].astype(float)
    if kind == "noise":
        image = np.random.default_rng(5).normal(0, 50, (side, side))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    result: NDArray[np.float64] = np.fft.ifft2(np.fft.fft2(image) * (frequency < cutoff)).real
    return result


def exposures(cutoff: float, kind: str) -> list[NDArray[np.float64]]:
    image = low_passed(cutoff, kind)
    rng = np.random.default_rng(6)
    return [image + rng.normal(0, 0.02 * image.std(), image.shape) for _ in range(2)]


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("kind", ["camera", "noise"])
@pytest.mark.parametrize("cutoff", CUTOFFS)
def test_two_acquisitions_tell_the_cutoff(cutoff: float, kind: str, criterion: Criterion) -> None:
    found = ring_correlation(*exposures(cutoff, kind), criterion=criterion)
    assert found.resolution == pytest.approx(1 / cutoff, rel=0.1)
    assert found.limit == 0.5


@pytest.mark.parametrize("cutoff", [c for c in CUTOFFS if c < 0.25])
def test_halves_tell_the_cutoff_up_to_half_the_nyquist_frequency(cutoff: float) -> None:
    found = half_image_correlation(exposures(cutoff, "camera")[0])
    assert found.resolution == pytest.approx(1 / cutoff, rel=0.1)
    assert found.limit == 0.25


@pytest.mark.parametrize("kind", ["camera", "noise"])
@pytest.mark.parametrize("cutoff", CUTOFFS)
def test_decorrelation_tells_the_cutoff(cutoff: float, kind: str) -> None:
    found = decorrelation(exposures(cutoff, kind)[0])
    assert found.resolution == pytest.approx(1 / cutoff, rel=0.1)


def test_agreement_to_the_end_is_no_resolution() -> None:
    image = low_passed(0.8)
    found = ring_correlation(image, image)
    assert found.cutoff is None
    with pytest.raises(InputError, match="the resolution is finer than 2 pixels"):
        _ = found.resolution


def test_noise_alone_has_no_correlation() -> None:
    rng = np.random.default_rng(7)
    found = ring_correlation(*rng.normal(size=(2, 128, 96)))
    # A ring of n samples says n/2 things.
    assert np.abs(found.correlation[20:]).max() < 4 / math.sqrt(0.5 * 2 * math.pi * 20)
    assert found.cutoff is not None
    assert found.cutoff < 0.05
    assert abs(half_image_correlation(rng.normal(size=(128, 96))).correlation.mean()) < 0.1


def test_thresholds_are_the_published_ones() -> None:
    image = low_passed(0.3)
    by_name = {c: ring_correlation(image, image, criterion=c) for c in CRITERIA}
    assert np.all(by_name["one-seventh"].threshold == 1 / 7)
    # 0.2071/1.2071 in endless rings.
    assert by_name["half-bit"].threshold[-1] == pytest.approx(0.2071 / 1.2071, rel=0.5)
    assert by_name["three-sigma"].threshold[-1] == pytest.approx(
        3 / math.sqrt(math.pi * 200), rel=0.05
    )


def test_second_acquisitions_may_lie_elsewhere() -> None:
    first, second = exposures(0.14, "camera")
    here = MetricInputs(image=first, second=second)
    moved = MetricInputs(image=first[:-3, 2:], second=second[3:, :-2])
    assert moved.ring_correlation.resolution == pytest.approx(
        here.ring_correlation.resolution, rel=0.03
    )


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.5, 2.8])
@pytest.mark.parametrize("widths", [(1.2, 0.9), (3.0, 2.0), (4.0, 1.5)])
def test_widths_of_gaussians(widths: tuple[float, float], angle: float) -> None:
    variances = (widths[0] ** 2, widths[1] ** 2)
    shape = kernel_shape(gaussian_kernel(variances, angle, scale=4, size=31))
    factor = 2 * math.sqrt(2 * math.log(2))
    assert shape.longer.fwhm == pytest.approx(factor * widths[0], abs=0.08)
    assert shape.shorter.fwhm == pytest.approx(factor * widths[1], abs=0.08)
    if min(widths) > 1:
        assert shape.longer.fwhm == pytest.approx(factor * widths[0], rel=0.002)
        assert shape.shorter.fwhm == pytest.approx(factor * widths[1], rel=0.002)
    assert math.sin(math.radians(shape.angle) - angle) == pytest.approx(0, abs=0.01)
    assert shape.longer.value.max() == 1


def test_width_of_an_airy_pattern_is_the_diffraction_limit() -> None:
    from scipy.special import j1  # noqa: PLC0415

    rows, columns = np.indices((61, 61)) - 30.0
    radius = np.maximum(np.hypot(rows, columns), 1e-9)
    # λ = 500 nm, NA = 1, pixels of 40 nm.
    v = 2 * np.pi * radius * 40 / 500
    shape = kernel_shape((2 * j1(v) / v) ** 2)
    assert 40 * shape.longer.fwhm == pytest.approx(diffraction_limit(1, 500), rel=0.02)


def test_a_disc_is_as_wide_as_it_is() -> None:
    rows, columns = np.indices((41, 41)) - 20.0
    disc = np.clip(9.5 - np.hypot(rows, columns), 0, 1)
    assert kernel_shape(disc).shorter.fwhm == pytest.approx(18, rel=0.02)


def test_unfit_input_is_refused() -> None:
    small = np.zeros((20, 40))
    for function in (decorrelation, half_image_correlation, lambda a: ring_correlation(a, a)):
        with pytest.raises(InputError, match="too small"):
            function(small)
        with pytest.raises(InputError, match="constant"):
            function(np.ones((80, 80)))
    with pytest.raises(InputError, match="expected the same"):
        ring_correlation(np.zeros((64, 64)), np.zeros((64, 65)))
    with pytest.raises(InputError, match="criterion is 'half'"):
        ring_correlation(low_passed(0.3), low_passed(0.3), criterion="half")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no peak"):
        decorrelation(np.random.default_rng(0).normal(size=(128, 128)))
    with pytest.raises(InputError, match=r"expected a finite \(K, K\)"):
        kernel_shape(np.zeros((5, 5)))
