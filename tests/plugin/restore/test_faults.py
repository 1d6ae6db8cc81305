"""Faults put into a run, through the real worker and viewer: nothing else may suffer."""

from __future__ import annotations

import errno
import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from napari.qt.threading import GeneratorWorker
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.estimation.network import load_kernel_estimator
from napari_blindsr.solvers.nonblind.unfolded import load_image_prior
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import (
    LONG,
    assert_free,
    click,
    live_tensor_bytes,
    wait_first_step,
    wait_idle,
)

FAULTS = {
    "memory": MemoryError("Unable to allocate 96 GiB"),
    "device memory": torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "device lost": RuntimeError("CUDA error: unspecified launch failure\nCompile with …"),
    "disk full": OSError(errno.ENOSPC, "No space left on device"),
    "bug": AttributeError("'NoneType' object has no attribute 'shape'"),
}

PLACES = {
    "set-up": "napari_blindsr.restoration.restore.prepare",
    "blur": "napari_blindsr.restoration.restore.with_blur",
    "restoration": "napari_blindsr.restoration.restore.restored",
    "network": "napari_blindsr.solvers.nonblind.unfolded.UnfoldedPrior.rounds",
    "result": "napari_blindsr.restoration.restore.conclude",
}


def replaced(monkeypatch: pytest.MonkeyPatch, place: str, value: Any) -> None:
    """Put something else into a place, which must exist."""
    owner, name = place.rsplit(".", 1)
    try:
        parent: Any = importlib.import_module(owner)
    except ModuleNotFoundError:
        module, kind = owner.rsplit(".", 1)
        parent = getattr(importlib.import_module(module), kind)
    monkeypatch.setattr(parent, name, value)


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.fixture
def loaded() -> None:
    """Networks are loaded once and stay; what is measured comes on top of them."""
    load_kernel_estimator()
    load_image_prior()


@pytest.fixture
def unchanged(blurred: NDArray[Any]) -> Iterator[None]:
    before = blurred.copy()
    yield
    np.testing.assert_array_equal(blurred, before)


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        *((fault, "network") for fault in FAULTS),
        *((fault, place) for place in PLACES if place != "network" for fault in ("memory", "bug")),
    ],
)
@pytest.mark.usefixtures("loaded", "unchanged")
def test_a_fault_anywhere_is_one_message_and_leaves_nothing_behind(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    fault: str,
) -> None:
    viewer, widget = open_dock(blurred, method="fast")
    bystander = viewer.add_points(np.array([[1.0, 2.0]]), name="cells")
    widget.image.value = viewer.layers["image 0"]
    before = live_tensor_bytes()
    with monkeypatch.context() as patch:
        replaced(patch, PLACES[place], failing(FAULTS[fault]))
        click(widget.run_button)
        wait_idle(qtbot, widget)
    assert_free(widget)
    (message,) = notifications.errors()
    assert "\n" not in message
    assert widget.status.value == message
    if "memory" in fault:
        assert "try a smaller" in message
    assert [layer.name for layer in viewer.layers] == ["image 0", "cells"]
    np.testing.assert_array_equal(bystander.data, [[1.0, 2.0]])
    assert live_tensor_bytes() - before < 1e6
    assert not [worker for worker in GeneratorWorker._worker_set if worker.is_running]
    # And the dock takes the next run.
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert len(viewer.layers) == 4


CALLBACKS = {
    "progress": ("napari_blindsr.plugin.widgets.dock.progress_text", 3),
    "preview made": ("napari_blindsr.plugin.restore.preview.Previews._made", 3),
    "preview shown": ("napari_blindsr.plugin.restore.preview.PreviewLayers.show", 3),
    "curves": ("napari_blindsr.plugin.widgets.curves.CurvePanel.show_curves", 3),
    "resolution": ("napari_blindsr.plugin.restore.worker.resolutions", 3),
    "layers": ("napari_blindsr.plugin.restore.dock.result_layers", 1),
    "view": ("napari_blindsr.plugin.restore.dock.RestoreWidget._show", 3),
    "verdict": ("napari_blindsr.plugin.restore.dock.judge", 3),
}
"""What the dock shows, and how many layers there are when it fails."""


@pytest.mark.parametrize("place", CALLBACKS)
@pytest.mark.usefixtures("unchanged")
def test_a_fault_in_what_the_dock_shows_does_not_end_the_run(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    name, layers = CALLBACKS[place]
    optimises = place in ("progress", "curves") or place.startswith("preview")
    viewer, widget = open_dock(blurred, steps=6, method="mlmc" if optimises else "fast")
    # The main thread passes on what nobody catches, as napari does, which shows it.
    with monkeypatch.context() as patch, qtbot.captureExceptions() as passed_on:
        replaced(patch, name, failing(ValueError("it cannot\nbe shown")))
        click(widget.run_button)
        wait_idle(qtbot, widget)
    assert_free(widget)
    assert len(viewer.layers) == layers
    if place in ("layers", "view", "verdict"):
        (message,) = notifications.errors()
        assert message == "the result could not be shown: ValueError: it cannot be shown"
        assert widget.status.value == message
    else:
        assert widget.status.value.startswith("Done in ")
    assert bool(passed_on) == (place == "progress")
    before = len(viewer.layers)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert len(viewer.layers) == before + 2


@pytest.mark.parametrize("method", ["mlmc", "ddsr"])
def test_losses_that_are_no_numbers_end_the_run_with_a_result(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    viewer, widget = open_dock(blurred, steps=20, method=method)
    from napari_blindsr.solvers.blind import alternating  # noqa: PLC0415

    real = alternating.AlternatingSolver.step

    def spoiled(self: Any, *given: Any) -> Any:
        step = real(self, *given)
        if step.image_steps >= 8 and step.loss is not None:
            return replace(step, loss=torch.full_like(step.loss, float("nan")))
        return step

    monkeypatch.setattr(alternating.AlternatingSolver, "step", spoiled)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert len(viewer.layers) == 3
    record = viewer.layers[-1].metadata["napari-blindsr"]
    assert record["reason"] == "diverged"
    assert np.isfinite(viewer.layers[-1].data).all()
    assert "diverged" in widget.status.value or "Do not trust" in widget.verdict.line.value


def test_a_source_that_changes_during_a_run_changes_nothing(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, notifications: Notifications
) -> None:
    viewer, widget = open_dock(blurred, steps=6)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    expected = viewer.layers[-1].data.copy()
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    source = viewer.layers["image 0"]
    source.name = "renamed"
    source.data = np.zeros((7, 9), np.float32)
    wait_idle(qtbot, widget)
    assert_free(widget)
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)
    assert notifications.errors() == []


def test_a_disk_that_fills_while_planes_are_written(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from napari_blindsr.images import ome_zarr  # noqa: PLC0415

    viewer, widget = open_dock(np.stack([blurred] * 3), method="fast")
    widget.planes.value = "all"
    widget.folder.value = tmp_path
    real, calls = ome_zarr.ZarrWriter._put, []

    def full(self: Any, *given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *given, **named)

    monkeypatch.setattr(ome_zarr.ZarrWriter, "_put", full)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert len(viewer.layers) == 1
    assert "space" in notifications.errors()[0].lower()


@pytest.mark.parametrize("twice", ["stop", "cancel", "stop then cancel", "cancel then stop"])
def test_pressing_twice_is_pressing_once(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    twice: str,
) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    ends = {"stop": widget._stop_and_keep, "cancel": widget._cancel}
    first, *rest = twice.split(" then ")
    ends[first]()
    ends[rest[0] if rest else first]()
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert notifications.errors() == []
    assert len(viewer.layers) == (1 if "cancel" in twice else 3)


@pytest.mark.parametrize("steps", [1, 3])
def test_cancelling_before_the_first_and_in_the_last_step(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    steps: int,
) -> None:
    viewer, widget = open_dock(blurred, steps=steps)
    click(widget.run_button)
    if steps > 1:
        qtbot.waitUntil(lambda: widget.progress.value >= 1 or widget._worker is None)
    if widget._worker is not None:
        widget._cancel()
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert notifications.errors() == []
    assert len(viewer.layers) in (1, 3)
    widget.steps.value = 2
    before = len(viewer.layers)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert len(viewer.layers) == before + 2


def test_a_second_run_cannot_begin_during_the_first(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    worker = widget._worker
    widget._start()
    assert widget._worker is worker
    assert not widget.run_button.enabled
    click(widget.cancel_button)
    wait_idle(qtbot, widget)
    assert len(viewer.layers) == 1
