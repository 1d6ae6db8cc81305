"""Masks from layers of labels and shapes."""

from __future__ import annotations

import json
from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes
from numpy.typing import NDArray

from napari_blindsr.errors import InputError
from napari_blindsr.plugin.layers.inputs import MaskInput
from napari_blindsr.plugin.layers.read import read_layer
from napari_blindsr.plugin.layers.shapes import read_mask
from tests.plugin.transforms import transforms

TURNED: dict[str, Any] = {"scale": (0.4, 0.4), "translate": (3, -2), "rotate": 30}
BOX = np.array([(3.5, 5.5), (3.5, 13.5), (9.5, 13.5), (9.5, 5.5)])
"""Outer edges of the pixels in rows 4 to 9, columns 6 to 13."""


def boxed(shape: tuple[int, int] = (16, 20)) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[4:10, 6:14] = True
    return mask


def read(layer: Any, image: Image, viewer: ViewerModel | None = None) -> MaskInput:
    dims = (viewer or ViewerModel()).dims
    return read_mask(layer, read_layer(image, dims), dims)


def on_image(points: NDArray[Any], image: Image, layer: Shapes) -> NDArray[np.float64]:
    """Return points given in pixels of an image in the coordinates of another layer."""
    return np.array([layer.world_to_data(image.data_to_world(point)) for point in points])


def test_labels_cover_where_they_are_not_zero() -> None:
    labels = np.zeros((16, 20), np.uint8)
    labels[2, 3], labels[5:7, 8:] = 7, 1
    mask = read(Labels(labels, name="dust"), Image(np.zeros((16, 20)), **TURNED))
    np.testing.assert_array_equal(mask.covered, labels != 0)
    record = json.loads(json.dumps(mask.provenance()))
    assert (record["layer"], record["kind"]) == ("dust", "labels")
    assert record["covered"] == (labels != 0).sum()


def test_a_mask_does_not_follow_its_layer() -> None:
    labels = np.zeros((16, 20), np.uint8)
    mask = read(Labels(labels), Image(np.zeros((16, 20))))
    labels[:] = 1
    assert not mask.covered.any()


def test_labels_of_another_size_name_both_sizes() -> None:
    with pytest.raises(InputError, match=r"layer 'dust', is 16 × 19; expected 16 × 20"):
        read(Labels(np.zeros((16, 19), int), name="dust"), Image(np.zeros((16, 20))))
    with pytest.raises(InputError, match="is 3 × 16 × 20; expected 16 × 20"):
        read(Labels(np.zeros((3, 16, 20), int)), Image(np.zeros((16, 20))))


def test_labels_of_a_stack_are_cut_as_the_image_is() -> None:
    viewer = ViewerModel()
    stack = da.zeros((4, 4, 20), dtype=int) + np.eye(4, dtype=int)[:, :, None]
    image = viewer.add_image(np.zeros((4, 4, 20)))
    viewer.dims.set_point(0, 2)
    mask = read(Labels(stack), image, viewer)
    np.testing.assert_array_equal(mask.covered, np.arange(4)[:, None].repeat(20, axis=1) == 2)
    # A plane serves for every slice, a shorter stack does not.
    plane = np.ones((4, 20), int)
    assert read(Labels(plane), image, viewer).covered.all()
    with pytest.raises(InputError, match="is 2 × 4 × 20; expected 4 × 20"):
        read(Labels(np.ones((2, 4, 20), int)), image, viewer)


@given(of_image=transforms(), of_shapes=transforms())
@settings(deadline=None, max_examples=40)
def test_shapes_cover_the_pixels_that_they_lie_on(
    of_image: dict[str, Any], of_shapes: dict[str, Any]
) -> None:
    image = Image(np.zeros((16, 20)), **of_image)
    layer = Shapes(ndim=2, **of_shapes)
    layer.add_polygons(on_image(BOX, image, layer))
    np.testing.assert_array_equal(read(layer, image).covered, boxed())


def test_a_rectangle_drawn_on_a_plain_image() -> None:
    layer = Shapes([BOX], shape_type="rectangle", name="dust")
    mask = read(layer, Image(np.zeros((16, 20))))
    np.testing.assert_array_equal(mask.covered, boxed())
    assert (mask.name, mask.kind) == ("dust", "shapes")


def test_an_ellipse_covers_its_inside() -> None:
    image = Image(np.zeros((40, 50)), **TURNED)
    layer = Shapes(ndim=2, scale=(3, 3), rotate=-50)
    box = np.array([(10, 5), (10, 45), (30, 45), (30, 5)])
    layer.add_ellipses(on_image(box, image, layer))
    row, column = np.mgrid[:40, :50]
    radius = np.hypot((row - 20) / 10, (column - 25) / 20)
    covered = read(layer, image).covered
    assert covered[radius < 0.98].all()
    assert not covered[radius > 1.02].any()


@pytest.mark.parametrize("kind", ["line", "path"])
def test_lines_cover_their_width(kind: str) -> None:
    layer = Shapes(np.array([(6.0, 2.0), (6.0, 12.0)]), shape_type=kind, edge_width=3)
    covered = read(layer, Image(np.zeros((16, 20)))).covered
    rows, columns = np.nonzero(covered)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 7, 2, 12)
    assert covered.sum() == 3 * 11


def test_shapes_outside_of_the_image_are_cut() -> None:
    layer = Shapes([BOX + 12, BOX + 100], shape_type="polygon")
    expected = np.zeros((16, 20), dtype=bool)
    expected[16:, 18:] = True
    covered = read(layer, Image(np.zeros((16, 20)))).covered
    np.testing.assert_array_equal(covered, expected)
    assert not read(Shapes(ndim=2), Image(np.zeros((16, 20)))).covered.any()


def test_of_a_stack_the_shapes_of_the_slice_cover() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 16, 20)), scale=(3, 1, 1))
    viewer.dims.set_point(0, 6)
    third, fourth = (np.insert(BOX + shift, 0, z, axis=1) for z, shift in ((6, 0), (9, 1)))
    layer = viewer.add_shapes([third, fourth], shape_type="polygon")
    np.testing.assert_array_equal(read(layer, image, viewer).covered, boxed())
    # Those of a plane are on every slice; a plane is on every slice of theirs.
    flat = viewer.add_shapes([BOX], shape_type="polygon")
    np.testing.assert_array_equal(read(flat, image, viewer).covered, boxed())
    plane = viewer.add_image(np.zeros((16, 20)))
    np.testing.assert_array_equal(read(layer, plane, viewer).covered, boxed())


def test_other_layers_are_no_masks() -> None:
    with pytest.raises(InputError, match="expected a layer of labels or shapes"):
        read(Points(ndim=2), Image(np.zeros((16, 20))))
