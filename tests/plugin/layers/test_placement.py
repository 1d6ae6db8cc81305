"""Results lie where their source lies, whatever its transform."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_blindsr.plugin.layers.outputs import image_layer, kernel_layer, result_layers
from napari_blindsr.plugin.layers.read import read_layer
from napari_blindsr.plugin.layers.versions import shared_units
from tests.plugin.conftest import make_result
from tests.plugin.transforms import SCALES, SHAPES, SHIFTS, SIZES, transforms


def corners(layer: Layer) -> NDArray[np.float64]:
    """Return the outer corners of a layer's outermost pixels, in the world."""
    height, width = layer.data.shape[:2]
    points = [(i, j) for i in (-0.5, height - 0.5) for j in (-0.5, width - 0.5)]
    return np.array([layer.data_to_world(point) for point in points])


def tolerance(layer: Layer) -> float:
    return 1e-9 * (1 + float(np.abs(corners(layer)).max()))


@given(transform=transforms(), scale=SCALES, shape=SHAPES)
@settings(deadline=None, max_examples=60)
def test_outer_pixel_edges_coincide(
    transform: dict[str, Any], scale: int, shape: tuple[int, int]
) -> None:
    layer = Image(np.zeros(shape), **transform)
    data = image_layer(make_result(scale=scale, shape=shape), read_layer(layer))
    np.testing.assert_allclose(
        corners(Layer.create(*data)), corners(layer), atol=tolerance(layer), rtol=0
    )


@given(
    transform=transforms(),
    scale=SCALES,
    shape=SHAPES,
    pixel=st.tuples(st.integers(0, 50), st.integers(0, 50)),
)
@settings(deadline=None, max_examples=40)
def test_benchmark_geometry_puts_pixel_j_at_j_minus_offset_over_s(
    transform: dict[str, Any], scale: int, shape: tuple[int, int], pixel: tuple[int, int]
) -> None:
    layer = Image(np.zeros(shape), **transform)
    result = make_result(scale=scale, shape=shape, geometry="benchmark")
    fine = Layer.create(*image_layer(result, read_layer(layer)))
    expected = layer.data_to_world([(j - result.offset) / scale for j in pixel])
    np.testing.assert_allclose(fine.data_to_world(pixel), expected, atol=tolerance(layer), rtol=0)


@given(size=st.tuples(SIZES, SIZES), shift=st.tuples(SHIFTS, SHIFTS), scale=SCALES)
@settings(deadline=None, max_examples=20)
def test_extents_agree_without_rotation(
    size: tuple[float, float], shift: tuple[float, float], scale: int
) -> None:
    layer = Image(np.zeros((7, 9)), scale=size, translate=shift)
    result = make_result(scale=scale, shape=(7, 9))
    fine = Layer.create(*image_layer(result, read_layer(layer)))
    np.testing.assert_allclose(fine.scale, np.array(size) / scale)
    np.testing.assert_allclose(
        fine.translate, np.array(shift) - np.array(size) * result.offset / scale
    )
    half = np.array([[-0.5], [0.5]])
    np.testing.assert_allclose(
        fine.extent.world + half * fine.scale, layer.extent.world + half * layer.scale
    )


@given(transform=transforms(), scale=SCALES, shape=SHAPES)
@settings(deadline=None, max_examples=40)
def test_the_kernel_lies_beside_the_image(
    transform: dict[str, Any], scale: int, shape: tuple[int, int]
) -> None:
    layer = Image(np.zeros(shape), **transform)
    result, source = make_result(scale=scale, shape=shape), read_layer(layer)
    kernel = Layer.create(*kernel_layer(result, source))
    right, left = corners(layer)[:, 1].max(), corners(kernel)[:, 1].min()
    assert left > right
    assert left - right <= 0.06 * np.ptp(corners(layer)[:, 1])
    assert corners(kernel)[:, 0].min() == pytest.approx(
        corners(layer)[:, 0].min(), abs=tolerance(layer)
    )
    # Its pixels are those of the restored image.
    fine = Layer.create(*image_layer(result, source))
    np.testing.assert_allclose(kernel.scale, fine.scale, rtol=1e-9)
    np.testing.assert_allclose(kernel.affine.linear_matrix, fine.affine.linear_matrix)


@pytest.mark.parametrize("geometry", ["camera", "benchmark"])
@pytest.mark.parametrize(("scale", "side"), [(2, 11), (3, 15), (4, 19), (5, 21), (8, 21)])
def test_the_kernel_is_shown_flipped_and_centred(geometry: Any, scale: int, side: int) -> None:
    layer = Image(np.zeros((9, 9)))
    result = make_result(scale=scale, shape=(9, 9), geometry=geometry, side=side)
    data, attributes, _ = kernel_layer(result, read_layer(layer))
    # The mark of the correlation kernel, off the centre by a vector, is off it by the opposite.
    mark = np.argwhere(data == np.float32(0.1))[0]
    middle = (np.array(data.shape) - 1) / 2
    np.testing.assert_allclose(mark - middle, -(np.array([0, 1]) - result.kernel_center[0]))
    body = np.where(data == np.float32(0.1), 0, data)
    centroid = [
        (body.sum(axis=1 - axis) * np.arange(n)).sum() / body.sum()
        for axis, n in enumerate(body.shape)
    ]
    np.testing.assert_allclose(centroid, middle, atol=1e-5)
    record = attributes["metadata"]["napari-blindsr"]
    assert record["kind"] == "kernel"
    assert "point spread function" in record["shown"]
    np.testing.assert_array_equal(np.array(record["correlation_kernel"], np.float32), result.kernel)
    assert data.sum() == pytest.approx(1)


def test_a_slice_of_a_stack_comes_back_at_its_slice() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(
        np.zeros((6, 8, 10)), scale=(3, 0.5, 0.25), translate=(10, -2, 4), name="stack"
    )
    viewer.dims.set_point(0, 10 + 3 * 4)
    source = read_layer(layer, viewer.dims)
    assert source.plane.index == (4, None, None)
    for data in result_layers(make_result(scale=4, shape=(8, 10)), source):
        viewer.add_layer(Layer.create(*data))
    fine = viewer.layers[-1]
    assert fine.data.shape == (1, 32, 40)
    assert fine.data_to_world((0, -0.5, -0.5)) == pytest.approx(
        layer.data_to_world((4, -0.5, -0.5))
    )
    assert fine.data_to_world((0, 31.5, 39.5)) == pytest.approx(layer.data_to_world((4, 7.5, 9.5)))
    assert fine.data_to_world((1, 0, 0))[0] == pytest.approx(layer.data_to_world((5, 0, 0))[0])
    kernel = viewer.layers[-2]
    assert kernel.data.ndim == 3
    assert kernel.data_to_world((0, 0, 0))[0] == pytest.approx(22)
    assert kernel.extent.world[0][2] > layer.extent.world[1][2]


def test_a_slice_across_the_first_axis_keeps_its_axes() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((6, 8, 10)), scale=(3, 0.5, 0.25))
    viewer.dims.order = (1, 2, 0)
    viewer.dims.set_point(1, 0.5 * 3)
    source = read_layer(layer, viewer.dims)
    assert source.plane.axes == (0, 2)
    assert source.plane.index == (None, 3, None)
    assert source.data.shape == (6, 10)
    fine = Layer.create(*image_layer(make_result(scale=2, shape=(6, 10)), source))
    assert fine.data.shape == (12, 1, 20)
    np.testing.assert_allclose(fine.scale, (1.5, 0.5, 0.125))


def test_units_stay_those_of_the_source() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(
        np.zeros((8, 9)), scale=(0.1, 0.1), units=("um", "um"), axis_labels=("y", "x")
    )
    for data in result_layers(make_result(scale=3, shape=(8, 9)), read_layer(layer)):
        added = viewer.add_layer(Layer.create(*data))
        assert added.units == layer.units
        assert added.axis_labels == ("y", "x")
    # None would mean that layers disagree.
    assert shared_units(viewer.layers) == layer.units
