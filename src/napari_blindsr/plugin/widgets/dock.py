"""What all docks share: one group of tabs, how they close; how a dock runs something."""

from __future__ import annotations

import atexit
import logging
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from magicgui.widgets import Container, ProgressBar, PushButton
from magicgui.widgets.bases import CategoricalWidget, Widget
from napari.layers import Layer
from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import progress as ActivityBar
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_blindsr.errors import BlindSRError, EngineError
from napari_blindsr.plugin.widgets.devices import keep_triton_out
from napari_blindsr.plugin.widgets.fields import text_line
from napari_blindsr.plugin.widgets.follow import ChoiceWatcher, LayerFollower, is_source
from napari_blindsr.plugin.widgets.texts import progress_text, sentence
from napari_blindsr.plugin.widgets.view import View
from napari_blindsr.progress import Progress

if TYPE_CHECKING:
    import napari.viewer


Returned = TypeVar("Returned")


class Run(ABC, Generic[Returned]):
    """Work for a generator worker; `close` frees its memory.

    napari keeps every worker, and with it a suspended generator, until its window closes. What is
    large is therefore held here.
    """

    kind: ClassVar[str]

    def __init__(self, name: str) -> None:
        self._name = name
        self._engine: Generator[Progress, bool | None, Returned] | None = None

    def __repr__(self) -> str:
        # napari shows this when it is closed during a run.
        return f"{self.kind} of '{self._name}'"

    @property
    def cancelled(self) -> str:
        """What is left of it if it was cancelled."""
        return "Cancelled; nothing was added."

    def steps(self) -> Generator[Progress, bool | None, Returned]:
        """Run step by step; a true value that is sent stops the run and keeps its result.

        Every failure is raised as a `BlindSRError`: a worker swallows RuntimeErrors, torch's among
        them, and then never ends.
        """
        keep_triton_out()
        try:
            self._engine = self._work()
            return (yield from self._engine)
        except BlindSRError:
            raise
        except Exception as error:
            text = " ".join(str(error).split()) or "no message"
            raise EngineError(f"the {self!r} failed with {type(error).__name__}: {text}") from error
        finally:
            self._engine = None

    @abstractmethod
    def _work(self) -> Generator[Progress, bool | None, Returned]:
        """Do the work."""

    def close(self) -> None:
        """Free all memory. Only while no step is being executed."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


MARK = "napari-blindsr-dock"
"""Object name of this plugin's docks, by which each finds the others."""
USUAL = "usual-tooltip"
NO_IMAGE = "There is no image layer: open an image first."
REFRESH = 0.05
"""Least time between two updates of the progress, in seconds."""

Job = TypeVar("Job", bound=Run[Any])

_log = logging.getLogger(__name__)

# napari waits for its workers when its event loop ends; a script need not have run one, and a
# worker that reports to objects which are gone takes the interpreter down.
atexit.register(GeneratorWorker.await_workers)


class Dock(Container[Widget]):
    """A dock of this plugin: it joins the tabs of the others, and disconnects when it ends."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = viewer
        self._docked = self._gone = False
        self._ends: list[Callable[[], Any]] = []
        self._form: Any = None
        super().__init__(labels=False)
        self._view = View(viewer, self.native)
        self.native_parent_changed.connect(self._on_parent)
        self.native.destroyed.connect(self._on_destroyed)

    def __getattr__(self, name: str) -> Any:
        """Return a field of the form."""
        form = self.__dict__.get("_form")
        if form is not None and name in form.fields:
            return form.fields[name]
        return super().__getattr__(name)

    def reset_choices(self, *_: Any) -> None:
        """Update the lists of layers. napari calls this when layers come or go."""
        if self._gone:
            return
        with self._follower.refreshing():
            self._form.reset_choices()
        self._describe()

    @abstractmethod
    def _describe(self, *_: Any) -> None:
        """Show what the form and the viewer say, and whether the dock can begin."""

    def _follow(
        self,
        chooser: CategoricalWidget[Any],
        *,
        follows: Callable[[Layer | None], bool] = is_source,
    ) -> None:
        """Keep the chooser of the form's image at the selected layer."""
        self._follower = LayerFollower(chooser, self._viewer, follows)
        self._ends.append(self._follower.disconnect)

    def _watch(self, chooser: CategoricalWidget[Any], emitters: Callable[[Any], Any]) -> None:
        """Describe anew when another layer is chosen, or when one of its `emitters` fires."""
        self._ends.append(ChoiceWatcher(chooser, emitters, self._describe).disconnect)

    def _listen(self, emitters: Sequence[Any], callback: Callable[..., None]) -> None:
        """Connect a callback until the dock ends."""
        for emitter in emitters:
            emitter.connect(callback)
            self._ends.append(partial(emitter.disconnect, callback))

    def _on_parent(self, parent: Any) -> None:
        # napari takes the widget out of a dock that is closed.
        if parent is None and self._docked:
            self._on_closed()
        if parent is not None and not self._docked:
            share_tabs_when_docked(self.native)
        self._docked = parent is not None

    @abstractmethod
    def _on_closed(self) -> None:
        """Stop what nobody could stop any more."""

    def _on_destroyed(self) -> None:
        self._gone = True
        ends, self._ends = self._ends, []
        for end in ends:
            end()


class RunDock(Dock, Generic[Job]):
    """A dock with a form, whose start button runs one worker at a time.

    Attributes
    ----------
    progress : ProgressBar
    status : Label
        What the run is doing, or how it ended.
    """

    running = "Wait for the end of this run, or stop it."
    idle = "Nothing is running."
    locks_form = True
    """Whether the form cannot be changed during a run."""

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        form: Any,
        start: PushButton,
        cancel: PushButton,
    ) -> None:
        super().__init__(viewer)
        self._form, self._start_button, self.cancel_button = form, start, cancel
        self.progress = ProgressBar(value=0, min=0, max=1, tooltip="Steps done, of those planned.")
        self.status = text_line("What the run is doing: step, loss of this step, time left.")
        self._run: Job | None = None
        self._worker: GeneratorWorker[Progress, bool | None, Any] | None = None
        self._activity: ActivityBar | None = None
        self._ending = False
        self._last_refresh = 0.0
        start.changed.connect(self._start)
        cancel.changed.connect(self._cancel)

    # What the user does

    @abstractmethod
    def _start(self) -> None:
        """Read the form and begin a run."""

    def _begin(self, run: Job, activity: str) -> None:
        """Run on a thread of its own; napari's list of activities shows it under a name."""
        self._run = run
        self._view.hold()
        self._worker = create_worker(
            run.steps,
            _start_thread=False,
            _connect={
                "yielded": self._on_progress,
                "returned": self._on_result,
                "finished": self._on_finished,
            },
            _ignore_errors=True,
        )
        report_errors(self._worker, self._on_error)
        # In the worker's own thread, because that of the GUI may be about to end.
        self._worker.aborted.connect(run.close, type=Qt.ConnectionType.DirectConnection)
        self._ending = False
        self._form.enabled = not self.locks_form
        allow(self._start_button, self.running)
        allow(self.cancel_button)
        self.progress.max = 0
        self.status.value = "Starting …"
        self._activity = ActivityBar(total=0, desc=activity)
        self._worker.start()

    def _cancel(self) -> None:
        if self._worker is not None:
            self._worker.quit()
            self._ending = True
            self.status.value = "Cancelling after this step …"
            allow(self.cancel_button, "Cancelling after this step …")

    # What the worker reports, on the main thread

    def _on_progress(self, progress: Progress) -> None:
        now = time.monotonic()
        early = now - self._last_refresh < REFRESH and progress.step < progress.total
        if self._gone or self._ending or early:
            return
        self._last_refresh = now
        # A stage that is done in one go has no measurable progress.
        counted = progress.step > 0 or progress.total > 1
        self.progress.max = progress.total if counted else 0
        if counted:
            self.progress.value = progress.step
        self.status.value = progress_text(progress)
        activity = self._activity
        if activity is not None:
            # At each call napari handles events, even if nothing changes.
            if activity.desc != f"{sentence(progress.stage)}: ":
                activity.set_description(sentence(progress.stage))
            if counted and activity.total != progress.total:
                activity.total = progress.total
            activity.update(progress.step - activity.n)

    def _on_result(self, result: Any) -> None:
        run, worker = self._run, self._worker
        # It may have been under way when the user cancelled, or closed the dock.
        if self._gone or run is None or worker is None or worker.abort_requested:
            return
        try:
            self._show_result(result, run)
        except Exception as error:  # noqa: BLE001 - the dock must take the next run
            _log.exception("A result could not be shown.")
            clear_frames(error)
            text = " ".join(str(error).split()) or "no message"
            self._end_failed(
                EngineError(f"the result could not be shown: {type(error).__name__}: {text}")
            )

    @abstractmethod
    def _show_result(self, result: Any, run: Job) -> None:
        """Show a result."""

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, EngineError):
            # The traceback is needed to find the cause; what its frames hold is freed.
            _log.error("A run failed.", exc_info=error)
        clear_frames(error)
        self._end_failed(error)

    def _on_finished(self) -> None:
        run, worker, self._run, self._worker = self._run, self._worker, None, None
        if run is not None:
            run.close()
        self._close_activity()
        if self._gone:
            return
        if run is not None and worker is not None and worker.abort_requested:
            self._show_end(run.cancelled, complete=False)
        self._set_idle()

    def _set_idle(self) -> None:
        self._form.enabled = True
        allow(self.cancel_button, self.idle)
        self._describe()

    def _allow_start(self, reason: str = "") -> None:
        """Enable the start button, or say why it cannot be pressed, unless a run goes on."""
        if self._worker is None:
            allow(self._start_button, reason)

    def _show_end(self, text: str, *, complete: bool) -> None:
        """Show how a run ended, or why it did not begin."""
        self.progress.max = max(1, int(self.progress.max))
        self.progress.value = self.progress.max if complete else 0
        self.status.value = text
        self._close_activity()

    def _close_activity(self) -> None:
        activity, self._activity = self._activity, None
        if activity is not None:
            activity.close()

    def _fail(self, error: Exception) -> None:
        """Show why something cannot be done; a run that goes on stays on display."""
        if self._worker is None:
            self._end_failed(error)
        else:
            show_error(str(error))

    def _end_failed(self, error: Exception) -> None:
        show_error(str(error))
        if not self._gone:
            self._show_end(str(error), complete=False)

    # How it ends

    def _on_closed(self) -> None:
        if self._worker is not None:
            self._worker.quit()

    def _on_destroyed(self) -> None:
        super()._on_destroyed()
        if self._worker is not None:
            self._worker.quit()


def report_errors(worker: Any, report: Callable[[Exception], None]) -> None:
    """Report a worker's error in this way alone, before it starts.

    napari's own connection, which updates its list of tasks, raises a TypeError under PySide6. The
    end of the worker, which follows, updates it as well.
    """
    # PyQt6 raises an error if there is nothing to disconnect.
    worker.errored.connect(report)
    worker.errored.disconnect()
    worker.errored.connect(report)


def share_tabs_when_docked(native: QWidget) -> None:
    """Put a widget that is being docked into one group of tabs with this plugin's other docks."""
    native.setObjectName(MARK)
    # Until then it lies below them, and the window would grow to show both.
    native.setMinimumHeight(1)
    # napari has not put the dock into its window yet. As a child the timer ends with it.
    timer = QTimer(native)
    timer.setSingleShot(True)
    timer.timeout.connect(lambda: share_tabs(native))
    timer.start(0)


def share_tabs(native: QWidget) -> None:
    """Put the dock of a widget before the plugin's other docks in the same place."""
    own = native.parentWidget()
    while own is not None and not isinstance(own, QDockWidget):
        own = own.parentWidget()
    if own is not None:
        _join_tabs(own)
    # Its content decides again.
    native.setMinimumHeight(0)


def _join_tabs(own: QDockWidget) -> None:
    window = own.parentWidget()
    if own.isFloating() or not isinstance(window, QMainWindow):
        return
    area = window.dockWidgetArea(own)
    group = [
        dock
        for dock in window.findChildren(QDockWidget)
        if dock.findChild(QWidget, MARK) is not None
        and not dock.isFloating()
        and window.dockWidgetArea(dock) == area
    ]
    # Several may have been added before the first one had its turn.
    first, *others = group
    if not others:
        return
    for other in others:
        if other not in window.tabifiedDockWidgets(first):
            window.tabifyDockWidget(first, other)
    own.show()
    own.raise_()


def allow(button: PushButton, reason: str = "") -> None:
    """Enable a button, or disable it if there is a reason, which its tooltip then says."""
    native = button.native
    if native.property(USUAL) is None:
        native.setProperty(USUAL, button.tooltip)
    button.enabled = not reason
    button.tooltip = reason or native.property(USUAL)


def press_with(button: PushButton, key: str) -> None:
    """Let a key press a button while its dock is in front; the tooltip says so."""
    button.native.setShortcut(key)
    button.tooltip = f"{button.tooltip}\nKey: {key}"


def clear_frames(error: BaseException | None) -> None:
    """Free what the frames of an error's traceback, and of its causes', hold."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__
