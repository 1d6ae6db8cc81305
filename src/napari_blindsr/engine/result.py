"""What comes out of a solver: progress while it runs, an estimate, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class StopReason(StrEnum):
    """Why a run ended."""

    COMPLETED = "completed"
    CONVERGED = "converged"
    STOPPED = "stopped"
    DIVERGED = "diverged"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One report of a running solver.

    Attributes
    ----------
    step : int
        Image steps done so far.
    total : int
        Image steps planned.
    stage : str
        What is going on, in words fit to be shown.
    loss : float or None
        The latest loss known on the host. On an accelerator it may lag some steps
        behind, since reading it must not make the device wait.
    seconds : float
        Time since the run began.
    remaining : float or None
        Seconds left at the pace of the image steps so far; None before there is a pace.
    unit : str
        What is counted: "step", or "tile" or "plane" where those are many, or "part" of what goes
        before the steps.
    """

    step: int
    total: int
    stage: str
    loss: float | None
    seconds: float
    remaining: float | None
    unit: str = "step"


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """What the generators have learned, on the CPU: where another run may start.

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
    """The state of a solver, as tensors.

    Attributes
    ----------
    image : Tensor
        (C, H, W): the canvas, in the scaled intensities of the observation.
    kernel : Tensor
        (K, K), correlation kernel, non-negative, sum 1.
    weights : Weights or None
        Of the generators, if they were asked for.
    """

    image: Tensor
    kernel: Tensor
    weights: Weights | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An estimate and how it was reached.

    Attributes
    ----------
    estimate : Estimate
    losses : Tensor
        (n,), the loss of each image step, on the CPU.
    reason : StopReason
    """

    estimate: Estimate
    losses: Tensor
    reason: StopReason
