"""The part of the world that a viewer shows: fitted to layers, unless the user has moved it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QObject, QTimer

from napari_blindsr.plugin.layers.versions import camera_of, cell_size, fit_view, grid_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

MARGIN = 0.04
"""Free room around layers to which the view is fitted, as a fraction of the canvas."""
SETTLED = 100
"""Milliseconds after the last change of a dock's size until the canvas has its own."""


class View(QObject):
    """Fits the view of a viewer to layers; what the user has zoomed or moved meanwhile stays.

    Layers that are seen in whole stay so when a dock, which is watched, takes room from the canvas.
    """

    def __init__(self, viewer: ViewerModel, dock: QWidget) -> None:
        super().__init__(dock)
        self._viewer = getattr(viewer, "__wrapped__", viewer)
        self._size = cell_size(self._viewer)
        self._place = self._seen()
        # The canvas has its size once all widgets have theirs, which takes several rounds.
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._keep_whole)
        dock.installEventFilter(self)

    def hold(self) -> None:
        """Remember what is seen: only from there `fit` moves the view."""
        self._place = self._seen()

    def fit(self, layers: Sequence[Layer]) -> None:
        """Show those of these layers that are in the viewer, if `hold` saw what is seen now."""
        here = [layer for layer in layers if layer in self._viewer.layers]
        if here and self._viewer.dims.ndisplay == 2 and self._seen() == self._place:
            fit_view(self._viewer, here, margin=MARGIN)
            self.hold()

    def eventFilter(self, dock: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Look at the canvas after the dock has taken its room."""
        if event is not None and event.type() in (QEvent.Type.Resize, QEvent.Type.Show):
            self._timer.start(SETTLED)
        return bool(super().eventFilter(dock, event))

    def _seen(self) -> tuple[float, ...]:
        camera = camera_of(self._viewer)
        return (*camera.center, camera.zoom)

    def _keep_whole(self) -> None:
        if self._viewer.dims.ndisplay != 2 or grid_of(self._viewer).enabled:
            return
        before, self._size = self._size, cell_size(self._viewer)
        visible = [layer for layer in self._viewer.layers if layer.visible]
        if visible and self._holds(visible, before) and not self._holds(visible, self._size):
            moved = self._seen() != self._place
            fit_view(self._viewer, visible, margin=MARGIN)
            if not moved:
                self.hold()

    def _holds(self, layers: Sequence[Layer], size: NDArray[np.float64]) -> bool:
        """Tell whether a canvas of this height and width shows all of these layers."""
        camera, extent = camera_of(self._viewer), self._viewer.layers.get_extent(layers)
        center = np.array(camera.center[-2:])
        shown = list(self._viewer.dims.displayed)
        edges = extent.world[:, shown] + np.multiply.outer([-0.5, 0.5], extent.step[shown])
        return bool((np.abs(edges - center) <= size / camera.zoom / 2).all())
