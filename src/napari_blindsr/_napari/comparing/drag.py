"""Edges on the canvas that can be taken hold of with the mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray

GRIP = 7.0
"""How near the pointer has to come to an edge, in pixels of the canvas."""


class EdgeDrag:
    """Lets the mouse move positions along one axis of the world.

    Near an edge the pointer becomes a hand, and the button moves the edge; what it does
    otherwise, to move the camera or to draw in the active layer, waits meanwhile.

    Parameters
    ----------
    viewer : ViewerModel
    axis : int
        Of the world.
    edges : callable
        Returns where they are, (n,).
    move : callable
        Takes the number of an edge and where it is to go.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        axis: int,
        edges: Callable[[], NDArray[np.float64]],
        move: Callable[[int, float], None],
    ) -> None:
        self._viewer, self._axis, self._edges, self._move = viewer, axis, edges, move
        self._cursor: Any = None
        # One object each: callbacks are removed by comparison.
        self._hover, self._drag = self._on_hover, self._on_drag
        viewer.mouse_move_callbacks.append(self._hover)
        viewer.mouse_drag_callbacks.append(self._drag)

    def remove(self) -> None:
        """Let go of the mouse."""
        self._viewer.mouse_move_callbacks.remove(self._hover)
        self._viewer.mouse_drag_callbacks.remove(self._drag)
        self._point(near=False)

    def _on_hover(self, _: Any, event: Any) -> None:
        self._point(near=self._under(event) is not None)

    def _on_drag(self, _: Any, event: Any) -> Iterator[None]:
        number = self._under(event)
        if number is None:
            return
        camera, active = self._viewer.scene.camera, self._viewer.layers.selection.active
        panning, mode = camera.mouse_pan, None if active is None else active.mode
        if active is not None:
            # The active layer hears of the same button, after the viewer.
            active.mode = "pan_zoom"
        camera.mouse_pan = False
        event.handled = True
        try:
            yield
            while event.type == "mouse_move":
                self._move(number, float(event.position[self._axis]))
                event.handled = True
                yield
        finally:
            if active is not None and active in self._viewer.layers:
                active.mode = mode
            camera.mouse_pan = panning

    def _under(self, event: Any) -> int | None:
        """Return the edge under the pointer."""
        away = np.abs(self._edges() - event.position[self._axis])
        nearest = int(np.argmin(away))
        reach = GRIP / self._viewer.scene.camera.zoom
        return nearest if away[nearest] <= reach else None

    def _point(self, *, near: bool) -> None:
        cursor = self._viewer.cursor
        if near and self._cursor is None:
            self._cursor, cursor.style = cursor.style, "pointing"
        elif not near and self._cursor is not None:
            cursor.style, self._cursor = self._cursor, None
