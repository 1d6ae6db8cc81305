"""The dock: choose an image, press Run, watch it work, get aligned layers."""

from __future__ import annotations

import atexit
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container
from magicgui.widgets.bases import Widget
from napari.layers import Image, Layer
from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QVBoxLayout, QWidget

from napari_blindsr.errors import BlindSRError, EngineError
from napari_blindsr.plugin.layers.read import find_plane, nanometres
from napari_blindsr.plugin.layers.shapes import VIEW
from napari_blindsr.plugin.layers.stack_outputs import layers_of
from napari_blindsr.plugin.restore.form import RunForm
from napari_blindsr.plugin.restore.judge import judge
from napari_blindsr.plugin.restore.panels import RunButtons, RunStatus
from napari_blindsr.plugin.restore.preview import PreviewLayers
from napari_blindsr.plugin.restore.request import read_request, size_text
from napari_blindsr.plugin.restore.save import (
    NOTHING,
    ask_and_save,
    is_restored,
    results_to_save,
)
from napari_blindsr.plugin.restore.worker import Run
from napari_blindsr.plugin.widgets.devices import DeviceReport, probe_devices
from napari_blindsr.plugin.widgets.dock import allow, clear_frames, share_tabs_when_docked
from napari_blindsr.plugin.widgets.follow import LayerFollower, RegionWatcher, SizeWatcher
from napari_blindsr.plugin.widgets.scroll import Scroll
from napari_blindsr.plugin.widgets.texts import ending_text
from napari_blindsr.plugin.widgets.verdict import VerdictPanel

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer

    from napari_blindsr.plugin.layers.inputs import Source
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.stacks.result import StackResult


PROBE_PERIOD = 100
"""Milliseconds between making the dock and looking for devices, and between looks."""
MARGIN = 0.04
"""Free room around a result in the viewer, as part of its size."""
REFRESH = 0.05
"""Least time between two updates of the progress, in seconds."""

NO_IMAGE = "There is no image layer: open an image first."

_log = logging.getLogger(__name__)

# napari waits for its workers when its event loop ends; a script need not have run one, and a
# worker that reports to objects which are gone takes the interpreter down.
atexit.register(GeneratorWorker.await_workers)


class RestoreWidget(Container[Widget]):
    """The dock "Blind super-resolution".

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer

    Attributes
    ----------
    image, scale, method, kernel, steps, seed, device : Widget
        Their ``value`` is what the next run takes.
    planes, range, sharing, warm_start, region : Widget
        Which planes of a stack, which of them share a kernel, whether one begins where the one
        before it has ended, and what part of each.
    mask, mask_saturated, gain, noise : Widget
        The same, for methods that take them. `mask` is a layer or None; `gain` and `noise`
        are numbers or "auto".
    families : dict of str to FamilyForm
        The parameters of each kernel family are attributes of its form.
    kernel_layer : Widget
        Layer of the known kernel, for kernel "known".
    weights : Widget
        File with the weights of USRNet, or None.
    finish, quality, schedule, channels, geometry, border, bounded, precision : Widget
    lacking, dtype, tiles, folder, uncertainty, field : Widget
        Advanced settings.
    advanced : Widget
        Whether they are shown.
    run_button, stop_button, cancel_button, compare_button : PushButton
    progress : ProgressBar
    status, torch_line, hint : Label
        What the run is doing; torch and its devices; advice, if there is any.
    verdict : VerdictPanel
        How good the last result is.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        form, buttons, status = RunForm(napari_viewer.layers), RunButtons(), RunStatus()
        masking, advanced = form.masking, form.advanced
        self.image, self.scale, self.method = form.image_row, form.scale_row, form.method_row
        self.mask, self.mask_saturated = masking.mask, masking.saturated
        self.gain, self.noise = masking.gain, form.noise_row
        self.kernel, self.families = form.kernel_row, form.families
        self.kernel_layer, self.weights = form.kernel_layer_row, form.weights_row
        self.steps, self.seed, self.device = form.steps_row, form.seed_row, form.device_row
        self.finish, self.quality, self.schedule = (
            advanced.finish,
            advanced.quality,
            advanced.schedule,
        )
        self.channels = advanced.channels
        self.geometry, self.border = advanced.geometry, advanced.border
        self.bounded, self.precision = advanced.bounded, advanced.precision
        self.lacking, self.dtype = advanced.lacking, advanced.dtype
        self.tiles, self.folder = advanced.tiles, advanced.folder
        self.planes, self.range = form.extent.planes, form.extent.range
        self.sharing, self.region = form.extent.kernels, form.extent.region
        self.warm_start = form.extent.warm_start
        self.uncertainty, self.field = advanced.uncertainty, advanced.field
        self.advanced = form.advanced_row
        self.run_button, self.stop_button = buttons.run, buttons.stop
        self.cancel_button, self.compare_button = buttons.cancel, buttons.compare
        self.save_button = buttons.save
        self.progress, self.status = status.bar, status.message
        self.torch_line, self.hint = status.torch, status.hint

        self.verdict = VerdictPanel()
        self._form, self._status = form, status
        self._viewer = napari_viewer
        self._follower = LayerFollower(self.image, napari_viewer)
        self._watcher = SizeWatcher(self.image, self._describe)
        self._region_watcher = RegionWatcher(self.region, napari_viewer, self._describe)
        self._run: Run | None = None
        self._previews = PreviewLayers(napari_viewer)
        self._pair: tuple[Layer, ...] = ()
        self._source_layer: Layer | None = None
        self._worker: GeneratorWorker[Progress, bool, Result | StackResult] | None = None
        self._docked = False
        self._gone = False
        self._ending = False
        self._last_refresh = 0.0
        self._unit = "step"
        super().__init__(widgets=[buttons, status], labels=False)
        self._lay_out()

        self._connect()
        self._devices: Future[DeviceReport] | None = None
        # As a child of the dock it ends with it.
        self._timer = QTimer(self.native)
        self._timer.timeout.connect(self._look_for_devices)
        self._timer.start(PROBE_PERIOD)
        self._set_idle()
        self.status.value = "Choose an image and press Run."

    def reset_choices(self, *_: Any) -> None:
        """Bring the list of images up to date. napari calls this when layers come or go."""
        if self._gone:
            return
        with self._follower.refreshing():
            self._form.reset_choices()
        self._show_comparable()
        self._describe()

    def _lay_out(self) -> None:
        """Let all but the buttons and the progress scroll, so that the dock fits a low window."""
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.verdict)
        layout.addWidget(self._form.native)
        self.native.layout().insertWidget(0, Scroll(content))

    def _connect(self) -> None:
        self.run_button.changed.connect(self._start)
        self.stop_button.changed.connect(self._stop_and_keep)
        self.cancel_button.changed.connect(self._cancel)
        self.compare_button.changed.connect(self._compare)
        self.save_button.changed.connect(self._save)
        self._form.python_button.changed.connect(lambda: self._copy("python"))
        self._form.command_button.changed.connect(lambda: self._copy("command"))
        for row in (self.scale, self.planes, self.range, *self._form.costly):
            row.changed.connect(self._describe)
        self._viewer.dims.events.ndisplay.connect(self._describe)
        self._viewer.dims.events.order.connect(self._describe)
        self._viewer.dims.events.current_step.connect(self._describe)
        self.native_parent_changed.connect(self._on_parent)
        self.native.destroyed.connect(self._on_destroyed)

    # What the user does

    def _start(self) -> None:
        if self.image.value is None or self._worker is not None:
            return
        try:
            request = read_request(self._form, self._viewer)
        except BlindSRError as error:
            self._fail(error)
            return
        self._run, self._source_layer = Run(request), self.image.value
        self._worker = create_worker(
            self._run.steps,
            _start_thread=False,
            _connect={
                "yielded": self._on_progress,
                "returned": self._on_result,
                "errored": self._on_error,
                "finished": self._on_finished,
            },
        )
        # In the worker's own thread, because that of the GUI may be about to end.
        self._worker.aborted.connect(self._run.close, type=Qt.ConnectionType.DirectConnection)
        self._ending, self._unit = False, "step"
        self._form.enabled = False
        allow(self.run_button, "Wait for the end of this run, or stop it.")
        allow(self.cancel_button)
        self._form.optics.remember()
        self._status.begin(request.source.name)
        self.verdict.show_verdict(None)
        self._worker.start()

    def _stop_and_keep(self) -> None:
        if self._worker is not None:
            self._worker.send(True)
            self._end(f"Stopping after this {self._unit} …")

    def _cancel(self) -> None:
        if self._worker is not None:
            self._worker.quit()
            self._end("Cancelling after this step …")
            allow(self.cancel_button, "Cancelling after this step …")

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

    def _end(self, text: str) -> None:
        self._ending = True
        allow(self.stop_button, text)
        self.status.value = text

    # What the worker reports, on the main thread

    def _on_progress(self, progress: Progress) -> None:
        if self._gone or self._ending:
            return
        # A generator takes a value only once it has yielded one.
        allow(self.stop_button)
        now = time.monotonic()
        if now - self._last_refresh < REFRESH and progress.step < progress.total:
            return
        self._last_refresh, self._unit = now, progress.unit
        self._status.show_progress(progress)
        run = self._run
        if run is not None and run.source is not None and run.preview is not None:
            preview, run.preview = run.preview, None
            try:
                self._previews.show(preview, run.source, run.settings)
            except Exception:  # noqa: BLE001 - the run goes on without
                _log.exception("A preview could not be shown.")

    def _on_result(self, result: Result | StackResult) -> None:
        source = self._run.source if self._run is not None else None
        if self._gone or source is None:
            return
        self._previews.remove()
        try:
            self._show_result(result, source)
        except Exception as error:  # noqa: BLE001 - the dock must take the next run
            _log.exception("A result could not be shown.")
            clear_frames(error)
            text = " ".join(str(error).split()) or "no message"
            self._fail(
                EngineError(f"the result could not be shown: {type(error).__name__}: {text}")
            )

    def _show_result(self, result: Result | StackResult, source: Source) -> None:
        stored = None if self._run is None else self._run.stored
        layers = layers_of(
            result, source, lacking=self.lacking.value, dtype=self.dtype.value, stored=stored
        )
        added = [self._viewer.add_layer(Layer.create(*layer_data)) for layer_data in layers]
        # Masks lie on the image, which is what one goes on with.
        images = [layer for layer in added if isinstance(layer, Image)]
        self._viewer.layers.selection.active = images[-1]
        self._show(added)
        self._pair = () if self._source_layer is None else (self._source_layer, images[-1])
        self._show_comparable()
        self._status.end(complete=True)
        self.status.value = ending_text(result)
        if stored is not None:
            self.status.value += f" Written to {stored.path}."
        verdict = judge(result, source, None if self._run is None else self._run.resolutions)
        self.verdict.show_verdict(verdict)
        if verdict.level == "doubtful" or (verdict.level == "caution" and result.notes):
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

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, EngineError):
            # Whoever looks into it needs the traceback; what its frames hold is let go.
            _log.error("A run failed.", exc_info=error)
        clear_frames(error)
        self._fail(error)

    def _on_finished(self) -> None:
        run, worker, self._run, self._worker = self._run, self._worker, None, None
        self._source_layer = None
        if run is not None:
            run.close()
        self._status.close_activity()
        self._previews.remove()
        if self._gone:
            return
        if worker is not None and worker.abort_requested:
            self._status.end(complete=False)
            self.status.value = "Cancelled; nothing was added."
        self._set_idle()

    # How the dock keeps up

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
            self._status.show_devices(report)

    def _set_idle(self) -> None:
        self._form.enabled = True
        for button in (self.stop_button, self.cancel_button):
            allow(button, "Nothing is running.")
        self._describe()

    def _show_comparable(self) -> None:
        # Layers that were removed are not kept alive here.
        if not all(layer in self._viewer.layers for layer in self._pair):
            self._pair = ()
        allow(self.compare_button, "" if self._pair else NOTHING)
        results = any(map(is_restored, self._viewer.layers))
        allow(self.save_button, "" if results else NOTHING)

    def _describe(self, *_: Any) -> None:
        """Say how large image and result are, or why the image cannot be restored."""
        layer = self.image.value
        if layer is None:
            self._form.size_row.value = NO_IMAGE
            self._allow_run(NO_IMAGE)
            return
        self._form.extent.show_layer(layer)
        try:
            plane = find_plane(layer, self._viewer.dims)
            text = size_text(self._form, plane, self._viewer)
        except BlindSRError as error:
            self._form.size_row.value = str(error)
            self._allow_run(str(error))
            return
        self._allow_run("")
        size = nanometres(layer, plane)
        self._form.optics.show_layer(layer, size)
        if size is not None:
            self._form.show_pixel_size(size)
        self._form.size_row.value = text

    def _allow_run(self, reason: str) -> None:
        if self._worker is None:
            allow(self.run_button, reason)

    def _fail(self, error: Exception) -> None:
        show_error(str(error))
        if not self._gone:
            self._status.end(complete=False)
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
        self._region_watcher.disconnect()
        self._viewer.dims.events.ndisplay.disconnect(self._describe)
        self._viewer.dims.events.order.disconnect(self._describe)
        self._viewer.dims.events.current_step.disconnect(self._describe)
        if self._worker is not None:
            self._worker.quit()
