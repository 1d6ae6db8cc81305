"""The dock "Measure quality": quality scores of an image from the layers that are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import PushButton
from napari.layers import Image, Layer
from napari.utils.notifications import show_error

from napari_blindsr.errors import BlindSRError, InputError
from napari_blindsr.plugin.layers.inputs import Frame, Plane
from napari_blindsr.plugin.layers.outputs import is_restored, record_of
from napari_blindsr.plugin.layers.read import find_plane, nanometres
from napari_blindsr.plugin.layers.versions import on_renamed
from napari_blindsr.plugin.measure.case import Findings, MeasureRun, read_case
from napari_blindsr.plugin.measure.form import MeasureForm
from napari_blindsr.plugin.measure.panels import FindingsPanel
from napari_blindsr.plugin.measure.partners import (
    can_be_measured,
    keep_measurements,
    map_layer,
)
from napari_blindsr.plugin.widgets.dock import NO_IMAGE, RunDock
from napari_blindsr.plugin.widgets.fields import side_by_side
from napari_blindsr.plugin.widgets.follow import placing
from napari_blindsr.plugin.widgets.save import ask_and_export, save_csv
from napari_blindsr.plugin.widgets.scroll import Scroll, column
from napari_blindsr.plugin.widgets.texts import sentence
from napari_blindsr.plugin.widgets.verdict import VerdictPanel, flags_verdict

if TYPE_CHECKING:
    import napari.viewer


HINT = "Compute quality scores from the images you choose: press Measure."


NOT_CHOSEN = "Choose the image to score."


class MeasureWidget(RunDock[MeasureRun]):
    """The dock "Measure quality".

    Attributes
    ----------
    form : MeasureForm
    flags : VerdictPanel
        The flags that the image's run raised.
    measure_button, cancel_button : PushButton
    panel : FindingsPanel
        The values, the curves, and the buttons for maps and export.
    findings : Findings or None
        Of the last measurement.
    """

    running = "Wait for the end of this measurement, or cancel it."
    idle = "Nothing is being measured."

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        # napari hands plugins a proxy; choosers and selections take layers for what they are.
        viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.form, self.flags, self.panel = (
            MeasureForm(viewer.layers),
            VerdictPanel(),
            FindingsPanel(),
        )
        self.measure_button = PushButton(
            text="Measure",
            tooltip="Compute all scores that the chosen layers allow. The viewer stays usable.",
        )
        cancel = PushButton(
            text="Cancel", tooltip="End after the score that is being computed; nothing is kept."
        )
        super().__init__(viewer, self.form, self.measure_button, cancel)
        self.status.value = HINT
        self.findings: Findings | None = None
        self._name, self._places = "", dict[str, tuple[Frame, Plane]]()
        self._layer: Image | None = None
        self._maps: dict[str, Layer] = {}
        self.extend([side_by_side(self.measure_button, cancel), self.progress, self.status])
        layout = self.native.layout()
        layout.insertWidget(0, Scroll(self.form.native))
        # napari adds a stretch of 1 below, which shall not take half of the room.
        layout.addWidget(Scroll(column(self.flags, self.panel), grows=True), 50)
        self._follow(self.form.image, follows=_is_followed)
        self._connect()
        self.reset_choices()
        self._set_idle()

    def export(self, path: Path) -> None:
        """Save the values as CSV; raises a `BlindSRError` if there are none or that fails."""
        from napari_blindsr.metrics.measure import to_csv  # noqa: PLC0415

        if self.findings is None:
            raise InputError("nothing was measured yet; press Measure first")
        save_csv(path, to_csv(self.findings.measurements))

    def add_map(self, name: str) -> Layer:
        """Add one of the measured `MAPS` as a layer over the image or its source.

        Raises an `InputError` if there is no such map.
        """
        known = () if self.findings is None else self.findings.maps
        found = next((found for found in known if found.kind.name == name), None)
        if found is None:
            raise InputError(f"there is no map {name!r}; expected one that was measured")
        layer = self._maps.get(name)
        if layer is None or layer not in self._viewer.layers:
            grid = "source" if found.map is None else found.map.grid
            frame, plane = self._places[grid]
            data = map_layer(found, of=self._name, frame=frame, plane=plane)
            layer = self._viewer.add_layer(Layer.create(*data))
            self._maps[name] = layer
        self._viewer.layers.selection.active = layer
        return layer

    def _connect(self) -> None:
        layers = self._viewer.layers
        self.form.image.changed.connect(self._on_image)
        self.panel.map_asked.connect(self._on_map_asked)
        self.panel.export_button.clicked.connect(self._ask_and_export)
        self._watch(self.form.image, placing)
        self._ends.append(on_renamed(layers, self.reset_choices))
        self._listen([layers.events.reordered], self.reset_choices)
        self._on_image()

    # What the user does

    def _on_image(self, *_: Any) -> None:
        self.form.choose_partners()
        layer = self.form.image.value
        self.flags.show_verdict(flags_verdict(record_of(layer)) if is_restored(layer) else None)

    def _start(self) -> None:
        if self._worker is not None:
            return
        try:
            case = read_case(self.form, self._viewer.layers, self._viewer.dims)
        except BlindSRError as error:
            self._fail(error)
            return
        self._layer = self.form.image.value
        self._begin(MeasureRun(case), f"Measuring {case.name}")

    def _on_map_asked(self, name: str) -> None:
        try:
            self.add_map(name)
        except BlindSRError as error:
            show_error(str(error))

    def _ask_and_export(self, *_: Any) -> None:
        ask_and_export(self.native, "Export the values", "quality.csv", self.export)

    # What the worker reports, on the main thread

    def _show_result(self, result: Findings, run: MeasureRun) -> None:
        case = run.case
        if case is None:
            return
        # The places, not the case, which holds all pixels.
        self.findings, self._name, self._places = result, case.name, case.places
        self._maps = {}
        if self._layer is not None:
            keep_measurements(self._layer, result.measurements, case.measured_with)
        self.panel.show_findings(result, pixel_size=case.evidence.pixel_size)
        notes = [f"{sentence(note)}." for note in case.notes]
        self._show_end(" ".join([f"Measured {case.name}.", *notes]), complete=True)

    def _on_finished(self) -> None:
        self._layer = None
        super()._on_finished()

    # Updates

    def _describe(self, *_: Any) -> None:
        """Show how large the image's pixels are, and whether there is an image."""
        layer, size = self.form.image.value, None
        there = any(map(can_be_measured, self._viewer.layers))
        self._allow_start("" if layer is not None else NOT_CHOSEN if there else NO_IMAGE)
        if layer is not None:
            try:
                size = nanometres(Frame.of_layer(layer), find_plane(layer, self._viewer.dims))
            except BlindSRError:
                # Measure says what is wrong.
                size = None
        self.form.show_pixel_size(size)


def _is_followed(layer: Layer | None) -> bool:
    return is_restored(layer) and layer is not None and layer.visible
