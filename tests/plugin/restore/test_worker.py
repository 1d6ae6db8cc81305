"""A run as a generator, without a viewer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from napari.layers import Image
from numpy.typing import NDArray

import napari_blindsr.restoration.restore
from napari_blindsr.errors import EngineError
from napari_blindsr.methods import Schedule
from napari_blindsr.plugin.layers.read import read_layer
from napari_blindsr.plugin.restore.request import Request
from napari_blindsr.plugin.restore.worker import RestoreRun
from napari_blindsr.plugin.widgets.devices import free_threads
from napari_blindsr.settings import Settings


def make_run(image: NDArray[Any], steps: int = 5, method: str = "mlmc") -> RestoreRun:
    schedule = Schedule().scaled(steps)
    settings = Settings(scale=2, method=method, schedule=schedule, device="cpu")
    return RestoreRun(Request(source=read_layer(Image(image, name="cells")), settings=settings))


def test_a_sent_stop_returns_the_state_so_far(blurred: NDArray[np.float32]) -> None:
    steps = make_run(blurred, steps=1000).steps()
    report = next(steps)
    while report.step < 2:
        report = next(steps)
    with pytest.raises(StopIteration) as end:
        steps.send(True)
    assert end.value.value.reason == "stopped"
    assert end.value.value.trace.size == 2


def test_a_stop_sent_while_the_blur_is_read_counts(blurred: NDArray[np.float32]) -> None:
    steps = make_run(blurred, method="fast").steps()
    report = next(steps)
    assert (report.step, report.stage) == (0, "estimating the blur")
    report = steps.send(True)
    assert report.stage == "reconstructing: image prior"
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value.reason == "stopped"
    assert end.value.value.trace.size == 0
    assert np.isfinite(end.value.value.image).all()


@pytest.mark.parametrize("error", [RuntimeError("CUDA\nerror"), MemoryError(), KeyError("x")])
def test_every_error_becomes_one_that_workers_report(
    blurred: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: Any, **__: Any) -> Iterator[Any]:
        yield from ()
        raise error

    monkeypatch.setattr(napari_blindsr.restoration.restore, "iterate", broken)
    with pytest.raises(EngineError, match=f"failed with {type(error).__name__}: ") as caught:
        next(make_run(blurred).steps())
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("method", ["fast", "mlmc"])
def test_a_closed_run_holds_nothing(blurred: NDArray[np.float32], method: str) -> None:
    run = make_run(blurred, method=method)
    steps = run.steps()
    next(steps)
    engine = run._engine
    run.close()
    assert run.source is None
    assert run._engine is None
    # A generator that was closed has no frame.
    assert engine is not None
    assert engine.gi_frame is None  # type: ignore[attr-defined]
    run.close()


def test_napari_can_name_a_run(blurred: NDArray[np.float32]) -> None:
    assert repr(make_run(blurred)) == "blind super-resolution of 'cells'"


@pytest.mark.parametrize(("cores", "threads"), [(1, None), (2, 1), (16, 15)])
def test_one_core_is_left_to_the_gui(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int | None
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert free_threads() == threads
