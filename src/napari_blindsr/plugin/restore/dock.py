"""The dock: choose an image, press Run, watch it work, get aligned layers."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container, PushButton
from magicgui.widgets.bases import Widget
from napari.layers import Layer
from napari.utils.notifications import show_warning
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_blindsr.errors import BlindSRError
from napari_blindsr.plugin.layers.outputs import is_restored, result_layers
from napari_blindsr.plugin.layers.read import find_plane, nanometres
from napari_blindsr.plugin.layers.shapes import VIEW
from napari_blindsr.plugin.restore.form import RunForm
from napari_blindsr.plugin.restore.judge import judge
from napari_blindsr.plugin.restore.preview import PreviewLayers
from napari_blindsr.plugin.restore.request import keep_pace, read_request, size_text
from napari_blindsr.plugin.restore.save import (
    NOTHING,
    ask_and_save,
    results_to_save,
)
from napari_blindsr.plugin.restore.worker import RestoreRun
from napari_blindsr.plugin.widgets.about import about_line
from napari_blindsr.plugin.widgets.devices import (
    DeviceReport,
    device_label,
    probe_devices,
    torch_build,
)
from napari_blindsr.plugin.widgets.dock import NO_IMAGE, RunDock, allow, press_with
from napari_blindsr.plugin.widgets.fields import side_by_side, text_line
from napari_blindsr.plugin.widgets.follow import (
    ChoiceWatcher,
    LayerFollower,
    placing,
    region_changes,
)
from napari_blindsr.plugin.widgets.pace import Pace
from napari_blindsr.plugin.widgets.scroll import Scroll, column
from napari_blindsr.plugin.widgets.texts import ending_text
from napari_blindsr.plugin.widgets.verdict import VerdictPanel
from napari_blindsr.stacks.result import StackResult

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer

    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.result import Result


PROBE_PERIOD = 100
"""Milliseconds between making the dock and looking for devices, and between looks."""
MARGIN = 0.04
"""Free room around a result in the viewer, as part of its size."""

_log = logging.getLogger(__name__)


class RestoreWidget(RunDock[RestoreRun]):
    """The dock "Blind super-resolution".

    Attributes
    ----------
    image, scale, method, kernel, steps, seed, device : Widget
        Settings of the next run by their ``value``, as are all others.
    planes, range, sharing, warm_start, region : Widget
        Which planes and what part of each; `sharing` tells which planes share a kernel.
    mask, mask_saturated, gain, noise : Widget
        `mask` is a layer or None; `gain` and `noise` are numbers or "auto".
    families : dict of str to FamilyForm
        The parameters of each kernel family are attributes of its form.
    kernel_layer, weights : Widget
        The layer of a known kernel; the file with USRNet's weights, or None.
    finish, quality, schedule, channels, geometry, border, bounded, precision : Widget
    lacking, dtype, tiles, folder, uncertainty, field : Widget
        Advanced settings, shown if `advanced` is checked.
    run_button, stop_button, pause_button, cancel_button : PushButton
    compare_button, save_button : PushButton
    torch_line, hint : Label
    verdict : VerdictPanel
        How good the last result is.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        form, buttons, torch = RunForm(napari_viewer.layers), RunButtons(), TorchLines()
        super().__init__(napari_viewer, form, buttons.run, buttons.cancel)
        advanced, extent = form.advanced, form.extent
        self.image, self.scale, self.method = form.image_row, form.scale_row, form.method_row
        self.mask, self.mask_saturated = advanced.mask, advanced.saturated
        self.gain, self.noise = advanced.gain, advanced.noise
        self.kernel, self.families = form.kernel_row, form.families
        self.kernel_layer, self.weights = form.kernel_layer_row, advanced.weights
        self.steps, self.seed, self.device = form.steps_row, form.seed_row, form.device_row
        self.finish, self.quality = advanced.finish, advanced.quality
        self.schedule, self.channels = advanced.schedule, advanced.channels
        self.geometry, self.border = advanced.geometry, advanced.border
        self.bounded, self.precision = advanced.bounded, advanced.precision
        self.lacking, self.dtype = advanced.lacking, advanced.dtype
        self.tiles, self.folder = advanced.tiles, advanced.folder
        self.planes, self.range, self.sharing = extent.planes, extent.range, extent.kernels
        self.region, self.warm_start = extent.region, extent.warm_start
        self.uncertainty, self.field = advanced.uncertainty, advanced.field
        self.advanced = form.advanced_row
        self.run_button, self.stop_button = buttons.run, buttons.stop
        self.pause_button = buttons.pause
        self.compare_button, self.save_button = buttons.compare, buttons.save
        self.torch_line, self.hint = torch.torch, torch.hint
        self.verdict, self._torch = VerdictPanel(), torch
        self._follower = LayerFollower(self.image, napari_viewer)
        self._previews = PreviewLayers(napari_viewer)
        self._pair: tuple[Layer, ...] = ()
        self._source_layer: Layer | None = None
        self._unit, self._pace = "step", Pace()
        self.extend([buttons, self.progress, self.status, torch])
        # All but the buttons and the progress scrolls, so that the dock fits a low window.
        self.native.layout().insertWidget(0, Scroll(column(self.verdict, form.native)))
        self.native.layout().addWidget(about_line())
        self._connect()
        self._devices: Future[DeviceReport] | None = None
        # As a child of the dock it ends with it.
        self._timer = QTimer(self.native)
        self._timer.timeout.connect(self._look_for_devices)
        self._timer.start(PROBE_PERIOD)
        self._set_idle()
        self.status.value = "Choose an image and press Run."

    def reset_choices(self, *_: Any) -> None:
        """Update the list of images. napari calls this when layers come or go."""
        if self._gone:
            return
        with self._follower.refreshing():
            self._form.reset_choices()
        self._show_comparable()
        self._describe()

    def _connect(self) -> None:
        form, dims = self._form, self._viewer.dims.events
        self.stop_button.changed.connect(self._stop_and_keep)
        self.pause_button.changed.connect(self._pause_or_resume)
        self.compare_button.changed.connect(self._compare)
        self.save_button.changed.connect(self._save)
        self.seed.another.changed.connect(self._run_with_another_seed)
        form.python_button.changed.connect(lambda: self._copy("python"))
        form.command_button.changed.connect(lambda: self._copy("command"))
        optics = form.optics.kind, form.optics.aperture, form.optics.emission
        rows = self.scale, self.planes, self.range, form.optics.pixel_size, *optics
        for row in (*rows, *form.costly):
            row.changed.connect(self._describe)
        self._listen([dims.ndisplay, dims.order, dims.current_step], self._describe)
        size = ChoiceWatcher(self.image, placing, self._describe)
        changes = partial(region_changes, self._viewer)
        region = ChoiceWatcher(self.region, changes, self._describe)
        self._ends += [self._follower.disconnect, size.disconnect, region.disconnect]

    # What the user does

    def _start(self) -> None:
        if self.image.value is None or self._worker is not None:
            return
        # That of an earlier run says nothing of this one, not even if it cannot begin.
        self.verdict.show_verdict(None)
        try:
            request = read_request(self._form, self._viewer)
        except BlindSRError as error:
            self._fail(error)
            return
        self._source_layer, self._unit, self._pace = self.image.value, "step", Pace()
        self._form.optics.remember()
        self._begin(RestoreRun(request), f"Restoring {request.source.name}")

    def _begin(self, run: RestoreRun, activity: str) -> None:
        super()._begin(run, activity)
        if self._worker is not None:
            self._worker.paused.connect(self._on_paused)
            self._worker.resumed.connect(self._on_resumed)

    def _run_with_another_seed(self) -> None:
        # Without an image, or with one that cannot be restored, the button Run says why.
        if self.run_button.enabled:
            self.seed.set_next()
            self._start()

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

    def _copy(self, kind: str) -> None:
        """Copy what repeats the run to the clipboard."""
        from napari_blindsr.plugin.restore import recipe  # noqa: PLC0415

        if self.image.value is None:
            return
        try:
            given = recipe.Recipe(
                request=read_request(self._form, self._viewer),
                layer=self.image.value,
                mask=self.mask.value,
                kernel=self.kernel_layer.value,
            )
            make = recipe.python_text if kind == "python" else recipe.command_text
            text = make(given)
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
        if run is not None and run.source is not None and run.preview is not None:
            preview, run.preview = run.preview, None
            try:
                self._previews.show(preview, run.source, run.settings)
            except Exception:  # noqa: BLE001 - the run goes on without
                _log.exception("A preview could not be shown.")

    def _show_result(self, result: Result | StackResult, run: RestoreRun) -> None:
        if run.source is None:
            return
        self._previews.remove()
        layers = result_layers(
            result,
            run.source,
            lacking=self.lacking.value,
            dtype=self.dtype.value,
            stored=run.stored,
        )
        added = [self._viewer.add_layer(Layer.create(*layer_data)) for layer_data in layers]
        # Masks, and the kernels of regions, lie on the image, with which the user goes on.
        (restored,) = (layer for layer in added if is_restored(layer))
        self._viewer.layers.selection.active = restored
        self._show(added)
        self._pair = () if self._source_layer is None else (self._source_layer, restored)
        self._show_comparable()
        stored = "" if run.stored is None else f" Written to {run.stored.path}."
        self._show_end(ending_text(result) + stored, complete=True)
        keep_pace(self._pace.seconds, run.source, run.settings)
        verdict = judge(result, run.source, run.resolutions)
        self.verdict.show_verdict(verdict)
        # Every stack has a note, that nothing is sharpened along Z.
        left_out = bool(result.notes) and not isinstance(result, StackResult)
        if verdict.level == "doubtful" or (verdict.level == "caution" and left_out):
            show_warning(verdict.text)

    def _show(self, added: list[Layer]) -> None:
        """Fit the view to what was restored, its source, and the point spread function."""
        if self.region.value == VIEW or self._viewer.dims.ndisplay != 2:
            return
        whole = self._source_layer is not None and self.region.value is None
        shown = [*added, self._source_layer] if whole else [added[-1]]
        # The source may have been removed meanwhile.
        here = [layer for layer in shown if layer in self._viewer.layers]
        self._viewer.reset_view(layers=here, margin=MARGIN)

    def _on_finished(self) -> None:
        self._source_layer = None
        self._previews.remove()
        super()._on_finished()

    # Updates

    def _look_for_devices(self) -> None:
        """Start to look for devices when the dock has been painted; later, fetch the answer."""
        if self._devices is None:
            # No worker of napari's: those cannot outlive its window, and importing torch may.
            executor = ThreadPoolExecutor(max_workers=1)
            self._devices = executor.submit(probe_devices)
            executor.shutdown(wait=False)
        elif self._devices.done():
            self._timer.stop()
            report = self._devices.result()
            self._form.show_devices(report)
            self._torch.show_devices(report)

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
        layer = self.image.value
        if layer is None:
            self._form.size_row.value = NO_IMAGE
            self._allow_start(NO_IMAGE)
            return
        self._form.extent.show_layer(layer)
        try:
            plane = find_plane(layer, self._viewer.dims)
            size = nanometres(layer, plane)
            # Each change of a number comes here again: the text is the last to be made.
            self._form.optics.show_layer(layer, size)
            if size is not None:
                self._form.show_pixel_size(size)
            text = size_text(self._form, plane, self._viewer)
        except BlindSRError as error:
            self._form.size_row.value = str(error)
            self._allow_start(str(error))
            return
        self._allow_start()
        self._form.size_row.value = text


class RunButtons(Container[Widget]):
    """Run, Stop and keep, Pause, Cancel; Compare, Save result."""

    def __init__(self) -> None:
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self.run = PushButton(
            text="Run",
            tooltip="Estimate the blur of the image and reconstruct a sharper, finer image.\n"
            "The viewer stays usable meanwhile.",
        )
        self.stop = PushButton(
            text="Stop and keep",
            tooltip="End the run after the current step and keep the best result so far.",
        )
        self.pause = PushButton(
            text="Pause",
            tooltip="Pause the run after the current step, or resume it. Its memory stays taken.",
        )
        self.cancel = PushButton(
            text="Cancel", tooltip="End the run after the current step and drop its result."
        )
        self.compare = PushButton(
            text="Compare",
            tooltip="Compare the last result with its source: a curtain whose edge is dragged.",
        )
        self.save = PushButton(
            text="Save result …",
            tooltip="Save the selected results, or the last one, as OME-TIFF, ImageJ TIFF or\n"
            "OME-Zarr, with pixel sizes, units, names and colours. Several become channels.",
        )
        for button, key in ((self.run, "F5"), (self.stop, "Shift+F5"), (self.compare, "F6")):
            press_with(button, key)
        first = side_by_side(self.run, self.stop, self.pause, self.cancel)
        self.extend([first, side_by_side(self.compare, self.save)])


class TorchLines(Container[Widget]):
    """The installed torch with its devices, and advice on faster ones."""

    def __init__(self) -> None:
        self.torch = text_line("The installed torch and the devices that it can use.")
        self.hint = text_line("How to make runs faster on this machine.")
        self.hint.visible = False
        self.torch.value = f"{torch_build()} · looking for devices …"
        super().__init__(widgets=[self.torch, self.hint], labels=False)
        self.margins = (0, 0, 0, 0)

    def show_devices(self, report: DeviceReport) -> None:
        """Show which devices were found, and what may be missing."""
        found = ", ".join(device_label(name) for name in report.names)
        self.torch.value = f"{torch_build()} · {found}"
        self.hint.value = report.hint
        self.hint.visible = bool(report.hint)
