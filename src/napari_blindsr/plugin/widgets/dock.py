"""What all docks do alike: one group of tabs, buttons that say why they cannot be pressed."""

from __future__ import annotations

import traceback

from magicgui.widgets import PushButton
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

MARK = "napari-blindsr-dock"
"""Name of what the plugin docks, by which the others find it."""
USUAL = "usual-tooltip"


def share_tabs_when_docked(native: QWidget) -> None:
    """Put a widget that is being docked into one group of tabs with the plugin's other docks."""
    native.setObjectName(MARK)
    # napari has not put the dock into its window yet. As a child the timer ends with it.
    timer = QTimer(native)
    timer.setSingleShot(True)
    timer.timeout.connect(lambda: share_tabs(native))
    timer.start(0)


def share_tabs(native: QWidget) -> None:
    """Put the dock of a widget before the plugin's other docks in the same place."""
    own = _dock_of(native)
    window = None if own is None else own.parentWidget()
    if own is None or own.isFloating() or not isinstance(window, QMainWindow):
        return
    area = window.dockWidgetArea(own)
    group = [
        dock
        for dock in window.findChildren(QDockWidget)
        if dock.findChild(QWidget, MARK) is not None
        and not dock.isFloating()
        and window.dockWidgetArea(dock) == area
    ]
    # Several may have been added before the first one had its turn.
    first, *others = group
    if not others:
        return
    for other in others:
        if other not in window.tabifiedDockWidgets(first):
            window.tabifyDockWidget(first, other)
    own.show()
    own.raise_()


def _dock_of(native: QWidget) -> QDockWidget | None:
    parent = native.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def allow(button: PushButton, reason: str = "") -> None:
    """Enable a button, or disable it and say in its tooltip why.

    Parameters
    ----------
    button : PushButton
    reason : str
        Why it cannot be pressed; empty if it can.
    """
    native = button.native
    if native.property(USUAL) is None:
        native.setProperty(USUAL, button.tooltip)
    button.enabled = not reason
    button.tooltip = reason or native.property(USUAL)


def clear_frames(error: BaseException | None) -> None:
    """Let go of what an error's traceback, and those of its causes, hold."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__
