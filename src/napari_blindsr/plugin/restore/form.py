"""The form of the dock "Blind super-resolution", and which of its rows have an effect."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from magicgui.widgets import PushButton
from magicgui.widgets.bases import CategoricalWidget, Widget
from napari.components import LayerList
from napari.layers import Image

from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.methods import Method, Schedule, method_named, repeats_cheaply
from napari_blindsr.physics.kernels import KernelFamily
from napari_blindsr.plugin.layers.read import holds_own_kernel
from napari_blindsr.plugin.layers.stacks import label_axes, likely_letters
from napari_blindsr.plugin.restore import options
from napari_blindsr.plugin.restore.kernel_forms import FamilyForm, family_forms
from napari_blindsr.plugin.restore.optics import OpticsOptions
from napari_blindsr.plugin.restore.options import CURRENT, RANGE
from napari_blindsr.plugin.widgets.devices import DeviceReport, device_label, free_threads
from napari_blindsr.plugin.widgets.fields import NO_LABEL, Rows, caption, heading_line, side_by_side
from napari_blindsr.settings import Settings
from napari_blindsr.types import Finish

NAMES = {field.name for field in dataclasses.fields(Settings)} - {"kernel", "quality"}
"""Settings that a field of the same name holds."""


class RunForm(Rows):
    """The settings of a run, a labelled row each; rows without effect are hidden.

    Attributes
    ----------
    groups : dict of str to list of Widget
        The advanced settings, by the titles of their groups.
    found : tuple of str
        The devices that torch can use; empty until they are known.
    """

    def __init__(self, layers: LayerList) -> None:
        self.families, self.optics = family_forms(), OpticsOptions()
        self.found: tuple[str, ...] = ()
        families: list[Widget] = [row for form in self.families.values() for row in form.rows]
        self.groups = {
            "Method": options.method_fields(),
            "Blur": options.blur_fields(layers, families),
            "Image": options.input_fields(layers),
            "Result": options.result_fields(layers),
            "Computation": options.computation_fields(),
        }
        super().__init__(
            options.image_field(),
            *options.extent_fields(layers),
            self.optics.kind,
            *self.optics.rows,
            *options.scale_fields(),
        )
        self._headings = {title: heading_line(title) for title in self.groups}
        for title, fields in self.groups.items():
            self.add(self._headings[title], *fields)
        self._make_buttons()
        self._layer: Image | None = None
        self._labels: tuple[str, ...] = ()
        self._followed = False
        kept = [self.quality, self.region, *(row for rows in self.groups.values() for row in rows)]
        self._defaults = {row.name: row.value for row in (*kept, self.scale)}
        self._suggested_steps = self.steps.value
        self.finish.choices = lambda _: options.finishes(optimises=self.chosen_method.optimises)
        self.uncertainty.choices = lambda _: options.uncertainties(self._finish)
        self._show_usual()
        self._show_what_matters()
        self.show_advice("")
        self._connect(kept)

    def _make_buttons(self) -> None:
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
        self.load_button = PushButton(
            text="Load from result",
            tooltip="Set everything as it was for the selected result, or for the last one.",
        )
        self.save_file_button = PushButton(
            text="Save settings …",
            tooltip="Save the settings as a JSON file. Layers, planes, region and folders are not\n"
            "part of it.",
        )
        self.load_file_button = PushButton(
            text="Load settings …",
            tooltip="Load settings from a JSON file: saved here, or the report of a run that the\n"
            "command line wrote.",
        )
        for name, *buttons in (
            ("actions", self.defaults_button, self.load_button),
            ("presets", self.save_file_button, self.load_file_button),
            ("copies", self.python_button, self.command_button),
        ):
            self.add(side_by_side(*buttons, name=name, label=NO_LABEL))

    def _connect(self, kept: list[Any]) -> None:
        self.defaults_button.changed.connect(self.restore_defaults)
        self.axes.changed.connect(self._try_axes)
        for row in (self.image, self.planes, self.optics.kind, *kept, self.advanced):
            row.changed.connect(self._show_what_matters)
        self.scale.changed.connect(self._show_usual)
        self.kernel.changed.connect(self._suggest_kernel_layer)
        optics = self.optics
        for choice in (optics.kind, optics.aperture, optics.emission):
            choice.changed.connect(self._suggest_optics)
        for choice in (self.kernel, self.schedule):
            choice.changed.connect(self._suggest_steps)

    # What is chosen

    @property
    def chosen_method(self) -> Method:
        """The chosen method."""
        return method_named(self.method.value)

    @property
    def family(self) -> FamilyForm | None:
        """The form of the chosen kernel family; None for a known kernel."""
        return self.families.get(self.kernel.value)

    @property
    def is_stack(self) -> bool:
        """Whether more than the plane on display is to be restored."""
        layer = self.image.value
        return layer is not None and layer.ndim > 2 and self.planes.value != CURRENT

    @property
    def chosen_planes(self) -> str | None:
        """The chosen planes of a stack; None for all."""
        return self.range.value.strip().upper() or None if self.planes.value == RANGE else None

    @property
    def warm_starts(self) -> bool:
        """Whether each plane starts from the result of the one before."""
        return bool(self.warm_start.value) and self._effects()["warm_start"]

    @property
    def target_folder(self) -> Path | None:
        """The folder to which results are written."""
        return _path(self.folder.value)

    def settings(self) -> Settings:
        """Return the settings that have an effect; raises a `SettingsError` if they do not fit."""
        effects = self._effects()
        own = {
            name: field.value
            for name, field in self.fields.items()
            if name in NAMES and effects.get(name, True) and name != "schedule"
        }
        weights = _path(self.weights.value) if effects["weights"] else None
        return Settings(
            **own,
            kernel="known" if self.family is None else self.family.kernel(),
            usrnet_weights=None if weights is None else str(weights),
            quality=self.quality.value,
            schedule=self._schedule(),
            threads=free_threads(),
            tile=self.tiles.value,
            optics=self.optics.optics(),
        )

    def _schedule(self) -> Schedule:
        if not self.chosen_method.optimises:
            return Schedule()
        scaled = self._usual_schedule().scaled(self.steps.value)
        return replace(scaled, channels=self.channels.value)

    def _usual_schedule(self) -> Schedule:
        return Schedule.named(self.schedule.value, kernel=self.kernel.value)

    @property
    def _finish(self) -> Finish:
        finish: Finish = self.finish.value or self.chosen_method.finish
        return finish

    # Which fields have an effect

    def _effects(self) -> dict[str, bool]:
        """Return which fields have an effect on the result; those that are left out always have."""
        layer, method, chosen = self.image.value, self.chosen_method, self.family
        known, stack = chosen is None, self.is_stack
        filters = self.sharing.value == "plane" and not known
        effects = {
            "axes": layer is not None and layer.ndim > 2,
            "planes": layer is not None and layer.ndim > 2,
            "range": stack and self.planes.value == RANGE,
            "sharing": stack and not known,
            "warm_start": stack and self._followed and (method.optimises or filters),
            "lacking": not stack,
            "truth": method.optimises and not stack,
            "noise": method.degradations or self._finish != "none",
            "weights": self._finish == "usrnet",
            "kernel_layer": known,
            # A known kernel is one kernel or a grid by itself.
            "field": not method.optimises and not known,
            "uncertainty": repeats_cheaply(method, known=known, finish=self._finish),
            "quality": self._finish == "prior",
        }
        effects |= dict.fromkeys(("steps", "schedule", "channels", "bounded"), method.optimises)
        effects |= dict.fromkeys(("mask", "mask_saturated", "gain"), method.degradations)
        for form in self.families.values():
            idle = {row.name for row in form.idle}
            effects |= {row.name: form is chosen and row.name not in idle for row in form.rows}
        return effects

    def _show_what_matters(self, *_: Any) -> None:
        self.finish.reset_choices()
        self.uncertainty.reset_choices()
        self.show_layer(self.image.value)
        effects, opened = self._effects(), bool(self.advanced.value)
        for name in ("axes", "planes", "range", "quality"):
            self.show(self.fields[name], visible=effects[name])
        self.show(*self.optics.rows, visible=self.optics.matters)
        for title, rows in self.groups.items():
            matter = [opened and effects.get(row.name, True) for row in rows]
            for row, visible in zip(rows, matter, strict=True):
                self.show(row, visible=visible)
            self.show(self._headings[title], visible=any(matter))
        self.show(self.actions, self.presets, self.copies, visible=opened)
        self.seed.another.visible = self.chosen_method.optimises
        changed = len(self.changed(effects))
        text = "Advanced settings" + (f" ({changed} changed)" if changed else "")
        self.advanced.text = text

    def changed(self, effects: dict[str, bool] | None = None) -> list[str]:
        """Return the settings with an effect, but the scale, that differ from their defaults."""
        effects = self._effects() if effects is None else effects
        return [
            name
            for name, default in self._defaults.items()
            if name != "scale" and effects.get(name, True) and self.fields[name].value != default
        ]

    def summary(self) -> str:
        """Return the settings that differ from their defaults, as the form shows them."""
        rows = [self.fields[name] for name in self.changed()]
        values = [
            row.current_choice if isinstance(row, CategoricalWidget) else row.value for row in rows
        ]
        shown = [f"{caption(row)}: {value}" for row, value in zip(rows, values, strict=True)]
        return ", ".join(shown)

    def restore_defaults(self) -> None:
        """Reset all settings but the image and its axes."""
        for name, default in self._defaults.items():
            if self.fields[name].value != default:
                self.fields[name].value = default
        self._suggested_steps = self.steps.value

    def take(self, settings: Settings) -> list[str]:
        """Set the fields as settings are; returns the names of those that no field can hold."""
        kernel = settings.kernel
        self.method.value, self.scale.value = settings.method, settings.scale
        self.kernel.value = options.KNOWN if kernel == "known" else kernel.name
        if self.family is not None and isinstance(kernel, KernelFamily):
            self.family.take(kernel)
        self.optics.take(settings.optics)
        if self.chosen_method.optimises:
            self._take_schedule(settings.schedule)
        values = {name: getattr(settings, name) for name in NAMES & set(self.fields)}
        values |= {"quality": settings.quality, "tiles": settings.tile}
        if settings.usrnet_weights is not None:
            values["weights"] = settings.usrnet_weights
        # How the image is reconstructed says which uncertainties there are.
        for name in sorted(values.keys() - {"schedule"}, key=lambda name: name != "finish"):
            # A list may lack the value.
            with suppress(ValueError):
                self.fields[name].value = values[name]
        try:
            made = self.settings().to_json()
        except SettingsError:
            return ["the kernel's parameters"]
        wanted = settings.to_json() | {"threads": made["threads"]}
        return [name for name, value in wanted.items() if made[name] != value]

    def _take_schedule(self, schedule: Schedule) -> None:
        steps = schedule.image_steps
        for name in self.schedule.choices:
            usual = Schedule.named(name, kernel=self.kernel.value).scaled(steps)
            if usual == replace(schedule, channels=usual.channels):
                self.schedule.value = name
        self.steps.value, self.channels.value = steps, schedule.channels

    # What is shown of the image and the machine

    def show_layer(self, layer: Image | None) -> None:
        """Show the axes of a layer by their labels, or as is likely."""
        labels = () if layer is None else tuple(map(str, layer.axis_labels))
        if layer != self._layer or labels != self._labels:
            self._layer, self._labels = layer, labels
            # A guess becomes the labels of the layer when the user edits it, or with the run.
            with self.axes.changed.blocked():
                several = layer is not None and layer.ndim > 2
                self.axes.value = likely_letters(layer) if several else ""

    def label_axes(self, layer: Image) -> None:
        """Label the axes of a layer as set; raises an `InputError` for wrong letters."""
        if layer.ndim > 2 and layer == self._layer:
            label_axes(layer, self.axes.value)

    def _try_axes(self) -> None:
        """Label the axes as soon as the letters are complete."""
        if self._layer is not None:
            try:
                self.label_axes(self._layer)
            except InputError:
                # Pressing Run shows the error.
                return

    def show_neighbours(self, *, followed: bool) -> None:
        """Take in whether the chosen planes follow each other along some axis."""
        self._followed = followed
        self._show_what_matters()

    def show_devices(self, report: DeviceReport) -> None:
        """Offer the devices that torch has."""
        self.found = report.names
        found = [(device_label(name), name) for name in ("auto", *report.names)]
        # A function, because magicgui keeps it as the default; a list would not last.
        self.device.choices = lambda _: found

    def show_advice(self, text: str) -> None:
        """Show which scale is suggested, or nothing."""
        self.advice.value = text
        self.show(self.advice, visible=bool(text))

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
                self._defaults[field.name] = field.value

    def _suggest_optics(self, *_: Any) -> None:
        """Pass the microscope that is chosen above to the kernel families."""
        if self.optics.matters:
            self._suggest("numerical_aperture", float(self.optics.aperture.value))
            self._suggest("refractive_index", self.optics.index)
            self._suggest("wavelength", float(self.optics.emission.value))

    def _show_usual(self, *_: Any) -> None:
        for form in self.families.values():
            form.show_usual(self.scale.value)

    def _suggest_steps(self, *_: Any) -> None:
        """Set the schedule's number of steps, unless the user chose another one."""
        if self.steps.value == self._suggested_steps:
            self._suggested_steps = self._usual_schedule().image_steps
            self.steps.value = self._suggested_steps

    def _suggest_kernel_layer(self, *_: Any) -> None:
        """Choose the topmost kernel of this plugin, if none is chosen."""
        chooser = self.kernel_layer
        if self.family is None and chooser.value is None:
            own = (layer for layer in chooser.choices if layer and holds_own_kernel(layer))
            chooser.value = next(own, None)


def _path(value: Any) -> Path | None:
    """Return what a field for a path holds; an empty one holds another value."""
    return value if isinstance(value, Path) else None
