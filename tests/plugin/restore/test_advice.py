"""The scale that is suggested for an image."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from scipy.ndimage import gaussian_filter

from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.restoration.diagnostics import OVERSAMPLED, finest_detail, finest_scale
from napari_blindsr.restoration.evidence import suggested_scale
from tests.plugin.conftest import DockMaker
from tests.plugin.dock import wait_advice

CELLS = np.asarray(fluorescent_cells((128, 140), seed=4), np.float32)
BLURRED = gaussian_filter(CELLS, 3)
SOFT = BLURRED + np.random.default_rng(0).normal(0, 0.4 * BLURRED.std(), CELLS.shape)
SHARP = 100 * CELLS / CELLS.max()


def advised(qtbot: QtBot, widget: Any) -> str:
    """Return what the dock suggests, once it knows."""
    form = widget._form
    wait_advice(qtbot, widget)
    assert form.is_shown(form.advice) == bool(form.advice.value)
    text: str = form.advice.value
    return text


def as_kind(image: NDArray[Any], kind: str) -> Any:
    """Return an image as the data of a layer of some kind."""
    if kind == "rgb":
        return np.stack([np.clip(image / image.max(), 0, 1)] * 3, axis=-1)
    stack = np.stack([image] * 3)
    kinds = {"plane": image, "turned": image.T, "stack": stack}
    return kinds[kind] if kind in kinds else da.from_array(stack, chunks=(1, 64, 64))


def test_it_follows_from_blur_and_noise() -> None:
    assert finest_scale(2.0, 0.1) == 1
    for noise in (0.001, 0.1, 0.5):
        scales = [finest_scale(width, noise) for width in (5.0, 1.0, 0.5, 0.2)]
        assert scales == sorted(scales)
        for width, scale in zip((5.0, 1.0, 0.5, 0.2), scales, strict=True):
            assert scale == 3 or finest_detail(width, noise) <= OVERSAMPLED * scale
    assert finest_scale(0.4, 2.0) == 1, "nothing but noise"
    assert suggested_scale(SOFT) == 1
    assert suggested_scale(SHARP) > 1


@pytest.mark.parametrize("kind", ["plane", "stack", "lazy", "rgb", "turned"])
def test_a_scale_is_suggested_when_an_image_is_chosen(
    open_dock: DockMaker, qtbot: QtBot, kind: str
) -> None:
    viewer, widget = open_dock(method="fast")
    assert advised(qtbot, widget) == ""
    for image, scale in ((SOFT, 1), (SHARP, suggested_scale(SHARP))):
        viewer.add_image(as_kind(image, kind), rgb=kind == "rgb", name=str(scale))
        assert widget.image.value.name == str(scale)
        text = advised(qtbot, widget)
        assert text == f"Suggested: ×{scale}. A finer grid adds pixels, but hardly any detail."
    viewer.layers.clear()
    assert advised(qtbot, widget) == ""


@pytest.mark.parametrize("image", [np.ones((64, 64)), np.eye(9), np.full((64, 64), np.nan)])
def test_nothing_is_suggested_for_what_cannot_be_restored(
    open_dock: DockMaker, qtbot: QtBot, image: NDArray[Any]
) -> None:
    viewer, widget = open_dock(image, method="fast")
    assert advised(qtbot, widget) == ""
    # Other data of the same layer are estimated anew.
    viewer.layers[0].data = SOFT
    assert advised(qtbot, widget).startswith("Suggested: ×1.")
