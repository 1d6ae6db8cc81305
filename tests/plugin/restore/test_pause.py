"""Pausing a run in a real viewer: it goes on, or ends in every way."""

from __future__ import annotations

from typing import Any

import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.plugin.widgets import pace
from napari_blindsr.plugin.widgets.pace import Pace
from napari_blindsr.plugin.widgets.texts import NO_BREAK
from napari_blindsr.progress import Progress
from tests.helpers import PATIENCE
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import LONG, assert_free, click, wait_first_step, wait_idle
from tests.plugin.restore.test_interruptions import worker_ended


def pause(qtbot: QtBot, widget: Any) -> None:
    click(widget.pause_button)
    qtbot.waitUntil(lambda: widget.pause_button.text == "Resume", timeout=1000 * PATIENCE)


def open_paused(open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot) -> tuple[Any, Any]:
    viewer, widget = open_dock(blurred, steps=LONG)
    assert not widget.pause_button.enabled
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    pause(qtbot, widget)
    return viewer, widget


def test_a_paused_run_rests_and_goes_on(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_paused(open_dock, blurred, qtbot)
    step = widget.progress.value
    qtbot.wait(300)
    assert widget.progress.value == step
    assert widget.status.value.startswith("Paused")
    assert widget.cancel_button.enabled
    assert not widget.run_button.enabled
    click(widget.pause_button)
    qtbot.waitUntil(lambda: widget.progress.value > step, timeout=1000 * PATIENCE)
    assert widget.pause_button.text == "Pause"
    assert widget.status.value.startswith(f"Step{NO_BREAK}")
    # And again, before it is stopped.
    pause(qtbot, widget)
    click(widget.stop_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert widget.status.value.startswith("Stopped and kept in ")
    assert len(viewer.layers) == 3


@pytest.mark.parametrize(
    "way", ["stop", "stop before it rests", "cancel", "cancel before it rests"]
)
def test_a_paused_run_can_be_ended(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    way: str,
) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    if "before" in way:
        click(widget.pause_button)
    else:
        pause(qtbot, widget)
    click(widget.stop_button if "stop" in way else widget.cancel_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert not widget.pause_button.enabled
    assert widget.pause_button.text == "Pause"
    assert notifications.errors() == []
    assert len(viewer.layers) == (3 if "stop" in way else 1)
    # The dock takes another run.
    widget.steps.value = 2
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert widget.status.value.startswith("Done in ")


@pytest.mark.parametrize("what", ["viewer", "dock"])
def test_closing_while_paused_ends_the_run(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    what: str,
) -> None:
    viewer, widget = open_paused(open_dock, blurred, qtbot)
    worker, run = widget._worker, widget._run
    if what == "viewer":
        viewer.close()
    else:
        widget.native.parent().destroyOnClose()
    qtbot.waitUntil(worker_ended(worker), timeout=1000 * PATIENCE)
    qtbot.wait(100)
    assert run._engine is None
    assert run.source is None
    assert notifications.errors() == []


def test_the_time_left_is_without_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(pace, "time", type("Time", (), {"perf_counter": lambda: clock[0]}))

    def report(step: int, remaining: float | None) -> Progress:
        return Progress(
            step=step, total=10, stage="", loss=None, seconds=clock[0], remaining=remaining
        )

    measured = Pace()
    # A warm-up of 20 s, then steps of 2 s each.
    for at, step, remaining in ((0, 0, None), (20, 1, None), (22, 2, 16.0)):
        clock[0] = at
        assert measured.corrected(report(step, remaining)).remaining == remaining
    measured.pause()
    clock[0] += 1000
    measured.resume()
    clock[0] += 2
    assert measured.corrected(report(3, 1004 / 2 * 7)).remaining == 14
    assert measured.seconds == 2
    # Tiles follow, whose pace is another one.
    clock[0] += 1
    tile = Progress(step=1, total=3, stage="", loss=None, seconds=0, remaining=2, unit="tile")
    assert measured.corrected(tile).remaining == 2
    assert measured.seconds == 2
