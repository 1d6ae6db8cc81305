"""Profiles along lines, and the widths of their peaks."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_blindsr.errors import InputError
from napari_blindsr.metrics.line_profile import fit_peak, profile_table, sample_line, trace_line
from napari_blindsr.metrics.spatial_image import SpatialImage


def plane(data: Any, size: float = 1.0) -> SpatialImage:
    return SpatialImage(data=np.asarray(data), linear=size * np.eye(2), origin=np.zeros(2))


def test_points_on_a_path() -> None:
    line = trace_line([(0, 0), (0, 3), (0, 3), (4, 3)], step=1)
    np.testing.assert_allclose(line.distance, np.arange(8))
    np.testing.assert_allclose(
        line.points[[0, 2, 3, 5, 7]], [(0, 0), (0, 2), (0, 3), (2, 3), (4, 3)]
    )
    np.testing.assert_allclose(np.abs(line.normals[[0, 7]]), [(1, 0), (0, 1)])


@given(
    start=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
    end=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
    step=st.floats(0.01, 3),
)
@settings(deadline=None, max_examples=50)
def test_spacing(start: tuple[float, float], end: tuple[float, float], step: float) -> None:
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    if length < 1e-3:
        return
    line = trace_line([start, end], step)
    np.testing.assert_allclose(line.points[[0, -1]], [start, end], atol=1e-9)
    np.testing.assert_allclose(np.diff(line.distance), line.step)
    assert line.step <= step * (1 + 1e-6) or len(line.distance) == 2
    assert line.distance[-1] == pytest.approx(length)


@pytest.mark.parametrize(
    ("vertices", "step", "match"),
    [
        ([(1, 1), (1, 1)], 1, "no length"),
        ([(1, 1)], 1, "no length"),
        ([(1, 1, 1), (2, 2, 2)], 1, r"\(2, 3\)"),
        ([(1, np.nan), (2, 2)], 1, "finite"),
        ([(1, 1), (2, 2)], 0, "step"),
    ],
)
def test_lines_that_are_none(vertices: Any, step: float, match: str) -> None:
    with pytest.raises(InputError, match=match):
        trace_line(vertices, step)


def test_pixels_of_any_size_give_the_same_profile() -> None:
    row, column = np.mgrid[:40, :60].astype(float)
    fine = plane(3 * row - 2 * column)
    coarse = plane((3 * row - 2 * column)[::2, ::2], size=2)
    line = trace_line([(5.3, 4), (30, 50.2)], 0.5)
    expected = 3 * line.points[:, 0] - 2 * line.points[:, 1]
    np.testing.assert_allclose(sample_line(fine, line), expected, atol=1e-9)
    np.testing.assert_allclose(sample_line(coarse, line), expected, atol=1e-9)


def test_a_width_is_averaged_across() -> None:
    image = plane((np.arange(31.0)[:, None] - 15) ** 2 + np.zeros((31, 20)))
    line = trace_line([(15, 2), (15, 15)], 1)
    # The mean of t² over −w/2 … w/2 is w²/12; linear interpolation adds 1/6 to t².
    np.testing.assert_allclose(sample_line(image, line, width=12), 12 + 1 / 6, atol=0.1)
    with pytest.raises(InputError, match="width"):
        sample_line(image, line, width=-1)


def test_beyond_the_image_there_is_nothing() -> None:
    line = trace_line([(1, -3), (1, 6)], 1)
    values = sample_line(plane(np.ones((3, 4))), line)
    np.testing.assert_array_equal(np.isfinite(values), (line.distance >= 3) & (line.distance <= 6))


def test_the_table_reads_back() -> None:
    line = trace_line([(0, 0), (0, 2)], 1)
    text = profile_table(
        line, {'a, "b"': np.array([1, np.nan, 3.5])}, units=("nm", "µm"), axes=("z", "x")
    )
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["distance (µm)", "z (nm)", "x (µm)", 'a, "b"']
    assert rows[1:] == [["0", "0", "0", "1"], ["1", "0", "1", ""], ["2", "0", "2", "3.5"]]


@given(
    sigma=st.floats(0.3, 2),
    center=st.floats(7, 13),
    height=st.sampled_from([-5e4, -1, 1e-6, 1, 300, 5e4]),
    base=st.floats(-1, 1),
    unit=st.sampled_from([1e-3, 1, 1e3]),
)
@settings(deadline=None, max_examples=50)
def test_a_gaussian_is_found_exactly(
    sigma: float, center: float, height: float, base: float, unit: float
) -> None:
    place = np.linspace(0, 20, 201)
    values = height * (base + np.exp(-((place - center) ** 2) / (2 * sigma**2)))
    peak = fit_peak(unit * place, values)
    # From the curve itself: where it is half way up.
    above = place[np.abs(values - height * base) >= abs(height) / 2]
    assert peak.fwhm / unit == pytest.approx(np.ptp(above) + 0.1, abs=0.11)
    assert peak.fwhm / unit == pytest.approx(2.354820045 * sigma, rel=1e-3)
    assert peak.center / unit == pytest.approx(center, abs=1e-3)
    assert peak.amplitude == pytest.approx(height, rel=1e-2)
    assert peak.r_squared > 0.999
    inside = np.isfinite(peak.at(unit * place))
    np.testing.assert_allclose(
        peak.at(unit * place)[inside], values[inside], atol=1e-3 * abs(height)
    )


def test_noise_moves_it_little_and_a_neighbour_not_much() -> None:
    rng = np.random.default_rng(2)
    place = np.linspace(0, 30, 301)
    values = 100 * np.exp(-((place - 10) ** 2) / 8) + 80 * np.exp(-((place - 22) ** 2) / 8)
    peak = fit_peak(place, 20 + values + rng.normal(0, 3, 301))
    assert peak.center == pytest.approx(10, abs=0.1)
    assert peak.fwhm == pytest.approx(2.3548 * 2, rel=0.05)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.ones(50), "flat"),
        (np.arange(50.0), "wider than the line|no Gaussian"),
        (np.full(50, np.nan), "0 values"),
        (np.array([0.0, 1, 0]), "3 values"),
        (np.ones((5, 2)), "shapes"),
    ],
)
def test_profiles_without_a_peak(values: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        fit_peak(np.arange(len(values), dtype=float), values)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(0, 5))
@settings(deadline=None, max_examples=80)
def test_any_profile_ends_in_a_peak_or_a_reason(values: list[float], missing: int) -> None:
    heights = np.array(values)
    heights[: missing % len(values)] = np.nan
    try:
        peak = fit_peak(np.arange(len(values), dtype=float), heights)
    except InputError:
        return
    assert peak.fwhm > 0
    assert 0 <= peak.low < peak.center < peak.high <= len(values) - 1
