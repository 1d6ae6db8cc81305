"""What one does with the dock, and what one looks at."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.plugin.layers.versions import camera_of
from tests.helpers import PATIENCE

LONG = 1500
"""Steps of a run that does not end by itself within a test."""


def click(button: Any) -> None:
    assert button.enabled
    button.native.click()


def wait_idle(qtbot: QtBot, widget: Any) -> None:
    """Wait for the end of a run, and until the last preview layer is removed."""

    def is_idle() -> bool:
        return widget._worker is None and not any(
            layer.metadata.get("napari-blindsr", {}).get("kind") == "preview"
            for layer in widget._viewer.layers
        )

    qtbot.waitUntil(is_idle, timeout=1000 * PATIENCE)


def wait_advice(qtbot: QtBot, widget: Any) -> None:
    """Wait until the dock has suggested a scale for its image, if it has one."""

    def is_advised() -> bool:
        return bool(widget._form.found) and widget._advice._answer is None

    qtbot.waitUntil(is_advised, timeout=1000 * PATIENCE)


def wait_first_step(qtbot: QtBot, widget: Any) -> None:
    qtbot.waitUntil(lambda: widget.progress.value >= 1, timeout=1000 * PATIENCE)


def assert_free(widget: Any) -> None:
    """The dock takes another run."""
    assert widget._worker is None
    assert widget._run is None
    assert widget.run_button.enabled
    assert widget._form.enabled
    assert not widget.stop_button.enabled
    assert not widget.cancel_button.enabled


def edges(layer: Any) -> NDArray[np.float64]:
    half = np.array([[-0.5], [0.5]])
    extent: NDArray[np.float64] = layer.extent.world + half * layer.scale
    return extent


def seen(viewer: Any) -> NDArray[np.float64]:
    """Return the world coordinates (low, high) × (row, column) that the canvas shows."""
    camera = camera_of(viewer)
    center = np.array(camera.center[-2:])
    half = np.array(viewer.canvas.size) / camera.zoom / 2
    return np.array([center - half, center + half])


def assert_seen(viewer: Any, layer: Any) -> None:
    low, high = seen(viewer)
    assert (edges(layer)[0][-2:] >= low).all(), layer.name
    assert (edges(layer)[1][-2:] <= high).all(), layer.name


def live_tensor_bytes() -> int:
    """Return how much memory tensors hold that Python can reach."""
    gc.collect()
    return sum(
        tensor.numel() * tensor.element_size()
        for tensor in gc.get_objects()
        # isinstance would wake proxies that warn of their deprecation.
        if issubclass(type(tensor), torch.Tensor)
    )
