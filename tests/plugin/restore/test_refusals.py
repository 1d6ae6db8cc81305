"""What a run is refused for: one line, before any work, whatever the method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.plugin.widgets.verdict import Verdict
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import assert_free, click, wait_idle


def spoil_mask_size(viewer: Any, widget: Any) -> None:
    widget.mask.value = viewer.add_labels(np.ones((24, 23), int), name="dust")


def spoil_mask(viewer: Any, widget: Any) -> None:
    box = np.array([(-1, -1), (-1, 24), (24, 24), (24, -1)])
    widget.mask.value = viewer.add_shapes([box], shape_type="polygon", name="dust")


def spoil_gain(_: Any, widget: Any) -> None:
    widget.gain.value = 0


def spoil_weights(_: Any, widget: Any) -> None:
    widget.finish.value = "usrnet"
    widget.weights.value = Path(__file__)


def spoil_missing_weights(_: Any, widget: Any) -> None:
    widget.finish.value = "usrnet"
    widget.weights.value = "/nowhere/usrnet.pth"


def spoil_kernel(viewer: Any, widget: Any) -> None:
    layer = viewer.add_image(np.ones((5, 7)), name="psf")
    widget.image.value = viewer.layers[0]
    widget.kernel.value, widget.kernel_layer.value = "known", layer


def spoil_kernel_sign(viewer: Any, widget: Any) -> None:
    spoil_kernel(viewer, widget)
    viewer.layers["psf"].data = -np.ones((5, 5))


def spoil_kernel_choice(_: Any, widget: Any) -> None:
    widget.kernel.value = "known"


def spoil_kernel_folder(_: Any, widget: Any) -> None:
    widget.kernel.value = "motion"
    widget.families["motion"].kernels.value = Path(__file__).parent


def spoil_microscope(_: Any, widget: Any) -> None:
    widget.kernel.value = "airy"
    widget.families["airy"].numerical_aperture.value = 1.2


@pytest.mark.parametrize("method", ["ddsr", "fast"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_mask_size, "layer 'dust', is 24 × 23; expected 24 × 24"),
        (spoil_mask, "the mask covers the whole image"),
        (spoil_gain, "gain is 0.0; expected a positive number"),
        (spoil_weights, "has SHA-256"),
        (spoil_missing_weights, "there is no file"),
        (spoil_kernel, "layer 'psf': the kernel is 5 × 7; expected a square array"),
        (spoil_kernel_sign, "layer 'psf': the kernel has sum -25"),
        (spoil_kernel_choice, "no kernel layer is chosen"),
        (spoil_kernel_folder, "holds no kernels"),
        (spoil_microscope, "expected an aperture below the index"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_input_is_shown_in_one_line_before_any_work(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    spoil: Any,
    words: str,
    method: str,
) -> None:
    viewer, widget = open_dock(blurred, method=method)
    spoil(viewer, widget)
    before = len(viewer.layers)
    steps: list[float] = []
    widget.progress.changed.connect(steps.append)
    widget.verdict.show_verdict(Verdict(level="good", line="Good"))
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert_free(widget)
    assert widget.verdict.verdict is None, "that of an earlier run"
    ((severity, text),) = notifications.shown
    assert severity == "error"
    assert words in text
    assert "\n" not in text
    assert widget.status.value == text
    assert not any(steps)
    assert len(viewer.layers) == before


def constant(image: NDArray[Any]) -> NDArray[Any]:
    return np.ones_like(image)


def not_finite(image: NDArray[Any]) -> NDArray[Any]:
    return np.where(image > 150, np.nan, image)


def tiny(image: NDArray[Any]) -> NDArray[Any]:
    return image[:3, :3]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("method", "spoil", "part"),
    [
        ("mlmc", constant, "the image is constant"),
        ("fast", constant, "the image is constant"),
        ("mlmc", not_finite, "NaN or infinite"),
        ("mlmc", tiny, "the image is 3 × 3 pixels"),
        ("fast", tiny, "the image is 3 × 3 pixels; expected at least 16 on each side"),
    ],
)
def test_bad_images_are_refused_in_one_line(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    notifications: Notifications,
    method: str,
    spoil: Callable[[NDArray[Any]], NDArray[Any]],
    part: str,
) -> None:
    viewer, widget = open_dock(spoil(blurred), method=method)
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


def test_a_stack_in_3d_is_refused_with_its_reason_on_show(open_dock: DockMaker) -> None:
    viewer, widget = open_dock(np.zeros((4, 24, 24), np.float32))
    assert "24 × 24 → 48 × 48 px" in widget._form.size_row.value
    viewer.dims.ndisplay = 3
    assert "switch the viewer to 2-D" in widget._form.size_row.value
    assert not widget.run_button.enabled
    assert "switch the viewer to 2-D" in widget.run_button.tooltip
    viewer.dims.ndisplay = 2
    assert_free(widget)
    assert "switch" not in widget.run_button.tooltip
