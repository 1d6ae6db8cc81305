"""Layers in the same place, each on its own side of an edge that can be dragged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_blindsr._napari.comparing.canvas import EdgeLines, WorldClip, canvas_of
from napari_blindsr._napari.comparing.drag import EdgeDrag
from napari_blindsr._napari.comparing.mode import Mode, ModeOptions
from napari_blindsr._napari.comparing.planes import world_factors
from napari_blindsr._napari.geometry import Frame
from napari_blindsr._napari.layers import find_plane


class Curtain(Mode):
    """Cuts the layers at the same place of the world, whatever their pixels are.

    With n layers there are n − 1 edges.
    """

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
        """Take edges that run the other way."""
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
        """Move an edge to a position of the world, as far as its neighbours let it."""
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
    shape = [1] * layer.ndim
    for axis, size in zip(plane.axes, plane.shape, strict=True):
        shape[axis] = size
    factors = world_factors(layer, viewer)
    missing = np.zeros(viewer.dims.ndim - layer.ndim)
    low, high = (np.concatenate([missing, factors * end]) for end in _edges(layer, shape))
    return low, high


def _edges(layer: Any, shape: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return Frame.of_layer(layer).edges(shape)
