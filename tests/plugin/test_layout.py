"""The docks share one group of tabs, fit a low window, and say why a button cannot be pressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QDockWidget, QFormLayout, QLabel

from tests.plugin.dock import click, wait_idle

TITLES = ("Blind super-resolution", "Compare layers", "Measure quality")
LOWEST = 500
"""Height in pixels that a dock needs at most."""


def docks_of(viewer: Any) -> list[QDockWidget]:
    window = viewer.window._qt_window
    found = window.findChildren(QDockWidget)
    return [dock for title in TITLES for dock in found if dock.windowTitle().startswith(title)]


def labels_of(dock: QDockWidget) -> list[str]:
    """Return the labels of the rows of a dock's forms."""
    role = QFormLayout.ItemRole.LabelRole
    items = [
        form.itemAt(row, role)
        for form in dock.findChildren(QFormLayout)
        for row in range(form.rowCount())
    ]
    widgets = [item.widget() for item in items if item is not None]
    return [widget.text().strip() for widget in widgets if isinstance(widget, QLabel)]


def test_the_docks_are_tabs_of_one_group_and_fit_a_low_window(
    make_napari_viewer: Callable[..., Any], blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(np.tile(blurred, (2, 2)), name="cells", scale=(0.1, 0.1), units=("um", "um"))
    window = viewer.window._qt_window
    # napari's own controls may need more than the docks.
    alone = window.minimumSizeHint().height()
    restore, compare, measure = (
        viewer.window.add_plugin_dock_widget("napari-blindsr", title)[1] for title in TITLES
    )
    first, *others = docks_of(viewer)
    qtbot.waitUntil(lambda: set(window.tabifiedDockWidgets(first)) == set(others))
    for button in (restore.compare_button, restore.save_button):
        assert not button.enabled
        assert "press Run first" in button.tooltip
    assert "Nothing is running" in restore.stop_button.tooltip
    restore.scale.value, restore.device.value = 2, "cpu"
    click(restore.run_button)
    wait_idle(qtbot, restore)
    for button in (restore.compare_button, restore.save_button):
        assert button.enabled
        assert "press Run first" not in button.tooltip
    restore.verdict.toggle.click()
    click(restore.compare_button)
    assert compare.mode.value == "curtain"
    click(measure.measure_button)
    qtbot.waitUntil(lambda: measure._worker is None, timeout=60_000)
    assert window.minimumSizeHint().height() <= max(LOWEST, alone + 2)
    for dock in docks_of(viewer):
        for label in labels_of(dock):
            # A field without a label shows none, and no name of the program.
            assert not label or label[0].isupper(), (dock.windowTitle(), label)
        assert dock.minimumSizeHint().height() <= LOWEST, dock.windowTitle()


def test_without_an_image_the_buttons_say_so(
    make_napari_viewer: Callable[..., Any],
) -> None:
    viewer = make_napari_viewer()
    _, restore = viewer.window.add_plugin_dock_widget("napari-blindsr", TITLES[0])
    _, measure = viewer.window.add_plugin_dock_widget("napari-blindsr", TITLES[2])
    for button in (restore.run_button, measure.measure_button):
        assert not button.enabled
        assert "open an image first" in button.tooltip
    viewer.add_image(np.eye(24), name="cells")
    assert restore.run_button.enabled
    assert "open an image first" not in restore.run_button.tooltip
