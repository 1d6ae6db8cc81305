"""What may happen during a run: layers, docks and viewers that go away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.qt.threading import GeneratorWorker
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from tests.helpers import PATIENCE
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import LONG, click, edges, wait_first_step, wait_idle


def test_removing_the_source_layer_during_a_run(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    viewer.layers[0].scale = (3, 3)
    before = edges(viewer.layers[0])
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    viewer.layers.clear()
    click(widget.stop_button)
    wait_idle(qtbot, widget)
    assert [layer.name for layer in viewer.layers][-1] == "image 0 ×2 (mlmc)"
    np.testing.assert_allclose(edges(viewer.layers[-1]), before)


def worker_ended(worker: Any) -> Callable[[], bool]:
    return lambda: not worker.is_running and worker not in GeneratorWorker._worker_set


def test_closing_the_viewer_during_a_run(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, notifications: Notifications
) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    worker, run = widget._worker, widget._run
    viewer.close()
    qtbot.waitUntil(worker_ended(worker), timeout=1000 * PATIENCE)
    qtbot.wait(100)
    assert run._engine is None
    assert run.source is None
    assert notifications.errors() == []


@pytest.mark.parametrize("is_referred_to", [True, False])
@pytest.mark.parametrize("way", ["close", "delete"])
def test_removing_the_dock_during_a_run_cancels_it(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    way: str,
    is_referred_to: bool,
) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    dock = widget.native.parent()
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    worker, run = widget._worker, widget._run
    if way == "close":
        dock.destroyOnClose()
    else:
        dock.deleteLater()
    del dock
    if not is_referred_to:
        del widget
    qtbot.waitUntil(worker_ended(worker), timeout=1000 * PATIENCE)
    qtbot.wait(100)
    assert run._engine is None
    # The two layers of the preview go one by one.
    qtbot.waitUntil(
        lambda: [layer.name for layer in viewer.layers] == ["image 0"], timeout=1000 * PATIENCE
    )
    assert notifications.errors() == []
    # Layers come and go as before.
    viewer.add_image(blurred)
    viewer.layers.clear()


def test_the_viewer_stays_usable_during_a_run(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    step = widget.progress.value
    viewer.add_image(blurred, name="another")
    viewer.layers["another"].name = "renamed"
    viewer.layers.remove("renamed")
    qtbot.waitUntil(lambda: widget.progress.value > step, timeout=1000 * PATIENCE)
    # The form is free for the next run.
    assert widget._form.enabled
    click(widget.cancel_button)
    wait_idle(qtbot, widget)
