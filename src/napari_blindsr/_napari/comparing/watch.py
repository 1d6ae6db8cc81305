"""Calls back when what is on display of some layers changes: their pixels, place or slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QTimer

PERIOD = 40
"""Milliseconds between two calls at least: 25 a second."""
PLACE = ("scale", "translate", "rotate", "shear", "affine", "units")


class PlaneWatcher:
    """Gathers changes and calls back once for all that come within a short time.

    Parameters
    ----------
    viewer : ViewerModel
    layers : sequence of Layer
    callback : callable
        Takes nothing.
    moving : bool
        Whether to call back also while shapes are being moved, before they are let go.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        layers: Sequence[Layer],
        callback: Callable[[], None],
        *,
        moving: bool = False,
    ) -> None:
        self._events = ("data", *PLACE, *(("set_data",) if moving else ()))
        self._viewer, self._layers, self._callback = viewer, list(layers), callback
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(PERIOD)
        self._timer.timeout.connect(callback)
        for emitter in self._emitters():
            emitter.connect(self._changed)

    def remove(self) -> None:
        """Call back no more."""
        self._timer.stop()
        for emitter in self._emitters():
            emitter.disconnect(self._changed)

    def _changed(self, *_: Any) -> None:
        # Not put off by further changes: a line that is dragged is followed while it moves.
        if not self._timer.isActive():
            self._timer.start()

    def _emitters(self) -> list[Any]:
        dims = self._viewer.dims.events
        return [
            dims.current_step,
            *(getattr(layer.events, name) for layer in self._layers for name in self._events),
        ]
