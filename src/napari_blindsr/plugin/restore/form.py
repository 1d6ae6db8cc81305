"""The form of the dock: what can be set, which of it matters, and what is restored of a layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    LineEdit,
    SpinBox,
    create_widget,
)
from magicgui.widgets.bases import CategoricalWidget, ValueWidget, Widget
from napari.components import LayerList
from napari.layers import Image, Layer, Shapes

from napari_blindsr.images.tiling import Box
from napari_blindsr.methods import METHOD_TABLE, Method, Schedule, method_named, repeats_cheaply
from napari_blindsr.physics.kernels import FAMILIES
from napari_blindsr.plugin.layers.inputs import Plane
from napari_blindsr.plugin.layers.kernel import holds_own_kernel
from napari_blindsr.plugin.layers.outputs import is_result
from napari_blindsr.plugin.layers.shapes import VIEW
from napari_blindsr.plugin.layers.stacks import axes_text, layer_layout
from napari_blindsr.plugin.restore.kernel_forms import FamilyForm, family_forms
from napari_blindsr.plugin.restore.options import (
    AdvancedOptions,
    MaskOptions,
    noise_field,
    weights_field,
)
from napari_blindsr.plugin.widgets.devices import DeviceReport, device_label, free_threads
from napari_blindsr.plugin.widgets.fields import LayerChooser, Rows, kernel_layer_field, text_line
from napari_blindsr.settings import ONE_BLUR, Settings
from napari_blindsr.stacks.options import StackOptions
from napari_blindsr.types import SCALES, Finish, OutputType

KNOWN = "known"


class RunForm(Container[Widget]):
    """What can be set for a run, a labelled row each; rows that do not matter are hidden.

    Parameters
    ----------
    layers : LayerList
        The viewer's.
    """

    def __init__(self, layers: LayerList) -> None:
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self.image_row = _image_row()
        self.extent = ExtentOptions(layers)
        self.scale_row = _scale_row()
        self.size_row = text_line("Height × width in pixels, of the image and of the result.")
        self.method_row = _method_row()
        self.weights_row = weights_field()
        self.masking = MaskOptions(layers)
        self.noise_row = noise_field()
        self.kernel_row = _kernel_row()
        self.families = family_forms()
        self.kernel_layer_row = kernel_layer_field(layers)
        self.steps_row = _steps_row()
        self.seed_row = _seed_row()
        self.device_row = _device_row()
        self.advanced_row = CheckBox(
            text="Advanced settings", tooltip="Show settings that seldom need a change."
        )
        self.advanced = AdvancedOptions()
        self.found: tuple[str, ...] = ()
        self.rows = Rows()
        self.native.layout().addLayout(self.rows.layout)
        self._add_rows()
        self._show_what_matters()
        shaping = self.method_row, self.kernel_row, self.advanced_row, self.advanced.finish
        for row in (*shaping, self.image_row, self.extent.planes, self.extent.kernels):
            row.changed.connect(self._show_what_matters)
        for form in self.families.values():
            for _, field in form.rows:
                field.changed.connect(self._show_what_matters)
        self.scale_row.changed.connect(self._show_usual)
        self._show_usual()
        self.kernel_row.changed.connect(self._suggest_kernel_layer)
        self._suggested_steps = self.steps_row.value
        for choice in (self.kernel_row, self.advanced.schedule):
            choice.changed.connect(self._suggest_steps)

    def reset_choices(self, *_: Any) -> None:
        """Bring the lists of layers up to date."""
        self.image_row.reset_choices()
        self.masking.mask.reset_choices()
        self.kernel_layer_row.reset_choices()
        self.extent.region.reset_choices()

    @property
    def method(self) -> Method:
        """The method that is chosen."""
        return method_named(self.method_row.value)

    @property
    def family(self) -> FamilyForm | None:
        """The form of the kernel family that is chosen; None for a known kernel."""
        return self.families.get(self.kernel_row.value)

    def settings(self) -> Settings:
        """Return what is set, checked; what does not matter is left out.

        Raises
        ------
        SettingsError
        """
        family, masking, advanced = self.family, self.masking, self.advanced
        degradations = self.method.degradations
        weights = self.weights_row.value if self._finish == "usrnet" else None
        return Settings(
            scale=self.scale_row.value,
            method=self.method_row.value,
            kernel="known" if family is None else family.kernel(),
            geometry=advanced.geometry.value,
            border=advanced.border.value,
            bounded=advanced.bounded.value if self.method.optimises else None,
            gain=masking.gain.value if degradations else 1.0,
            noise=self.noise_row.value if self._takes_noise else 0.0,
            mask_saturated=degradations and masking.saturated.value,
            finish=advanced.finish.value,
            usrnet_weights=str(weights) if isinstance(weights, Path) else None,
            quality=advanced.quality.value,
            schedule=self._schedule(),
            seed=self.seed_row.value,
            device=self.device_row.value,
            precision=advanced.precision.value,
            threads=free_threads(),
            tile=advanced.tiles.value,
            uncertainty=advanced.uncertainty.value if self._takes_uncertainty else 0,
            field=advanced.field.value if self._takes_field else ONE_BLUR,
        )

    @property
    def warm_starts(self) -> bool:
        """Whether planes begin with what the ones before them have ended with."""
        extent = self.extent
        return bool(extent.warm_start.value) and extent.matters(
            extent.warm_start,
            self.image_row.value,
            known=self.family is None,
            optimises=self.method.optimises,
        )

    def show_neighbours(self, *, followed: bool) -> None:
        """Hear whether planes that are asked for follow each other along some axis."""
        self.extent.show_neighbours(followed=followed)
        self._show_what_matters()

    @property
    def costly(self) -> tuple[ValueWidget[Any] | FileEdit, ...]:
        """What has an influence on how much memory a run takes, apart from its image."""
        advanced = self.advanced
        kinds = self.method_row, self.kernel_row, self.device_row
        tiling = advanced.tiles, advanced.field.rows, advanced.field.columns
        return (*kinds, advanced.finish, advanced.channels, *tiling, advanced.folder)

    def show_devices(self, report: DeviceReport) -> None:
        """Offer the devices that were found."""
        self.found = report.names
        found = [(device_label(name), name) for name in ("auto", *report.names)]
        # A function, because magicgui keeps it as the default; a list would not last.
        self.device_row.choices = lambda _: found

    def show_pixel_size(self, size: float) -> None:
        """Take the size of the image's pixel, in nm, to whatever family asks for it."""
        for form in self.families.values():
            form.show_pixel_size(size)

    def _schedule(self) -> Schedule:
        if not self.method.optimises:
            return Schedule()
        usual = self._usual_schedule()
        steps, channels = self.steps_row.value, self.advanced.channels.value
        return replace(usual.scaled(steps), channels=channels)

    def _usual_schedule(self) -> Schedule:
        return Schedule.named(self.advanced.schedule.value, kernel=self.kernel_row.value)

    @property
    def _finish(self) -> Finish:
        finish: Finish = self.advanced.finish.value or self.method.finish
        return finish

    @property
    def _takes_noise(self) -> bool:
        return self.method.degradations or self._finish != "none"

    @property
    def _takes_uncertainty(self) -> bool:
        return repeats_cheaply(self.method, known=self.family is None, finish=self._finish)

    @property
    def _takes_field(self) -> bool:
        # A known kernel says itself whether it is a grid.
        return not self.method.optimises and self.family is not None

    def _add_rows(self) -> None:
        rows: list[tuple[str, Widget]] = [
            ("Image", self.image_row),
            *self.extent.rows,
            ("Scale", self.scale_row),
            ("Size", self.size_row),
            ("Method", self.method_row),
            ("Weights", self.weights_row),
            *self.masking.rows,
            ("Noise", self.noise_row),
            ("Blur kernel", self.kernel_row),
            *(row for form in self.families.values() for row in form.rows),
            ("Kernel layer", self.kernel_layer_row),
            ("Kernels", self.extent.kernels),
            ("", self.extent.warm_start),
            ("Steps", self.steps_row),
            ("Seed", self.seed_row),
            ("Device", self.device_row),
            ("", self.advanced_row),
            *self.advanced.rows,
        ]
        for label, row in rows:
            self.rows.add(label, row)

    def _show_what_matters(self, *_: Any) -> None:
        self.advanced.offer_finishes(self.method)
        self.advanced.offer_uncertainties(self._finish)
        show, chosen = self.rows.show, self.family
        show((row for _, row in self.masking.rows), visible=self.method.degradations)
        show([self.noise_row], visible=self._takes_noise)
        show([self.weights_row], visible=self._finish == "usrnet")
        show([self.steps_row], visible=self.method.optimises)
        for form in self.families.values():
            fields, idle = [field for _, field in form.rows], form.idle
            for field in fields:
                show([field], visible=form is chosen and field not in idle)
        show([self.kernel_layer_row], visible=chosen is None)
        layer, extent = self.image_row.value, self.extent
        for part in (extent.planes, extent.range, extent.kernels, extent.warm_start):
            visible = extent.matters(
                part, layer, known=chosen is None, optimises=self.method.optimises
            )
            show([part], visible=visible)
        for row in (field for _, field in self.advanced.rows):
            show([row], visible=self.advanced_row.value and self._matters(row))

    def _matters(self, row: Widget) -> bool:
        """Tell whether an advanced setting has an influence on the method."""
        if row is self.advanced.lacking and self.extent.is_stack(self.image_row.value):
            return False
        if row is self.advanced.field:
            return self._takes_field
        if row is self.advanced.uncertainty:
            return self._takes_uncertainty
        if row is self.advanced.quality:
            family = self.family
            return not self.method.optimises and family is not None and family.is_refined
        return self.method.optimises or row not in self.advanced.of_optimisation

    def _show_usual(self, *_: Any) -> None:
        for form in self.families.values():
            form.show_usual(self.scale_row.value)

    def _suggest_steps(self, *_: Any) -> None:
        """Take the schedule's number of steps, unless another one was chosen."""
        if self.steps_row.value == self._suggested_steps:
            self._suggested_steps = self._usual_schedule().image_steps
            self.steps_row.value = self._suggested_steps

    def _suggest_kernel_layer(self, *_: Any) -> None:
        """Choose the topmost kernel of our own, if nothing is chosen."""
        chooser = self.kernel_layer_row
        if self.family is None and chooser.value is None:
            own = (layer for layer in chooser.choices if layer and holds_own_kernel(layer))
            chooser.value = next(own, None)


def _image_row() -> CategoricalWidget[Image]:
    row = create_widget(
        annotation=Image,
        name="image",
        options={
            "tooltip": "Image layer to restore: 2-D grey or RGB, or the plane on display of a "
            "stack.\nFollows the selected layer until another one is chosen here; choosing the\n"
            "selected layer makes it follow again."
        },
    )
    # napari registers its layer types as choices.
    assert isinstance(row, CategoricalWidget)
    return row


def _scale_row() -> CategoricalWidget[int]:
    return ComboBox(
        name="scale",
        value=4,
        choices=[(f"×{scale}" if scale > 1 else "×1 (deblur)", scale) for scale in SCALES],
        tooltip="How many times finer the pixels of the result are, along each axis.\n"
        "×1 removes blur and keeps the pixels.",
    )


def _method_row() -> CategoricalWidget[str]:
    return ComboBox(
        name="method",
        value=METHOD_TABLE[0].name,
        choices=[(method.label, method.name) for method in METHOD_TABLE],
        tooltip="Fast reads the blur off the image by a trained network and restores the image by\n"
        "another, in seconds. MLMC and DDSR fit an image generator and a kernel generator to the\n"
        "image, in turn, in minutes, and learn from nothing but it. DDSR takes covered, dark and\n"
        "noisy images as well. USRNet then makes the image anew with the kernel that was found;\n"
        "it needs its published weights.",
    )


def _kernel_row() -> CategoricalWidget[str]:
    return ComboBox(
        name="kernel",
        value=FAMILIES[0].name,
        choices=[
            *((family.label, family.name) for family in FAMILIES),
            ("Known kernel (layer)", KNOWN),
        ],
        tooltip="The kind of blur to expect: the kernel is taken from this family, or the kernel\n"
        "generator learns from random kernels of it. A known kernel is held instead.",
    )


def _steps_row() -> SpinBox:
    return SpinBox(
        name="steps",
        value=Schedule().image_steps,
        min=1,
        max=100_000,
        step=50,
        tooltip="Steps of the image generator; the phases of the schedule scale with it.\n"
        "Until it is changed, the number that suits the kernel. Fewer steps end sooner and\n"
        "restore less.",
    )


def _seed_row() -> SpinBox:
    return SpinBox(
        name="seed",
        value=0,
        min=0,
        max=2**31 - 1,
        step=1,
        tooltip="Of the random numbers. The same seed repeats a run; another one shows how\n"
        "much the result depends on chance.",
    )


def _device_row() -> CategoricalWidget[str]:
    return ComboBox(
        name="device",
        value="auto",
        choices=[(device_label(name), name) for name in ("auto", "cpu")],
        tooltip="Where to compute. Automatic takes a GPU if torch can use one.",
    )


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
