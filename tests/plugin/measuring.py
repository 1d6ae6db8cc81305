"""An image, its source and kernel as layers of a viewer, and the dock that measures them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

import napari_blindsr.metrics.measure as library
from napari_blindsr.metrics import METRICS, MetricInputs
from napari_blindsr.plugin.layers.inputs import MaskInput
from napari_blindsr.plugin.layers.outputs import result_layers
from napari_blindsr.plugin.layers.read import read_layer
from napari_blindsr.restoration.diagnostics import Flag
from napari_blindsr.restoration.result import Result
from tests.helpers import PATIENCE
from tests.plugin.conftest import make_result
from tests.plugin.dock import click

UM: dict[str, Any] = {"scale": (0.2, 0.2), "units": ("um", "um")}
"""Pixels of the source; those of the result have 100 nm."""
SCALE = 2
SIDE = 48
"""Of the source; hardly large enough for decorrelation, too small for half images."""
FLAG = Flag(
    name="no_blur", message="the image is <sharp>", meaning="No gain.", advice="Keep the image."
)


def fine_image(seed: int = 0) -> NDArray[np.float32]:
    """Return a picture of 96 × 96 with structure of all sizes, from 0 to some 200."""
    rng = np.random.default_rng(seed)
    side = SCALE * SIDE
    row, column = np.mgrid[:side, :side]
    image = 100 + 40 * np.sin(row / 7) * np.cos(column / 9)
    image += 20 * rng.random((side // 4, side // 4)).repeat(4, axis=0).repeat(4, axis=1)
    return np.asarray(image, np.float32)


def coarse_image(fine: NDArray[Any], seed: int = 1) -> NDArray[np.float32]:
    """Return the picture as a camera with pixels twice as wide sees it, with noise."""
    height, width = (side // SCALE for side in fine.shape[:2])
    binned = fine.reshape(height, SCALE, width, SCALE, *fine.shape[2:]).mean(axis=(1, 3))
    noise = np.random.default_rng(seed).normal(0, 2, binned.shape)
    return np.asarray(binned + noise, np.float32)


def add_result(
    viewer: Any, source: Any, image: NDArray[Any], *, mask: NDArray[np.bool_] | None = None
) -> tuple[Any, Any]:
    """Add what a run on a layer would have added: its kernel and, returned first, its image."""
    taken = read_layer(source, viewer.dims)
    if mask is not None:
        taken = replace(taken, mask=MaskInput(name="dust", kind="labels", covered=mask))
    result = replace(make_result(scale=SCALE, shape=taken.data.shape, values=image), flags=(FLAG,))
    return add_layers(viewer, result, taken)


def add_layers(viewer: Any, result: Result, taken: Any) -> tuple[Any, Any]:
    kernel, restored = (
        viewer.add_layer(Layer.create(*data)) for data in result_layers(result, taken)[:2]
    )
    viewer.layers.selection.active = restored
    return restored, kernel


def measure(qtbot: QtBot, widget: Any) -> Any:
    """Press the button and wait for the findings."""
    click(widget.measure_button)
    qtbot.waitUntil(lambda: widget._worker is None, timeout=1000 * PATIENCE)
    assert widget.findings is not None, widget.status.value
    return widget.findings


def values(widget: Any) -> dict[str, float | None]:
    return {found.metric.name: found.value for found in widget.findings.measurements}


def value_of(name: str, **evidence: Any) -> float | None:
    """Return what the library says."""
    (metric,) = (metric for metric in METRICS if metric.name == name)
    (found,) = library.measure(MetricInputs(**evidence), metrics=[metric])
    return found.value


def filled(viewer: Any) -> Any:
    """Add a source with pixels of 0.2 µm to a viewer, and what a run has made of it."""
    fine = fine_image()
    source = viewer.add_image(coarse_image(fine), name="cells", **UM)
    add_result(viewer, source, fine)
    return viewer


def restored(viewer: Any) -> Any:
    return viewer.layers["cells ×2 (mlmc)"]
