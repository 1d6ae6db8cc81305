"""Open all docks in a window of some size, and print what of their texts is cut off.

Qt reads the scale of a screen, QT_SCALE_FACTOR, when a process starts, so this is one of its own:

    QT_SCALE_FACTOR=1.5 python tests/plugin/scaled_docks.py WIDTH HEIGHT [FOLDER]

Width and height are in pixels of the screen. Pictures go into the folder, if one is given.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QDockWidget,
    QHeaderView,
    QLabel,
    QStyle,
    QStyleOptionComboBox,
    QTabBar,
    QWidget,
)

from napari_blindsr.evaluation.samples import photograph
from napari_blindsr.plugin.layers.sample_data import sample_layers

SLACK = 1
"""Pixels by which rounding may make a widget smaller."""
THEMES = ("dark", "light")


def wait(condition: Callable[[], bool] = lambda: True, seconds: float = 0.3) -> None:
    """Let the event loop run until a condition holds, and a moment for all to be painted."""
    while not condition():
        QApplication.processEvents()
        time.sleep(0.005)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()


def needed(widget: QWidget) -> tuple[str, QSize, QSize] | None:
    """Return the text of a widget, the room that it takes and the room that there is."""
    metrics = widget.fontMetrics()
    if isinstance(widget, QLabel):
        room = widget.contentsRect().adjusted(*[widget.margin()] * 2, *[-widget.margin()] * 2)
        flags = Qt.TextFlag.TextWordWrap if widget.wordWrap() else Qt.TextFlag.TextSingleLine
        text = widget.text()
        if "<" in text:
            # Of mark-up Qt knows the lines.
            height = widget.heightForWidth(widget.width()) if widget.wordWrap() else room.height()
            return text, QSize(widget.minimumSizeHint().width(), height), widget.size()
        lines = metrics.boundingRect(QRect(0, 0, room.width(), 10_000), int(flags.value), text)
        return text, lines.size(), room.size()
    if isinstance(widget, QComboBox):
        option = QStyleOptionComboBox()
        widget.initStyleOption(option)
        style = widget.style()
        assert style is not None
        field = style.subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            widget,
        )
        text = widget.currentText()
        return text, metrics.size(0, text), QSize(field.width(), widget.height())
    if isinstance(widget, QAbstractSpinBox):
        line = widget.lineEdit()
        assert line is not None
        # The cursor takes its pixels, too.
        return line.text(), metrics.size(0, line.text()) + QSize(4, 0), line.size()
    if isinstance(widget, QAbstractButton) and widget.text():
        text = widget.text()
        size = metrics.size(Qt.TextFlag.TextShowMnemonic.value, text)
        # Around the text are the box, the arrow, or the padding of the style.
        around = widget.sizeHint().width() - size.width()
        size.setWidth(size.width() + (around if isinstance(widget, QCheckBox) else 0))
        return text, size, widget.size()
    return None


def cut_off(root: QWidget) -> Iterator[str]:
    """Yield what of the texts in sight does not fit."""
    for widget in root.findChildren(QWidget):
        if not widget.isVisible() or isinstance(widget, QHeaderView):
            continue
        if isinstance(widget, QTabBar):
            for index in range(widget.count()):
                if widget.tabRect(index).right() > widget.width() + SLACK:
                    yield f"tab {widget.tabText(index)!r}"
            continue
        found = needed(widget)
        if found is None:
            continue
        text, taken, room = found
        if taken.width() > room.width() + SLACK or taken.height() > room.height() + SLACK:
            yield (
                f"{type(widget).__name__} {text[:60]!r}: takes {taken.width()} × {taken.height()}, "
                f"has {room.width()} × {room.height()}"
            )
        # What lies beyond the edge of its dock; upright all scrolls.
        left = widget.mapTo(root, widget.rect().topLeft()).x()
        if left < -SLACK or left + widget.width() > root.width() + SLACK:
            yield f"{type(widget).__name__} {text[:60]!r} is beyond the edge of its dock"


class Docks:
    """The docks in a viewer of some size, in one state after another."""

    def __init__(self, width: int, height: int, folder: Path | None) -> None:
        self.folder, self.problems = folder, list[str]()
        self.heights = dict[str, int]()
        self.viewer = napari.Viewer(show=True)
        for layer_data in sample_layers(photograph()):
            self.viewer.add_layer(Layer.create(*layer_data))
        self.window = self.viewer.window._qt_window
        ratio = self.window.devicePixelRatioF()
        self.window.resize(round(width / ratio), round(height / ratio))
        wait()
        self.height = self.window.height()

    def open(self, title: str) -> Any:
        _, widget = self.viewer.window.add_plugin_dock_widget("napari-blindsr", title)
        wait()
        if self.window.height() > self.height:
            self.problems.append(f"{title} makes the window {self.window.height()} px high")
            self.height = self.window.height()
        return widget

    def check(self, widget: Any, state: str) -> None:
        """Keep what is cut off, also once all is laid out anew."""
        wait(seconds=0.05)
        if any(cut_off(widget.native)):
            wait()
        self.problems += [f"{state}: {text}" for text in sorted({*cut_off(widget.native)})]

    def look(self, widget: Any, state: str) -> None:
        """Examine a dock in both themes."""
        native = widget.native
        dock = native.parentWidget()
        while not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        dock.raise_()
        for theme in THEMES:
            self.viewer.theme = theme
            wait()
            self.check(widget, f"{state}, {theme}")
            self.heights[state] = max(self.heights.get(state, 0), dock.minimumSizeHint().height())
            if self.folder is not None:
                self.window.grab().save(str(self.folder / f"{state}, {theme}.png"))


def choices_of(field: Any) -> Iterator[Any]:
    for value in field.choices:
        field.value = value
        yield value


def restore(docks: Docks) -> Any:
    widget = docks.open("Blind super-resolution")
    wait(lambda: bool(widget._form.found))
    docks.look(widget, "restore")
    widget.advanced.value = True
    wait()
    for method in choices_of(widget.method):
        for kernel in choices_of(widget.kernel) if method in ("fast", "ddsr") else ["auto"]:
            widget.kernel.value = kernel
            docks.check(widget, f"restore, {method}, {kernel}")
    widget.kernel.value, widget.method.value = "auto", "mlmc"
    docks.look(widget, "restore, advanced")
    widget.advanced.value, widget.channels.value, widget.steps.value = False, 16, 8
    widget.run_button.native.click()
    wait(lambda: widget._worker is None)
    docks.look(widget, "restore, curves")
    widget.verdict.toggle.click()
    docks.look(widget, "restore, details")
    return widget


def compare(docks: Docks, restored: Any) -> None:
    widget = docks.open("Compare layers")
    restored.compare_button.native.click()
    widget.profile.draw.native.click()
    for mode in [value for value in widget.mode.choices if value != "off"]:
        widget.mode.value = mode
        docks.look(widget, f"compare, {mode}")
    widget.mode.value = "off"


def measure(docks: Docks, restored: Any) -> None:
    widget = docks.open("Measure quality")
    widget.form.image.value = restored._pair[-1]
    form = widget.form
    form.reference.value = docks.viewer.layers["photograph: truth ×4"]
    form.second.value = form.second_source.value = None
    form.advanced.value = True
    widget.measure_button.native.click()
    wait(lambda: widget._worker is None)
    docks.look(widget, "measure")
    widget.panel.tabs.setCurrentIndex(1)
    for index in range(widget.panel.curves.choice.count()):
        widget.panel.curves.choice.setCurrentIndex(index)
        docks.check(widget, f"measure, curve {index}")
    docks.look(widget, "measure, curves")


def simulate(docks: Docks) -> None:
    widget = docks.open("Simulate degradation")
    docks.look(widget, "simulate")
    widget.image.value = docks.viewer.layers["photograph: truth ×4"]
    for blur in choices_of(widget.blur):
        docks.check(widget, f"simulate, {blur}")
    widget.simulate_button.native.click()
    wait()
    docks.look(widget, "simulate, done")


def main() -> None:
    """Examine all docks, and print what was found as JSON."""
    width, height = map(int, sys.argv[1:3])
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    np.seterr(all="ignore")
    docks = Docks(width, height, folder)
    restored = restore(docks)
    compare(docks, restored)
    measure(docks, restored)
    simulate(docks)
    ratio, size = docks.window.devicePixelRatioF(), docks.window.size()
    found = {
        "ratio": ratio,
        "window": [size.width(), size.height()],
        "least": docks.window.minimumSizeHint().height(),
        "heights": docks.heights,
        "problems": sorted({*docks.problems}),
    }
    sys.stdout.write(json.dumps(found, indent=1, ensure_ascii=False))
    sys.stdout.flush()
    docks.viewer.close()


if __name__ == "__main__":
    main()
