"""How a measurement ends: refused, cancelled, failed, closed."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

import napari_blindsr.metrics.measure as library
from napari_blindsr.plugin.measure.dock import NOT_CHOSEN
from tests.helpers import PATIENCE
from tests.plugin.conftest import Notifications
from tests.plugin.dock import click
from tests.plugin.measuring import (
    SIDE,
    filled,
    measure,
    restored,
)


def not_square(viewer: Any, form: Any) -> None:
    form.kernel.value = viewer.add_image(np.ones((5, 9)), name="odd")


def other_shape(viewer: Any, form: Any) -> None:
    form.reference.value = viewer.add_image(np.ones((30, 30)), name="small")


def other_scale(viewer: Any, form: Any) -> None:
    form.source.value = viewer.add_image(np.ones((31, 31)), name="odd")


def not_finite(viewer: Any, _: Any) -> None:
    restored(viewer).data[3, 4] = np.nan


def nothing_measured(viewer: Any, form: Any) -> None:
    form.source.value = viewer.add_image(np.full((SIDE, SIDE), np.nan), name="void")


def half_optics(_: Any, form: Any) -> None:
    form.numerical_aperture.value = 1.2


def in_depth(viewer: Any, form: Any) -> None:
    form.reference.value = viewer.add_image(np.zeros((3, 4, SIDE, SIDE)), name="deep")
    viewer.dims.ndisplay = 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_shape, "the reference has shape (30, 30); expected (96, 96)"),
        (other_scale, "expected a whole multiple"),
        (not_finite, "the image has values that are NaN or infinite"),
        (nothing_measured, "the source has no finite value"),
        (not_square, "layer 'odd': the kernel is 5 × 9; expected a square array"),
        (half_optics, "no wavelength is given"),
        (in_depth, "layer 'deep' is shown in 3-D"),
    ],
)
def test_refusals(
    open_measure: Callable[[Any], Any],
    measured: Any,
    notifications: Notifications,
    spoil: Callable[[Any, Any], None],
    message: str,
) -> None:
    widget = open_measure(measured)
    spoil(measured, widget.form)
    click(widget.measure_button)
    assert widget._worker is None
    (said,) = notifications.errors()
    assert message in said
    assert "\n" not in said
    assert widget.status.value == said
    assert widget.findings is None


def test_cancel(open_measure: Callable[[Any], Any], measured: Any, qtbot: QtBot) -> None:
    widget = open_measure(measured)
    click(widget.measure_button)
    assert not widget.form.enabled
    assert not widget.measure_button.enabled
    click(widget.cancel_button)
    qtbot.waitUntil(lambda: widget._worker is None, timeout=1000 * PATIENCE)
    assert widget.status.value == "Cancelled; nothing was kept."
    assert widget.findings is None
    assert "measurements" not in restored(measured).metadata["napari-blindsr"]
    assert widget.form.enabled
    findings = measure(qtbot, widget)
    assert widget.progress.value == widget.progress.max == len(findings.measurements) + 1


def test_what_goes_wrong_is_shown(
    open_measure: Callable[[Any], Any],
    measured: Any,
    qtbot: QtBot,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        # As torch does; a generator worker would swallow it.
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(library, "plots", fail)
    widget = open_measure(measured)
    click(widget.measure_button)
    qtbot.waitUntil(lambda: widget._worker is None, timeout=1000 * PATIENCE)
    (said,) = notifications.errors()
    assert said == ("the measurement of 'cells ×2 (mlmc)' failed with RuntimeError: out of memory")
    assert widget.measure_button.enabled


def test_layers_may_go_meanwhile(
    open_measure: Callable[[Any], Any], measured: Any, qtbot: QtBot
) -> None:
    widget = open_measure(measured)
    image = restored(measured)
    click(widget.measure_button)
    measured.layers.clear()
    qtbot.waitUntil(lambda: widget._worker is None, timeout=1000 * PATIENCE)
    assert "measurements" in image.metadata["napari-blindsr"]
    assert widget.form.image.value is None
    widget.add_map("residual")


@pytest.mark.parametrize("late", [False, True])
def test_closing_ends_the_measurement(
    lend_viewer: Callable[[], Any], qtbot: QtBot, *, late: bool
) -> None:
    viewer = filled(lend_viewer())
    native, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Measure quality")
    click(widget.measure_button)
    if late:
        # All is measured, and the result is on its way to this thread.
        done = Event()
        widget._worker.finished.connect(done.set, type=Qt.ConnectionType.DirectConnection)
        assert done.wait(PATIENCE)
    native.destroyOnClose()
    qtbot.waitUntil(lambda: widget._worker is None, timeout=1000 * PATIENCE)
    assert "measurements" not in restored(viewer).metadata["napari-blindsr"]
    # Nothing is left that would follow the layers.
    viewer.layers.remove("cells")
    viewer.layers.selection.active = restored(viewer)


def test_without_an_image_there_is_nothing_to_measure(
    open_measure: Callable[[Any], Any], measured: Any
) -> None:
    widget = open_measure(measured)
    widget.form.image.value = None
    assert not widget.measure_button.enabled
    assert widget.measure_button.tooltip == NOT_CHOSEN
    measured.layers.clear()
    assert "open an image first" in widget.measure_button.tooltip
