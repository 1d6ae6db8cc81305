"""The dock in a real viewer: run, stop, cancel, and survive what may happen meanwhile."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr import weights
from napari_blindsr.estimation.network import load_kernel_estimator
from napari_blindsr.plugin.layers.versions import shared_units
from napari_blindsr.plugin.widgets import dock as docks
from napari_blindsr.plugin.widgets.texts import NO_BREAK
from napari_blindsr.settings import Settings
from napari_blindsr.solvers.blind.alternating import AlternatingSolver
from napari_blindsr.solvers.nonblind.closed_form import KnownKernelSolver
from napari_blindsr.solvers.nonblind.unfolded import load_image_prior
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import (
    LONG,
    assert_free,
    click,
    edges,
    live_tensor_bytes,
    wait_first_step,
    wait_idle,
)


def test_run_shows_progress_and_adds_aligned_layers(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each step is shown, however short it is.
    monkeypatch.setattr(docks, "REFRESH", 0.0)
    viewer, widget = open_dock(blurred)
    source = viewer.layers[0]
    source.scale, source.translate, source.units = (0.2, 0.3), (5, -7), ("um", "um")
    seen: list[tuple[float, str]] = []
    widget.progress.changed.connect(lambda value: seen.append((value, widget.status.value)))
    assert not widget.compare_button.enabled
    click(widget.run_button)
    assert not widget.run_button.enabled
    assert widget.cancel_button.enabled
    wait_idle(qtbot, widget)
    assert_free(widget)

    assert [step for step, _ in seen][-1] == 6
    assert len({step for step, _ in seen}) >= 3
    assert any("loss" in text and "left" in text for _, text in seen)
    assert widget.status.value.startswith("Done in ")
    assert "6 of 6 steps" in widget.status.value

    assert [layer.name for layer in viewer.layers] == [
        "image 0",
        "image 0 PSF ×2 (mlmc)",
        "image 0 ×2 (mlmc)",
    ]
    fine, kernel = viewer.layers[-1], viewer.layers[-2]
    assert fine.data.shape == (48, 48)
    np.testing.assert_allclose(edges(fine), edges(source))
    assert edges(kernel)[0, 1] > edges(source)[1, 1]
    assert kernel.data.sum() == pytest.approx(1, abs=1e-4)
    assert fine.units == source.units
    # The run can be repeated from what the layer knows, and the chooser still means its source.
    record = json.loads(json.dumps(fine.metadata["napari-blindsr"]))
    assert Settings.from_json(record["settings"]).schedule.image_steps == 6
    assert viewer.layers.selection.active == fine
    assert widget.image.value == source

    # One click compares both.
    click(widget.compare_button)
    comparison = viewer.window.dock_widgets["Compare layers (napari-blindsr)"]
    assert comparison.mode.value == "curtain"
    assert comparison.picker.chosen() == [source, fine]
    viewer.layers.remove(fine)
    assert comparison.mode.value == "off"
    assert not widget.compare_button.enabled
    # The verdict was on that result.
    assert widget.verdict.verdict is None


def test_a_run_without_steps_tells_what_it_does(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(blurred, method="fast")
    seen: list[str] = []
    report = widget._on_progress
    said = []

    def listen(progress: Any) -> None:
        # napari's list of activities lets the next report in before this one is shown.
        seen.append(progress.stage)
        report(progress)
        said.append(widget.status.value.replace(NO_BREAK, " "))

    widget._on_progress = listen
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert seen[0] == "estimating the blur"
    assert seen[-2:] == ["preparing the reconstruction", "reconstructing: image prior"]
    assert said[0] == "Estimating the blur"
    assert said[-1] == "Reconstructing: image prior"
    assert widget.status.value.startswith("Done in ")
    assert (widget.progress.value, widget.progress.max) == (1, 1)
    assert [layer.name for layer in viewer.layers] == [
        "image 0",
        "image 0 PSF ×2 (fast)",
        "image 0 ×2 (fast)",
    ]


def test_the_bar_of_a_run_ends_full_where_pixels_are_covered(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    blurred[3:5, 3:6] = np.nan
    _, widget = open_dock(blurred, method="fast")
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert widget.progress.value == widget.progress.max


def test_a_run_without_steps_can_be_cancelled(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(blurred, method="fast")
    click(widget.run_button)
    click(widget.cancel_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert widget.status.value.startswith("Cancelled")
    assert len(viewer.layers) == 1
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert len(viewer.layers) == 3


@pytest.mark.parametrize("method", ["fast", "mlmc"])
def test_a_sample_can_be_restored(open_dock: DockMaker, qtbot: QtBot, method: str) -> None:
    viewer, widget = open_dock(steps=3, method=method)
    viewer.open_sample("napari-blindsr", "fluorescence")
    source = widget.image.value
    assert source.name == "fluorescence"
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    wait_idle(qtbot, widget)
    fine = viewer.layers[f"fluorescence ×2 ({method})"]
    np.testing.assert_allclose(edges(fine), edges(source))
    np.testing.assert_allclose(fine.scale, 0.13)
    assert [str(unit) for unit in fine.units] == ["micrometer", "micrometer"]
    assert shared_units(viewer.layers) == source.units


def test_a_finish_that_was_left_out_is_shown(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NAPARI_BLINDSR_USRNET", "nowhere.pth")
    viewer, widget = open_dock(blurred, steps=3)
    widget.method.value = "mlmc-usrnet"
    # It is known before the run.
    assert "USRNet's weights cannot be used: choose their file" in widget._form.size_row.value
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert [layer.name for layer in viewer.layers[1:]] == [
        "image 0 PSF ×2 (mlmc)",
        "image 0 ×2 (mlmc)",
    ]
    ((severity, text),) = notifications.shown
    assert severity == "warning"
    assert "Not finished with USRNet: " in text
    assert "nowhere.pth" in text
    assert widget.verdict.verdict.text == text
    # What the first stage made is there, and says what it is.
    assert len(viewer.layers) == 3
    record = viewer.layers[-1].metadata["napari-blindsr"]
    assert record["finish"] == "none"
    assert "nowhere.pth" in record["notes"][0]


def test_missing_weights_are_shown_before_the_run(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv(weights.USRNET_VARIABLE, raising=False)
    monkeypatch.setattr(weights, "cache_folder", lambda: tmp_path)
    _, widget = open_dock(blurred, method="mlmc")
    size = widget._form.size_row
    assert "USRNet" not in size.value
    widget.finish.value = "usrnet"
    assert "USRNet's weights are missing: the run downloads them" in size.value
    (tmp_path / weights.USRNET_FILE).write_bytes(b"weights")
    monkeypatch.setattr(weights, "USRNET_SHA256", hashlib.sha256(b"weights").hexdigest())
    widget.weights.value = tmp_path / "nowhere.pth"
    assert "USRNet's weights cannot be used" in size.value
    widget.weights.value = None
    assert "USRNet" not in size.value


def test_a_finish_that_was_left_out_gives_way_to_the_prior_where_there_is_no_first_stage(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NAPARI_BLINDSR_USRNET", "nowhere.pth")
    viewer, widget = open_dock(blurred, method="fast")
    widget.finish.value = "usrnet"
    click(widget.run_button)
    wait_idle(qtbot, widget)
    ((severity, text),) = notifications.shown
    assert severity == "warning"
    assert "Not finished with USRNet: " in text
    assert "Neural networks used: kernel estimator, image prior." in text
    record = viewer.layers[-1].metadata["napari-blindsr"]
    assert record["finish"] == "prior"
    assert "nowhere.pth" in record["notes"][0]


@pytest.mark.parametrize("method", ["fast", "mlmc"])
def test_rgb_comes_back_in_its_type(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, method: str
) -> None:
    image = np.stack([blurred, blurred[::-1], blurred.T], axis=-1).astype(np.uint8)
    viewer, widget = open_dock(image, method=method)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert viewer.layers[-1].rgb
    assert viewer.layers[-1].data.dtype == np.uint8
    assert viewer.layers[-1].data.shape == (48, 48, 3)


def test_stop_and_keep(open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    click(widget.stop_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert widget.status.value.startswith("Stopped and kept in ")
    record = viewer.layers[-1].metadata["napari-blindsr"]
    assert record["reason"] == "stopped"
    assert 1 <= record["steps"] < LONG
    np.testing.assert_allclose(edges(viewer.layers[-1]), edges(viewer.layers[0]))


def test_cancel_adds_nothing_and_frees_memory(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(blurred, steps=LONG)
    before = live_tensor_bytes()
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    click(widget.cancel_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert widget.status.value.startswith("Cancelled")
    assert widget.progress.value == 0
    assert len(viewer.layers) == 1
    # The networks alone have some 10 MB.
    assert live_tensor_bytes() - before < 1e6
    # And the dock still works.
    widget.steps.value = 5
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert len(viewer.layers) == 3


SOLVERS = [("fast", KnownKernelSolver), ("mlmc", AlternatingSolver)]


def fail_with(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (RuntimeError("mat1 and mat2\nshapes differ"), "mat1 and mat2"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
@pytest.mark.parametrize(("method", "solver"), SOLVERS, ids=["fast", "mlmc"])
def test_errors_inside_the_engine_reach_the_user_and_free_the_dock(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    part: str,
    method: str,
    solver: type[Any],
) -> None:
    viewer, widget = open_dock(blurred, method=method)
    # What ships is read once, and stays.
    load_kernel_estimator()
    load_image_prior()
    before = live_tensor_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(solver, "step", fail_with(error))
        click(widget.run_button)
        wait_idle(qtbot, widget)
    assert_free(widget)
    assert len(notifications.errors()) == 1
    assert part in notifications.errors()[0]
    assert "\n" not in notifications.errors()[0]
    assert widget.status.value == notifications.errors()[0]
    assert len(viewer.layers) == 1
    assert live_tensor_bytes() - before < 1e6
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert len(viewer.layers) == 3


def test_without_an_image_there_is_nothing_to_run(open_dock: DockMaker) -> None:
    viewer, widget = open_dock()
    assert not widget.run_button.enabled
    viewer.add_image(np.zeros((9, 9)))
    assert widget.run_button.enabled
    viewer.layers.clear()
    assert not widget.run_button.enabled
