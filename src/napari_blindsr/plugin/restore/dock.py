"""The dock: choose an image, press Run, watch it work, get aligned layers."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import PushButton
from napari.layers import Layer
from napari.utils.notifications import show_warning
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_blindsr.errors import BlindSRError
from napari_blindsr.plugin.layers.inputs import Frame
from napari_blindsr.plugin.layers.outputs import is_restored, record_of, result_layers
from napari_blindsr.plugin.layers.read import find_plane, nanometres, quoted
from napari_blindsr.plugin.restore.advice import ScaleAdvice
from napari_blindsr.plugin.restore.continuing import MoreSteps
from napari_blindsr.plugin.restore.course import CoursePanel
from napari_blindsr.plugin.restore.form import RunForm
from napari_blindsr.plugin.restore.judge import judge
from napari_blindsr.plugin.restore.presets import load_preset, save_preset, settings_layer
from napari_blindsr.plugin.restore.preview import PreviewLayers
from napari_blindsr.plugin.restore.probe import DeviceProbe
from napari_blindsr.plugin.restore.queue import QueueDock, QueuedRun
from napari_blindsr.plugin.restore.request import keep_pace, read_request, size_text
from napari_blindsr.plugin.restore.worker import RestoreRun
from napari_blindsr.plugin.widgets.devices import DeviceReport, device_label, torch_build
from napari_blindsr.plugin.widgets.dock import NO_IMAGE, allow, press_with
from napari_blindsr.plugin.widgets.fields import about_line, side_by_side, text_line
from napari_blindsr.plugin.widgets.follow import placing, region_changes
from napari_blindsr.plugin.widgets.pace import Pace
from napari_blindsr.plugin.widgets.save import (
    NOTHING,
    ask_and_export,
    ask_and_save,
    results_to_save,
)
from napari_blindsr.plugin.widgets.scroll import Scroll, column
from napari_blindsr.plugin.widgets.texts import ending_text
from napari_blindsr.plugin.widgets.verdict import VerdictPanel
from napari_blindsr.settings import Settings
from napari_blindsr.stacks.result import StackResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer

    from napari_blindsr.plugin.restore.request import Request
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.result import Result


COSTLY = (
    *("scale", "planes", "range", "method", "kernel", "steps", "device", "finish", "channels"),
    *("tiles", "field", "folder", "weights"),
)
"""The fields, apart from the image, that change the memory or time of a run, or its files."""

_log = logging.getLogger(__name__)


class RestoreWidget(QueueDock):
    """The dock "Blind super-resolution".

    The fields of its form are attributes, by the names in `restore/options.py`: ``scale``,
    ``method``, ``kernel``, ``finish``. Their ``value`` is a setting of the next run.

    Attributes
    ----------
    families : dict of str to FamilyForm
        The parameters of each kernel family are attributes of its form.
    run_button, stop_button, pause_button, cancel_button : PushButton
    compare_button, save_button : PushButton
    torch_line, hint : Label
    verdict : VerdictPanel
        How good the last result is.
    course, more : CoursePanel, MoreSteps
        The curves of the last optimisation, and what continues it.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        form, cancel = RunForm(napari_viewer.layers), self._make_buttons()
        super().__init__(napari_viewer, form, self.run_button, cancel)
        self.families = form.families
        self.verdict, self.course, self.more = VerdictPanel(), CoursePanel(), MoreSteps()
        self.torch_line = text_line("The installed torch and the devices that it can use.")
        self.torch_line.value = f"{torch_build()} · looking for devices …"
        self.hint = text_line("How to make runs faster on this machine.")
        self.hint.visible = False
        self._follow(self.image)
        self._previews = PreviewLayers(napari_viewer, self._guard.is_open)
        self._advice = ScaleAdvice(self.native, self._show_advice)
        self._pair: tuple[Layer, ...] = ()
        self._unit, self._pace = "step", Pace()
        first = side_by_side(self.run_button, self.stop_button, self.pause_button, cancel)
        second = side_by_side(self.queue_button, self.folder_button)
        third = side_by_side(self.compare_button, self.save_button)
        self.extend([first, second, third, self.progress, self.status, self.torch_line, self.hint])
        # All but the buttons and the progress scrolls, so that the dock fits a low window.
        layout = self.native.layout()
        layout.insertWidget(layout.indexOf(self.status.native) + 1, self.queue)
        above = self.verdict, self.course, self.more.native, form.native
        layout.insertWidget(0, Scroll(column(*above)))
        layout.addWidget(about_line())
        self._connect()
        self._ends.append(self.more.forget)
        self._probe = DeviceProbe(self.native, self._show_devices)
        self._set_idle()
        self.status.value = "Choose an image and press Run."

    def _make_buttons(self) -> PushButton:
        """Make the buttons; return the one that cancels, which all docks with runs have."""
        self.run_button = PushButton(
            text="Run",
            tooltip="Estimate the blur of the image and reconstruct a sharper, finer image.\n"
            "The viewer stays usable meanwhile.",
        )
        self.stop_button = PushButton(
            text="Stop and keep",
            tooltip="End the run after the current step and keep the best result so far.",
        )
        self.pause_button = PushButton(
            text="Pause",
            tooltip="Pause the run after the current step, or resume it. Its memory stays taken.",
        )
        cancel = PushButton(
            text="Cancel", tooltip="End the run after the current step and drop its result."
        )
        self.compare_button = PushButton(
            text="Compare",
            tooltip="Compare the last result with its source: a curtain whose edge is dragged.",
        )
        self.save_button = PushButton(
            text="Save result …",
            tooltip="Save the selected results, or the last one, as OME-TIFF, ImageJ TIFF or\n"
            "OME-Zarr, with pixel sizes, units, names, colours and contrast limits.\n"
            "Several become channels.",
        )
        press_with(self.run_button, "F5")
        press_with(self.stop_button, "Shift+F5")
        press_with(self.compare_button, "F6")
        return cancel

    def _connect(self) -> None:
        form, dims = self._form, self._viewer.dims.events
        self.stop_button.changed.connect(self._stop_and_keep)
        self.pause_button.changed.connect(self._pause_or_resume)
        self.compare_button.changed.connect(self._compare)
        self.save_button.changed.connect(self._save)
        self.more.button.changed.connect(self._continue)
        self.seed.another.changed.connect(self._run_with_another_seed)
        form.python_button.changed.connect(lambda: self._copy("python"))
        form.command_button.changed.connect(lambda: self._copy("command"))
        form.load_button.changed.connect(self._load_settings)
        form.save_file_button.changed.connect(self._save_preset)
        form.load_file_button.changed.connect(self._load_preset)
        for name in COSTLY:
            form.fields[name].changed.connect(self._describe)
        optics = form.optics
        known = (optics.kind, optics.aperture, optics.emission, optics.pixel_size)
        for row in (*known, *(row for one in self.families.values() for row in one.instrument)):
            row.changed.connect(self._describe)
        self._listen([dims.ndisplay, dims.order, dims.current_step], self._describe)
        self._watch(self.image, placing)
        self._watch(self.region, partial(region_changes, self._viewer))

    # What the user does

    def _start(self) -> None:
        if self.image.value is None or self._worker is not None:
            return
        # That of an earlier run says nothing of this one, not even if it cannot begin.
        self.verdict.show_verdict(None)
        self._add_layer()

    def _continue(self) -> None:
        kept = self.more.kept
        if kept is not None and self._worker is None:
            self.verdict.show_verdict(None)
            self._add(kept.run(self.more.steps.value), self.more.steps.label)

    def _begin(self, run: QueuedRun, activity: str) -> None:
        self._unit, self._pace = "step", Pace()
        # A run that is continued has curves; what it leaves is kept again at its end.
        self.course.show_curves(run.previews.course.curves() if isinstance(run, RestoreRun) else {})
        self.more.keep(None)
        super()._begin(run, activity)
        if self._worker is not None:
            self._worker.paused.connect(self._on_paused)
            self._worker.resumed.connect(self._on_resumed)

    def _run_with_another_seed(self) -> None:
        # Without an image, or with one that cannot be restored, the buttons say why.
        if self.run_button.enabled or self.queue_button.enabled:
            self.seed.set_next()
            begin = self._start if self._worker is None else self._add_layer
            begin()

    def _stop_and_keep(self) -> None:
        if self._worker is not None:
            self._worker.send(True)
            self._worker.resume()
            self._ending = True
            self.status.value = f"Stopping after this {self._unit} …"
            self._refuse_more(self.status.value)

    def _cancel(self) -> None:
        super()._cancel()
        if self._worker is not None:
            self._refuse_more(self.status.value)

    def _refuse_more(self, reason: str) -> None:
        for button in (self.stop_button, self.pause_button):
            allow(button, reason)

    def _pause_or_resume(self) -> None:
        worker = self._worker
        if worker is None or self._ending:
            return
        self.status.value = (
            "Resuming …" if worker.is_paused else f"Pausing after this {self._unit} …"
        )
        # Until the worker has done so, which a second click would undo.
        allow(self.pause_button, self.status.value)
        worker.toggle_pause()

    def _compare(self) -> None:
        # Curve fitting takes a moment to import, which this dock shall not when it is shown.
        from napari_blindsr.plugin.compare.dock import open_comparison  # noqa: PLC0415

        open_comparison(self._viewer, self._pair)

    def _save(self) -> None:
        layers = results_to_save(self._viewer, self._pair)
        if layers:
            ask_and_save(self.native, layers, saved=self._on_saved, failed=self._fail)

    def _on_saved(self, path: Path) -> None:
        if not self._gone:
            self.status.value = f"Saved to {path}."

    def _load_settings(self) -> None:
        """Set everything as it was for the selected result, or for the last one."""
        layer = settings_layer(self._viewer.layers)
        if layer is None:
            self.status.value = f"There are no settings: {NOTHING}"
            return
        try:
            missing = self._form.take(Settings.from_json(record_of(layer)["settings"]))
        except BlindSRError as error:
            self._fail(error)
        else:
            self._show_loaded(quoted(layer), missing)

    def _show_loaded(self, source: str, missing: list[str]) -> None:
        rest = f" Set by hand: {', '.join(missing)}." if missing else ""
        self.status.value = f"Settings of {source}.{rest}"

    def _save_preset(self) -> None:
        export = partial(save_preset, form=self._form)
        ask_and_export(self.native, "Save settings", "settings.json", export)

    def _load_preset(self) -> None:
        answer, _ = QFileDialog.getOpenFileName(self.native, "Load settings", "", "JSON (*.json)")
        if not answer:
            return
        try:
            missing = load_preset(Path(answer), self._form)
        except BlindSRError as error:
            self._fail(error)
        else:
            self._show_loaded(answer, missing)

    def _copy(self, kind: str) -> None:
        """Copy what repeats the run to the clipboard."""
        from napari_blindsr.plugin.restore import recipe  # noqa: PLC0415

        if self.image.value is None:
            return
        try:
            request = read_request(self._form, self._viewer)
            make = recipe.python_text if kind == "python" else recipe.command_text
            text = make(request, self.image.value)
        except BlindSRError as error:
            self._fail(error)
            return
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(text)
            self.status.value = "Copied to the clipboard."

    # What the worker reports, on the main thread

    def _on_paused(self) -> None:
        self._pace.pause()
        if self._ending and self._worker is not None:
            # Stop was pressed after Pause.
            self._worker.resume()
        elif not self._gone:
            self._show_paused(paused=True)
            self.status.value = "Paused. Press Resume to go on."

    def _on_resumed(self) -> None:
        self._pace.resume()
        if not self._gone and not self._ending:
            self._show_paused(paused=False)

    def _show_paused(self, *, paused: bool) -> None:
        self.pause_button.text = "Resume" if paused else "Pause"
        allow(self.pause_button)

    def _on_progress(self, progress: Progress) -> None:
        if self._gone or self._ending:
            return
        if not self.stop_button.enabled:
            # A generator takes a value only once it has yielded one.
            allow(self.stop_button)
            allow(self.pause_button)
        self._unit = progress.unit
        super()._on_progress(self._pace.corrected(progress))
        run = self._run
        if not isinstance(run, RestoreRun):
            return
        if run.source is not None and run.preview is not None:
            preview, run.preview = run.preview, None
            # What is made once says nothing of how often they can be shown.
            counts, began = not self.course.isHidden(), time.perf_counter()
            try:
                added = self._previews.show(preview, run.source, run.settings)
                if added and run.request is not None:
                    self._show(added, added[0], run.request)
                self.course.show_curves(preview.curves)
                self.course.paint_now()
            except Exception:  # noqa: BLE001 - the run goes on without
                _log.exception("A preview could not be shown.")
            run.previews.shown = time.perf_counter() - began if counts else 0.0

    def _show_layers(self, result: Result | StackResult, run: RestoreRun) -> None:
        request = run.request
        if request is None:
            return
        self._previews.remove()
        # Whoever has more runs in the queue is at work on something else meanwhile.
        active = self._viewer.layers.selection.active if self.queue.is_shared else None
        layers = result_layers(
            result,
            request.source,
            lacking=request.lacking,
            dtype=request.dtype,
            stored=run.stored,
        )
        added = [self._viewer.add_layer(Layer.create(*layer_data)) for layer_data in layers]
        # Masks, and the kernels of regions, lie on the image, with which the user goes on.
        (restored,) = (layer for layer in added if is_restored(layer))
        self._viewer.layers.selection.active = active or restored
        self._show(added, restored, request)
        self._pair = () if request.layer is None else (request.layer, restored)
        self._show_comparable()
        self.more.keep_run(run, result.reason, self._pair)
        self.course.show_curves(run.previews.course.curves())
        stored = "" if run.stored is None else f" Written to {run.stored.path}."
        self._show_end(ending_text(result) + stored, complete=True)
        keep_pace(self._pace.seconds, request.source, run.settings)
        verdict = judge(result, request.source, run.resolutions)
        self.verdict.show_verdict(verdict)
        self.queue.end("stopped" if str(result.reason) == "stopped" else "done", verdict.line)
        # Every stack has a note, that nothing is sharpened along Z.
        left_out = bool(result.notes) and not isinstance(result, StackResult)
        if verdict.level == "doubtful" or (verdict.level == "caution" and left_out):
            named = f"{run.title}: " if self.queue.is_shared else ""
            show_warning(named + verdict.text)

    def _show(self, added: Sequence[Layer], image: Layer, request: Request) -> None:
        """Fit the view to what was added, with its source; of a part, to its image alone."""
        if not self.queue.is_shared and not request.in_view:
            whole = request.layer is not None and request.source.region is None
            self._view.fit([*added, request.layer] if whole else [image])

    def _on_finished(self) -> None:
        self._previews.remove()
        super()._on_finished()

    # Updates

    def _show_devices(self, report: DeviceReport) -> None:
        self._form.show_devices(report)
        found = ", ".join(device_label(name) for name in report.names)
        self.torch_line.value = f"{torch_build()} · {found}"
        self.hint.value, self.hint.visible = report.hint, bool(report.hint)
        self._describe()

    def _show_advice(self) -> None:
        if not self._gone:
            self._form.show_advice(self._advice.text)

    def _set_idle(self) -> None:
        self.pause_button.text = "Pause"
        self._refuse_more(self.idle)
        super()._set_idle()

    def _show_comparable(self) -> None:
        # Layers that were removed are not kept alive here.
        if not all(layer in self._viewer.layers for layer in self._pair):
            if self._pair and self._pair[-1] not in self._viewer.layers:
                # There is nothing left that it says something of.
                self.verdict.show_verdict(None)
            self._pair = ()
        allow(self.compare_button, "" if self._pair else NOTHING)
        results = any(map(is_restored, self._viewer.layers))
        allow(self.save_button, "" if results else NOTHING)

    def _describe(self, *_: Any) -> None:
        """Show how large image and result are, or why the image cannot be restored."""
        self._show_comparable()
        self.more.check(self.image.value, self._viewer.layers)
        layer = self.image.value
        if layer is None:
            self._form.size_row.value = NO_IMAGE
            self._advice.forget()
            self._show_advice()
            self._allow_start(NO_IMAGE)
            return
        self._form.show_layer(layer)
        try:
            plane = find_plane(layer, self._viewer.dims)
            size = nanometres(Frame.of_layer(layer), plane)
            # Each change of a number comes here again: the text is the last to be made.
            self._form.optics.show_layer(layer, size)
            if size is not None:
                self._form.show_pixel_size(size)
            text = size_text(self._form, plane, self._viewer)
            if self._form.found and self._worker is None:
                # torch is imported by now, and no run computes that would be slowed down.
                self._advice.ask(layer, plane)
                self._show_advice()
        except BlindSRError as error:
            self._form.size_row.value = str(error)
            self._allow_start(str(error))
            return
        self._allow_start()
        self._form.size_row.value = text
