"""The dock "Compare layers" in a real viewer: every mode shows, and gives the viewer back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from napari.utils._test_utils import read_only_mouse_event
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication

from napari_blindsr._napari.comparing.modes import MODES
from tests.napari.conftest import Notifications

MODE_NAMES = [mode.name for mode in MODES]
OpenComparison = Callable[..., tuple[Any, Any]]


@pytest.fixture
def open_comparison(make_napari_viewer_proxy: Callable[..., Any]) -> Iterator[OpenComparison]:
    """Return a function that makes a viewer with layers of LR, HR and one beside, and the dock."""

    def make(ndim: int = 2, *, shown: bool = False, **looks: Any) -> tuple[Any, Any]:
        viewer = make_napari_viewer_proxy(show=shown)
        lead = (3,) * (ndim - 2)
        scale = (1.0,) * (ndim - 2)
        viewer.add_image(np.ones((*lead, 8, 8)), name="beside", translate=(*scale, 0, 40))
        low = np.full((*lead, 16, 16), 100, np.float32)
        viewer.add_image(low, name="LR", scale=(*scale, 2, 2), **looks)
        high = np.full((*lead, 64, 64), 130, np.float32)
        place = (*(0.0,) * (ndim - 2), -0.75, -0.75)
        viewer.add_image(high, name="HR", scale=(*scale, 0.5, 0.5), translate=place)
        viewer.add_points([[4] * ndim], name="marks")
        viewer.reset_view()
        _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Compare layers")
        widget.compare([viewer.layers["LR"], viewer.layers["HR"]], mode="off")
        return viewer, widget

    yield make


def state(viewer: Any) -> Any:
    """Return what a comparison has to give back."""
    grid, images = viewer.canvas.grid, [x for x in viewer.layers if isinstance(x, Image)]
    return (
        [(layer.name, layer.visible) for layer in viewer.layers],
        (grid.enabled, grid.stride, tuple(grid.shape), grid.spacing),
        viewer.layers.selection.active.name,
        sorted(layer.name for layer in viewer.layers.selection),
        [(tuple(x.contrast_limits), x.gamma, x.colormap.name) for x in images],
        [tuple(x.contrast_limits_range) for x in images],
        viewer.cursor.style,
        len(viewer.mouse_drag_callbacks),
        round(viewer.scene.camera.zoom, 6),
    )


def pixels(viewer: Any) -> NDArray[np.uint8]:
    """Return the canvas of a viewer that is shown, once it has its size."""
    QApplication.processEvents()
    viewer.scene.camera.center, viewer.scene.camera.zoom = (15, 15), 10
    shot: NDArray[np.uint8] = viewer.screenshot(flash=False)
    return shot


def press(viewer: Any, kind: str, position: tuple[float, ...]) -> Any:
    handler = {
        "mouse_press": mouse_press_callbacks,
        "mouse_move": mouse_move_callbacks,
        "mouse_release": mouse_release_callbacks,
    }[kind]
    event = read_only_mouse_event(
        type=kind,
        is_dragging=kind != "mouse_press",
        position=position,
        modifiers=[],
    )
    event.handled = False
    handler(viewer.__wrapped__, event)
    return event


@pytest.fixture
def busy(open_comparison: OpenComparison) -> tuple[Any, Any]:
    """A viewer with a state of its own in all that a comparison changes."""
    viewer, widget = open_comparison(colormap="magma", gamma=0.5)
    viewer.layers["marks"].visible = False
    viewer.canvas.grid.stride = 2
    viewer.layers.selection = {viewer.layers["LR"], viewer.layers["marks"]}
    viewer.layers.selection.active = viewer.layers["LR"]
    widget.linked.value = True
    return viewer, widget


def test_switching_off_gives_the_viewer_back(busy: tuple[Any, Any]) -> None:
    viewer, widget = busy
    before = state(viewer)
    for mode in MODE_NAMES:
        widget.mode.value = mode
        assert widget.mode.value == mode
        assert state(viewer) != before
        widget.mode.value = "off"
        assert state(viewer) == before, mode
        # Links have ended: one changes alone.
        viewer.layers["LR"].gamma = 0.7
        assert viewer.layers["HR"].gamma == 1
        viewer.layers["LR"].gamma = 0.5


def test_closing_the_dock_gives_the_viewer_back(busy: tuple[Any, Any]) -> None:
    viewer, _ = busy
    before = state(viewer)
    for mode in MODE_NAMES:
        dock, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Compare layers")
        widget.compare([viewer.layers["LR"], viewer.layers["HR"]], mode=mode)
        assert state(viewer) != before
        dock.destroyOnClose()
        assert state(viewer) == before, mode


def test_removing_a_layer_gives_the_viewer_back(busy: tuple[Any, Any]) -> None:
    viewer, widget = busy
    high = viewer.layers["HR"]
    viewer.layers.remove("HR")
    without = state(viewer)
    for mode in MODE_NAMES:
        viewer.layers.insert(2, high)
        viewer.layers.selection = {viewer.layers["LR"], viewer.layers["marks"]}
        viewer.layers.selection.active = viewer.layers["LR"]
        widget.compare([viewer.layers["LR"], high], mode=mode)
        viewer.layers.remove("HR")
        assert widget.mode.value == "off"
        assert "'HR' was removed" in widget.status.value
        assert state(viewer) == without, mode


def test_from_any_mode_to_any_other(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison()
    before = state(viewer)
    for first, second in itertools.permutations(MODE_NAMES, 2):
        widget.mode.value = first
        widget.mode.value = second
        visible = {layer.name: layer.visible for layer in viewer.layers}
        assert not visible["beside"]
        assert visible["marks"] == (second != "side by side")
        assert viewer.canvas.grid.enabled == (second == "side by side")
        assert (len(viewer.layers) == 5) == (second == "difference")
    widget.mode.value = "off"
    assert state(viewer) == before


def test_the_curtain_cuts_at_one_place_of_the_world(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison(shown=True)
    low, high = viewer.layers["LR"], viewer.layers["HR"]
    low.colormap, high.colormap = "red", "green"
    low.contrast_limits = high.contrast_limits = (0, 100)
    viewer.layers["marks"].visible = False
    widget.compare([low, high], mode="curtain")
    data = low.data, high.data
    for edge in (8.0, 15.0, 22.0):
        widget._session.mode.move(0, edge)
        shot = pixels(viewer)
        column = round(shot.shape[1] / 2 + 10 * (edge - 15))
        row = shot.shape[0] // 2
        # Two pixels off the line that marks the edge.
        np.testing.assert_array_equal(shot[row, column - 3, :3], (255, 0, 0))
        np.testing.assert_array_equal(shot[row, column + 3, :3], (0, 255, 0))
    assert (low.data is data[0], high.data is data[1]) == (True, True)
    widget.edge.value = "level"
    shot = pixels(viewer)
    assert shot[row - 20, column, 0] == 255
    assert shot[row + 20, column, 1] == 255
    # Off: the upper layer lies over all of the lower one again.
    widget.mode.value = "off"
    assert pixels(viewer)[row - 20, column, 1] == 255


def test_the_edge_is_dragged(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison()
    widget.mode.value = "curtain"
    viewer.layers.selection.active = viewer.layers["marks"]
    viewer.layers["marks"].mode = "add"
    edge = float(widget._session.mode.edges[0])
    press(viewer, "mouse_move", (5, edge))
    away = press(viewer, "mouse_press", (5, edge + 5))
    assert not away.handled
    press(viewer, "mouse_release", (5, edge + 5))
    held = press(viewer, "mouse_press", (5, edge))
    assert held.handled
    assert not viewer.scene.camera.mouse_pan
    assert viewer.layers["marks"].mode == "pan_zoom"
    press(viewer, "mouse_move", (5, 20.25))
    np.testing.assert_allclose(widget._session.mode.edges, [20.25])
    assert widget.position.value == pytest.approx((20.25 + 1) / 32, abs=1e-3)
    press(viewer, "mouse_release", (5, 20.25))
    assert viewer.scene.camera.mouse_pan
    assert viewer.layers["marks"].mode == "add"
    assert len(viewer.layers["marks"].data) == 1
    # No farther than the layers reach.
    widget._session.mode.move(0, 999)
    np.testing.assert_allclose(widget._session.mode.edges, [31])
    widget.position.value = 0.25
    np.testing.assert_allclose(widget._session.mode.edges, [7], atol=0.05)


def test_three_layers_have_two_edges(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison()
    viewer.layers["beside"].translate = (0, 0)
    widget.compare([viewer.layers[name] for name in ("LR", "HR", "beside")], mode="curtain")
    curtain = widget._session.mode
    np.testing.assert_allclose(curtain.edges, np.array([1, 2]) * 32 / 3 - 1)
    # Edges do not pass each other.
    curtain.move(0, 30)
    assert curtain.edges[0] == curtain.edges[1]
    assert not widget.rows.is_shown(widget.position)


def test_a_layer_that_gets_other_data_stays_cut(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison(shown=True)
    low, high = viewer.layers["LR"], viewer.layers["HR"]
    low.colormap, high.colormap = "red", "green"
    low.contrast_limits = high.contrast_limits = (0, 100)
    viewer.layers["marks"].visible = False
    widget.compare([low, high], mode="curtain")
    high.data = np.full((64, 64), 200, np.uint16)
    shot = pixels(viewer)
    row, column = np.array(shot.shape[:2]) // 2
    assert shot[row, column - 20, 0] == 255
    assert shot[row, column + 20, 1] == 255


def test_blink_shows_one_after_the_other(open_comparison: OpenComparison, qtbot: QtBot) -> None:
    viewer, widget = open_comparison()
    widget.rate.value = 50
    widget.mode.value = "blink"
    names: list[str] = []
    for _ in range(4):
        (name,) = {x.name for x in viewer.layers if x.visible} - {"marks"}
        assert name in widget.status.value
        names.append(name)
        with qtbot.waitSignal(widget._session.changed, timeout=2000):
            pass
    assert names == ["LR", "HR", "LR", "HR"]
    widget.mode.value = "off"
    assert not widget._session.mode


def test_side_by_side_shows_the_same_region(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison()
    viewer.reset_view()
    widget.mode.value = "side by side"
    grid = viewer.canvas.grid
    assert tuple(grid.actual_shape(viewer.layers)) == (1, 2)
    cells = [viewer.layers[i].name for _, ids in grid.iter_viewboxes(viewer.layers) for i in ids]
    assert cells == ["LR", "HR"]
    # Nothing that was in sight has gone out of it.
    width = viewer.canvas.viewbox_size(viewer.layers)[1] / viewer.scene.camera.zoom
    assert width >= 32


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_difference(open_comparison: OpenComparison, ndim: int, qtbot: QtBot) -> None:
    viewer, widget = open_comparison(ndim)
    if ndim == 3:
        viewer.layers["HR"].data[2] += 7
        viewer.dims.set_point(0, 1)
    widget.mode.value = "difference"
    layer = viewer.layers["HR − LR"]
    assert layer.data.shape[-2:] == (64, 64)
    np.testing.assert_allclose(layer.data, 30)
    low, high = layer.contrast_limits
    assert low == -high
    np.testing.assert_allclose(layer.extent.world[:, -2:], viewer.layers["HR"].extent.world[:, -2:])
    assert "HR − LR" not in [widget.picker.item(i).text() for i in range(widget.picker.count())]
    if ndim == 3:
        viewer.dims.set_point(0, 2)
        qtbot.waitUntil(lambda: bool((layer.data == 37).all()), timeout=2000)
    else:
        viewer.layers["LR"].data = np.full((16, 16), 90, np.float32)
        qtbot.waitUntil(lambda: bool((layer.data == 40).all()), timeout=2000)


def test_removing_the_difference_ends_it(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison()
    before = state(viewer)
    widget.mode.value = "difference"
    viewer.layers.remove("HR − LR")
    assert widget.mode.value == "off"
    assert state(viewer) == before


def test_three_dimensions_end_it(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison(3)
    widget.mode.value = "curtain"
    viewer.dims.ndisplay = 3
    assert widget.mode.value == "off"
    assert "other axes" in widget.status.value
    viewer.dims.ndisplay = 2
    assert all(layer.visible for layer in viewer.layers)


def test_too_few_layers(open_comparison: OpenComparison, notifications: Notifications) -> None:
    viewer, widget = open_comparison()
    before = state(viewer)
    widget.picker.choose([viewer.layers["LR"].__wrapped__])
    for mode in MODE_NAMES:
        widget.mode.value = mode
        assert widget.mode.value == "off"
        assert notifications.errors()[-1] == widget.status.value
        assert "1 layers are chosen" in widget.status.value
    assert len(notifications.errors()) == len(MODE_NAMES)
    assert state(viewer) == before


def test_rgb_and_grey_are_not_subtracted(
    open_comparison: OpenComparison, notifications: Notifications
) -> None:
    viewer, widget = open_comparison()
    colour = viewer.add_image(np.zeros((64, 64, 3), np.uint8), rgb=True, name="colour")
    widget.compare([viewer.layers["LR"], colour], mode="difference")
    assert widget.mode.value == "off"
    assert "'colour' is RGB and layer 'LR' is grey" in notifications.errors()[0]
    # But they can be shown together, and the dock says why they are not linked.
    widget.linked.value = True
    widget.compare([viewer.layers["LR"], colour], mode="curtain")
    assert "RGB has no contrast limits" in widget.status.value


def test_links(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison()
    low, high = viewer.layers["LR"], viewer.layers["HR"]
    low.contrast_limits, high.contrast_limits = (0, 150), (50, 200)
    low.colormap = "magma"
    widget.mode.value = "curtain"
    assert high.colormap.name == "gray"
    widget.linked.value = True
    assert high.colormap.name == "magma"
    assert tuple(low.contrast_limits) == tuple(high.contrast_limits) == (0, 200)
    high.gamma = 0.6
    assert low.gamma == 0.6
    low.opacity = 0.5
    assert high.opacity == 1
    widget.linked.value = False
    assert (low.gamma, high.gamma, high.colormap.name) == (1, 1, "gray")
    assert tuple(high.contrast_limits) == (50, 200)


def test_what_was_linked_before_stays_linked(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison()
    low, high = (viewer.layers[name].__wrapped__ for name in ("LR", "HR"))
    viewer.layers.__wrapped__.link_layers([low, high], ("gamma",))
    widget.linked.value = True
    widget.mode.value = "curtain"
    widget.mode.value = "off"
    low.gamma = 0.4
    assert high.gamma == 0.4
    low.colormap = "red"
    assert high.colormap.name == "gray"
    viewer.layers.__wrapped__.unlink_layers([low, high])


def test_limits_of_another_order_are_not_linked(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison()
    unit = viewer.add_image(np.linspace(0, 1, 256).reshape(16, 16), name="unit")
    viewer.layers["LR"].contrast_limits = (0, 4000)
    widget.linked.value = True
    widget.compare([viewer.layers["LR"], unit], mode="blink")
    assert "limits are not linked: layer 'LR' shows 0 to 4000" in widget.status.value
    assert tuple(unit.contrast_limits) == (0, 1)
    unit.gamma = 0.5
    assert viewer.layers["LR"].gamma == 0.5


def test_what_is_suggested(open_comparison: OpenComparison) -> None:
    viewer, _ = open_comparison()
    dock, _ = viewer.window.add_plugin_dock_widget("napari-blindsr", "Compare layers")
    dock.destroyOnClose()
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Compare layers")
    # The one beside has no place in common with the others.
    assert [layer.name for layer in widget.picker.chosen()] == ["LR", "HR"]


def test_ticking_and_renaming(open_comparison: OpenComparison) -> None:
    viewer, widget = open_comparison()
    widget.mode.value = "blink"
    rows = {widget.picker.item(i).text(): widget.picker.item(i) for i in range(3)}
    assert list(rows) == ["HR", "LR", "beside"]
    rows["beside"].setCheckState(rows["HR"].checkState())
    assert [layer.name for layer in widget._session.mode.layers] == ["beside", "LR", "HR"]
    viewer.layers["beside"].name = "other"
    assert widget.picker.item(2).text() == "other"
    assert widget.mode.value == "blink"
