"""The curtain: layers in one place, each on its own side of an edge that can be dragged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_blindsr.plugin.compare.canvas import EdgeLines, WorldClip, canvas_of
from napari_blindsr.plugin.compare.mode import Mode, ModeOptions
from napari_blindsr.plugin.compare.planes import world_factors
from napari_blindsr.plugin.layers.inputs import Frame
from napari_blindsr.plugin.layers.read import find_plane
from napari_blindsr.plugin.layers.versions import camera_of


class Curtain(Mode):
    """Cuts n layers at n − 1 positions of the world, whatever their pixels are."""

    name = "curtain"
    label = "Curtain"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._clips: list[WorldClip] = []
        self._lines: EdgeLines | None = None
        self._drag: EdgeDrag | None = None
        self._low, self._high = 0.0, 1.0
        self.edges: NDArray[np.float64] = np.zeros(0)

    def enter(self) -> None:
        """Show all layers, cut at evenly spaced edges."""
        canvas = canvas_of(self.viewer)
        self.without_grid()
        self.only()
        # Across all of them together; edges at the middle, or at thirds, and so on.
        axis = self._axis
        reaches = [_reach(layer, self.viewer) for layer in self.layers]
        self._low = min(float(low[axis]) for low, _ in reaches)
        self._high = max(float(high[axis]) for _, high in reaches)
        self._clips = [WorldClip(canvas, layer) for layer in self.layers]
        count = len(self.layers)
        self.edges = self._low + (self._high - self._low) * np.arange(1, count) / count
        on_canvas = self._on_canvas
        self._lines = EdgeLines(canvas, on_canvas, self.edges.tolist())
        self._drag = EdgeDrag(self.viewer, axis, lambda: self.edges, self.move)
        self._place()

    def set_options(self, options: ModeOptions) -> None:
        """Apply edges that run the other way."""
        turned = options.edge != self.options.edge
        super().set_options(options)
        if turned:
            self.leave()
            self.enter()

    def leave(self) -> None:
        """Show the layers whole again."""
        if self._drag is not None:
            self._drag.remove()
        if self._lines is not None:
            self._lines.remove()
        for clip in self._clips:
            clip.remove()
        self._clips, self._lines, self._drag = [], None, None

    def text(self) -> str:
        """Return which layer is where."""
        way = "From left to right" if self.options.edge == "upright" else "From top to bottom"
        return f"{way}: " + ", ".join(layer.name for layer in self.layers) + ". Drag the edge."

    @property
    def fraction(self) -> float:
        """Where the first edge is, between the ends of the layers, from 0 to 1."""
        return float((self.edges[0] - self._low) / (self._high - self._low))

    @fraction.setter
    def fraction(self, value: float) -> None:
        self.move(0, self._low + value * (self._high - self._low))

    def move(self, number: int, position: float) -> None:
        """Move an edge to a position of the world, at most as far as its neighbours."""
        bounds = np.concatenate([[self._low], self.edges, [self._high]])
        self.edges[number] = np.clip(position, bounds[number], bounds[number + 2])
        self._place()
        self.changed.emit()

    @property
    def _axis(self) -> int:
        """The axis of the world across the edges."""
        return int(self.viewer.dims.displayed[-1 if self.options.edge == "upright" else -2])

    @property
    def _on_canvas(self) -> int:
        return 0 if self.options.edge == "upright" else 1

    def _place(self) -> None:
        bounds: Sequence[float] = [-np.inf, *self.edges.tolist(), np.inf]
        for clip, low, high in zip(self._clips, bounds[:-1], bounds[1:], strict=True):
            clip.keep(axis=self._on_canvas, low=low, high=high)
        if self._lines is not None:
            self._lines.move(self.edges.tolist())


def _reach(layer: Any, viewer: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and greatest world coordinates of a layer, one for each of the viewer's."""
    plane = find_plane(layer, viewer.dims)
    factors = world_factors(layer, viewer)
    missing = np.zeros(viewer.dims.ndim - layer.ndim)
    ends = Frame.of_layer(layer).edges(plane.thin(plane.shape))
    low, high = (np.concatenate([missing, factors * end]) for end in ends)
    return low, high


GRIP = 7.0
"""How near the pointer has to come to an edge, in pixels of the canvas."""


class EdgeDrag:
    """Lets the mouse move edges along one axis of the world.

    Near an edge the pointer becomes a hand, and the button moves the edge instead of the camera or
    the active layer's drawing. `edges` returns their positions, `move` takes number and position.
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
        """Disconnect from the mouse."""
        self._viewer.mouse_move_callbacks.remove(self._hover)
        self._viewer.mouse_drag_callbacks.remove(self._drag)
        self._point(near=False)

    def _on_hover(self, _: Any, event: Any) -> None:
        self._point(near=self._under(event) is not None)

    def _on_drag(self, _: Any, event: Any) -> Iterator[None]:
        number = self._under(event)
        if number is None:
            return
        camera, active = camera_of(self._viewer), self._viewer.layers.selection.active
        panning, mode = camera.mouse_pan, None if active is None else active.mode
        if active is not None:
            # The active layer receives the same event after the viewer.
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
        reach = GRIP / camera_of(self._viewer).zoom
        return nearest if away[nearest] <= reach else None

    def _point(self, *, near: bool) -> None:
        cursor = self._viewer.cursor
        if near and self._cursor is None:
            self._cursor, cursor.style = cursor.style, "pointing"
        elif not near and self._cursor is not None:
            cursor.style, self._cursor = self._cursor, None
