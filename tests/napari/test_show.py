"""What the demonstration ends with: a sample and its result in a real viewer."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_blindsr import api, samples
from napari_blindsr._napari.show import fill_viewer, why_not
from napari_blindsr.demo import DemoCase, demo_sample, demo_settings
from napari_blindsr.result import Result
from napari_blindsr.settings import Schedule

SHORT = Schedule(image_steps=1, warmup_steps=1, channels=8)


def restored(sample: samples.Sample, method: str) -> Result:
    settings = demo_settings(DemoCase(sample=sample), method)
    run = api.iterate(sample.image, dataclasses.replace(settings, schedule=SHORT))
    while True:
        try:
            next(run)
        except StopIteration as end:
            result: Result = end.value
            return result


@pytest.mark.parametrize("method", ["fast", "mlmc"])
def test_viewer_shows_sample_and_result(
    make_napari_viewer_proxy: Callable[[], Any], method: str
) -> None:
    viewer = make_napari_viewer_proxy()
    sample = demo_sample()
    fill_viewer(viewer, sample, restored(sample, method))
    names = [layer.name for layer in viewer.layers]
    assert names == [
        "demo: PSF ×4",
        "demo: truth ×4",
        "demo",
        f"demo PSF ×4 ({method})",
        f"demo ×4 ({method})",
    ]
    truth, result = viewer.layers["demo: truth ×4"], viewer.layers[f"demo ×4 ({method})"]
    np.testing.assert_allclose(truth.extent.world, result.extent.world)
    # Both kernels can be compared by switching one of them off and on.
    middles = [
        viewer.layers[name].extent.world.mean(axis=0)
        for name in ("demo: PSF ×4", f"demo PSF ×4 ({method})")
    ]
    np.testing.assert_allclose(*middles)
    assert "Blind super-resolution (napari-blindsr)" in viewer.window.dock_widgets


def test_no_viewer_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":7")
    assert why_not() is None
    monkeypatch.delenv("DISPLAY")
    assert why_not() == "there is no display"
