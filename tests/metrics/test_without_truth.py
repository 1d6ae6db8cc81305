"""Residual and error map against cases whose answer is known, and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import chi2, kstest

from napari_blindsr.errors import InputError
from napari_blindsr.metrics import MetricInputs
from napari_blindsr.metrics import residual as residual_module
from napari_blindsr.metrics.residual import LAGS, border_margin, predict, residual
from napari_blindsr.metrics.squirrel import error_map
from napari_blindsr.physics.simulate import Degradation, degrade, gaussian_kernel

DELTA = np.ones((1, 1))


def scene(side: int = 120) -> NDArray[np.float64]:
    """Return smooth random structure of standard deviation 40 around 200."""
    rough = np.random.default_rng(3).normal(size=(side, side))
    smooth = gaussian_filter(rough, 1.5, mode="wrap")
    result: NDArray[np.float64] = 200 + 40 * smooth / smooth.std()
    return result


def white(values: NDArray[np.float64]) -> float:
    """Return the whiteness of values that are a residual in units of their noise."""
    found = residual(
        values[None], np.zeros((1, *values.shape)), DELTA, scale=1, border="extend", noise=1.0
    )
    return found.whiteness


def test_twelve_distances_and_none_twice() -> None:
    assert len(LAGS) == 12
    assert not {(-row, -column) for row, column in LAGS} & {*LAGS}


def test_white_noise_has_the_distribution_that_is_promised() -> None:
    rng = np.random.default_rng(0)
    squares = [12 * white(rng.normal(size=(50, 40))) ** 2 for _ in range(300)]
    assert kstest(squares, chi2(12).cdf).pvalue > 0.01
    assert np.mean(np.sqrt(np.array(squares) / 12) > 1.5) < 0.03


def test_whiteness_by_hand() -> None:
    # Stripes of two columns: the autocorrelation is 0, -1 along columns at 1 and 2, for each row.
    stripes = np.tile([1.0, 1.0, -1.0, -1.0], (40, 10))
    by_lag = {0: 1.0, 1: 0.0, 2: 1.0}
    expected = math.sqrt(np.mean([by_lag[abs(column)] for _, column in LAGS]) * 1600)
    assert white(stripes) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("border", ["extend", "circular"])
@pytest.mark.parametrize("geometry", ["camera", "benchmark"])
def test_the_truth_explains_all_but_the_noise(border: str, geometry: str) -> None:
    kernel = gaussian_kernel((6.0, 3.0), 0.5, scale=3, geometry=geometry)  # type: ignore[arg-type]
    made = degrade(
        scene(150),
        kernel,
        Degradation(scale=3, geometry=geometry, border=border, noise=2.0, seed=1, gain=0.5),  # type: ignore[arg-type]
    )
    options = {"image": made.truth, "source": made.image, "geometry": geometry, "border": border}
    right = MetricInputs(**options, gain=0.5, kernel=kernel, noise=2.0).residual  # type: ignore[arg-type]
    assert right.level == pytest.approx(1, abs=0.06)
    assert right.whiteness < 1.6
    # A part of a thousandth of the pixels may feel the border.
    assert right.correlation < 0.03
    turned = np.ascontiguousarray(kernel.T)
    wrong = MetricInputs(**options, gain=0.5, kernel=turned, noise=2.0).residual  # type: ignore[arg-type]
    assert wrong.level > 1.2 * right.level
    assert wrong.whiteness > 2.5
    assert wrong.correlation > 0.05


def test_borders_and_covered_pixels_do_not_count() -> None:
    kernel = gaussian_kernel((4.0, 4.0), 0.0, scale=2, size=15)
    made = degrade(scene(130), kernel, Degradation(scale=2, noise=1.0))
    source = made.image.copy()
    source[10:14, 20:30] = 4000
    source[20, 20] = np.nan
    covered = source == 4000
    found = MetricInputs(
        image=made.truth, source=source, kernel=kernel, covered=covered, noise=1.0
    ).residual
    assert found.level == pytest.approx(1, abs=0.06)
    margin = border_margin(kernel, 2)
    assert 1 <= margin <= 4
    valid = np.isfinite(found.values[0])
    assert not valid[:margin].any()
    assert not valid[10:14, 20:30].any()
    assert not valid[20, 20]
    assert valid[margin:-margin, margin:-margin].sum() == valid.sum()


def test_a_delta_predicts_the_image_itself() -> None:
    image = np.stack([scene(20), scene(20)[::-1]])
    options = {"geometry": "camera", "border": "extend"}
    assert np.array_equal(predict(image, DELTA, scale=1, **options), image)  # type: ignore[arg-type]
    corner = np.zeros((3, 3))
    # Correlation: the element at row 0, column 2 looks up and to the right.
    corner[0, 2] = 1
    moved = predict(image, corner, scale=2, gain=3.0, **options)  # type: ignore[arg-type]
    assert np.allclose(moved[0, 1:, :-1], 3 * image[0, 1:-2:2, 1:-2:2])


@pytest.mark.parametrize("border", ["extend", "circular"])
@pytest.mark.parametrize("geometry", ["camera", "benchmark"])
def test_a_prediction_in_strips_is_that_of_the_whole(
    border: str, geometry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.stack([scene(60)[:, :36], scene(60)[::-1, :36]])
    kernel = gaussian_kernel((6.0, 2.0), 0.5, scale=3, geometry=geometry)  # type: ignore[arg-type]
    options = {"scale": 3, "geometry": geometry, "border": border}
    whole = predict(image, kernel, **options)  # type: ignore[arg-type]
    # Two rows at a time.
    monkeypatch.setattr(residual_module, "STRIP", 2 * len(image) * 12 * kernel.size)
    np.testing.assert_allclose(predict(image, kernel, **options), whole, rtol=1e-12)  # type: ignore[arg-type]
    made = degrade(
        image[0],
        kernel,
        Degradation(scale=3, geometry=geometry, border=border),  # type: ignore[arg-type]
    )
    assert whole.shape == (2, 20, 12)
    if border == "circular":
        np.testing.assert_allclose(whole[0], made.image, rtol=1e-4)


def test_the_noise_of_a_residual_is_the_root_mean_square() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(1, 40, 40))
    source[:, 20:] *= 3
    found = residual(source, np.zeros_like(source), DELTA, scale=1, border="extend", noise=3.0)
    assert found.noise == pytest.approx(3.0)


def test_residuals_need_noise_and_pixels() -> None:
    flat = np.full((1, 40, 40), 7.0)
    with pytest.raises(InputError, match="no noise is found"):
        residual(flat, flat, DELTA, scale=1, border="extend")
    wide = np.ones((35, 35)) / 35**2
    with pytest.raises(InputError, match="at least 64"):
        residual(flat, flat, wide, scale=1, border="extend")
    with pytest.raises(InputError, match="expected the same"):
        residual(flat, flat[:, 1:], DELTA, scale=1, border="extend")


# RSE and RSP


def blurred(image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Blur by scipy, with a Gaussian that is cut off at the borders."""
    low, whole = (
        gaussian_filter(values, sigma, mode="constant", truncate=9)
        for values in (image, np.ones_like(image))
    )
    result: NDArray[np.float64] = low / whole
    return result


def test_a_result_that_explains_its_source_has_no_error() -> None:
    image = scene()
    found = error_map(image, 3 * blurred(image, 1.7) - 40, offset=0.0)
    assert found.rse < 0.2
    assert found.rsp == pytest.approx(1, abs=1e-4)
    inner = found.error[12:-12, 12:-12]
    assert inner.max() < 0.2
    assert found.sigma == pytest.approx(1.7, rel=0.01)
    assert (found.factor, found.offset) == pytest.approx((3, -40), rel=0.02)


def test_error_by_hand() -> None:
    # An error that blurred results of any width cannot take up: a chequerboard of ±5.
    image = blurred(scene(), 2.0)
    board = 5.0 * (1 - 2 * (np.indices(image.shape).sum(axis=0) % 2))
    smooth = blurred(image, 1.0)
    found = error_map(image, smooth + board, offset=0.0)
    assert found.rse == pytest.approx(5, rel=1e-3)
    assert np.allclose(found.error[12:-12, 12:-12], 5, atol=0.2)
    # Correlation of a signal with itself and a disturbance that it knows nothing of.
    expected = smooth.std() / math.hypot(smooth.std(), 5)
    assert found.rsp == pytest.approx(expected, rel=1e-3)


def test_agrees_with_a_search_by_scipy() -> None:
    """A finer result; blurred by scipy where pixels of the source lie on those of the result."""
    rng = np.random.default_rng(8)
    image = scene(93)
    source = blurred(image, 4.1)[1::3, 1::3] * 0.7 + rng.normal(0, 2, (31, 31))
    found = error_map(image, source, offset=1.0)
    best = math.inf
    for sigma in np.arange(2.0, 8.0, 0.05):
        predicted = blurred(image, float(sigma))[1::3, 1::3]
        slope, level = np.polyfit(predicted.ravel(), source.ravel(), 1)
        error = math.sqrt(np.mean((source - slope * predicted - level) ** 2))
        if error < best:
            best, rsp, width = error, np.corrcoef(source.ravel(), predicted.ravel())[0, 1], sigma
    assert found.rse == pytest.approx(best, rel=1e-3)
    assert found.rse <= best
    assert found.rsp == pytest.approx(rsp, rel=1e-3)
    assert 3 * found.sigma == pytest.approx(width, abs=0.1)


def test_errors_show_where_they_are() -> None:
    kernel = gaussian_kernel((4.0, 4.0), 0.0, scale=2, size=15)
    made = degrade(scene(130), kernel, Degradation(scale=2))
    false = made.truth.astype(float)
    false[40:46, 60:66] += 300
    error = MetricInputs(image=false, source=made.image).error_map.error
    place = np.unravel_index(np.argmax(error), error.shape)
    assert np.abs(np.array(place) - [21, 31]).max() <= 2
    assert np.isnan(
        MetricInputs(
            image=false, source=made.image, covered=np.eye(len(error), dtype=bool)
        ).error_map.error.diagonal()
    ).all()


def test_unfit_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="whole multiple"):
        error_map(np.zeros((20, 20)), np.zeros((9, 10)), offset=0)
    with pytest.raises(InputError, match="constant"):
        error_map(np.zeros((20, 20)), np.zeros((10, 10)), offset=0)
