"""The dock in a real viewer: run, stop, cancel, and survive what may happen meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.engine.solvers.alternating import AlternatingSolver
from napari_blindsr.settings import Settings
from tests.napari.conftest import DockMaker, Notifications
from tests.napari.dock import (
    LONG,
    assert_free,
    click,
    edges,
    live_tensor_bytes,
    wait_first_step,
    wait_idle,
)


def test_run_shows_progress_and_adds_aligned_layers(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    viewer, widget = open_dock(blurred)
    source = viewer.layers[0]
    source.scale, source.translate, source.units = (0.2, 0.3), (5, -7), ("um", "um")
    seen: list[tuple[float, str]] = []
    widget.progress.changed.connect(lambda value: seen.append((value, widget.status.value)))
    click(widget.run_button)
    assert not widget.run_button.enabled
    assert widget.cancel_button.enabled
    wait_idle(qtbot, widget)
    assert_free(widget)

    assert [step for step, _ in seen][-1] == 6
    assert len({step for step, _ in seen}) >= 3
    assert any("loss" in text and "left" in text for _, text in seen)
    assert widget.status.value.startswith("Done: 6 of 6 steps")

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


def test_a_sample_can_be_restored(open_dock: DockMaker, qtbot: QtBot) -> None:
    viewer, widget = open_dock(steps=3)
    viewer.open_sample("napari-blindsr", "fluorescence")
    source = widget.image.value
    assert source.name == "fluorescence"
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    wait_idle(qtbot, widget)
    fine = viewer.layers["fluorescence ×2 (mlmc)"]
    np.testing.assert_allclose(edges(fine), edges(source))
    np.testing.assert_allclose(fine.scale, 0.13)
    assert [str(unit) for unit in fine.units] == ["micrometer", "micrometer"]
    assert viewer.layers.extent.units == source.units


def test_a_finish_that_was_left_out_is_told(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NAPARI_BLINDSR_USRNET", "nowhere.pth")
    viewer, widget = open_dock(blurred, steps=3)
    widget.method.value = "mlmc-usrnet"
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert viewer.layers[-1].name == "image 0 ×2 (mlmc-usrnet)"
    ((severity, text),) = notifications.shown
    assert severity == "warning"
    assert "Not finished with USRNet: " in text
    assert "nowhere.pth" in text
    assert widget.status.value == text
    # What the first stage made is there, and says what it is.
    assert len(viewer.layers) == 3
    record = viewer.layers[-1].metadata["napari-blindsr"]
    assert record["finish"] == "none"
    assert "nowhere.pth" in record["notes"][0]


def test_rgb_comes_back_in_its_type(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot
) -> None:
    image = np.stack([blurred, blurred[::-1], blurred.T], axis=-1).astype(np.uint8)
    viewer, widget = open_dock(image)
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
    assert widget.status.value.startswith("Stopped and kept: ")
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
def test_errors_inside_the_engine_reach_the_user_and_free_the_dock(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    part: str,
) -> None:
    viewer, widget = open_dock(blurred)
    before = live_tensor_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(AlternatingSolver, "step", fail_with(error))
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


def constant(image: NDArray[Any]) -> NDArray[Any]:
    return np.ones_like(image)


def not_finite(image: NDArray[Any]) -> NDArray[Any]:
    return np.where(image > 150, np.nan, image)


def tiny(image: NDArray[Any]) -> NDArray[Any]:
    return image[:3, :3]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (constant, "the image is constant"),
        (not_finite, "NaN or infinite"),
        (tiny, "the image is 3 × 3 pixels"),
    ],
)
def test_bad_images_are_refused_in_one_line(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    spoil: Callable[[NDArray[Any]], NDArray[Any]],
    part: str,
) -> None:
    viewer, widget = open_dock(spoil(blurred))
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert len(notifications.errors()) == 1
    assert part in notifications.errors()[0]
    assert "\n" not in notifications.errors()[0]
    assert len(viewer.layers) == 1


def test_a_missing_device_is_refused(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, notifications: Notifications
) -> None:
    _, widget = open_dock(blurred)
    widget.device.choices = ["auto", "cuda:77"]
    widget.device.value = "cuda:77"
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert "device is 'cuda:77'" in notifications.errors()[0]


def test_a_stack_in_3d_is_refused_with_its_reason_on_show(
    open_dock: DockMaker, notifications: Notifications
) -> None:
    viewer, widget = open_dock(np.zeros((4, 24, 24), np.float32))
    assert widget._form.size_row.value == "24 × 24 → 48 × 48 px"
    viewer.dims.ndisplay = 3
    assert "switch the viewer to 2-D" in widget._form.size_row.value
    click(widget.run_button)
    assert_free(widget)
    assert "switch the viewer to 2-D" in notifications.errors()[0]


def test_without_an_image_there_is_nothing_to_run(open_dock: DockMaker) -> None:
    viewer, widget = open_dock()
    assert not widget.run_button.enabled
    viewer.add_image(np.zeros((9, 9)))
    assert widget.run_button.enabled
    viewer.layers.clear()
    assert not widget.run_button.enabled
