"""Runs that wait for each other: the list of them, and a dock that works it off."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from weakref import ReferenceType, ref

from magicgui.widgets import PushButton
from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMainWindow,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_blindsr.errors import BlindSRError
from napari_blindsr.plugin.restore.folder import FolderRun, read_folder_request
from napari_blindsr.plugin.restore.request import read_request
from napari_blindsr.plugin.restore.worker import RestoreRun
from napari_blindsr.plugin.widgets.dock import RunDock, allow

if TYPE_CHECKING:
    import napari.viewer

    from napari_blindsr.plugin.restore.form import RunForm
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.stacks.result import StackResult

QueuedRun: TypeAlias = RestoreRun | FolderRun
State: TypeAlias = Literal["running", "waiting", "done", "failed", "skipped", "stopped"]
LOWEST = 48
"""Least height of the list in pixels, some three rows; the others scroll."""
IDLE = "Nothing is running: press Run."


class Entry(QListWidgetItem):
    """A run in the list, and what became of it; `run` is None once it has ended."""

    def __init__(self, run: QueuedRun, about: str) -> None:
        super().__init__()
        self.title, self.about = run.title, about
        self.run: QueuedRun | None = run
        self.state: State = "waiting"
        self.show_state("waiting")

    def show_state(self, state: State, detail: str = "", *, percent: int | None = None) -> None:
        """Take in a state, and show it first, because names of layers may be long."""
        self.state = state
        label = state if percent is None else f"{state} {percent} %"
        text = " · ".join(filter(None, (label, self.title, detail)))
        self.setText(text)
        self.setToolTip(f"{text}\n{self.about}" if self.about else text)


class QueuePanel(QWidget):
    """The list of the runs; hidden while there are fewer than two."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.list = QLabel(), QListWidget()
        self.line.setToolTip("Runs are worked off one after another; one that fails stops none.")
        self.remove_button = QPushButton("Remove")
        self.remove_button.setToolTip(
            "Take the selected runs off the list. Cancel ends the one that goes on."
        )
        self.remove_button.clicked.connect(self.remove_selected)
        rows = self.list
        rows.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        rows.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        rows.itemSelectionChanged.connect(self._show)
        rows.setSizeAdjustPolicy(QAbstractItemView.SizeAdjustPolicy.AdjustToContents)
        rows.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Maximum)
        rows.setMinimumHeight(LOWEST)
        top = QHBoxLayout()
        top.addWidget(self.line, 1)
        top.addWidget(self.remove_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(top)
        layout.addWidget(rows)
        self._show()

    @property
    def entries(self) -> list[Entry]:
        """The runs in their order."""
        items = map(self.list.item, range(self.list.count()))
        return [item for item in items if isinstance(item, Entry)]

    @property
    def is_shared(self) -> bool:
        """Whether there are several runs, which the list shows."""
        return self.list.count() > 1

    @property
    def unfinished(self) -> int:
        """How many runs wait or go on."""
        return sum(entry.run is not None for entry in self.entries)

    def add(self, run: QueuedRun, about: str) -> None:
        """Append a run; if no other is left to do, those that have ended leave the list.

        `about` says what tells it apart from other runs of its layer.
        """
        if not self.unfinished:
            self.list.clear()
        self.list.addItem(Entry(run, about))
        self._show()

    def take(self) -> QueuedRun | None:
        """Return the next run, which is running from now on; None if none waits."""
        for entry in self._in("waiting"):
            entry.show_state("running")
            self.list.scrollToItem(entry)
            self._show()
            return entry.run
        return None

    def show_percent(self, percent: int) -> None:
        """Show how far the run is that goes on."""
        for entry in self._in("running"):
            entry.show_state("running", percent=percent)

    def end(self, state: State, detail: str = "") -> None:
        """Take in how the run that goes on ended, unless that is known already."""
        for entry in self._in("running"):
            entry.run = None
            entry.show_state(state, detail)
        self._show()

    def remove_selected(self) -> None:
        """Take the selected runs off the list, but the one that goes on."""
        self._remove([entry for entry in self.entries if self._is_removable(entry)])

    def drop_waiting(self) -> None:
        """Take the runs that wait off the list."""
        self._remove(self._in("waiting"))

    def _in(self, state: State) -> list[Entry]:
        return [entry for entry in self.entries if entry.state == state]

    def _is_removable(self, entry: Entry) -> bool:
        return entry.isSelected() and entry.state != "running"

    def _remove(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.list.takeItem(self.list.row(entry))
            if entry.run is not None:
                entry.run.close()
        self._show()

    def _show(self) -> None:
        entries = self.entries
        counts = Counter(entry.state for entry in entries)
        parts = [f"{counts[state]} {state}" for state in get_args(State) if counts[state]]
        self.line.setText(f"Queue: {', '.join(parts)}")
        self.remove_button.setEnabled(any(map(self._is_removable, entries)))
        self.setVisible(self.is_shared)


class CloseGuard(QObject):
    """Asks before a window is closed while runs wait or go on; they end with it."""

    def __init__(self, queue: QueuePanel) -> None:
        super().__init__(queue)
        self._queue = queue
        # A window that is held outlives its viewer.
        self._window: ReferenceType[QMainWindow] | None = None

    def watch(self, widget: QWidget | None) -> None:
        """Ask before the main window is closed that a widget is in."""
        while widget is not None and not isinstance(widget, QMainWindow):
            # That of a dock that floats is its parent, too.
            widget = widget.parentWidget()
        if widget is not None:
            self._window = ref(widget)
            widget.installEventFilter(self)

    def is_open(self) -> bool:
        """Return whether the window is there still."""
        if self._window is None:
            return True
        window = self._window()
        try:
            return window is not None and window.isWindow()
        except RuntimeError:
            # Qt has deleted it.
            return False

    def eventFilter(self, window: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Ask if the user closes the window; without a run napari does what it does."""
        if event is None or event.type() != QEvent.Type.Close or not isinstance(window, QWidget):
            return False
        count = self._queue.unfinished
        if not event.spontaneous() or not count:
            # A program closes it, or napari has asked.
            self._queue.drop_waiting()
            return False
        event.ignore()
        runs = "1 run is" if count == 1 else f"{count} runs are"
        text = f"{runs} not finished and will be lost. Close anyway?"
        buttons = QMessageBox.StandardButton
        answer = QMessageBox.question(
            window, "Close napari?", text, buttons.Close | buttons.Cancel, buttons.Cancel
        )
        if answer == buttons.Close:
            # Like this napari does not ask once more. Not before this event is over.
            QTimer.singleShot(0, window.close)
        return True


class QueueDock(RunDock[QueuedRun]):
    """A dock whose runs wait for each other; its form stays free for the next one.

    Attributes
    ----------
    queue : QueuePanel
    queue_button, folder_button : PushButton
    """

    locks_form = False

    def __init__(
        self, viewer: napari.viewer.Viewer, form: RunForm, start: PushButton, cancel: PushButton
    ) -> None:
        super().__init__(viewer, form, start, cancel)
        self.queue = QueuePanel()
        self.queue_button = PushButton(
            text="Add to queue",
            tooltip="Run the image with the settings as they are now when the runs before have\n"
            "ended. Until then its layer must stay as it is.",
        )
        self.folder_button = PushButton(
            text="Restore a folder …",
            tooltip="Restore each image file of a folder into another one, with these settings\n"
            "and all planes, as the command line does: with kernels and reports, and without\n"
            "replacing anything. Files that are complete there are skipped.",
        )
        self._guard = CloseGuard(self.queue)
        self.queue_button.changed.connect(self._add_layer)
        self.folder_button.changed.connect(self._add_folder)

    # What the user does

    def _add_layer(self) -> None:
        """Append the chosen layer with the form as it is."""
        if self._form.image.value is None:
            return
        try:
            request = read_request(self._form, self._viewer)
        except BlindSRError as error:
            self._fail(error)
            return
        self._form.optics.remember()
        self._add(RestoreRun(request))

    def _add_folder(self) -> None:
        """Ask for two folders, and append the images of the first with the form as it is."""
        folders = []
        for title in ("Folder of the images", "Folder for the results"):
            answer = QFileDialog.getExistingDirectory(self.native, title)
            if not answer:
                return
            folders.append(Path(answer))
        try:
            request = read_folder_request(self._form, self._viewer, *folders)
        except BlindSRError as error:
            self._fail(error)
            return
        self._form.optics.remember()
        self._add(FolderRun(request))

    def _add(self, run: QueuedRun, about: str = "") -> None:
        self.queue.add(run, about or self._form.summary())
        self._guard.watch(self.native)
        self._go_on()

    def _go_on(self) -> None:
        """Begin the next run, unless one goes on."""
        while self._worker is None and (run := self.queue.take()) is not None:
            reason = run.outdated(self._viewer.layers)
            if not reason:
                self._begin(run, f"Restoring {run.title}")
                return
            run.close()
            self.queue.end("skipped", reason)
            show_warning(f"{run.title} was skipped: {reason}")

    def _begin(self, run: QueuedRun, activity: str) -> None:
        super()._begin(run, activity)
        # From now on the form is for the next one.
        self._describe()

    # What the worker reports, on the main thread

    def _on_progress(self, progress: Progress) -> None:
        super()._on_progress(progress)
        if not self._gone and self.progress.max:
            self.queue.show_percent(int(100 * self.progress.value / self.progress.max))

    def _show_result(self, result: Any, run: QueuedRun) -> None:
        if isinstance(run, RestoreRun):
            self._show_layers(result, run)
            return
        text = f"{run.text} Results are in {run.target}."
        self._show_end(text, complete=True)
        self.queue.end(run.state, text)
        if run.failed:
            show_warning(f"{run.title}: {text}")

    @abstractmethod
    def _show_layers(self, result: Result | StackResult, run: RestoreRun) -> None:
        """Show the result of a layer, and how the run ended in the queue."""

    def _on_error(self, error: Exception) -> None:
        if not self._gone:
            self.queue.end("failed", str(error))
        super()._on_error(error)

    def _on_finished(self) -> None:
        worker, run = self._worker, self._run
        if not self._gone and worker is not None and run is not None:
            # If the result could not be shown, the last line says why.
            cancelled = worker.abort_requested
            detail = run.cancelled if cancelled else str(self.status.value)
            self.queue.end("stopped" if cancelled else "failed", detail)
        super()._on_finished()
        if not self._gone:
            self._go_on()

    # Updates, and how it ends

    def _allow_start(self, reason: str = "") -> None:
        super()._allow_start(reason)
        allow(self.queue_button, IDLE if self._worker is None else reason)

    def _on_closed(self) -> None:
        self.queue.drop_waiting()
        super()._on_closed()
