"""Several runs in one viewer: worked off one after another, whatever happens meanwhile."""

from __future__ import annotations

import re
from typing import Any

import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.plugin.layers.outputs import is_restored
from napari_blindsr.plugin.widgets import dock as docks
from napari_blindsr.solvers.blind.alternating import AlternatingSolver
from tests.helpers import PATIENCE
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import LONG, assert_free, click, wait_first_step, wait_idle
from tests.plugin.restore.test_interruptions import worker_ended
from tests.plugin.test_layout import LOWEST


def states(widget: Any) -> list[str]:
    return [entry.state for entry in widget.queue.entries]


def wait_all(qtbot: QtBot, widget: Any) -> None:
    """Wait until no run waits or goes on."""
    qtbot.waitUntil(lambda: not widget.queue.unfinished, timeout=1000 * PATIENCE)
    wait_idle(qtbot, widget)


def open_busy(
    open_dock: DockMaker, qtbot: QtBot, *images: NDArray[Any], steps: int = LONG
) -> tuple[Any, Any]:
    """Open a dock whose first run goes on; the form is set for a short one after it."""
    viewer, widget = open_dock(*images, steps=steps)
    widget.image.value = viewer.layers[0]
    assert not widget.queue_button.enabled
    assert "Nothing is running" in widget.queue_button.tooltip
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    widget.method.value = "fast"
    return viewer, widget


def test_runs_are_worked_off_as_they_were_added(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each step is shown, however short it is.
    monkeypatch.setattr(docks, "REFRESH", 0.0)
    viewer, widget = open_dock(blurred, blurred[:20].copy(), steps=12)
    dock, (one, two) = widget.native.parent(), viewer.layers
    seen: list[str] = []
    widget.progress.changed.connect(lambda _: seen.append(widget.queue.list.item(0).text()))
    widget.image.value = one
    click(widget.run_button)
    # One run alone is no queue.
    assert not widget.queue.isVisibleTo(widget.native)
    widget.method.value, widget.image.value, widget.finish.value = "fast", two, "measurement"
    click(widget.queue_button)
    widget.scale.value = 3
    click(widget.queue_button)
    widget.image.value, widget.scale.value, widget.finish.value = one, 4, None
    click(widget.queue_button)
    # What the form says from now on is for none of them.
    widget.scale.value, widget.dtype.value, widget.lacking.value = 2, "source", True
    assert widget.queue.isVisibleTo(widget.native)
    assert widget.queue.line.text() == "Queue: 1 running, 3 waiting"
    assert "Reconstruction: Classical" in widget.queue.list.item(2).toolTip()
    # The user has a look at something meanwhile.
    viewer.layers.selection.active, viewer.scene.camera.zoom = two, 1.5
    assert not widget.queue.remove_button.isEnabled()
    widget.queue.list.item(2).setSelected(True)
    assert dock.minimumSizeHint().height() <= LOWEST
    widget.queue.remove_button.click()
    assert states(widget) == ["running", "waiting", "waiting"]
    wait_all(qtbot, widget)
    assert_free(widget)
    assert states(widget) == ["done", "done", "done"]
    assert widget.queue.line.text() == "Queue: 3 done"
    running = [re.fullmatch(r"running (\d+) % · image 0 ×2 \(mlmc\)", text) for text in seen]
    percents = {int(match[1]) for match in running if match}
    assert percents - {0, 100}, seen
    assert percents <= {100 * step // 12 for step in range(13)}, seen
    restored = [layer for layer in viewer.layers if is_restored(layer)]
    assert [(layer.name, layer.data.shape) for layer in restored] == [
        ("image 0 ×2 (mlmc)", (48, 48)),
        ("image 1 ×2 (fast)", (40, 48)),
        ("image 0 ×4 (fast)", (96, 96)),
    ]
    record = viewer.layers["image 1 ×2 (fast)"].metadata["napari-blindsr"]
    assert record["settings"]["finish"] == "measurement"
    assert not any("support" in layer.name for layer in viewer.layers)
    assert viewer.layers.selection.active == two
    assert viewer.scene.camera.zoom == 1.5
    assert notifications.errors() == []
    # What has ended leaves the list when something else begins.
    click(widget.run_button)
    assert states(widget) == ["running"]
    wait_idle(qtbot, widget)
    assert not widget.queue.isVisibleTo(widget.native)


def test_a_run_that_fails_or_is_cancelled_does_not_stop_the_next(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    viewer, widget = open_busy(open_dock, qtbot, blurred)
    widget.method.value = "mlmc"
    for _ in range(2):
        click(widget.queue_button)
    widget.method.value = "fast"
    click(widget.queue_button)
    click(widget.cancel_button)
    qtbot.waitUntil(lambda: states(widget)[1] == "running", timeout=1000 * PATIENCE)
    wait_first_step(qtbot, widget)

    def broken(*_: Any) -> Any:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(AlternatingSolver, "step", broken)
    wait_all(qtbot, widget)
    assert_free(widget)
    assert states(widget) == ["stopped", "failed", "failed", "done"]
    texts = [entry.text() for entry in widget.queue.entries]
    assert texts[0] == "stopped · image 0 ×2 (mlmc) · Cancelled; nothing was added."
    assert "unspecified launch failure" in texts[1]
    assert len(notifications.errors()) == 2
    assert [layer.name for layer in viewer.layers] == [
        "image 0", "image 0 PSF ×2 (fast)", "image 0 ×2 (fast)",
    ]  # fmt: skip


def test_a_layer_that_changed_is_skipped_with_a_line(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, notifications: Notifications
) -> None:
    viewer, widget = open_busy(open_dock, qtbot, *(blurred + n for n in range(5)))
    for layer in list(viewer.layers)[:5]:
        widget.image.value = layer
        click(widget.queue_button)
    _, removed, replaced, moved, renamed = list(viewer.layers)[:5]
    viewer.layers.remove(removed)
    replaced.data = blurred[::-1].copy()
    moved.scale = (2, 2)
    renamed.name = "still the same"
    click(widget.stop_button)
    wait_all(qtbot, widget)
    assert states(widget) == ["stopped", "done", "skipped", "skipped", "skipped", "done"]
    assert notifications.errors() == []
    assert [text for _, text in notifications.shown if "skipped" in text] == [
        "image 1 ×2 (fast) was skipped: its layer was removed",
        "image 2 ×2 (fast) was skipped: the pixels of its layer were replaced",
        "image 3 ×2 (fast) was skipped: the place, units or axes of its layer were changed",
    ]
    assert [layer.name for layer in viewer.layers if is_restored(layer)] == [
        "image 0 ×2 (mlmc)", "image 0 ×2 (fast)", "image 4 ×2 (fast)",
    ]  # fmt: skip


def test_what_cannot_be_run_is_refused_and_the_run_goes_on(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, notifications: Notifications
) -> None:
    viewer, widget = open_busy(open_dock, qtbot, blurred)
    activity, step = widget._activity, widget.progress.value
    widget.kernel.value = "known"
    click(widget.queue_button)
    assert [text.split(";")[0] for text in notifications.errors()] == ["no kernel layer is chosen"]
    assert states(widget) == ["running"]
    assert widget._activity is activity
    qtbot.waitUntil(lambda: widget.progress.value > step, timeout=1000 * PATIENCE)
    assert widget.status.value.startswith("Step")
    # Another seed is for the next run, too.
    widget.kernel.value, widget.method.value = "auto", "mlmc"
    widget.seed.another.native.click()
    assert [entry.run.settings.seed for entry in widget.queue.entries] == [0, 1]
    viewer.layers.clear()
    assert "open an image first" in widget.queue_button.tooltip
    assert not widget.queue_button.enabled
    click(widget.cancel_button)
    wait_all(qtbot, widget)
    assert states(widget) == ["stopped", "skipped"]


@pytest.mark.parametrize("what", ["viewer", "dock"])
def test_what_closes_without_a_question_ends_the_queue(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    what: str,
) -> None:
    viewer, widget = open_busy(open_dock, qtbot, blurred)
    click(widget.queue_button)
    worker, waiting = widget._worker, widget.queue.entries[1].run
    begun: list[Any] = []
    widget._begin = begun.append
    if what == "viewer":
        viewer.close()
    else:
        widget.native.parent().destroyOnClose()
    qtbot.waitUntil(worker_ended(worker), timeout=1000 * PATIENCE)
    qtbot.wait(300)
    assert begun == []
    assert waiting.request is None
    assert notifications.errors() == []
