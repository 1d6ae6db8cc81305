"""More steps from where an optimisation stands: the same as if it had not been stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_blindsr import iterate
from napari_blindsr.methods import Schedule
from napari_blindsr.progress import StopReason, drained
from napari_blindsr.restoration.problem import Link
from napari_blindsr.restoration.result import Result
from napari_blindsr.settings import Settings
from napari_blindsr.solvers.blind.alternating import AlternatingSolver
from napari_blindsr.solvers.loop import Checkpoint

IMAGE = np.random.default_rng(0).random((24, 24)).astype(np.float32).repeat(2, 0).repeat(2, 1)
SCHEDULE = replace(Schedule.named("published").scaled(12), channels=16, warmup_steps=20)


def settings(steps: int = 12, **options: Any) -> Settings:
    given: dict[str, Any] = {"method": "mlmc", "schedule": replace(SCHEDULE, image_steps=steps)}
    return Settings(**{"scale": 2, "device": "cpu", **given, **options})


def run(made: Settings, checkpoint: Checkpoint | None, *, stop_at: int | None = None) -> Result:
    link = None if checkpoint is None else Link(checkpoint=checkpoint)
    return drained(iterate(IMAGE, made, link=link), lambda report: report.step == stop_at)


@pytest.mark.parametrize(("method", "stop_at"), [("mlmc", 3), ("mlmc", 8), ("ddsr", 3)])
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(method: str, stop_at: int) -> None:
    made = settings(method=method)
    whole = run(made, None)
    checkpoint = Checkpoint()
    part = run(made, checkpoint, stop_at=stop_at)
    assert part.reason is StopReason.STOPPED
    assert (part.trace.size, part.continued, checkpoint.done) == (stop_at, 0, stop_at)
    # In two pieces, of which the first ends before the schedule's structural steps do.
    run(settings(stop_at + 1, method=method), checkpoint)
    rest = run(made, checkpoint)
    assert (rest.reason, rest.continued) == (StopReason.COMPLETED, stop_at + 1)
    for name in ("image", "kernel", "trace"):
        np.testing.assert_array_equal(getattr(rest, name), getattr(whole, name))
    assert rest.report()["continued"] == stop_at + 1
    # The weights of a warm start are another thing.
    assert rest.weights is None


def test_a_finished_run_takes_more_steps() -> None:
    checkpoint = Checkpoint()
    first = run(settings(), checkpoint)
    state = checkpoint.state
    more = run(settings(23), checkpoint)
    # The same state, not a copy.
    assert checkpoint.state is state
    assert more.trace.size == checkpoint.done == 23
    np.testing.assert_array_equal(more.trace[:12], first.trace)
    assert more.settings.schedule.image_steps == 23
    assert more.trace[-1] < first.trace[-1]
    assert not np.array_equal(more.kernel, first.kernel)
    part = state.kernel_part
    assert len(part.chosen) == 5
    pool = {*range(SCHEDULE.warmup_steps, len(part.pool))}
    assert {*part.chosen.flatten().tolist()} <= pool


def test_a_run_that_converged_takes_the_steps_that_are_asked_for() -> None:
    checkpoint = Checkpoint()
    made = settings(30, method="ddsr", noise=10.0)
    assert run(made, checkpoint).reason is StopReason.CONVERGED
    done = checkpoint.done
    assert done < 30
    more = run(replace(made, schedule=replace(SCHEDULE, image_steps=done + 4)), checkpoint)
    assert more.trace.size == done + 4


def test_late_iterates_are_averaged_anew() -> None:
    checkpoint = Checkpoint()
    averaged = replace(SCHEDULE, average=0.25)
    run(settings(schedule=averaged), checkpoint)
    assert checkpoint.state.mean_count == 3
    run(settings(schedule=replace(averaged, image_steps=16)), checkpoint)
    assert checkpoint.state.mean_count == 4


def test_the_part_of_a_tiled_image_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_blindsr.settings.SMALLEST_TILE", 32)
    monkeypatch.setattr("napari_blindsr.restoration.reconstruct.OPTIMISED_SIDE", 24)
    checkpoint = Checkpoint()
    made = settings(finish="prior", tile=64)
    run(made, checkpoint, stop_at=3)
    assert checkpoint.done == 3
    assert checkpoint.state.observation.data.shape[-1] == 24
    rest = run(made, checkpoint)
    whole = run(made, None)
    np.testing.assert_array_equal(rest.kernel, whole.kernel)
    np.testing.assert_array_equal(rest.image, whole.image)


def test_what_cannot_go_on_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint()
    run(settings(method="fast", schedule=Schedule()), checkpoint)
    states = [checkpoint.state]
    run(settings(), checkpoint)
    states.append(checkpoint.state)
    monkeypatch.setattr("napari_blindsr.solvers.loop.EXPLODED", 0)
    monkeypatch.setattr(AlternatingSolver, "restart", lambda *_: False)
    assert run(settings(20), checkpoint).reason is StopReason.DIVERGED
    states.append(checkpoint.state)
    assert [state is None for state in states] == [True, False, True]
