"""The loop that runs every solver, and its outcome."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import torch

from napari_blindsr.progress import Progress, StopReason

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from napari_blindsr.physics.observation import Observation


State = TypeVar("State")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A solver's report of one step.

    Attributes
    ----------
    image_steps : int
        Image steps done so far; unchanged by steps of the kernel alone.
    stage : str
    loss, residual : Tensor or None
        The data term, and the mean squared difference between prediction and data: scalars
        on the solver's device, or None if this was no image step.
    """

    image_steps: int
    stage: str
    loss: Tensor | None = None
    residual: Tensor | None = None


class Solver(Protocol[State]):
    """A method that the loop runs."""

    @property
    def total(self) -> int:
        """Image steps planned."""

    @property
    def device(self) -> torch.device:
        """Device of the losses."""

    @property
    def target(self) -> float | None:
        """The residual below which noise would be fitted; None without noise."""

    def init(self, observation: Observation) -> State:
        """Return the state before the first step."""

    def step(self, state: State) -> Step:
        """Advance the state, without waiting for the device."""

    def settle(self, state: State) -> int:
        """Return the steps left, once the residual has fallen to the target."""

    def estimate(self, state: State) -> Estimate:
        """Return the estimate of a state; finite even if the last step was not."""


State_contra = TypeVar("State_contra", contravariant=True)


@runtime_checkable
class Restarting(Protocol[State_contra]):
    """A solver that can return to a good state."""

    def restart(self, state: State_contra) -> bool:
        """Return to the last good state; return whether to continue, with smaller steps."""


@runtime_checkable
class Resuming(Protocol[State_contra]):
    """A solver that can go on from a state of an earlier run, of the same problem."""

    def resume(self, state: State_contra) -> None:
        """Prepare a state for the steps that this solver has planned."""


EXPLODED = 100
"""Residual, in units of the first one, from which on a run has diverged."""


class LossTrace:
    """Loss and residual of each step, kept on the device and read without waiting for it."""

    def __init__(self, total: int, device: torch.device) -> None:
        self._values = torch.full((total, 2), math.nan, device=device)
        self._count = 0
        self.latest: tuple[float, float] | None = None
        """The latest loss and residual that the host knows."""
        self._is_cuda = device.type == "cuda"
        self._in_flight = False
        if self._is_cuda:
            self._host = torch.empty(2, pin_memory=True)
            self._copied = torch.cuda.Event()

    def record(self, loss: Tensor, residual: Tensor) -> None:
        """Append the loss and residual of a step."""
        row = self._values[self._count]
        row[0], row[1] = loss, residual
        self._count += 1
        if self._is_cuda:
            self._poll(row)
        elif loss.device.type == "cpu":
            self.latest = float(row[0]), float(row[1])

    def _poll(self, row: Tensor) -> None:
        if self._in_flight and self._copied.query():
            self.latest = float(self._host[0]), float(self._host[1])
            self._in_flight = False
        if not self._in_flight:
            self._host.copy_(row, non_blocking=True)
            self._copied.record()
            self._in_flight = True

    def extend(self, total: int) -> None:
        """Make room for so many steps in all."""
        values = torch.full((total, 2), math.nan, device=self._values.device)
        values[: self._count] = self._values[: self._count]
        self._values = values

    def forget(self) -> None:
        """Discard the latest values, which belong to a state that is given up."""
        self.latest = None
        self._in_flight = False

    def losses(self) -> Tensor:
        """Return the losses so far, on the CPU."""
        return self._values[: self._count, 0].cpu()


@dataclass(kw_only=True, eq=False)
class Checkpoint:
    """Where a run stands: `solve` goes on from there, and leaves there how far it has come.

    Attributes
    ----------
    state : Any
        Of a solver; None if there is nothing to go on from.
    trace : LossTrace or None
    done : int
        Image steps done so far.
    continued : int
        Those that were done before the last run began.
    first : float or None
        The first residual.
    restarted : bool
    """

    state: Any = None
    trace: LossTrace | None = None
    done: int = 0
    continued: int = 0
    first: float | None = None
    restarted: bool = False

    def take(self, solver: Solver[Any], observation: Observation) -> tuple[Any, LossTrace]:
        """Return the state and the trace to go on from, or new ones; they are kept no longer."""
        state, trace, self.state, self.trace = self.state, self.trace, None, None
        if state is None or trace is None or not isinstance(solver, Resuming):
            self.done, self.first, self.restarted = 0, None, False
            state, trace = solver.init(observation), LossTrace(solver.total, solver.device)
        else:
            trace.extend(solver.total)
            solver.resume(state)
        self.continued = self.done
        return state, trace

    def keep(self, solver: Solver[Any], state: Any, trace: LossTrace) -> None:
        """Keep where a run has ended, if it can go on from there."""
        if isinstance(solver, Resuming):
            self.state, self.trace = state, trace


def solve(
    solver: Solver[Any], observation: Observation, checkpoint: Checkpoint | None = None
) -> Generator[Progress, bool | None, Outcome]:
    """Run a solver to its end; send a true value to stop.

    Parameters
    ----------
    solver : Solver
    observation : Observation
        On the solver's device.
    checkpoint : Checkpoint, optional
        Where an earlier run of the same problem has ended, to go on from there; it receives where
        this one ends, unless that diverges.
    """
    start = time.perf_counter()
    run = Checkpoint() if checkpoint is None else checkpoint
    state, trace = run.take(solver, observation)
    reason = StopReason.COMPLETED
    end = solver.total
    pace_start: tuple[int, float] | None = None
    while run.done < end:
        step = solver.step(state)
        run.done = step.image_steps
        if step.loss is not None and step.residual is not None:
            trace.record(step.loss, step.residual)
        loss, residual = trace.latest or (None, None)
        if run.first is None:
            run.first = residual
        if _diverges(loss, residual, run.first):
            if not (isinstance(solver, Restarting) and solver.restart(state)):
                reason = StopReason.DIVERGED
                break
            run.restarted = True
            trace.forget()
            loss, residual = None, None
        now = time.perf_counter()
        if pace_start is None and run.done > run.continued:
            # The first step also compiles and allocates; it says nothing of the others.
            pace_start = run.done, now
        stop = yield Progress(
            step=run.done,
            total=end,
            stage=step.stage,
            loss=loss,
            seconds=now - start,
            remaining=_remaining(pace_start, (run.done, now), end),
            latest=getattr(state, "last", None),
        )
        if stop and run.done < end:
            reason = StopReason.STOPPED
            break
        reached = residual is not None and solver.target is not None and residual <= solver.target
        if reached and reason is StopReason.COMPLETED:
            left = solver.settle(state)
            # Who asked for more steps gets them.
            end = end if run.continued else min(end, run.done + left)
            reason = StopReason.CONVERGED
    if reason is not StopReason.DIVERGED:
        run.keep(solver, state, trace)
    return Outcome(
        estimate=solver.estimate(state),
        losses=trace.losses(),
        reason=reason,
        notes=(RESTARTED,) if run.restarted else (),
    )


RESTARTED = "the optimisation diverged once, and was continued from before with smaller steps"


def _diverges(loss: float | None, residual: float | None, first: float | None) -> bool:
    """Return whether an optimisation has diverged, from the values that the host knows."""
    if loss is not None and not math.isfinite(loss):
        return True
    return residual is not None and first is not None and not residual <= EXPLODED * first


def _remaining(start: tuple[int, float] | None, now: tuple[int, float], total: int) -> float | None:
    """Return the seconds left at the pace between two (step, time), or None without a pace."""
    if start is None or now[0] == start[0]:
        return None
    return (now[1] - start[1]) / (now[0] - start[0]) * (total - now[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """The generators' weights, on the CPU, from which another run may start.

    Attributes
    ----------
    image : dict of str to Tensor
        Of the image generator.
    kernel : dict of str to Tensor, or None
        Of the kernel generator; None for a known kernel.
    """

    image: dict[str, Tensor]
    kernel: dict[str, Tensor] | None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The estimate of a solver.

    Attributes
    ----------
    image : Tensor
        (C, H, W): the canvas, in the scaled intensities of the observation.
    kernel : Tensor
        (K, K), correlation kernel, non-negative, sum 1.
    weights : Weights or None
        Of the generators, if requested.
    """

    image: Tensor
    kernel: Tensor
    weights: Weights | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An estimate, and how it was reached.

    Attributes
    ----------
    estimate : Estimate
    losses : Tensor
        (n,), the loss of each image step, on the CPU.
    reason : StopReason
    notes : tuple of str
    """

    estimate: Estimate
    losses: Tensor
    reason: StopReason
    notes: tuple[str, ...] = ()
