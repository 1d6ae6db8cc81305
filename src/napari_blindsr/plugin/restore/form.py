"""The form of the dock "Blind super-resolution", and which of its rows have an effect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    PushButton,
    SpinBox,
    TupleEdit,
    create_widget,
)
from magicgui.widgets.bases import CategoricalWidget, ValueWidget, Widget
from napari.components import LayerList
from napari.layers import Image

from napari_blindsr.methods import METHOD_TABLE, Method, Schedule, method_named, repeats_cheaply
from napari_blindsr.physics.kernels import FAMILIES
from napari_blindsr.plugin.layers.kernel import holds_own_kernel
from napari_blindsr.plugin.restore.extent import ExtentOptions
from napari_blindsr.plugin.restore.kernel_forms import FamilyForm, family_forms
from napari_blindsr.plugin.restore.optics import OpticsOptions
from napari_blindsr.plugin.restore.options import AdvancedOptions
from napari_blindsr.plugin.restore.seed import SeedField
from napari_blindsr.plugin.widgets.devices import DeviceReport, device_label, free_threads
from napari_blindsr.plugin.widgets.fields import (
    Rows,
    heading_line,
    kernel_layer_field,
    side_by_side,
    text_line,
)
from napari_blindsr.settings import ONE_BLUR, Settings
from napari_blindsr.types import SCALES, Finish

KNOWN = "known"


class RunForm(Container[Widget]):
    """The settings of a run, a labelled row each; rows without effect are hidden."""

    def __init__(self, layers: LayerList) -> None:
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self.image_row = _image_row()
        self.extent = ExtentOptions(layers)
        self.optics = OpticsOptions()
        self._make_fields(layers)
        self.advanced_row = CheckBox(
            text="Advanced settings", tooltip="Show settings that seldom need a change."
        )
        self.advanced = AdvancedOptions(layers)
        self.found: tuple[str, ...] = ()
        self.defaults_button = PushButton(
            text="Restore defaults", tooltip="Reset all settings but the image."
        )
        self.python_button = PushButton(
            text="Copy as Python", tooltip="Copy a script that repeats this run to the clipboard."
        )
        self.command_button = PushButton(
            text="Copy as command",
            tooltip="Copy a command line that repeats this run to the clipboard.",
        )
        self.actions = side_by_side(self.defaults_button, self.python_button, self.command_button)
        self.rows = Rows()
        self._headings: dict[Widget, tuple[Widget, ...]] = {}
        self.native.layout().addWidget(self.rows.native)
        self._add_rows()
        self._keep_defaults()
        self._show_usual()
        self._show_what_matters()
        self.defaults_button.changed.connect(self.restore_defaults)
        self.extent.axes.changed.connect(self.extent.try_axes)
        listened: dict[int, Any] = {
            id(row): row
            for row in (
                self.image_row,
                self.extent.planes,
                self.optics.kind,
                *self._kept.values(),
            )
        }
        for row in (*listened.values(), self.advanced_row):
            row.changed.connect(self._show_what_matters)
        self.scale_row.changed.connect(self._show_usual)
        self.kernel_row.changed.connect(self._suggest_kernel_layer)
        optics = self.optics
        for choice in (optics.kind, optics.aperture, optics.emission):
            choice.changed.connect(self._suggest_optics)
        self._suggested_steps = self.steps_row.value
        for choice in (self.kernel_row, self.advanced.schedule):
            choice.changed.connect(self._suggest_steps)

    def _make_fields(self, layers: LayerList) -> None:
        self.scale_row = ComboBox(
            name="scale",
            value=4,
            choices=[(f"×{scale}" if scale > 1 else "×1 (deblur)", scale) for scale in SCALES],
            tooltip="How many times finer the pixels of the result are, along each axis.\n"
            "×1 removes blur and keeps the pixels. Where noise hides fine detail, a larger scale\n"
            "adds pixels, but no information.",
        )
        self.size_row = text_line("Height × width in pixels, of the image and of the result.")
        self.method_row = ComboBox(
            name="method",
            value=METHOD_TABLE[0].name,
            choices=[(method.label, method.name) for method in METHOD_TABLE],
            tooltip="Fast: seconds, pretrained networks. MLMC: minutes, learns from your image\n"
            "alone. DDSR: the same, also for dark, noisy or masked images. With USRNet\n"
            "that network reconstructs the image with the estimated kernel; it needs its\n"
            "published weights.",
        )
        self.kernel_row = ComboBox(
            name="kernel",
            value=FAMILIES[0].name,
            choices=[
                *((family.label, family.name) for family in FAMILIES),
                ("PSF layer", KNOWN),
            ],
            tooltip="What caused the blur? Leave Automatic if unsure, or choose a PSF layer.",
        )
        self.families = family_forms()
        self.kernel_layer_row = kernel_layer_field(layers)
        self.steps_row = SpinBox(
            name="steps",
            value=Schedule().image_steps,
            min=1,
            max=100_000,
            step=50,
            tooltip="Steps of the image generator; the phases of the schedule scale with it.\n"
            "Until you change it, the number that suits the kernel. Fewer steps take less time\n"
            "and restore less.",
        )
        self.seed_row = SeedField(
            "Seed of the random numbers. The same seed repeats a run; another one shows\n"
            "how much the result depends on chance."
        )
        self.device_row = ComboBox(
            name="device",
            value="auto",
            choices=[(device_label(name), name) for name in ("auto", "cpu")],
            tooltip="Where to compute. Automatic takes a GPU if torch can use one.",
        )

    def reset_choices(self, *_: Any) -> None:
        """Update the lists of layers."""
        self.image_row.reset_choices()
        self.advanced.mask.reset_choices()
        self.kernel_layer_row.reset_choices()
        self.extent.region.reset_choices()

    @property
    def method(self) -> Method:
        """The chosen method."""
        return method_named(self.method_row.value)

    @property
    def family(self) -> FamilyForm | None:
        """The form of the chosen kernel family; None for a known kernel."""
        return self.families.get(self.kernel_row.value)

    def settings(self) -> Settings:
        """Return the settings that have an effect; raises a `SettingsError` if they do not fit."""
        family, advanced = self.family, self.advanced
        degradations = self.method.degradations
        weights = advanced.weights.value if self._finish == "usrnet" else None
        return Settings(
            scale=self.scale_row.value,
            method=self.method_row.value,
            kernel="known" if family is None else family.kernel(),
            geometry=advanced.geometry.value,
            border=advanced.border.value,
            bounded=advanced.bounded.value if self.method.optimises else None,
            gain=advanced.gain.value if degradations else 1.0,
            noise=advanced.noise.value if self._takes_noise else 0.0,
            mask_saturated=degradations and advanced.saturated.value,
            finish=advanced.finish.value,
            usrnet_weights=str(weights) if isinstance(weights, Path) else None,
            quality=advanced.quality.value,
            schedule=self._schedule(),
            seed=self.seed_row.value,
            device=self.device_row.value,
            precision=advanced.precision.value,
            threads=free_threads(),
            tile=advanced.tiles.value,
            optics=self.optics.optics(),
            uncertainty=advanced.uncertainty.value if self._takes_uncertainty else 0,
            field=advanced.field.value if self._takes_field else ONE_BLUR,
        )

    @property
    def warm_starts(self) -> bool:
        """Whether each plane starts from the result of the one before."""
        extent = self.extent
        return bool(extent.warm_start.value) and extent.matters(
            extent.warm_start,
            self.image_row.value,
            known=self.family is None,
            optimises=self.method.optimises,
        )

    def show_neighbours(self, *, followed: bool) -> None:
        """Take in whether the chosen planes follow each other along some axis."""
        self.extent.show_neighbours(followed=followed)
        self._show_what_matters()

    @property
    def costly(self) -> tuple[ValueWidget[Any] | FileEdit | TupleEdit, ...]:
        """The rows, apart from the image, that change the memory or time of a run, or its files."""
        advanced = self.advanced
        kinds = self.method_row, self.kernel_row, self.steps_row, self.device_row
        tiling = advanced.tiles, advanced.field
        files = advanced.folder, advanced.weights
        return (*kinds, advanced.finish, advanced.channels, *tiling, *files)

    def show_devices(self, report: DeviceReport) -> None:
        """Offer the devices that torch has."""
        self.found = report.names
        found = [(device_label(name), name) for name in ("auto", *report.names)]
        # A function, because magicgui keeps it as the default; a list would not last.
        self.device_row.choices = lambda _: found

    def show_pixel_size(self, size: float) -> None:
        """Pass the size of the image's pixel, in nm, to the kernel families."""
        self._suggest("pixel_size", size)

    def _suggest(self, parameter: str, value: float) -> None:
        """Make a value the default of a parameter of the kernel families; 0 is unknown."""
        if not value:
            return
        for form in self.families.values():
            field = form.suggest(parameter, value)
            if field is not None:
                names = [name for name, row in self._kept.items() if row is field]
                self._defaults |= dict.fromkeys(names, field.value)

    def _suggest_optics(self, *_: Any) -> None:
        """Pass the microscope that is chosen above to the kernel families."""
        if self.optics.matters:
            self._suggest("numerical_aperture", float(self.optics.aperture.value))
            self._suggest("refractive_index", self.optics.index)
            self._suggest("wavelength", float(self.optics.emission.value))

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
        # A known kernel is one kernel or a grid by itself.
        return not self.method.optimises and self.family is not None

    def _add_rows(self) -> None:
        rows: list[tuple[str, Widget]] = [
            ("Image", self.image_row),
            *self.extent.rows,
            ("What it is", self.optics.kind),
            *self.optics.rows,
            ("How much finer", self.scale_row),
            ("", self.size_row),
            ("How much time", self.advanced.quality),
            ("", self.advanced_row),
        ]
        for title, group in self._groups():
            heading = heading_line(title)
            self._headings[heading] = tuple(row for _, row in group)
            rows += [("", heading), *group]
        rows.append(("", self.actions))
        for label, row in rows:
            self.rows.add(label, row)

    def _groups(self) -> tuple[tuple[str, list[tuple[str, Widget]]], ...]:
        """Return the groups of advanced settings, with a title each."""
        advanced, extent = self.advanced, self.extent
        families = [row for form in self.families.values() for row in form.rows]
        return (
            (
                "Method",
                [
                    ("Method", self.method_row),
                    ("Weights", advanced.weights),
                    ("Reconstruction", advanced.finish),
                    ("Steps", self.steps_row),
                    ("Schedule", advanced.schedule),
                    ("Generator width", advanced.channels),
                    ("Intensity range", advanced.bounded),
                ],
            ),
            (
                "Blur",
                [
                    ("Blur type", self.kernel_row),
                    *families,
                    ("PSF layer", self.kernel_layer_row),
                    ("Kernels", extent.kernels),
                    ("", extent.warm_start),
                    ("Blur varies (rows × columns)", advanced.field),
                ],
            ),
            (
                "Image",
                [
                    ("Noise (SD)", advanced.noise),
                    ("Ignore", advanced.mask),
                    ("", advanced.saturated),
                    ("Gain", advanced.gain),
                    ("Geometry", advanced.geometry),
                    ("Border", advanced.border),
                ],
            ),
            (
                "Result",
                [
                    ("Error map", advanced.uncertainty),
                    ("", advanced.lacking),
                    ("Type", advanced.dtype),
                    ("Write to Zarr", advanced.folder),
                ],
            ),
            (
                "Computation",
                [
                    ("Device", self.device_row),
                    ("Precision", advanced.precision),
                    ("Tiles", advanced.tiles),
                    ("Seed", self.seed_row),
                ],
            ),
        )

    def _show_what_matters(self, *_: Any) -> None:
        self.advanced.offer_finishes(self.method)
        self.advanced.offer_uncertainties(self._finish)
        layer, opened = self.image_row.value, bool(self.advanced_row.value)
        self.extent.show_layer(layer)
        show = self.rows.show
        for row in (*(row for _, row in self.extent.rows), self.advanced.quality):
            show([row], visible=self._matters(row))
        show((row for _, row in self.optics.rows), visible=self.optics.matters)
        for heading, rows in self._headings.items():
            matter = [opened and self._matters(row) for row in rows]
            for row, visible in zip(rows, matter, strict=True):
                show([row], visible=visible)
            show([heading], visible=any(matter))
        self.rows.show([self.actions], visible=opened)
        self.seed_row.another.visible = self.method.optimises
        changed = len(self.changed_settings())
        text = "Advanced settings" + (f" ({changed} changed)" if changed else "")
        self.advanced_row.text = text

    def _matters(self, row: Widget) -> bool:
        """Tell whether a row has an effect on the result."""
        layer, chosen, advanced = self.image_row.value, self.family, self.advanced
        optimises = self.method.optimises
        for form in self.families.values():
            if any(row is field for _, field in form.rows):
                return form is chosen and all(row is not field for field in form.idle)
        if row in advanced.of_degradations:
            return self.method.degradations
        known = chosen is None
        rules: tuple[tuple[Widget, bool], ...] = (
            (advanced.noise, self._takes_noise),
            (advanced.weights, self._finish == "usrnet"),
            (self.steps_row, optimises),
            (self.kernel_layer_row, known),
            (advanced.lacking, not self.extent.is_stack(layer)),
            (advanced.field, self._takes_field),
            (advanced.uncertainty, self._takes_uncertainty),
            (advanced.quality, not optimises and chosen is not None and chosen.is_refined),
        )
        for field, matters in rules:
            if row is field:
                return matters
        if any(row is field for field in advanced.of_optimisation):
            return optimises
        return self.extent.matters(row, layer, known=known, optimises=optimises)

    def changed_settings(self) -> dict[str, Any]:
        """Return the settings with an effect that differ from their defaults, by their names."""
        matter = {name: row.value for name, row in self._kept.items() if self._matters(row)}
        return {name: value for name, value in matter.items() if value != self._defaults[name]}

    def restore_defaults(self) -> None:
        """Reset all settings but the image and its axes."""
        for name, row in self._kept.items():
            if row.value != self._defaults[name]:
                row.value = self._defaults[name]
        self.scale_row.value = self._default_scale
        self._suggested_steps = self.steps_row.value

    def _keep_defaults(self) -> None:
        groups = (row for _, group in self._groups() for row in group)
        open_rows = (("Time", self.advanced.quality), ("Region", self.extent.region))
        # Labels of rows may be empty.
        self._kept: dict[str, Any] = {
            f"{number} {label}": row for number, (label, row) in enumerate((*open_rows, *groups))
        }
        self._defaults = {name: row.value for name, row in self._kept.items()}
        self._default_scale = self.scale_row.value

    def _show_usual(self, *_: Any) -> None:
        for form in self.families.values():
            form.show_usual(self.scale_row.value)

    def _suggest_steps(self, *_: Any) -> None:
        """Set the schedule's number of steps, unless the user chose another one."""
        if self.steps_row.value == self._suggested_steps:
            self._suggested_steps = self._usual_schedule().image_steps
            self.steps_row.value = self._suggested_steps

    def _suggest_kernel_layer(self, *_: Any) -> None:
        """Choose the topmost kernel of this plugin, if none is chosen."""
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
