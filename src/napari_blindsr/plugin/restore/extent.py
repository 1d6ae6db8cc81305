"""The part of a layer that is restored: its axes, planes, and a region of them."""

from __future__ import annotations

from magicgui.widgets import CheckBox, ComboBox, LineEdit
from magicgui.widgets.bases import Widget
from napari.components import LayerList
from napari.layers import Image, Shapes

from napari_blindsr.errors import InputError
from napari_blindsr.images.tiling import Box
from napari_blindsr.plugin.layers.inputs import Plane
from napari_blindsr.plugin.layers.outputs import is_result
from napari_blindsr.plugin.layers.shapes import VIEW
from napari_blindsr.plugin.layers.stacks import (
    axes_text,
    label_axes,
    layer_layout,
    likely_letters,
)
from napari_blindsr.plugin.widgets.fields import LayerChooser
from napari_blindsr.stacks.options import StackOptions
from napari_blindsr.types import OutputType

CURRENT, ALL, RANGE = "current", "all", "range"


class ExtentOptions:
    """The fields for the part of a layer that is restored."""

    def __init__(self, layers: LayerList) -> None:
        self.planes = ComboBox(
            value=CURRENT,
            choices=[("Current plane", CURRENT), ("All planes", ALL), ("Range …", RANGE)],
            tooltip="Which planes of a layer with more than two dimensions. Each is restored\n"
            "alone: nothing is sharpened along Z. The two axes on display are Y and X.",
        )
        self.range = LineEdit(
            value="",
            tooltip="Planes such as T=0:10,C=1: an index, or a range whose end is excluded, along\n"
            "some axes; all planes along the other axes. The letters are the labels of the\n"
            "layer's axes.",
        )
        self.kernels = ComboBox(
            value="channel",
            choices=[
                ("One per channel", "channel"),
                ("One for all planes", "shared"),
                ("One per plane", "plane"),
            ],
            tooltip="Which planes share a kernel. One per channel holds along time, depth and all\n"
            "other axes: it is estimated from the planes with the most detail, which is faster.\n"
            "Channels are the axis with the label 'c' or 'channel'.",
        )
        self.warm_start = CheckBox(
            value=False,
            text="Start from the previous plane",
            tooltip="MLMC and DDSR start each plane from the result of the plane before it in\n"
            "time, or in depth, within its channel, and take fewer steps. Fast, with a\n"
            "kernel for each plane, filters the estimates along the planes.",
        )
        self.axes = LineEdit(
            value="",
            tooltip="The axes of the layer, a letter each, such as CYX: C channels, Z depth, T\n"
            "time, Y rows, X columns. They become the labels of the layer's axes.\n"
            "Channels can have a kernel each.",
        )
        self._layer: Image | None = None
        self._labels: tuple[str, ...] = ()
        self._followed = False
        self.region = LayerChooser(
            layers,
            lambda layer: isinstance(layer, Shapes) and not is_result(layer),
            none="Whole image",
            first=[("Visible field of view", VIEW)],
            tooltip="The part of the image that is restored. The blur is estimated around it as\n"
            "well. Of a Shapes layer it is the box around the selected shapes, or around all of\n"
            "them. Use it to try settings before the whole image.",
        )
        self.rows: tuple[tuple[str, Widget], ...] = (
            ("Axes", self.axes),
            ("Planes", self.planes),
            ("", self.range),
            ("Region", self.region),
        )

    def show_layer(self, layer: Image | None) -> None:
        """Show the axes of a layer by their labels, or as is likely."""
        labels = () if layer is None else tuple(map(str, layer.axis_labels))
        if layer != self._layer or labels != self._labels:
            self._layer, self._labels = layer, labels
            several = layer is not None and layer.ndim > 2
            letters = likely_letters(layer) if several and layer is not None else ""
            # A guess becomes the labels of the layer when the user edits it, or with the run.
            with self.axes.changed.blocked():
                self.axes.value = letters

    def label_axes(self, layer: Image) -> None:
        """Label the axes of a layer as set; raises an `InputError` for wrong letters."""
        if layer.ndim > 2 and layer == self._layer:
            label_axes(layer, self.axes.value)

    def try_axes(self) -> None:
        """Label the axes as soon as the letters are complete."""
        if self._layer is not None:
            try:
                self.label_axes(self._layer)
            except InputError:
                # Pressing Run shows the error.
                return

    def is_stack(self, layer: Image | None) -> bool:
        """Tell whether more than the plane on display is to be restored."""
        return layer is not None and layer.ndim > 2 and self.planes.value != CURRENT

    def options(self, region: Box | None, dtype: OutputType) -> StackOptions:
        """Return the options of a stack."""
        planes = self.range.value.strip().upper() if self.planes.value == RANGE else ""
        return StackOptions(
            kernels=self.kernels.value, planes=planes or None, region=region, dtype=dtype
        )

    def show_neighbours(self, *, followed: bool) -> None:
        """Take in whether the chosen planes follow each other along some axis."""
        self._followed = followed

    def show_axes(self, layer: Image, plane: Plane) -> None:
        """Show which planes there are."""
        self.range.native.setPlaceholderText(axes_text(layer, layer_layout(layer, plane)))

    def matters(self, row: Widget, layer: Image | None, *, known: bool, optimises: bool) -> bool:
        """Tell whether a row has an effect on the result of a layer."""
        if row in (self.axes, self.planes):
            return layer is not None and layer.ndim > 2
        if row is self.range:
            return self.is_stack(layer) and self.planes.value == RANGE
        if row is self.kernels:
            return self.is_stack(layer) and not known
        if row is self.warm_start:
            filters = self.kernels.value == "plane" and not known
            return self.is_stack(layer) and self._followed and (optimises or filters)
        return True
