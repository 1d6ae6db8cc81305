"""The dock "Measure quality": how good a result is, by all that is known of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container, ProgressBar, PushButton
from magicgui.widgets.bases import Widget
from napari.layers import Image, Layer
from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_blindsr.errors import BlindSRError, EngineError, InputError
from napari_blindsr.plugin.layers.read import find_plane, nanometres
from napari_blindsr.plugin.layers.versions import on_renamed
from napari_blindsr.plugin.measure.case import read_case
from napari_blindsr.plugin.measure.form import MeasureForm
from napari_blindsr.plugin.measure.panels import FindingsPanel, FlagList
from napari_blindsr.plugin.measure.partners import Place, is_restored, keep_measurements, map_layer
from napari_blindsr.plugin.measure.worker import Findings, MeasureRun, Step
from napari_blindsr.plugin.widgets.dock import allow, clear_frames, share_tabs_when_docked
from napari_blindsr.plugin.widgets.fields import text_line
from napari_blindsr.plugin.widgets.follow import LayerFollower, SizeWatcher
from napari_blindsr.plugin.widgets.save import ask_for_csv, save_csv
from napari_blindsr.plugin.widgets.scroll import Scroll

if TYPE_CHECKING:
    import napari.viewer


NO_IMAGE = "There is no image layer: open an image first."
HINT = "Choose an image and what it is measured by, and press Measure."

_log = logging.getLogger(__name__)


class MeasureWidget(Container[Widget]):
    """The dock "Measure quality".

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer

    Attributes
    ----------
    form : MeasureForm
        What is measured, by what.
    flags : FlagList
        What its run found that speaks against the image.
    measure_button, cancel_button : PushButton
    progress : ProgressBar
    status : Label
        What is being measured; what there is to say of it.
    panel : FindingsPanel
        The values, the curves, and the buttons for maps and export.
    findings : Findings or None
        Of the last measurement.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        # napari hands plugins a proxy; choosers and selections take layers for what they are.
        self._viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        super().__init__(labels=False)
        self.form, self.flags, self.panel = (
            MeasureForm(self._viewer.layers),
            FlagList(),
            FindingsPanel(),
        )
        self.measure_button = PushButton(
            text="Measure",
            tooltip="Measure all that the chosen layers allow. The viewer stays usable meanwhile.",
        )
        self.cancel_button = PushButton(
            text="Cancel", tooltip="End after the number that is being measured; nothing is kept."
        )
        self.progress = ProgressBar(value=0, min=0, max=1, tooltip="Numbers that are measured.")
        self.status = text_line("What is being measured, or what there is to say of it.")
        self.status.value = HINT
        self.findings: Findings | None = None
        self._name, self._places = "", dict[str, Place]()
        self._layer: Image | None = None
        self._maps: dict[str, Layer] = {}
        self._run: MeasureRun | None = None
        self._worker: GeneratorWorker[Step, None, Findings] | None = None
        self._docked = self._gone = False
        self._lay_out()
        self._follower = LayerFollower(self.form.image, self._viewer, follows=_is_followed)
        self._watcher = SizeWatcher(self.form.image, self._describe)
        self._connect()
        self.reset_choices()
        self._set_idle()

    def reset_choices(self, *_: Any) -> None:
        """Bring the lists of layers up to date. napari calls this when layers come or go."""
        if self._gone:
            return
        self.form.reset_choices()
        with self._follower.refreshing():
            self.form.image.reset_choices()
        self._describe()

    def export(self, path: Path) -> None:
        """Save the values as CSV, in place of what was there.

        Raises
        ------
        BlindSRError
            If there are none, or the file cannot be written.
        """
        from napari_blindsr.metrics.measure import to_csv  # noqa: PLC0415

        if self.findings is None:
            raise InputError("nothing was measured yet; press Measure first")
        save_csv(path, to_csv(self.findings.measurements))

    def add_map(self, name: str) -> Layer:
        """Add a map of what was measured as a layer over the image or its source.

        Parameters
        ----------
        name : str
            Of one of `napari_blindsr.metrics.MAPS`.

        Raises
        ------
        InputError
            If there is no such map.
        """
        known = () if self.findings is None else self.findings.maps
        found = next((found for found in known if found.kind.name == name), None)
        if found is None:
            raise InputError(f"there is no map {name!r}; expected one that was measured")
        layer = self._maps.get(name)
        if layer is None or layer not in self._viewer.layers:
            grid = "source" if found.map is None else found.map.grid
            data = map_layer(found, of=self._name, place=self._places[grid])
            layer = self._viewer.add_layer(Layer.create(*data))
            self._maps[name] = layer
        self._viewer.layers.selection.active = layer
        return layer

    def _lay_out(self) -> None:
        self.buttons = Container[Widget](
            widgets=[self.measure_button, self.cancel_button], layout="horizontal", labels=False
        )
        self.buttons.margins = (0, 0, 0, 0)
        self.extend([self.buttons, self.progress, self.status])
        layout = self.native.layout()
        layout.insertWidget(0, Scroll(self.form.native))
        findings = QWidget()
        column = QVBoxLayout(findings)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.flags)
        column.addWidget(self.panel, 1)
        # napari adds a stretch of 1 below, which shall not take half of the room.
        layout.addWidget(Scroll(findings, grows=True), 50)

    def _connect(self) -> None:
        self.measure_button.changed.connect(self._start)
        self.cancel_button.changed.connect(self._cancel)
        self.form.image.changed.connect(self._on_image)
        self.panel.map_asked.connect(self._on_map_asked)
        self.panel.export_asked.connect(self._ask_and_export)
        self._forget_names = on_renamed(self._viewer.layers, self.reset_choices)
        self._viewer.layers.events.reordered.connect(self.reset_choices)
        self.native_parent_changed.connect(self._on_parent)
        self.native.destroyed.connect(self._on_destroyed)
        self._on_image()

    # What the user does

    def _on_image(self, *_: Any) -> None:
        self.form.choose_partners()
        self.flags.show_flags(self.form.image.value)

    def _start(self) -> None:
        if self._worker is not None:
            return
        try:
            case = read_case(self.form, self._viewer.layers, self._viewer.dims)
        except BlindSRError as error:
            self._fail(error)
            return
        self._run, self._layer = MeasureRun(case), self.form.image.value
        self._worker = create_worker(
            self._run.steps,
            _start_thread=False,
            _connect={
                "yielded": self._on_step,
                "returned": self._on_findings,
                "errored": self._on_error,
                "finished": self._on_finished,
            },
        )
        # In the worker's own thread, because that of the GUI may be about to end.
        self._worker.aborted.connect(self._run.close, type=Qt.ConnectionType.DirectConnection)
        self.form.enabled = False
        allow(self.measure_button, "Wait for the end of this measurement, or cancel it.")
        allow(self.cancel_button)
        self.progress.max, self.progress.value = 1, 0
        self.status.value = "Starting …"
        self._worker.start()

    def _cancel(self) -> None:
        if self._worker is not None:
            self._worker.quit()
            self.cancel_button.enabled = False
            self.status.value = "Cancelling after this number …"

    def _on_map_asked(self, name: str) -> None:
        try:
            self.add_map(name)
        except BlindSRError as error:
            show_error(str(error))

    def _ask_and_export(self) -> None:
        path = ask_for_csv(self.native, "Export the values", "quality.csv")
        if path is None:
            return
        try:
            self.export(path)
        except BlindSRError as error:
            show_error(str(error))
        else:
            show_info(f"Saved {path}")

    # What the worker reports, on the main thread

    def _on_step(self, step: Step) -> None:
        if self._gone or self._worker is None or self._worker.abort_requested:
            return
        self.progress.max, self.progress.value = step.total, step.done
        self.status.value = f"Measuring {step.next} …"

    def _on_findings(self, findings: Findings) -> None:
        case = None if self._run is None else self._run.case
        if self._gone or case is None:
            return
        size = case.evidence.pixel_size
        # The places, not the case, which holds all pixels.
        self.findings, self._name, self._places = findings, case.name, case.places
        self._maps = {}
        if self._layer is not None:
            keep_measurements(self._layer, findings.measurements, case.measured_with)
        self.panel.show_findings(findings, pixel_size=size)
        self.progress.value = self.progress.max
        self.status.value = " ".join([f"Measured {case.name}.", *map(_sentence, case.notes)])

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, EngineError):
            # Whoever looks into it needs the traceback; what its frames hold is let go.
            _log.error("A measurement failed.", exc_info=error)
        clear_frames(error)
        self._fail(error)

    def _on_finished(self) -> None:
        run, worker, self._run, self._worker = self._run, self._worker, None, None
        self._layer = None
        if run is not None:
            run.close()
        if self._gone:
            return
        if worker is not None and worker.abort_requested:
            self.progress.value = 0
            self.status.value = "Cancelled; nothing was kept."
        self._set_idle()

    # How the dock keeps up

    def _set_idle(self) -> None:
        self.form.enabled = True
        allow(self.measure_button, "" if self.form.image.value is not None else NO_IMAGE)
        allow(self.cancel_button, "Nothing is being measured.")

    def _describe(self, *_: Any) -> None:
        """Say how large the image's pixels are."""
        if self._worker is None:
            self._set_idle()
        layer, size = self.form.image.value, None
        if layer is not None:
            try:
                size = nanometres(layer, find_plane(layer, self._viewer.dims))
            except BlindSRError:
                # What is wrong is said when it is to be measured.
                size = None
        self.form.show_pixel_size(size)

    def _fail(self, error: Exception) -> None:
        show_error(str(error))
        if not self._gone:
            self.progress.value = 0
            self.status.value = str(error)

    # How it ends

    def _on_parent(self, parent: Any) -> None:
        # napari takes the widget out of a dock that is closed; nobody could stop the run.
        if parent is None and self._docked and self._worker is not None:
            self._worker.quit()
        if parent is not None and not self._docked:
            share_tabs_when_docked(self.native)
        self._docked = parent is not None

    def _on_destroyed(self) -> None:
        self._gone = True
        self._follower.disconnect()
        self._watcher.disconnect()
        self._forget_names()
        self._viewer.layers.events.reordered.disconnect(self.reset_choices)
        if self._worker is not None:
            self._worker.quit()


def _is_followed(layer: Layer | None) -> bool:
    return is_restored(layer) and layer is not None and layer.visible


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
