"""Comparison modes: their base, two of them, and the state of the viewer before one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from napari.components import ViewerModel
from napari.layers import Image, Layer, Points, Shapes, Tracks, Vectors
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_blindsr.plugin.layers.versions import camera_of, cell_size, grid_of

if TYPE_CHECKING:
    from typing_extensions import Self

DRAWINGS = (Points, Shapes, Tracks, Vectors)
Edge = Literal["upright", "level"]


@dataclass(frozen=True, kw_only=True)
class ModeOptions:
    """Options of a mode that is on: blink's rate in layers a second, and how edges run."""

    rate: float = 2.0
    edge: Edge = "upright"


GRID = ("enabled", "stride", "shape", "spacing")
"""What is given back of napari's grid."""


class Mode(ABC):
    """A way to show layers together, given in the order of the layer list; on until `leave`.

    Attributes
    ----------
    most : int or None
        Largest number of layers.
    changed : Signal
        Emitted when `text` changes.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    most: ClassVar[int | None] = None
    changed = Signal()

    def __init__(self, viewer: ViewerModel, layers: Sequence[Image], options: ModeOptions) -> None:
        self.viewer, self.layers, self.options = viewer, list(layers), options

    @abstractmethod
    def enter(self) -> None:
        """Show the layers. May raise a `BlindSRError`; `leave` is then called all the same."""

    def set_options(self, options: ModeOptions) -> None:
        """Apply other options."""
        self.options = options

    def leave(self) -> None:  # noqa: B027 a mode may have nothing of its own to remove
        """Remove what this mode added. The session restores the viewer."""

    def uses(self, layer: Layer) -> bool:
        """Tell whether the mode needs a layer."""
        return layer in self.layers

    def text(self) -> str:
        """Return a description in one line."""
        return ""

    def only(self, *, visible: bool = True, drawings: bool = True) -> None:
        """Hide all layers but the compared ones and, if `drawings`, points, shapes and the like.

        Without `visible` the compared layers are hidden as well.
        """
        for layer in self.viewer.layers:
            if layer in self.layers:
                show(layer, visible=visible)
            elif not (drawings and isinstance(layer, DRAWINGS)):
                show(layer, visible=False)

    def without_grid(self) -> None:
        """Show all layers in one place."""
        with same_region(self.viewer):
            set_grid(self.viewer, enabled=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewerState:
    """Which layers are visible and selected, and the attributes of the grid."""

    visible: dict[Layer, bool]
    selected: frozenset[Layer]
    active: Layer | None
    grid: dict[str, Any]

    @classmethod
    def of(cls, viewer: ViewerModel) -> Self:
        """Return the state of a viewer."""
        grid = grid_of(viewer)
        selection = viewer.layers.selection
        return cls(
            visible={layer: layer.visible for layer in viewer.layers},
            selected=frozenset(selection),
            active=selection.active,
            grid={name: getattr(grid, name) for name in GRID},
        )

    def restore(self, viewer: ViewerModel) -> None:
        """Restore this state; removed layers are skipped."""
        self.restore_visible(viewer)
        with same_region(viewer):
            set_grid(viewer, **self.grid)
        viewer.layers.selection = [layer for layer in viewer.layers if layer in self.selected]
        if self.active in viewer.layers:
            viewer.layers.selection.active = self.active

    def restore_visible(self, viewer: ViewerModel) -> None:
        """Show and hide layers as they were."""
        for layer, visible in self.visible.items():
            if layer in viewer.layers:
                show(layer, visible=visible)


def show(layer: Layer, *, visible: bool) -> None:
    """Show or hide a layer, if that changes anything: showing one reads its data again."""
    if layer.visible != visible:
        layer.visible = visible


def set_grid(viewer: ViewerModel, **attributes: Any) -> None:
    """Set attributes of the grid, if that changes any: napari lays it out again."""
    grid = grid_of(viewer)
    for name, value in attributes.items():
        if getattr(grid, name) != value:
            setattr(grid, name, value)


@contextmanager
def same_region(viewer: ViewerModel, layers: Sequence[Layer] | None = None) -> Iterator[None]:
    """Keep the visible region of a cell while the grid changes.

    `layers` share the grid, one a cell; those of the viewer if left out.
    """
    before = cell_size(viewer, layers)
    yield
    ratio = cell_size(viewer, layers) / before
    # The side that changes most decides, so that a change that is undone leaves no trace.
    factor = ratio.min() if ratio.prod() < 1 else ratio.max()
    if factor != 1:
        camera_of(viewer).zoom *= float(factor)


ROW = 3
"""Most layers that stand in one row."""


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


class SideBySide(Mode):
    """One cell of napari's grid for each layer; one camera serves them all."""

    name = "side by side"
    label = "Side by side"

    def enter(self) -> None:
        """Show each layer in a cell, from left to right in the order of the layer list."""
        shape = (1, -1) if len(self.layers) <= ROW else (-1, -1)
        self.without_grid()
        # All visible layers take a cell, drawings included.
        self.only(drawings=False)
        with same_region(self.viewer, self.layers):
            set_grid(self.viewer, enabled=True, stride=1, shape=shape)

    def leave(self) -> None:
        """Show all layers in one place."""
        # One of the layers may have gone, and its cell with it.
        with same_region(self.viewer, self.layers):
            set_grid(self.viewer, enabled=False)

    def text(self) -> str:
        """Return which layer is where."""
        return "From left to right: " + ", ".join(layer.name for layer in self.layers)
