from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from napari_blindsr.physics.kernels import Gaussian
from napari_blindsr.physics.observation import Observation
from napari_blindsr.progress import Progress, StopReason
from napari_blindsr.solvers.blind import kernel_step
from napari_blindsr.solvers.blind.alternating import AlternatingSolver, AlternatingState
from napari_blindsr.solvers.blind.kernel_step import KernelState, monte_carlo_step
from napari_blindsr.solvers.loop import RESTARTED, Estimate, Outcome, Step, solve
from tests.helpers import (
    FLOAT32,
    OPTIMISERS,
    QUICK,
    SOLVERS,
    alternating,
    build_solver,
    observe,
)


def drain(
    solver: Any, observation: Observation, *, stop_at: int | None = None
) -> tuple[Outcome, list[Progress]]:
    run = solve(solver, observation)
    reports = [next(run)]
    while True:
        try:
            stop = stop_at is not None and reports[-1].step >= stop_at
            reports.append(run.send(stop))
        except StopIteration as end:
            return end.value, reports


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("border", ["extend", "circular"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_run_ends_with_a_finite_estimate(name: str, border: str, channels: int) -> None:
    observation = observe((channels, 20, 18), border=border)
    solver = build_solver(name)
    assert solver.total == (QUICK.image_steps if name in OPTIMISERS else solver.total) > 0
    outcome, reports = drain(solver, observation)
    assert outcome.reason is StopReason.COMPLETED
    assert outcome.estimate.image.shape == observation.canvas_shape
    assert torch.isfinite(outcome.estimate.image).all()
    assert outcome.estimate.kernel.shape == (7, 7)
    assert outcome.estimate.kernel.sum().item() == pytest.approx(1, abs=1e-5)
    assert outcome.losses.shape == (solver.total,)
    assert torch.isfinite(outcome.losses).all()
    steps = [report.step for report in reports]
    assert steps == sorted(steps)
    assert reports[-1].step == reports[-1].total == solver.total
    # A single step has no pace to tell.
    assert reports[-1].remaining == (0 if solver.total > 1 else None)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_loss_falls(name: str) -> None:
    solver = SOLVERS[name](replace(QUICK, image_steps=40, structural_steps=40))
    outcome, _ = drain(solver, observe())
    assert outcome.losses[-5:].mean() < 0.7 * outcome.losses[:5].mean()


@pytest.mark.parametrize("name", SOLVERS)
def test_a_stop_is_heard_within_one_step(name: str) -> None:
    solver = build_solver(name)
    stop_at = min(3, solver.total - 1)
    outcome, reports = drain(solver, observe(), stop_at=stop_at)
    # Nothing is left to stop after the last step.
    last = max(1, stop_at)
    assert outcome.reason is (StopReason.STOPPED if stop_at > 0 else StopReason.COMPLETED)
    assert reports[-1].step == last
    assert outcome.losses.shape == (last,)
    assert torch.isfinite(outcome.estimate.image).all()


def test_a_stop_during_the_warm_up_gives_what_there_is() -> None:
    outcome, _ = drain(alternating(), observe(), stop_at=0)
    assert outcome.reason is StopReason.STOPPED
    assert outcome.losses.numel() == 0
    assert torch.isfinite(outcome.estimate.image).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_a_seed_repeats_a_run(name: str) -> None:
    first, _ = drain(SOLVERS[name](), observe())
    second, _ = drain(SOLVERS[name](), observe())
    torch.testing.assert_close(first.estimate.image, second.estimate.image, rtol=0, atol=0)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_another_seed_is_another_run(name: str) -> None:
    first, _ = drain(OPTIMISERS[name](), observe())
    other, _ = drain(OPTIMISERS[name](seed=1), observe())
    assert not torch.equal(first.estimate.image, other.estimate.image)


def test_a_run_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    drain(alternating(), observe())
    assert torch.equal(before, torch.get_rng_state())


class _Diverging(AlternatingSolver):
    """Breaks its own weights after some steps: once, or again and again."""

    broken = 0
    most = 1
    value = torch.nan

    def step(self, state: AlternatingState) -> Step:
        if state.image_steps >= 6 and self.broken < self.most:
            self.broken += 1
            with torch.no_grad():
                state.image_part.network.head.weight.fill_(self.value)
                if state.image_part.network.head.bias is not None:
                    state.image_part.network.head.bias.fill_(self.value)
        return super().step(state)


@pytest.mark.parametrize(("value", "bounded"), [(torch.nan, True), (1e9, False)])
@pytest.mark.parametrize("most", [1, 2])
def test_a_run_that_diverges_goes_back_once(value: float, bounded: bool, most: int) -> None:
    solver = _Diverging(schedule=QUICK, bounded=bounded, kernel=Gaussian(), seed=0, compute=FLOAT32)
    solver.most, solver.value = most, value
    outcome, reports = drain(solver, observe())
    assert solver.broken == most
    if most == 1:
        assert outcome.reason is StopReason.COMPLETED
        assert outcome.notes == (RESTARTED,)
        assert reports[-1].step == QUICK.image_steps
    else:
        assert outcome.reason is StopReason.DIVERGED
        # Each time it was noticed in the very step.
        assert reports[-1].step == 7
    estimate = outcome.estimate
    assert torch.isfinite(estimate.image).all()
    assert torch.isfinite(estimate.kernel).all()
    assert estimate.image.abs().max() < 100
    torch.testing.assert_close(estimate.kernel.sum(), torch.tensor(1.0))


def test_the_image_is_evaluated_once_a_step() -> None:
    solver = alternating()
    state = solver.init(observe())
    calls = 0
    network = state.image_part.network

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    network.register_forward_hook(count)
    while state.image_steps < QUICK.image_steps:
        solver.step(state)
    assert calls == QUICK.image_steps
    solver.estimate(state)
    assert calls == QUICK.image_steps + 1


def test_kernel_steps_follow_the_published_windows() -> None:
    solver = alternating(replace(QUICK, image_steps=15, warmup_steps=0))
    state = solver.init(observe())
    part = state.kernel_part
    assert isinstance(part, KernelState)
    taken = 0
    moved = []
    for _ in range(15):
        solver.step(state)
        now = int(next(iter(part.optimiser.state.values()))["step"].item())
        moved.append(now - taken)
        taken = now
    # One Monte-Carlo step at the start of each outer iteration, and meta steps at 3, 6, …
    # whose windows hold 3 (2 dropped) | 1, 3 (1 dropped) | 2, 3 image steps.
    assert moved == [1, 0, 1, 0, 0, 2, 0, 0, 1, 0, 1, 1, 0, 0, 1]
    counted = [step for step in range(15) if solver._window_counts(step)]
    assert counted == [0, 1, 2, 5, 6, 7, 8, 10, 11, 12, 13, 14]


def test_the_reference_schedule_returns_what_preceded_the_last_update() -> None:
    plain = alternating()
    habit = alternating(replace(QUICK, before_update=True))
    estimates: list[Estimate] = []
    for solver in (plain, habit):
        outcome, _ = drain(solver, observe())
        estimates.append(outcome.estimate)
    after, before = (estimate.image for estimate in estimates)
    assert not torch.equal(after, before)
    shorter, _ = drain(alternating(replace(QUICK, image_steps=9)), observe())
    torch.testing.assert_close(shorter.estimate.image, before)


def test_the_best_of_many_random_kernels_count() -> None:
    # The image is what a bar makes of the data, so bars of that direction explain them best.
    schedule = replace(
        QUICK,
        image_steps=1,
        warmup_steps=0,
        random_kernels=64,
        kept_kernels=2,
        monte_carlo_steps=400,
    )
    observation = observe((1, 24, 24), kernel_size=11, border="circular")
    bar = torch.zeros(11, 11)
    bar[5, 3:8] = 1 / 5
    image = torch.rand(observation.canvas_shape, generator=torch.Generator().manual_seed(0))
    data = observation.predict(image, bar[None])[0]
    solver = alternating(schedule)
    state = solver.init(replace(observation, data=data))
    part = state.kernel_part
    assert isinstance(part, KernelState)
    others = part.pool[part.chosen[0]]
    kernels = torch.cat((bar[None], bar[None], others))
    monte_carlo_step(state.observation, part, image, kernels, schedule)
    found = part.leaf.detach()
    assert (found - bar).norm() < (others.mean(dim=0) - bar).norm()
    assert (found * bar).sum() / (found.norm() * bar.norm()) > 0.9


def test_a_long_run_takes_its_kernels_from_a_pool_of_limited_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel_step, "LARGEST_POOL", 7)
    solver = alternating(replace(QUICK, image_steps=20, random_kernels=5))
    part = solver.init(observe()).kernel_part
    assert isinstance(part, KernelState)
    assert part.pool.shape == (QUICK.warmup_steps + 7, 7, 7)
    assert part.chosen.shape == (4, 5)
    assert part.chosen.min() >= QUICK.warmup_steps
    outcome, _ = drain(solver, observe())
    assert outcome.reason is StopReason.COMPLETED


def test_fewer_kernels_are_drawn_of_large_ones_but_all_that_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel_step, "LARGEST_DRAW", 6 * 11**2)
    drawn = []
    for size in (7, 11, 41):
        part = alternating(replace(QUICK, random_kernels=8)).init(observe(kernel_size=size))
        assert isinstance(part.kernel_part, KernelState)
        drawn.append(part.kernel_part.chosen.shape[1])
    assert drawn == [8, 6, QUICK.kept_kernels]


def test_kernels_are_compared_alike_however_many_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for together in (1, 3, 128):
        monkeypatch.setattr(kernel_step, "TOGETHER", together)
        schedule = replace(QUICK, random_kernels=8, kept_kernels=2, monte_carlo_steps=5)
        state = alternating(schedule).init(observe())
        part = state.kernel_part
        assert isinstance(part, KernelState)
        image = torch.rand(
            state.observation.canvas_shape, generator=torch.Generator().manual_seed(0)
        )
        kernels = part.pool[part.chosen[0]]
        monte_carlo_step(state.observation, part, image, kernels, schedule)
        found.append(part.leaf.detach())
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[2])


@pytest.mark.parametrize("size", [11, 41])
def test_a_kernel_that_begins_at_the_mean_of_its_family_is_nearer_to_it(size: int) -> None:
    def distance(*, from_mean: bool) -> float:
        schedule = replace(QUICK, warmup_steps=200, from_mean=from_mean)
        part = alternating(schedule).init(observe(kernel_size=size)).kernel_part
        assert isinstance(part, KernelState)
        mean = part.pool.mean(dim=0)
        return float((part.leaf.detach() - mean).norm() / mean.norm())

    assert distance(from_mean=False) > 0.5
    assert distance(from_mean=True) < 0.05


def test_a_continued_run_begins_at_its_weights_whatever_its_schedule_says() -> None:
    first = alternating()
    first.keeps_weights = True
    weights = drain(first, observe())[0].estimate.weights
    assert weights is not None
    assert weights.kernel is not None
    next_one = alternating(replace(QUICK, warmup_steps=0, from_mean=True))
    next_one.start = weights
    part = next_one.init(observe()).kernel_part
    assert isinstance(part, KernelState)
    for name, value in part.network.state_dict().items():
        torch.testing.assert_close(value, weights.kernel[name])


def test_the_average_is_that_of_the_late_states() -> None:
    solver = alternating(replace(QUICK, average=0.4))
    state = solver.init(observe())
    seen: list[Estimate] = []
    while state.image_steps < QUICK.image_steps:
        if solver.step(state).loss is not None and state.last is not None:
            seen.append(state.last)
    late = seen[-4:]
    estimate = solver.estimate(state)
    for part in ("image", "kernel"):
        mean = torch.stack([getattr(one, part) for one in late]).mean(dim=0)
        torch.testing.assert_close(getattr(estimate, part), mean, rtol=1e-5, atol=1e-6)
