"""What the demonstration ends with: a sample and its result in a real viewer."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_blindsr.evaluation import samples
from napari_blindsr.evaluation.demo import DemoCase, demo_sample, demo_settings
from napari_blindsr.methods import Schedule
from napari_blindsr.plugin.restore.viewer import fill_viewer, why_not
from napari_blindsr.restoration import restore
from napari_blindsr.restoration.result import Result
from tests.plugin.conftest import make_result

SHORT = Schedule(image_steps=1, warmup_steps=1, channels=8)


def restored(sample: samples.Sample, method: str) -> Result:
    settings = demo_settings(DemoCase(sample=sample), method)
    run = restore.iterate(sample.image, dataclasses.replace(settings, schedule=SHORT))
    while True:
        try:
            next(run)
        except StopIteration as end:
            result: Result = end.value
            return result


@pytest.mark.parametrize("method", ["fast", "mlmc"])
def test_viewer_shows_sample_and_result(lend_viewer: Callable[[], Any], method: str) -> None:
    viewer = lend_viewer()
    sample = demo_sample()
    fill_viewer(viewer, sample, restored(sample, method))
    names = [layer.name for layer in viewer.layers]
    assert names == [
        "demo: truth ×4",
        "demo: PSF ×4",
        "demo",
        f"demo PSF ×4 ({method})",
        f"demo ×4 ({method})",
    ]
    truth, result = viewer.layers["demo: truth ×4"], viewer.layers[f"demo ×4 ({method})"]
    np.testing.assert_allclose(truth.extent.world, result.extent.world)
    # Both kernels can be compared by switching one of them off and on.
    kernels = viewer.layers["demo: PSF ×4"], viewer.layers[f"demo PSF ×4 ({method})"]
    np.testing.assert_allclose(kernels[0].extent.world, kernels[1].extent.world)
    docks = viewer.window.dock_widgets
    assert docks["Blind super-resolution (napari-blindsr)"].image.value == viewer.layers["demo"]
    comparison = docks["Compare layers (napari-blindsr)"]
    assert comparison.mode.value == "curtain"
    assert [layer.name for layer in comparison.picker.chosen()] == ["demo", names[-1]]


@pytest.mark.parametrize("side", [15, 25])
def test_kernels_of_different_sizes_lie_on_each_other(
    lend_viewer: Callable[[], Any], side: int
) -> None:
    viewer = lend_viewer()
    sample = demo_sample()
    own, size = make_result(scale=4, shape=sample.image.shape, side=side), len(sample.kernel)
    fill_viewer(viewer, sample, own)
    true, estimated = viewer.layers["demo: PSF ×4"], viewer.layers["demo PSF ×4 (mlmc)"]
    np.testing.assert_allclose(true.extent.world, estimated.extent.world)
    assert true.data.shape == estimated.data.shape
    record = estimated.metadata["napari-blindsr"]
    assert record["kernel_size"] == max(side, size)
    # The centre is where it was, in the larger array.
    assert record["kernel_center"][0] - record["kernel_size"] // 2 == 1.5


def test_no_viewer_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":7")
    assert why_not() is None
    monkeypatch.delenv("DISPLAY")
    assert why_not() == "there is no display"
