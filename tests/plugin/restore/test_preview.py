"""While an optimisation goes on, a layer sharpens; it goes with the run and costs little."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.plugin.layers.read import read_layer
from napari_blindsr.plugin.restore import preview as module
from napari_blindsr.plugin.restore.course import Course
from napari_blindsr.plugin.restore.preview import COST, Preview, PreviewLayers, Previews
from napari_blindsr.progress import Progress
from napari_blindsr.settings import Settings
from napari_blindsr.solvers.loop import Estimate
from tests.plugin.conftest import DockMaker
from tests.plugin.dock import LONG, click, edges, wait_idle

NAMES = ["image 0 ×2 preview", "image 0 PSF preview"]


def wait_preview(qtbot: QtBot, viewer: Any) -> None:
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=60_000)


@pytest.mark.parametrize("end", ["stop_button", "cancel_button"])
def test_a_preview_lies_over_its_source_and_goes_with_the_run(
    open_dock: DockMaker,
    blurred: NDArray[Any],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.0)
    monkeypatch.setattr(module, "COST", 1.0)
    viewer, widget = open_dock(blurred, steps=LONG)
    source = viewer.layers[0]
    source.scale, source.units, source.contrast_limits = (0.2, 0.2), ("um", "um"), (10, 200)
    click(widget.run_button)
    wait_preview(qtbot, viewer)
    assert [layer.name for layer in viewer.layers[1:]] == NAMES
    image, psf = viewer.layers[1:]
    np.testing.assert_allclose(edges(image), edges(source))
    assert edges(psf)[0, 1] > edges(source)[1, 1]
    assert image.contrast_limits == [10, 200]
    # One goes on with the source, and its pixels are seen to change.
    assert viewer.layers.selection.active == source
    assert widget.image.value == source
    first = image.data.copy()
    qtbot.waitUntil(lambda: not np.array_equal(image.data, first), timeout=60_000)
    low, high = blurred.min(), blurred.max()
    assert low - (high - low) < np.median(image.data) < high + (high - low)
    qtbot.waitUntil(lambda: getattr(widget, end).enabled, timeout=60_000)
    click(getattr(widget, end))
    wait_idle(qtbot, widget)
    assert not set(NAMES) & {layer.name for layer in viewer.layers}


def test_a_preview_that_is_removed_stays_away(
    open_dock: DockMaker, blurred: NDArray[Any], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.0)
    viewer, widget = open_dock(blurred, steps=30)
    click(widget.run_button)
    wait_preview(qtbot, viewer)
    viewer.layers.remove(NAMES[0])
    wait_idle(qtbot, widget)
    assert widget.status.value.startswith("Done")
    assert [layer.name for layer in viewer.layers] == [
        "image 0",
        "image 0 PSF ×2 (mlmc)",
        "image 0 ×2 (mlmc)",
    ]


@pytest.mark.parametrize("rgb", [False, True])
def test_the_thumbnails_are_those_of_the_latest_preview(
    blurred: NDArray[np.float32], rgb: bool
) -> None:
    viewer, settings = ViewerModel(), Settings(scale=2, method="mlmc")
    image = np.stack([blurred] * 3, axis=-1) / 255 if rgb else blurred
    source = read_layer(viewer.add_image(image, rgb=rgb), viewer.dims)
    layers, psf = PreviewLayers(viewer, lambda: True), np.eye(5, dtype=np.float32)
    fine = image.repeat(2, axis=0).repeat(2, axis=1)
    first, last = ((fine[::-1], psf[::-1]), (fine, psf))
    added = layers.show(Preview(pictures=first, curves={}), source, settings)
    before = [layer.thumbnail for layer in added]
    assert layers.show(Preview(pictures=last, curves={}), source, settings) == []
    for layer, old in zip(added, before, strict=True):
        anew = type(layer).create(*layer.as_layer_data_tuple())
        np.testing.assert_array_equal(layer.thumbnail, anew.thumbnail)
        assert not np.array_equal(layer.thumbnail, old)


def test_previews_cost_no_more_than_their_part(
    blurred: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari.layers import Image  # noqa: PLC0415

    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    settings = Settings(scale=2, method="mlmc")
    course = Course(settings.schedule, None)
    previews = Previews(read_layer(Image(blurred)), settings, course)
    latest = Estimate(image=torch.rand(1, 60, 60), kernel=torch.ones(5, 5) / 25)
    report = Progress(
        step=1, total=9, stage="image", loss=None, seconds=0, remaining=None, latest=latest
    )
    made = previews._made

    def slowly(*given: Any) -> Any:
        clock[0] += 0.1
        return made(*given)

    monkeypatch.setattr(previews, "_made", slowly)
    shown = previews.of(report)
    assert shown is not None
    assert shown.pictures is not None
    assert shown.pictures[0].shape == (48, 48)
    clock[0] += 0.1 / COST - 0.01
    assert previews.of(report) is None
    clock[0] += 0.02
    assert previews.of(report) is not None
