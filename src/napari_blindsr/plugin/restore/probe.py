"""The devices of this machine, found in the background once the dock has been painted."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from napari_blindsr.plugin.widgets.devices import DeviceReport, probe_devices

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

PERIOD = 100
"""Milliseconds between making the dock and looking for devices, and between looks."""


class DeviceProbe:
    """Looks for devices, and calls `found` with them on the main thread."""

    def __init__(self, parent: QWidget, found: Callable[[DeviceReport], None]) -> None:
        self.answer: Future[DeviceReport] | None = None
        self._found = found
        # As a child of the dock it ends with it.
        self._timer = QTimer(parent)
        self._timer.timeout.connect(self._look)
        self._timer.start(PERIOD)

    def _look(self) -> None:
        """Start to look when the dock has been painted; later, fetch the answer."""
        if self.answer is None:
            # No worker of napari's: those cannot outlive its window, and importing torch may.
            executor = ThreadPoolExecutor(max_workers=1)
            self.answer = executor.submit(probe_devices)
            executor.shutdown(wait=False)
        elif self.answer.done():
            self._timer.stop()
            self._found(self.answer.result())
