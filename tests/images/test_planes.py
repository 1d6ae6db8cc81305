from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_blindsr.errors import InputError
from napari_blindsr.images.planes import (
    Planes,
    find_covered,
    result_array,
    to_intensities,
    to_planes,
    window_of,
)
from napari_blindsr.images.tiling import Box
from napari_blindsr.physics.kernel_files import check_kernel

DTYPES = st.sampled_from([np.uint8, np.uint16, np.int16, np.float32, np.float64])


def turned_back(planes: Planes) -> NDArray[np.float32]:
    """Return planes as an array in the axes and intensities that they came from."""
    height, width = planes.data.shape[1:]
    array = result_array((height, width), planes)
    view = np.moveaxis(array, 0, -1) if planes.axes == "CYX" else array
    values = to_intensities(np.moveaxis(planes.data, 0, -1), planes)
    view[...] = values[..., 0] if planes.axes == "YX" else values
    return array


@given(
    array=DTYPES.flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            st.tuples(st.integers(2, 6), st.integers(2, 6)),
            elements={"min_value": 0, "max_value": 200},
        )
    ),
    geometry=st.sampled_from(["camera", "benchmark"]),
)
@settings(deadline=None)
def test_planes_can_be_turned_back(array: NDArray[Any], geometry: Any) -> None:
    # Differences that single precision cannot hold are refused, which other tests look at.
    assume(float(array.max()) - float(array.min()) > 1e-30)
    planes = to_planes(array, axes=None, geometry=geometry)
    back = turned_back(planes)
    assert planes.data.dtype == back.dtype == np.float32
    # What float32 cannot hold comes back as 0.
    tolerance = 1e-6 * (abs(planes.low) + planes.span) + float(np.finfo(np.float32).tiny)
    np.testing.assert_allclose(back, array, rtol=1e-6, atol=tolerance)


@pytest.mark.parametrize(
    ("shape", "axes", "planes"),
    [
        ((5, 6), None, (1, 5, 6)),
        ((5, 6, 3), None, (3, 5, 6)),
        ((5, 6, 3), "YXC", (3, 5, 6)),
        ((4, 5, 6), "CYX", (4, 5, 6)),
    ],
)
def test_axes(shape: tuple[int, ...], axes: str | None, planes: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random(shape)
    result = to_planes(array, axes=axes, geometry="camera")
    assert result.data.shape == planes
    np.testing.assert_allclose(turned_back(result), array, atol=1e-6)


def test_benchmark_uses_the_range_of_the_type() -> None:
    array = np.array([[10, 200], [30, 40]], dtype=np.uint8)
    planes = to_planes(array, axes=None, geometry="benchmark")
    np.testing.assert_allclose(planes.data[0], array / 255)


def test_camera_uses_the_range_of_the_data_with_room_below() -> None:
    planes = to_planes(np.array([[1000, 1400]], np.uint16), axes=None, geometry="camera")
    assert (planes.low, planes.low + planes.span) == (900, 1400)
    counts = to_planes(np.array([[10, 400]], np.uint16), axes=None, geometry="camera")
    assert counts.low == 0


@pytest.mark.parametrize(
    ("array", "axes", "words"),
    [
        (np.zeros((3, 4, 5)), None, "3 × 4 × 5"),
        (np.zeros(7), None, "the image is 7;"),
        (np.float64(3), None, "a single number"),
        (np.array("cells.tif"), None, "read a file first"),
        (np.array(Path("cells.tif")), None, "read a file first"),
        (np.zeros((0, 4)), None, "empty"),
        (np.full((4, 4), 7), None, "constant (every value is 7)"),
        (np.array([[1, np.nan], [np.inf, 2]]), None, "2 values that are NaN or infinite"),
        (np.array([["a", "b"]]), None, "expected integers or floating point"),
        (np.array([[True, False]]), None, "type bool"),
        (np.array([[1j, 2]]), None, "type complex128"),
        (np.zeros((3, 4)), "ZYX", "axes are 'ZYX'"),
        (np.zeros((3, 4)), "CYX", "mean 3 dimensions"),
    ],
)
def test_what_is_no_image_is_named(array: NDArray[Any], axes: str | None, words: str) -> None:
    with pytest.raises(InputError) as error:
        to_planes(array, axes=axes, geometry="camera")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_kernel_is_normalised_and_made_odd() -> None:
    kernel = check_kernel(np.ones((4, 4), dtype=np.uint8))
    assert kernel.shape == (5, 5)
    assert kernel.dtype == np.float32
    assert kernel.sum() == pytest.approx(1)
    assert kernel[4].sum() == kernel[:, 4].sum() == 0


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones((3, 4)), "3 × 4"),
        (np.ones(3), "expected a square"),
        (np.zeros((3, 3)), "sum 0"),
        (-np.ones((3, 3)), "sum -9"),
        (np.full((3, 3), np.nan), "no finite numbers"),
        (np.array([[0, -1, 0], [0, 5, 0], [0, 0, 0.0]]), "-20% of its peak"),
    ],
)
def test_what_is_no_kernel_is_named(array: NDArray[Any], words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        check_kernel(array)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda ramp: 1e300 * ramp, "single precision holds: divide them"),
        (lambda ramp: 1e-310 * ramp, "multiply them"),
        (lambda ramp: 1e15 + ramp, "subtract it"),
        (lambda ramp: -1e15 + ramp, "subtract it"),
    ],
)
def test_values_that_single_precision_cannot_hold(
    values: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    ramp = np.arange(64.0).reshape(8, 8)
    with pytest.raises(InputError, match=message):
        to_planes(values(ramp), axes="YX", geometry="camera")


def test_usual_backgrounds_are_held() -> None:
    ramp = np.arange(64).reshape(8, 8) % 4
    for image in ((65532 + ramp).astype(np.uint16), 1e-20 * ramp, 1e30 * ramp):
        planes = to_planes(image, axes="YX", geometry="camera")
        back = to_intensities(planes.data[0], planes)
        np.testing.assert_allclose(back, image, rtol=1e-6)


@pytest.mark.parametrize("axes", ["YX", "YXC"])
def test_masked_pixels_are_missing(axes: str) -> None:
    image = np.arange(64.0 * (3 if axes == "YXC" else 1)).reshape(8, 8, -1)[
        ..., slice(None) if axes == "YXC" else 0
    ]
    hidden = np.zeros(image.shape, bool)
    hidden[2, 3] = True
    masked = np.ma.masked_array(np.where(hidden, 1e12, image), hidden)
    covered = find_covered(masked, axes=axes, mask=None, saturated=False)
    assert covered.sum() == 1
    assert covered[2, 3]
    planes = to_planes(masked, axes=axes, geometry="camera")
    assert planes.measured is not None
    np.testing.assert_array_equal(~planes.measured, covered)
    assert planes.span < 1000
    window = window_of(masked, axes, Box(top=2, left=0, bottom=8, right=8))
    assert np.ma.is_masked(window)


def test_all_reasons_to_be_missing_count() -> None:
    values = np.arange(20.0).reshape(4, 5)
    values[1, 1] = np.nan
    image = np.ma.MaskedArray(values, mask=values == 13)
    mask = np.zeros((4, 5), dtype=bool)
    mask[0, 3] = True
    missing = find_covered(image, axes="YX", mask=mask, saturated=False)
    assert sorted(map(tuple, np.argwhere(missing))) == [(0, 3), (1, 1), (2, 3)]


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_saturation_of_cameras_in_wider_types(bits: int) -> None:
    bright = np.random.default_rng(0).normal(2**bits, 2**bits / 3, (64, 64))
    image = np.clip(bright, 0, 2**bits - 1).astype(np.uint16)
    covered = find_covered(image, axes="YX", mask=None, saturated=True)
    np.testing.assert_array_equal(covered, image == 2**bits - 1)
    # A single pixel there ends a distribution by chance.
    image = np.clip(bright / 3, 0, 2**bits - 2).astype(np.uint16)
    image[0, 0] = 2**bits - 1
    assert find_covered(image, axes="YX", mask=None, saturated=True).sum() == (bits == 16)
