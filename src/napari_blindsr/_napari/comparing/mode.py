"""What every mode of comparison has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from napari.components import ViewerModel
from napari.layers import Image, Layer, Points, Shapes, Tracks, Vectors
from psygnal import Signal

from napari_blindsr._napari.comparing.state import same_region, set_grid, show

DRAWINGS = (Points, Shapes, Tracks, Vectors)
Edge = Literal["upright", "level"]


@dataclass(frozen=True, kw_only=True)
class ModeOptions:
    """What can be set for a mode while it is on.

    Attributes
    ----------
    rate : float
        Layers a second, for blink.
    edge : {"upright", "level"}
        How the edges of the curtain run.
    """

    rate: float = 2.0
    edge: Edge = "upright"


class Mode(ABC):
    """A way to show layers together; it is on from when it is made until `leave`.

    Parameters
    ----------
    viewer : ViewerModel
    layers : sequence of Image
        In the order of the layer list; two or more.
    options : ModeOptions

    Attributes
    ----------
    name, label : str
        In scripts, and in the dock.
    most : int or None
        How many layers it takes at most.
    changed : Signal
        Emitted when what it says of itself does.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    most: ClassVar[int | None] = None
    changed = Signal()

    def __init__(self, viewer: ViewerModel, layers: Sequence[Image], options: ModeOptions) -> None:
        self.viewer, self.layers, self.options = viewer, list(layers), options

    @abstractmethod
    def enter(self) -> None:
        """Show the layers. May raise a `BlindSRError`, and be left after it did."""

    def set_options(self, options: ModeOptions) -> None:
        """Take other options."""
        self.options = options

    def leave(self) -> None:  # noqa: B027 a mode may have nothing of its own to remove
        """Remove what this mode added; what the viewer showed before is not its business."""

    def uses(self, layer: Layer) -> bool:
        """Tell whether the mode cannot go on without a layer."""
        return layer in self.layers

    def text(self) -> str:
        """Return what there is to say, in one line."""
        return ""

    def only(self, *, visible: bool = True, drawings: bool = True) -> None:
        """Hide what lies over or beside the layers that are compared.

        Parameters
        ----------
        visible : bool
            Whether those that are compared are shown, or hidden as well.
        drawings : bool
            Whether points, shapes and the like may stay: they cover little.
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
