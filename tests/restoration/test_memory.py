"""The estimate of a run's memory; `benchmarks/footprint.py` compares it with measurements."""

from __future__ import annotations

import dataclasses

import pytest

from napari_blindsr import Settings
from napari_blindsr.methods import METHODS, Schedule
from napari_blindsr.restoration.memory import estimate_memory, result_memory

MEASURED = [
    ((64, 64), Settings(scale=2), 0.008),
    ((256, 256), Settings(scale=2), 0.104),
    ((512, 512), Settings(scale=2), 0.313),
    ((512, 512), Settings(scale=2, tile=512), 0.201),
    ((128, 128), Settings(scale=4), 0.090),
    ((128, 128), Settings(scale=2, method="mlmc", schedule=Schedule(channels=64)), 0.233),
    ((128, 128), Settings(scale=2, method="mlmc"), 0.395),
]
"""Gigabytes on a CPU with bfloat16, one thread."""

MEASURED_SINGLE: list[tuple[tuple[int, int], Settings, float]] = [
    ((128, 128), Settings(scale=2), 0.040),
    ((256, 256), Settings(scale=2), 0.129),
    ((512, 512), Settings(scale=2), 0.461),
    ((1024, 1024), Settings(scale=2), 1.565),
    ((256, 256), Settings(scale=4), 0.471),
    ((128, 128), Settings(scale=2, method="mlmc", schedule=Schedule(channels=64)), 0.359),
    ((128, 128), Settings(scale=2, method="mlmc"), 0.544),
    ((128, 128), Settings(scale=2, finish="measurement", tile=None), 0.035),
    ((256, 256), Settings(scale=2, finish="measurement", tile=None), 0.111),
    ((512, 512), Settings(scale=2, finish="measurement", tile=None), 0.225),
    ((1024, 1024), Settings(scale=2, finish="measurement", tile=None), 0.501),
]
"""The same on one without."""


@pytest.mark.parametrize("half", [True, False])
def test_the_estimate_is_near_what_was_measured(*, half: bool) -> None:
    for shape, settings, measured in MEASURED if half else MEASURED_SINGLE:
        estimated = estimate_memory(shape, 1, settings, half=half) / 1e9
        assert estimated == pytest.approx(measured, rel=0.25), (shape, settings)


@pytest.mark.parametrize("method", METHODS)
def test_larger_runs_take_more(method: str) -> None:
    settings = Settings(scale=2, method=method, tile=None)
    small = estimate_memory((128, 128), 1, settings)
    assert estimate_memory((256, 128), 1, settings) > small
    assert estimate_memory((128, 128), 3, settings) > small
    more = estimate_memory((128, 128), 1, settings, planes=11)
    assert more - small == 10 * result_memory((128, 128), 1, settings) == 10 * 4 * 256 * 256


def test_tiles_bound_what_a_run_takes() -> None:
    settings = Settings(scale=2)
    assert estimate_memory((2048, 2048), 1, settings) < 3e9
    whole = estimate_memory((2048, 2048), 1, dataclasses.replace(settings, tile=None))
    tiles = [
        estimate_memory((2048, 2048), 1, dataclasses.replace(settings, tile=tile))
        for tile in (2048, 1024, 512)
    ]
    assert sorted([whole, *tiles], reverse=True) == [whole, *tiles]
