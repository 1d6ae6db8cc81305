"""Layers in the same place, one after the other."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QTimer

from napari_blindsr._napari.comparing.mode import Mode, ModeOptions
from napari_blindsr._napari.comparing.state import show


class Blink(Mode):
    """Shows one layer at a time, at a chosen rate."""

    name = "blink"
    label = "Blink"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.shown = 0
        self._timer = QTimer()
        self._timer.timeout.connect(self.advance)

    def enter(self) -> None:
        """Show the first layer, and start."""
        self.without_grid()
        self.only(visible=False)
        show(self.layers[0], visible=True)
        self.set_options(self.options)

    def set_options(self, options: ModeOptions) -> None:
        """Take another rate."""
        super().set_options(options)
        self._timer.start(round(1000 / options.rate))

    def leave(self) -> None:
        """Stop."""
        self._timer.stop()

    def text(self) -> str:
        """Return which layer is on display."""
        return f"On display: {self.layers[self.shown].name}"

    def advance(self) -> None:
        """Show the next layer."""
        before, self.shown = self.layers[self.shown], (self.shown + 1) % len(self.layers)
        # The next one first, so that no frame is empty.
        show(self.layers[self.shown], visible=True)
        show(before, visible=False)
        self.changed.emit()
