"""Continuing the last run from the dock, and when what is kept of it is given up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.plugin.restore.course import LOSS
from tests.plugin.conftest import DockMaker
from tests.plugin.dock import (
    LONG,
    assert_free,
    click,
    live_tensor_bytes,
    wait_first_step,
    wait_idle,
)

NAME = "image 0 ×2 (mlmc)"


def finished(open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot) -> tuple[Any, Any]:
    """Return a viewer and its dock after a short run."""
    viewer, widget = open_dock(blurred, steps=6)
    assert not widget.more.visible
    click(widget.run_button)
    assert not widget.more.visible
    wait_idle(qtbot, widget)
    assert widget.more.kept is not None
    assert not widget.more.native.isHidden()
    return viewer, widget


def record(layer: Any) -> dict[str, Any]:
    kept: dict[str, Any] = layer.metadata["napari-blindsr"]
    return kept


def test_a_run_takes_more_steps(open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot) -> None:
    viewer, widget = finished(open_dock, blurred, qtbot)
    first = viewer.layers[NAME]
    # What the form says now is of the next run.
    widget.steps.value, widget.method.value, widget.more.steps.value = 50, "ddsr", 4
    click(widget.more.button)
    assert widget.more.native.isHidden()
    wait_idle(qtbot, widget)
    assert_free(widget)
    second = viewer.layers[-1]
    assert second is not first
    losses = [record(layer)["losses"] for layer in (first, second)]
    assert (len(losses[0]), len(losses[1])) == (6, 10)
    assert losses[1][:6] == losses[0]
    assert record(second)["method"] == "mlmc"
    assert record(second)["continued"] == 6
    assert "10 of 10 steps" in widget.status.value
    assert "Continued after step 6: 10 steps at once may differ." in widget.verdict.verdict.details
    # The curves go on as well.
    lines = widget.course._shown[LOSS].lines
    assert np.concatenate([line.x for line in lines]).tolist() == [*range(1, 11)]
    # And once more.
    click(widget.more.button)
    wait_idle(qtbot, widget)
    assert len(record(viewer.layers[-1])["losses"]) == 14


def test_a_stopped_run_goes_on(open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    click(widget.stop_button)
    wait_idle(qtbot, widget)
    done = record(viewer.layers[-1])["steps"]
    assert widget.more.steps.value == LONG - done
    widget.more.steps.value = 3
    click(widget.more.button)
    wait_idle(qtbot, widget)
    assert record(viewer.layers[-1])["steps"] == done + 3
    assert record(viewer.layers[-1])["continued"] == done


@pytest.mark.parametrize(
    "way", ["another run", "another image", "source removed", "result removed", "cancelled"]
)
def test_what_is_kept_is_given_up(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, way: str
) -> None:
    viewer, widget = finished(open_dock, blurred, qtbot)
    before = live_tensor_bytes()
    if way == "another run":
        widget.method.value = "fast"
        click(widget.run_button)
        wait_idle(qtbot, widget)
    elif way == "another image":
        viewer.add_image(blurred, name="another")
        widget.image.value = viewer.layers["another"]
    elif way == "source removed":
        viewer.layers.remove("image 0")
    elif way == "result removed":
        viewer.layers.remove(NAME)
    else:
        widget.more.steps.value = LONG
        click(widget.more.button)
        wait_first_step(qtbot, widget)
        click(widget.cancel_button)
        wait_idle(qtbot, widget)
        assert len(viewer.layers) == 3
    assert widget.more.kept is None
    assert widget.more.native.isHidden()
    if way != "another run":
        # That one has loaded the networks that ship.
        assert live_tensor_bytes() < before - 1e6


def test_of_a_method_that_does_not_optimise_nothing_is_kept(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    _, widget = open_dock(blurred, method="fast")
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert widget.more.kept is None
    assert not widget.more.visible
