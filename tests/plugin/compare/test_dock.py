"""The dock "Compare layers" in a real viewer: every mode shows, and gives the viewer back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
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
from qtpy.QtWidgets import QApplication

from napari_blindsr.plugin.compare.session import MODES
from tests.plugin.conftest import Notifications

MODE_NAMES = [mode.name for mode in MODES]
OpenComparison = Callable[..., tuple[Any, Any]]


@pytest.fixture
def open_comparison(
    request: pytest.FixtureRequest, lend_viewer: Callable[[], Any]
) -> OpenComparison:
    """Return a function that makes a viewer with layers of LR, HR and one beside, and the dock."""

    def make(ndim: int = 2, *, shown: bool = False, **looks: Any) -> tuple[Any, Any]:
        if shown:
            viewer = request.getfixturevalue("make_napari_viewer_proxy")(show=True)
        else:
            viewer = lend_viewer()
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

    return make


def state(viewer: Any) -> Any:
    """Return what a comparison has to give back."""
    grid, images = viewer.canvas.grid, [x for x in viewer.layers if isinstance(x, Image)]
    return (
        [(layer.name, layer.visible) for layer in viewer.layers],
        (grid.enabled, grid.stride, tuple(grid.shape), getattr(grid, "spacing", None)),
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


def test_too_few_layers(open_comparison: OpenComparison, notifications: Notifications) -> None:
    viewer, widget = open_comparison()
    before = state(viewer)
    widget.picker.choose([viewer.layers["LR"].__wrapped__])
    for mode in MODE_NAMES:
        widget.mode.value = mode
        assert widget.mode.value == "off"
        assert notifications.errors()[-1] == widget.status.value
        assert "1 layer is chosen" in widget.status.value
    assert len(notifications.errors()) == len(MODE_NAMES)
    assert state(viewer) == before


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
