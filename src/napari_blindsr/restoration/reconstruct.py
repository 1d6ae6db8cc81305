"""From a job to pixels: in one go, or in tiles of which each sees enough of its surroundings."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_blindsr.estimation.kernel_field import KernelField
from napari_blindsr.images.planes import result_array, to_intensities
from napari_blindsr.images.tiling import OPTIMISED_SIDE, context_for, cut_tiles, most_detailed
from napari_blindsr.physics.centring import recentre
from napari_blindsr.physics.kernels import KernelFamily
from napari_blindsr.progress import Progress, StopReason
from napari_blindsr.restoration.evidence import find_residual
from napari_blindsr.restoration.problem import Job, cut, local, size_of, wrapped
from napari_blindsr.restoration.setup import observe, solver_for
from napari_blindsr.restoration.tiles import TileClock, TileJoiner, TileOutcome, TilePlan
from napari_blindsr.settings import SMALLEST_TILE
from napari_blindsr.solvers.loop import Outcome, Solver, solve
from napari_blindsr.solvers.nonblind.restorers import Pixels, finish, finishing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_blindsr.images.tiling import Target, Tile
    from napari_blindsr.metrics.residual import Residual
    from napari_blindsr.physics.observation import Observation
    from napari_blindsr.restoration.tiles import TileRunner
    from napari_blindsr.solvers.loop import Weights


@dataclass(frozen=True, kw_only=True, eq=False)
class Restored:
    """What all parts of a result amount to.

    Attributes
    ----------
    image : ndarray, float32
        In the axes and intensities of the input.
    support : ndarray, (s·h, s·w)
    kernel : ndarray, (K, K)
        In the middle, where it varies.
    center, offset : float
        As in `Observation`.
    losses : ndarray, float32, (n,)
        Of the last part.
    reason : StopReason
        Why the whole ended.
    guess : Tensor, (C, h, w), or None
        The image with its gaps filled in, if it has any and was made in one go.
    weights : Weights or None
        What is handed on in a chain of optimisations; not what has diverged.
    tiles : int
        How many parts there were.
    residual : Residual or None
        What the result leaves unexplained: of all, or of the part in the middle.
    notes : tuple of str
    """

    image: NDArray[np.float32]
    support: NDArray[np.float32]
    kernel: NDArray[np.float32]
    center: float
    offset: float
    losses: NDArray[np.float32]
    reason: StopReason
    guess: Tensor | None = None
    weights: Weights | None = None
    tiles: int
    residual: Residual | None
    notes: tuple[str, ...] = ()


class _Delivery:
    """Turns pixels into the user's intensities and puts them where they belong.

    Parameters
    ----------
    job : Job
    target : Target or None
        None makes an array.
    """

    def __init__(self, job: Job, target: Target | None) -> None:
        self._planes = job.planes
        shape = job.wanted.scaled(job.settings.scale).shape
        self.array = result_array(shape if target is None else (0, 0), job.planes)
        self._target = target
        if target is None:
            self._target = (
                np.moveaxis(self.array, 0, -1) if job.planes.axes == "CYX" else self.array
            )

    def __setitem__(self, index: tuple[slice, slice], block: NDArray[Any]) -> None:
        """Take pixels (H, W, C)."""
        assert self._target is not None
        values = to_intensities(block, self._planes)
        self._target[index] = values[..., 0] if self._planes.axes == "YX" else values


def restored(
    job: Job, target: Target | None, *, start: float, stop: bool
) -> Generator[Progress, bool | None, Restored]:
    """Restore what is wanted, in one go or in tiles; in smaller ones if memory is short."""
    tile = job.tile
    notes: tuple[str, ...] = ()
    while True:
        try:
            if tile is None:
                joined = yield from _in_one_go(job, target, start=start, stop=stop)
            else:
                plan = yield from plan_tiles(job, tile)
                tiled = yield from join_tiles(plan, LocalTiles(), target, start=start, stop=stop)
                assert tiled is not None
                joined = tiled
            return replace(joined, notes=(*joined.notes, *notes))
        except (MemoryError, RuntimeError) as error:
            largest = max(job.wanted.scaled(job.settings.scale).shape)
            tile = min(tile or largest, largest) // 2
            possible = job.restorer.name != "none" and tile >= SMALLEST_TILE
            if not possible or not is_lack_of_memory(error):
                raise
        _free_memory(job)
        notes = (short_of_memory(tile),)


def _in_one_go(
    job: Job, target: Target | None, *, start: float, stop: bool
) -> Generator[Progress, bool | None, Restored]:
    observation = observe(job)
    # What is solved is at normal brightness, unless the published way is asked for.
    solved = observation.brightened() if job.settings.schedule.brighten else observation
    solver = solver_for(job, solved)
    if stop:
        outcome = _at_once(solver, solved)
    else:
        outcome = yield from solve(solver, solved)
    if job.restorer.name != "none":
        yield finishing(job.restorer.name, solver.total, time.perf_counter() - start)
    pixels = _finished(job, outcome, observation)
    inner = job.wanted.scaled(job.settings.scale).slices
    delivery = _Delivery(job, target)
    delivery[:, :] = np.moveaxis(pixels.image[(..., *inner)], 0, -1)
    return Restored(
        image=delivery.array,
        support=pixels.support[inner],
        kernel=pixels.kernel,
        center=observation.center,
        offset=observation.offset,
        losses=outcome.losses.numpy(),
        reason=outcome.reason,
        guess=observation.guess,
        weights=None if outcome.reason is StopReason.DIVERGED else outcome.estimate.weights,
        notes=outcome.notes,
        tiles=1,
        residual=find_residual(
            job.planes, pixels, job.settings, border=job.border, noise=job.unexplained
        ),
    )


class LocalTiles:
    """Restores tiles in this process, in their order."""

    def tiles(
        self,
        plan: TilePlan,
        clock: TileClock,
        deliver: Callable[[int, TileOutcome], None],
        *,
        stop: bool,
    ) -> Generator[Progress, bool | None, None]:
        """Restore tiles, at least one: there is no result without a kernel."""
        for number, part in enumerate(plan.parts):
            piece = local(plan.job, part)
            deliver(number, restore_tile(piece, part, examined=plan.is_examined(number)))
            stop = bool((yield clock.progress())) or stop
            if stop:
                break


def plan_tiles(job: Job, tile: int) -> Generator[Progress, bool | None, TilePlan]:
    """Find the kernel of tiles of at most so many pixels a side, and where they lie."""
    scale = job.settings.scale
    notes: tuple[str, ...] = ()
    if isinstance(job.source, KernelFamily):
        job, notes = yield from _with_optimised_kernel(job)
    context = context_for(size_of(job.source, job.settings), scale)
    job = wrapped(job, context)
    rows = cut_tiles(job.shape, scale=scale, region=job.wanted, tile=tile, context=context)
    return TilePlan(job=job, rows=rows, notes=notes)


def join_tiles(
    plan: TilePlan,
    runner: TileRunner,
    target: Target | None,
    *,
    start: float,
    stop: bool,
    supported: bool = True,
) -> Generator[Progress, bool | None, Restored | None]:
    """Have tiles restored, and join them as they come; None if not one of them was.

    Parameters
    ----------
    plan : TilePlan
    runner : TileRunner
    target : Target or None
        None makes an array.
    start : float
        When the run began.
    stop : bool
        Restore as little as there can be.
    supported : bool
        Whether anybody asks for the support, which is empty otherwise.
    """
    job = plan.job
    delivery = _Delivery(job, target)
    shape = job.wanted.scaled(job.settings.scale).shape
    support = np.zeros(shape if supported else (0, 0), dtype=np.float32)
    joiner = TileJoiner(plan, image=delivery, support=support if supported else None)
    clock = TileClock(start=start, total=len(plan.parts))

    def deliver(number: int, outcome: TileOutcome) -> None:
        joiner.take(number, outcome)
        clock.done += 1

    yield from runner.tiles(plan, clock, deliver, stop=stop)
    last, notes = joiner.last, plan.notes
    if last is None:
        return None
    whole = joiner.done == clock.total
    if not whole:
        joiner.fill()
        notes = (
            *notes,
            f"{joiner.done} of {clock.total} tiles were restored; the others have no values",
        )
    return Restored(
        image=delivery.array,
        support=support,
        kernel=job.source.middle_of(job.wanted)
        if isinstance(job.source, KernelField)
        else last.kernel,
        center=last.center,
        offset=last.offset,
        losses=last.losses,
        reason=StopReason.COMPLETED if whole else StopReason.STOPPED,
        tiles=clock.total,
        residual=joiner.residual,
        notes=notes,
    )


def restore_tile(piece: Job, part: Tile, *, examined: bool) -> TileOutcome:
    """Restore a tile with the kernel that is known by now.

    Parameters
    ----------
    piece : Job
        For what is seen of the part, with the kernel in its middle.
    part : Tile
    examined : bool
        Look at what is left unexplained.
    """
    observation = observe(piece)
    solved = observation.brightened()
    steps = solve(solver_for(piece, solved, held=True), solved)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            break
    pixels = _finished(piece, outcome, observation)
    inner = part.inner.moved(-part.outer.top, -part.outer.left).scaled(piece.settings.scale).slices
    residual = None
    if examined:
        residual = find_residual(
            piece.planes, pixels, piece.settings, border=piece.border, noise=piece.unexplained
        )
    return TileOutcome(
        image=np.moveaxis(pixels.image[(..., *inner)], 0, -1),
        support=pixels.support[inner],
        kernel=pixels.kernel,
        center=observation.center,
        offset=observation.offset,
        losses=outcome.losses.numpy(),
        residual=residual,
    )


def _with_optimised_kernel(
    job: Job,
) -> Generator[Progress, bool | None, tuple[Job, tuple[str, ...]]]:
    """Return the job with the kernel that its method finds on its most detailed part."""
    box = most_detailed(job.planes.data[(..., *job.wanted.slices)], OPTIMISED_SIDE)
    box = box.moved(job.wanted.top, job.wanted.left)
    piece = replace(cut(job, box), border="extend")
    observation = observe(piece)
    solved = observation.brightened() if job.settings.schedule.brighten else observation
    outcome = yield from solve(solver_for(piece, solved), solved)
    canvas, kernel = outcome.estimate.image.float(), outcome.estimate.kernel.float()
    if job.settings.recentres:
        _, kernel = recentre(canvas, kernel, center=observation.center, border="extend")
    note = (
        f"the kernel is that of rows {box.top}:{box.bottom}, columns {box.left}:{box.right} of "
        "what was looked at, which have the most detail"
    )
    return replace(job, source=kernel.cpu().numpy()), (note,)


def _finished(job: Job, outcome: Outcome, observation: Observation) -> Pixels:
    return finish(
        outcome,
        observation,
        job.settings,
        job.restorer,
        noise=job.noise,
        light=job.light,
        conditions=job.conditions,
        kernel_is_known=job.kernel_is_known,
        colour=job.colour,
    )


def _at_once(solver: Solver[Any], observation: Observation) -> Outcome:
    """Return what there is before the first step, for a run that is stopped by then."""
    estimate = solver.estimate(solver.init(observation))
    return Outcome(estimate=estimate, losses=torch.empty(0), reason=StopReason.STOPPED)


def short_of_memory(tile: int) -> str:
    """Return what is said of tiles that were made smaller."""
    return f"memory was short: restored in tiles of at most {tile} pixels a side"


def is_lack_of_memory(error: BaseException) -> bool:
    """Tell whether torch or numpy could not get the memory that they asked for."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    # On the CPU and on Apple's GPUs torch has no type of its own for it.
    text = str(error).lower()
    return "can't allocate memory" in text or "out of memory" in text or "not enough memory" in text


def _free_memory(job: Job) -> None:
    """Give back what a failed attempt has left in caches."""
    gc.collect()
    if job.compute.device.type == "cuda":
        torch.cuda.empty_cache()
