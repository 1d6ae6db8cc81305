"""What one sees without touching the view: a sample at once, and a result beside its source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_blindsr.plugin.layers.versions import camera_of
from napari_blindsr.plugin.restore import preview
from tests.helpers import PATIENCE
from tests.plugin.conftest import DockMaker
from tests.plugin.dock import LONG, assert_seen, click, edges, seen, wait_idle


@pytest.mark.parametrize("key", ["fluorescence", "micrograph", "photograph"])
def test_a_sample_shows_its_image_at_once(lend_viewer: Callable[[], Any], key: str) -> None:
    viewer = lend_viewer()
    truth, psf, image = viewer.open_sample("napari-blindsr", key)
    assert (truth.visible, psf.visible, image.visible) == (False, False, True)
    assert viewer.layers.selection.active == image
    assert_seen(viewer, image)
    # It fills the canvas one way or the other.
    low, high = seen(viewer)
    assert (np.ptp(edges(image), axis=0) / (high - low)).max() > 0.8


def test_the_view_is_fitted_to_source_and_result(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(blurred, method="fast")
    source = viewer.layers[0]
    source.contrast_limits = (20, 150)
    camera = camera_of(viewer)
    camera.center, camera.zoom = (500, 500), 10
    click(widget.run_button)
    wait_idle(qtbot, widget)
    for layer in viewer.layers:
        assert_seen(viewer, layer)
    assert viewer.layers[-1].contrast_limits == [20, 150]
    # The point spread function lies beside both.
    assert edges(viewer.layers[1])[0][1] > edges(source)[1][1]


def test_previews_are_in_sight_and_a_detail_looked_at_meanwhile_stays(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "PERIOD", 0.0)
    viewer, widget = open_dock(blurred, steps=LONG)
    camera = camera_of(viewer)
    click(widget.run_button)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=1000 * PATIENCE)
    for layer in viewer.layers:
        assert_seen(viewer, layer)
    camera.center, camera.zoom = (5, 8), 90
    before = seen(viewer)
    qtbot.waitUntil(lambda: widget.stop_button.enabled, timeout=1000 * PATIENCE)
    click(widget.stop_button)
    wait_idle(qtbot, widget)
    assert viewer.layers[-1].metadata["napari-blindsr"]["kind"] == "image"
    np.testing.assert_allclose(seen(viewer), before)


def test_a_region_in_sight_stays_in_sight(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(np.tile(blurred, (4, 4)), method="fast")
    camera = camera_of(viewer)
    camera.center, camera.zoom = (48, 48), 20
    widget.region.value = "view"
    before = seen(viewer)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    np.testing.assert_allclose(seen(viewer), before)


def test_the_dock_says_which_plane_of_a_stack_is_restored(
    open_dock: DockMaker, blurred: NDArray[Any]
) -> None:
    viewer, widget = open_dock(np.stack([blurred] * 3))
    viewer.layers[0].axis_labels = ("z", "y", "x")
    viewer.dims.set_point(0, 2)
    assert widget._form.size_row.value.startswith("Only the plane on display (Z=2) · 24 × 24")
    widget.planes.value = "all"
    assert widget._form.size_row.value.startswith("24 × 24")


def test_axes_without_labels_are_guessed_and_can_be_corrected(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(np.stack([blurred, blurred[::-1]]), method="fast")
    layer, axes = viewer.layers[0], widget._form.axes
    assert widget._form.is_shown(axes)
    assert axes.value == "CYX"
    unlabelled = layer.axis_labels
    # Two planes need not be channels.
    axes.value = "Z"
    assert layer.axis_labels == unlabelled
    axes.value = "zyx"
    assert layer.axis_labels == ("z", "y", "x")
    # Labels that are given elsewhere hold.
    layer.axis_labels = ("time", "y", "x")
    assert axes.value == "TYX"
    widget.finish.value, widget.planes.value = "measurement", "all"
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert layer.axis_labels == ("time", "y", "x")
    assert viewer.layers[-1].axis_labels == ("time", "y", "x")


def test_one_kernel_per_channel_obeys_the_axes(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(np.stack([blurred, blurred[::-1]]), method="fast")
    widget.finish.value, widget.planes.value = "measurement", "all"
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert viewer.layers[0].axis_labels == ("c", "y", "x")
    record = viewer.layers["image 0 PSF ×2 (fast)"].metadata["napari-blindsr"]
    assert len(record["correlation_kernels"]) == 2


@pytest.mark.parametrize("zoomed", [False, True])
def test_a_dock_covers_nothing_that_was_seen_in_whole(
    make_napari_viewer: Callable[..., Any], qtbot: QtBot, zoomed: bool
) -> None:
    viewer = make_napari_viewer(show=True)
    # Wider than the image is high, so that room at the side is what counts.
    image = viewer.add_image(np.eye(40, 80))
    viewer.window.resize(1200, 700)
    qtbot.wait(100)
    viewer.reset_view()
    assert_seen(viewer, image)
    if zoomed:
        camera_of(viewer).zoom *= 2
    before, width = seen(viewer), viewer.canvas.size[1]
    viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    qtbot.waitUntil(lambda: viewer.canvas.size[1] < width)
    qtbot.wait(200)
    if zoomed:
        # The middle stays in the middle, as large as it was.
        np.testing.assert_allclose(seen(viewer).mean(axis=0), before.mean(axis=0))
        assert np.ptp(seen(viewer), axis=0)[1] < np.ptp(before, axis=0)[1]
    else:
        assert_seen(viewer, image)


def test_a_dock_that_grows_covers_nothing_either(
    make_napari_viewer: Callable[..., Any], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 700)
    image = viewer.add_image(np.eye(40, 80))
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    qtbot.wait(200)
    viewer.reset_view()
    width = viewer.canvas.size[1]
    widget.native.setMinimumWidth(widget.native.width() + 100)
    qtbot.waitUntil(lambda: viewer.canvas.size[1] < width)
    qtbot.wait(200)
    assert_seen(viewer, image)


mouse: Any = QTest


def choose(qtbot: QtBot, viewer: Any, *path: str) -> None:
    """Click through the menus of the window to an entry, and choose it."""
    menu: Any = viewer.window._qt_window.menuBar()
    for text in path:
        qtbot.waitUntil(menu.isVisible)
        entry = next(one for one in menu.actions() if one.text().replace("&", "").startswith(text))
        mouse.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(entry).center())
        menu = entry.menu()


def changed_by(viewer: Any, layer: Any) -> float:
    """Return the share of the canvas that looks different without a layer."""
    pictures = []
    for visible in (False, True):
        layer.visible = visible
        pictures.append(viewer.screenshot(canvas_only=True, flash=False).astype(int))
    return float((np.abs(pictures[0] - pictures[1]).max(axis=-1) > 2).mean())


@pytest.mark.parametrize("sample", [True, False])
def test_two_choices_lead_to_a_visible_result(
    make_napari_viewer: Callable[..., Any],
    blurred: NDArray[Any],
    qtbot: QtBot,
    sample: bool,
) -> None:
    viewer = make_napari_viewer(show=True)
    if sample:
        choose(qtbot, viewer, "File", "Open Sample", "napari-blindsr", "Fluorescence")
        qtbot.waitUntil(lambda: len(viewer.layers) == 3)
    else:
        viewer.add_image(blurred, name="image")
    source = viewer.layers.selection.active
    # The first choice opens the dock, the second is its button.
    choose(qtbot, viewer, "Plugins", "napari-blindsr", "Blind super-resolution")
    (widget,) = viewer.window.dock_widgets.values()
    button = widget.run_button.native
    qtbot.waitUntil(button.isVisible)
    mouse.mouseClick(button, Qt.MouseButton.LeftButton)
    assert widget._worker is not None
    wait_idle(qtbot, widget)
    result = viewer.layers.selection.active
    assert result.metadata["napari-blindsr"]["source"]["layer"] == source.name
    assert result.visible
    assert_seen(viewer, result)
    assert changed_by(viewer, result) > 0.1
