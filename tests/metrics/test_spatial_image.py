"""Sampling and resampling in the world, against interpolation written out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_blindsr.errors import InputError
from napari_blindsr.metrics.spatial_image import SpatialImage, difference


def placed(data: Any, *, size: float = 1.0, turn: float = 0.0, at: Any = (0, 0)) -> SpatialImage:
    matrix = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return SpatialImage(data=np.asarray(data), linear=matrix, origin=np.asarray(at, dtype=float))


def bilinear(data: NDArray[Any], row: float, column: float) -> float:
    """Interpolate between four pixels, with the outermost ones extended by half a pixel."""
    height, width = data.shape
    if not (-0.5 <= row <= height - 0.5 and -0.5 <= column <= width - 0.5):
        return float("nan")
    row, column = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    i, j = min(int(row), height - 2), min(int(column), width - 2)
    s, t = row - i, column - j
    top = (1 - t) * data[i, j] + t * data[i, j + 1]
    bottom = (1 - t) * data[i + 1, j] + t * data[i + 1, j + 1]
    return float((1 - s) * top + s * bottom)


@given(
    turn=st.floats(-3, 3),
    size=st.floats(0.1, 10),
    shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    pixel=st.tuples(st.floats(-2, 8), st.floats(-2, 9)),
)
@settings(deadline=None, max_examples=60)
def test_sampling_is_bilinear_in_the_world(
    turn: float, size: float, shift: tuple[float, float], pixel: tuple[float, float]
) -> None:
    data = np.random.default_rng(0).random((7, 8))
    image = placed(data, size=size, turn=turn, at=shift)
    point = np.array(shift) + size * np.array(
        [
            pixel[0] * np.cos(turn) - pixel[1] * np.sin(turn),
            pixel[0] * np.sin(turn) + pixel[1] * np.cos(turn),
        ]
    )
    near_edge = min(abs(pixel[0] + 0.5), abs(pixel[0] - 6.5), abs(pixel[1] + 0.5)) < 1e-4
    if not near_edge and abs(pixel[1] - 7.5) > 1e-4:
        np.testing.assert_allclose(image.sample(point), bilinear(data, *pixel), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_integers_are_interpolated_as_numbers(dtype: Any) -> None:
    image = placed(np.array([[0, 1], [2, 201]], dtype))
    assert image.sample((0.5, 0.5)) == pytest.approx(51)


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_resampling_is_sampling_at_the_other_grid(turn: float) -> None:
    rng = np.random.default_rng(1)
    coarse = placed(rng.random((6, 5)), size=4, turn=turn, at=(1.5, 1.5))
    fine = placed(rng.random((24, 21)))
    points = np.moveaxis(np.mgrid[:24, :21], 0, -1)
    np.testing.assert_allclose(coarse.resampled(fine), coarse.sample(points), atol=1e-6)


def test_the_edges_of_a_finer_image_coincide() -> None:
    coarse, fine = placed(np.ones((3, 4)), size=2, at=(0.5, 0.5)), placed(np.ones((6, 8)))
    np.testing.assert_allclose(coarse.bounds(), fine.bounds())
    assert np.isfinite(coarse.resampled(fine)).all()


@pytest.mark.parametrize("swapped", [False, True])
def test_the_difference_lies_on_the_finer_grid(swapped: bool) -> None:
    ramp = np.add.outer(np.arange(16.0), 2 * np.arange(12.0))
    fine = placed(ramp)
    # A ramp is what it is at any pixel size: linear interpolation is exact inside.
    coarse = placed(ramp.reshape(8, 2, 6, 2).mean(axis=(1, 3)) - 3, size=2, at=(0.5, 0.5))
    values, grid = difference(coarse, fine) if swapped else difference(fine, coarse)
    assert grid is fine
    np.testing.assert_allclose(values[1:-1, 1:-1], -3 if swapped else 3, atol=1e-5)


def test_what_only_one_covers_has_no_difference() -> None:
    values, _ = difference(placed(np.ones((4, 4))), placed(np.ones((4, 4)), at=(0, 2)))
    assert np.isnan(values[:, :2]).sum() + np.isnan(values[:, 2:]).sum() == 8
    with pytest.raises(InputError, match="no place in common"):
        difference(placed(np.ones((4, 4))), placed(np.ones((4, 4)), at=(0, 9)))


@pytest.mark.parametrize(
    ("data", "matrix", "match"),
    [
        (np.ones((3, 3, 3)), np.eye(2), r"\(3, 3, 3\)"),
        (np.ones((0, 3)), np.eye(2), r"\(0, 3\)"),
        (np.ones((3, 3)), np.eye(3), r"\(3, 3\)"),
        (np.ones((3, 3)), np.ones((2, 2)), "no inverse"),
    ],
)
def test_refusals(data: Any, matrix: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        SpatialImage(data=data, linear=matrix, origin=np.zeros(2))
