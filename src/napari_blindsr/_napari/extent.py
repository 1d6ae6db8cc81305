"""Controls of what is restored of a layer: which planes, and what part of them."""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox, LineEdit
from magicgui.widgets.bases import Widget
from napari.components import LayerList
from napari.layers import Image, Layer, Shapes

from napari_blindsr._napari.fields import LayerChooser
from napari_blindsr._napari.inputs import Plane
from napari_blindsr._napari.outputs import is_result
from napari_blindsr._napari.region import VIEW
from napari_blindsr._napari.stacks import axes_text, layer_layout
from napari_blindsr.parts import Box
from napari_blindsr.stack_result import OutputType, StackOptions

CURRENT, ALL, RANGE = "current", "all", "range"


class ExtentOptions:
    """What of a layer is restored.

    Parameters
    ----------
    layers : LayerList
        The viewer's.
    """

    def __init__(self, layers: LayerList) -> None:
        self.planes = ComboBox(
            value=CURRENT,
            choices=[("Current plane", CURRENT), ("All planes", ALL), ("Range …", RANGE)],
            tooltip="Which planes of a layer of more than two dimensions. Each is restored by\n"
            "itself: along Z, too, nothing is sharpened. What is Y and X is what the viewer\n"
            "shows.",
        )
        self.range = LineEdit(
            value="",
            tooltip="Planes such as T=0:10,C=1: an index, or a range whose end is excluded, along\n"
            "some axes; those that are not named in full. The letters come from the labels of\n"
            "the layer's axes.",
        )
        self.kernels = ComboBox(
            value="channel",
            choices=[
                ("One per channel", "channel"),
                ("One for all planes", "shared"),
                ("One per plane", "plane"),
            ],
            tooltip="Which planes share a blur kernel. One per channel holds along time, depth\n"
            "and all other axes: it is found on the planes that tell the most of it, which is\n"
            "faster and steadier. Channels are the axis that is labelled 'c' or 'channel'.",
        )
        self.warm_start = CheckBox(
            value=False,
            text="Warm start",
            tooltip="MLMC and DDSR begin each plane with what the one before it in time, or in\n"
            "depth, has ended with, within its channel, and take fewer steps. Fast, with a kernel\n"
            "for each plane, steadies their readings by each other.",
        )
        self._followed = False
        self.region = LayerChooser(
            layers,
            _can_bound,
            none="Whole image",
            first=[("Visible field of view", VIEW)],
            tooltip="What of the image is restored; the result lies exactly there. The blur is\n"
            "read around it as well. Of a Shapes layer, the box around the selected shapes, or\n"
            "around all of them. The way to try settings before the whole image.",
        )
        self.rows: tuple[tuple[str, Widget], ...] = (
            ("Planes", self.planes),
            ("", self.range),
            ("Region", self.region),
        )

    def is_stack(self, layer: Image | None) -> bool:
        """Tell whether more than the plane on display is asked for."""
        return layer is not None and layer.ndim > 2 and self.planes.value != CURRENT

    def options(self, region: Box | None, dtype: OutputType) -> StackOptions:
        """Return what is asked for of a stack."""
        planes = self.range.value.strip().upper() if self.planes.value == RANGE else ""
        return StackOptions(
            kernels=self.kernels.value, planes=planes or None, region=region, dtype=dtype
        )

    def show_neighbours(self, *, followed: bool) -> None:
        """Hear whether planes that are asked for follow each other along some axis."""
        self._followed = followed

    def show_axes(self, layer: Image, plane: Plane) -> None:
        """Say which planes there are."""
        self.range.native.setPlaceholderText(axes_text(layer, layer_layout(layer, plane)))

    def matters(self, row: Widget, layer: Image | None, *, known: bool, optimises: bool) -> bool:
        """Tell whether a row has an influence on what is made of a layer.

        Parameters
        ----------
        row : Widget
        layer : Image or None
        known : bool
            Whether the kernel is known.
        optimises : bool
            Whether the method does.
        """
        if row is self.planes:
            return layer is not None and layer.ndim > 2
        if row is self.range:
            return self.is_stack(layer) and self.planes.value == RANGE
        if row is self.kernels:
            return self.is_stack(layer) and not known
        if row is self.warm_start:
            steadies = self.kernels.value == "plane" and not known
            return self.is_stack(layer) and self._followed and (optimises or steadies)
        return True


def _can_bound(layer: Layer) -> bool:
    return isinstance(layer, Shapes) and not is_result(layer)
