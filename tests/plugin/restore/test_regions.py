"""Regions in the dock: what is drawn or visible is restored, and lands in its place."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from napari.components import ViewerModel
from napari.layers import Image, Layer, Shapes
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr import Box, restore
from napari_blindsr.errors import InputError
from napari_blindsr.evaluation.samples import Camera, fluorescent_cells
from napari_blindsr.plugin.layers.read import find_plane
from napari_blindsr.plugin.layers.shapes import VIEW, read_region
from napari_blindsr.types import Geometry
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import click, wait_advice, wait_idle
from tests.plugin.transforms import transforms

KERNEL = np.full((5, 5), 1 / 25, np.float32)
CELLS = Camera().expose(fluorescent_cells((64, 80), seed=3), seed=3)
BOX = np.array([(9.5, 19.5), (9.5, 43.5), (27.5, 43.5), (27.5, 19.5)])
"""Outer edges of the pixels in rows 10 to 27, columns 20 to 43."""
REGION = Box(top=10, left=20, bottom=28, right=44)
TURNED: dict[str, Any] = {"scale": (0.4, 0.3), "translate": (3, -2), "rotate": 30}


def on_image(points: NDArray[Any], image: Layer, layer: Layer) -> NDArray[np.float64]:
    """Return points given in pixels of an image in the coordinates of another layer."""
    return np.array([layer.world_to_data(image.data_to_world(point)) for point in points])


def shifted(rows: float, columns: float) -> NDArray[np.float64]:
    """Return the box further down and right."""
    moved: NDArray[np.float64] = np.add(BOX, (rows, columns))
    return moved


def region_of(choice: Any, image: Image, viewer: ViewerModel | None = None) -> Box | None:
    viewer = viewer or ViewerModel()
    return read_region(choice, image, find_plane(image, viewer.dims), viewer)


@given(of_image=transforms(), of_shapes=transforms())
@settings(deadline=None, max_examples=25)
def test_the_box_of_what_is_drawn(of_image: dict[str, Any], of_shapes: dict[str, Any]) -> None:
    image = Image(np.zeros((64, 80)), **of_image)
    layer = Shapes(ndim=2, **of_shapes)
    layer.add_polygons(on_image(BOX, image, layer))
    assert region_of(layer, image) == REGION


def test_selected_shapes_or_all() -> None:
    image = Image(np.zeros((64, 80)))
    layer = Shapes([BOX, shifted(20, 10), shifted(200, 0)], shape_type="rectangle")
    layer.selected_data = {1}
    assert region_of(layer, image) == REGION.moved(20, 10)
    layer.selected_data = {0, 1}
    assert region_of(layer, image) == Box(top=10, left=20, bottom=48, right=54)
    # What lies beyond the image is cut.
    layer.selected_data = set()
    assert region_of(layer, image) == Box(top=10, left=20, bottom=64, right=54)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "the region, layer 'here', holds no shapes"),
        ([BOX + 100], "the region, layer 'here', lies outside of layer 'image'"),
        ([BOX[:, ::-1] / 4], r"covers 6 × 4 pixels of layer 'image'; expected at least 16"),
    ],
)
def test_what_is_no_region(shapes: Any, message: str) -> None:
    layer = Shapes(shapes or None, shape_type="rectangle", name="here", ndim=2)
    with pytest.raises(InputError, match=message):
        region_of(layer, Image(np.zeros((64, 80)), name="image"))


def test_shapes_of_other_slices_count_for_stacks_only() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 64, 80)), scale=(3, 1, 1))
    layer = viewer.add_shapes([np.insert(BOX, 0, 6, axis=1)], shape_type="polygon")
    viewer.dims.set_point(0, 6)
    assert region_of(layer, image, viewer) == REGION
    viewer.dims.set_point(0, 9)
    with pytest.raises(InputError, match="no shapes on the slice on display"):
        region_of(layer, image, viewer)
    plane = find_plane(image, viewer.dims)
    assert read_region(layer, image, plane, viewer, any_slice=True) == REGION


def test_the_visible_field_of_view() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((3, 64, 80)), scale=(1, 0.5, 0.5), translate=(0, 5, 7))
    viewer.canvas.size = (90, 120)
    viewer.scene.camera.zoom = 10
    # 9 × 12 in the world: 18 × 24 pixels.
    viewer.scene.camera.center = (0, 5 + 0.5 * 18.5, 7 + 0.5 * 31.5)
    assert region_of(VIEW, image, viewer) == REGION
    viewer.scene.camera.zoom = 0.1
    assert region_of(VIEW, image, viewer) == Box.whole((64, 80))
    viewer.scene.camera.center = (0, 1000, 0)
    with pytest.raises(InputError, match="visible field of view lies outside"):
        region_of(VIEW, image, viewer)


def corners(layer: Layer, box: Box) -> NDArray[np.float64]:
    """Return the outer corners of a box of pixels of a layer, in the world."""
    lead = (0,) * (layer.ndim - 2)
    rows, columns = (box.top - 0.5, box.bottom - 0.5), (box.left - 0.5, box.right - 0.5)
    return np.array([layer.data_to_world((*lead, i, j)) for i in rows for j in columns])


def known(viewer: Any, widget: Any) -> None:
    psf = viewer.add_image(KERNEL, name="psf", visible=False)
    widget.kernel.value, widget.kernel_layer.value = "known", psf
    widget.finish.value = "measurement"


@pytest.mark.parametrize("geometry", ["camera", "benchmark"])
def test_a_region_lands_in_its_place(
    open_dock: DockMaker, qtbot: QtBot, geometry: Geometry
) -> None:
    viewer, widget = open_dock(method="fast")
    known(viewer, widget)
    widget.geometry.value = geometry
    image = viewer.add_image(CELLS, name="cells", **TURNED)
    layer = viewer.add_shapes(ndim=2, name="here", scale=(3, 2), rotate=-50)
    layer.add_polygons(on_image(BOX, image, layer))
    widget.image.value, widget.region.value = image, layer
    assert widget._form.size_row.value.startswith("18 × 24 → 36 × 48 px")
    click(widget.run_button)
    wait_idle(qtbot, widget)
    fine = viewer.layers["cells ×2 (fast)"]
    assert fine.data.shape == (36, 48)
    whole = restore(
        CELLS, scale=2, kernel=KERNEL, finish="measurement", geometry=geometry, device="cpu"
    )
    place = REGION.scaled(2).slices
    span = np.ptp(whole.image)
    assert np.abs(fine.data - whole.image[place]).max() < 0.02 * span
    # Corner by corner: HR pixel j lies at LR coordinate (j − δ)/s.
    at = [
        (10 + (row - whole.offset) / 2, 20 + (column - whole.offset) / 2)
        for row in (-0.5, 35.5)
        for column in (-0.5, 47.5)
    ]
    target = np.array([image.data_to_world(point) for point in at])
    np.testing.assert_allclose(corners(fine, Box.whole((36, 48))), target, atol=1e-9)
    if geometry == "camera":
        np.testing.assert_allclose(corners(image, REGION), target, atol=1e-9)
    record = fine.metadata["napari-blindsr"]
    assert record["region"] == [10, 20, 28, 44]
    # The kernel lies beside the whole image, where it covers nothing.
    psf = viewer.layers["cells PSF ×2 (fast)"]
    assert psf.extent.world[0][1] > corners(image, Box.whole(CELLS.shape))[:, 1].max()


def test_of_a_large_lazy_plane_the_region_is_read(open_dock: DockMaker, qtbot: QtBot) -> None:
    large = np.tile(CELLS, (8, 8))
    read: list[int] = []

    def block(values: NDArray[Any]) -> NDArray[Any]:
        read.append(values.size)
        return values

    viewer, widget = open_dock(method="fast")
    known(viewer, widget)
    levels = [da.from_array(large, chunks=(64, 80)).map_blocks(block, meta=large[:0, :0])]
    levels.append(levels[0][::8, ::8])
    image = viewer.add_image(levels, name="cells", multiscale=True, contrast_limits=(0, 1000))
    layer = viewer.add_shapes([shifted(128, 160)], shape_type="rectangle", name="here")
    layer.visible = image.visible = False
    widget.image.value, widget.region.value = image, layer
    # The suggested scale is estimated from the image as well, once it is chosen.
    wait_advice(qtbot, widget)
    read.clear()
    click(widget.run_button)
    wait_idle(qtbot, widget)
    fine = viewer.layers["cells ×2 (fast)"]
    assert fine.data.shape == (36, 48)
    # 128 pixels are read, which takes 3 × 3 chunks at most.
    # The region itself once more, for its resolution.
    assert sum(read) <= 10 * 64 * 80
    np.testing.assert_allclose(
        corners(fine, Box.whole((36, 48))), corners(image, REGION.moved(128, 160)), atol=1e-9
    )


def test_a_region_of_every_plane(open_dock: DockMaker, qtbot: QtBot) -> None:
    viewer, widget = open_dock(method="fast")
    known(viewer, widget)
    stack = np.stack([CELLS, CELLS[::-1], CELLS[:, ::-1]])
    image = viewer.add_image(
        stack, name="cells", scale=(2, 0.5, 0.5), translate=(4, 1, 1), axis_labels=("t", "y", "x")
    )
    layer = viewer.add_shapes([0.5 * BOX + 1], shape_type="rectangle", name="here")
    widget.image.value, widget.region.value = image, layer
    widget.planes.value, widget.range.value = "range", "T=1:"
    assert widget._form.size_row.value.startswith("18 × 24 → 36 × 48 px · 2 planes")
    click(widget.run_button)
    wait_idle(qtbot, widget)
    fine = viewer.layers["cells ×2 (fast)"]
    assert fine.data.shape == (2, 36, 48)
    low = fine.data_to_world((0, -0.5, -0.5))
    np.testing.assert_allclose(low, image.data_to_world((1, 9.5, 19.5)))
    high = fine.data_to_world((1, 35.5, 47.5))
    np.testing.assert_allclose(high, image.data_to_world((2, 27.5, 43.5)))


def test_the_view_and_bad_regions(
    open_dock: DockMaker, qtbot: QtBot, notifications: Notifications
) -> None:
    viewer, widget = open_dock(method="fast")
    known(viewer, widget)
    image = viewer.add_image(CELLS, name="cells")
    layer = viewer.add_shapes([BOX + 100], shape_type="rectangle", name="here")
    widget.image.value, widget.region.value = image, layer
    assert not widget.run_button.enabled
    assert "lies outside of layer 'cells'" in widget.run_button.tooltip
    assert notifications.errors() == []
    layer.data = [BOX]
    assert widget.run_button.enabled
    assert widget._form.size_row.value.startswith("18 × 24 →")
    widget.region.value = VIEW
    viewer.scene.camera.center = (0, 32, 40)
    viewer.scene.camera.zoom = min(viewer.canvas.size) / 40
    shown = widget._form.size_row.value
    assert not shown.startswith("64 × 80 →")
    click(widget.run_button)
    wait_idle(qtbot, widget)
    fine = viewer.layers["cells ×2 (fast)"]
    assert shown.startswith(f"{fine.data.shape[0] // 2} × {fine.data.shape[1] // 2} →")
    middle = (fine.extent.world[0] + fine.extent.world[1]) / 2
    np.testing.assert_allclose(middle, (32, 40), atol=0.75)
    viewer.layers.remove("here")
    assert widget.region.value == VIEW
