"""One orientation for the eight of an image."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_blindsr.images.planes import Orientation, canonical

ALL = [
    Orientation(rows=rows, columns=columns, transposed=transposed)
    for rows, columns, transposed in product((False, True), repeat=3)
]


def eight(planes: NDArray[Any]) -> list[NDArray[Any]]:
    """Return planes (C, h, w) turned by multiples of 90°, and mirrored."""
    turned = [np.rot90(planes, count, (1, 2)) for count in range(4)]
    return [*turned, *(one[:, ::-1] for one in turned)]


@settings(deadline=None)
@given(
    channels=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_the_eight_orientations_of_an_image_become_one(
    channels: int, height: int, width: int, seed: int
) -> None:
    planes = np.random.default_rng(seed).random((channels, height, width), dtype=np.float32)
    first, *others = (canonical(one).apply(one) for one in eight(planes))
    # Two moments that differ by less than rounding would have no larger one; here, a single row or
    # column has one moment only, and a single pixel none.
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("turn", ALL, ids=str)
@pytest.mark.parametrize("shape", [(5, 8), (2, 5, 8), (2, 3, 7, 7)])
def test_undoing_inverts(turn: Orientation, shape: tuple[int, ...]) -> None:
    planes = np.random.default_rng(0).random(shape)
    np.testing.assert_array_equal(turn.undo(turn.apply(planes)), planes)
    np.testing.assert_array_equal(turn.apply(turn.undo(planes)), planes)
    tensor = torch.from_numpy(planes)
    np.testing.assert_array_equal(turn.apply(tensor).numpy(), turn.apply(planes))
    np.testing.assert_array_equal(turn.undo(tensor).numpy(), turn.undo(planes))


@pytest.mark.parametrize("turn", ALL, ids=str)
def test_the_rotations_of_an_orientation(turn: Orientation) -> None:
    planes = np.random.default_rng(0).random((2, 5, 7))
    upright = turn.apply(planes)
    found = [one.apply(planes).tobytes() for one in turn.rotations()]
    expected = [np.rot90(upright, count, (1, 2)).tobytes() for count in range(4)]
    assert found[:2] == expected[::2]
    assert sorted(found) == sorted(expected)


def test_the_eight_are_all_there_are() -> None:
    planes = np.random.default_rng(0).random((1, 4, 4))
    found = {turn.apply(planes).tobytes() for turn in ALL}
    assert found == {np.ascontiguousarray(one).tobytes() for one in eight(planes)}


def test_it_is_brightest_at_the_lower_right() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        planes = rng.random((1, 12, 9))
        plane = canonical(planes).apply(planes)[0]
        rows, columns = (np.arange(n) - (n - 1) / 2 for n in plane.shape)
        down, right = (
            float((plane.sum(axis=1) * rows).sum()) / plane.size,
            float((plane.sum(axis=0) * columns).sum()) / plane.size,
        )
        assert down > 0
        assert right > 0
        assert down > right


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_what_is_the_same_all_over_stays_as_it_is(value: float) -> None:
    assert canonical(np.full((2, 6, 7), value)) == Orientation()


def test_neither_brightness_nor_contrast_matter() -> None:
    planes = np.random.default_rng(1).random((2, 10, 13))
    assert canonical(40 * planes + 7) == canonical(planes)
