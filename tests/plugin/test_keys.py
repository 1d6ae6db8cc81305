"""Keys that work while a dock is in front, whether it or the image has the focus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.utils.shortcuts import default_shortcuts
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtGui import QAction, QKeySequence  # type: ignore[attr-defined]
from qtpy.QtTest import QTest

from napari_blindsr.plugin.compare.session import MODES
from tests.plugin.dock import wait_idle

click_key: Any = QTest.keyClick
KEYS = ("F5", "Shift+F5", "F6", "Shift+F6")


@pytest.mark.parametrize("focus", ["dock", "viewer"])
def test_keys_run_and_compare(
    make_napari_viewer: Callable[..., Any], blurred: NDArray[Any], qtbot: QtBot, focus: str
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(blurred, name="cells")
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    widget.scale.value, widget.device.value = 2, "cpu"
    window = viewer.window._qt_window
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    canvas = window._qt_viewer.canvas.native
    target = widget.scale.native if focus == "dock" else canvas
    target.setFocus()
    click_key(target, Qt.Key.Key_F5)
    # Qt shows the button pressed for a moment.
    qtbot.waitUntil(lambda: widget._worker is not None)
    wait_idle(qtbot, widget)
    assert len(viewer.layers) == 3
    click_key(target, Qt.Key.Key_F6)
    title = "Compare layers (napari-blindsr)"
    qtbot.waitUntil(lambda: title in viewer.window.dock_widgets)
    comparison = viewer.window.dock_widgets[title]
    qtbot.waitUntil(comparison.native.isVisible)
    assert comparison.mode.value == "curtain"
    seen = []
    names = [mode.name for mode in MODES]
    for _ in names:
        click_key(canvas, Qt.Key.Key_F6, Qt.KeyboardModifier.ShiftModifier)
        seen.append(comparison.mode.value)
    assert sorted(seen) == sorted(names)


def test_napari_has_no_use_for_the_keys(make_napari_viewer: Callable[..., Any]) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(np.eye(24))
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    used = {str(key) for keys in default_shortcuts.values() for key in keys}
    used |= {str(key) for key in (*viewer.keymap, *viewer.layers[0].keymap)}
    actions = viewer.window._qt_window.findChildren(QAction)
    used |= {action.shortcut().toString() for action in actions}
    assert used.isdisjoint(KEYS)
    buttons = widget.run_button, widget.stop_button, widget.compare_button
    assert [QKeySequence(button.native.shortcut()).toString() for button in buttons] == [*KEYS[:3]]
    assert widget.run_button.tooltip.endswith("Key: F5")
