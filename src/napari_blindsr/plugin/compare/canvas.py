"""Layers cut on the canvas, and lines across it: all that uses napari's private canvas.

napari clips volumes, but not images, so vispy's own filter is attached to the visual of a layer.
The filter works in world coordinates on the graphics card: moving an edge copies no pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer
from vispy.scene.visuals import InfiniteLine
from vispy.visuals.filters.clipping_planes import PlanesClipper

from napari_blindsr.errors import EngineError

LINE_COLOUR = (1.0, 0.8, 0.1, 1.0)
LINE_WIDTH = 2
ON_TOP = 10**6
"""Place in the order of drawing, in front of all layers."""


def canvas_of(viewer: ViewerModel) -> Any:
    """Return the canvas of a viewer, or raise an `EngineError` if napari keeps it elsewhere."""
    try:
        canvas = viewer.window._qt_viewer.canvas  # noqa: SLF001
        canvas.layer_to_visual, canvas.view.scene  # noqa: B018
    except AttributeError as error:
        raise EngineError(
            "this version of napari keeps its canvas elsewhere; expected napari 0.9 with a "
            "window. Blink and side by side work without"
        ) from error
    return canvas


class WorldClip:
    """Shows only the part of a layer between two lines of the world."""

    def __init__(self, canvas: Any, layer: Layer) -> None:
        self._canvas, self._layer = canvas, layer
        self._planes = np.empty((0, 2, 3))
        self._filters: list[tuple[Any, PlanesClipper]] = []
        self._attach()
        # A layer that gets data of another kind or dimension is drawn by another node.
        layer.events.set_data.connect(self._renew, position="last")

    def keep(self, *, axis: int, low: float, high: float) -> None:
        """Show the part between two positions in the world, which may be infinite.

        Axis 0 of the canvas runs from left to right, axis 1 from top to bottom.
        """
        planes = []
        for position, sign in ((low, 1), (high, -1)):
            if np.isfinite(position):
                plane = np.zeros((2, 3))
                plane[0, axis], plane[1, axis] = position, sign
                planes.append(plane)
        self._planes = np.array(planes).reshape(-1, 2, 3)
        for _, clipper in self._filters:
            clipper.clipping_planes = self._planes

    def remove(self) -> None:
        """Show the whole layer again."""
        self._layer.events.set_data.disconnect(self._renew)
        self._detach()

    def _renew(self, *_: Any) -> None:
        if [visual for visual, _ in self._filters] != self._visuals():
            self._detach()
            self._attach()

    def _attach(self) -> None:
        for visual in self._visuals():
            clipper = PlanesClipper(self._planes)
            visual.attach(clipper)
            self._filters.append((visual, clipper))

    def _detach(self) -> None:
        for visual, clipper in self._filters:
            visual.detach(clipper)
            visual.update()
        self._filters = []

    def _visuals(self) -> list[Any]:
        """Return the nodes that draw the layer: one, or one a tile if it exceeds a texture."""
        drawn = self._canvas.layer_to_visual.get(self._layer)
        if drawn is None:
            return []
        return list(getattr(drawn.node, "adopted_children", [drawn.node]))


class EdgeLines:
    """Lines across the whole canvas at positions in the world; upright ones lie along axis 0."""

    def __init__(self, canvas: Any, axis: int, positions: Sequence[float]) -> None:
        self._canvas = canvas
        self._lines = [
            InfiniteLine(
                position,
                color=LINE_COLOUR,
                line_width=LINE_WIDTH,
                vertical=axis == 0,
                parent=canvas.view.scene,
            )
            for position in positions
        ]
        for line in self._lines:
            line.order = ON_TOP

    def move(self, positions: Sequence[float]) -> None:
        """Move the lines, and redraw the canvas."""
        for line, position in zip(self._lines, positions, strict=True):
            line.set_data(pos=position)
        self._canvas.native.update()

    def remove(self) -> None:
        """Take the lines off the canvas."""
        for line in self._lines:
            line.parent = None
        self._canvas.native.update()
