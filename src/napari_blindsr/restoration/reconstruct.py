"""Solve a problem: the whole image at once, or in overlapping tiles."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_blindsr.estimation.kernel_field import KernelField
from napari_blindsr.images.planes import result_array, to_intensities
from napari_blindsr.images.tiling import (
    OPTIMISED_SIDE,
    TileBlender,
    context_for,
    cut_tiles,
    most_detailed,
)
from napari_blindsr.physics.centring import recentre
from napari_blindsr.physics.kernels import KernelFamily
from napari_blindsr.physics.kernels.base import CORE
from napari_blindsr.progress import Progress, ProgressCounter, StopReason, drained
from napari_blindsr.restoration.evidence import find_residual
from napari_blindsr.restoration.problem import Problem, cut, local, size_of, wrapped
from napari_blindsr.restoration.setup import observe, solver_for
from napari_blindsr.settings import SMALLEST_TILE
from napari_blindsr.solvers.loop import Outcome, solve
from napari_blindsr.solvers.nonblind.restorers import finishing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_blindsr.images.tiling import Target, Tile
    from napari_blindsr.metrics.residual import Residual
    from napari_blindsr.physics.observation import Observation
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.problem import Problem
    from napari_blindsr.solvers.loop import Weights

    Deliver = Callable[[int, "Restored"], None]
    TileRestorer = Callable[..., Generator[Progress, bool | None, None]]
    """Restores tiles, as `restore_tiles`: delivers each by its number, in any order, and ends early
    if asked to stop."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TilePlan:
    """The tiles of a result, row by row, and the problem with the kernel of all of them."""

    problem: Problem
    rows: list[list[Tile]]
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> list[Tile]:
        """The tiles, row by row."""
        return [part for line in self.rows for part in line]

    def is_examined(self, number: int) -> bool:
        """Return whether to compute the residual of a tile: the first and the middle one."""
        return number in (0, sum(map(len, self.rows)) // 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Restored:
    """The reconstruction of an image, or of one tile.

    Attributes
    ----------
    image : ndarray, float32
        In the axes and intensities of the input; of a tile, (s·h, s·w, C) in scaled intensities.
    support : ndarray, float32, (s·h, s·w)
    kernel : ndarray, float32, (K, K)
        Of a field, the one in the middle.
    center, offset : float
        As in `Observation`.
    losses : ndarray, float32, (n,)
        Of the last tile.
    residual : Residual or None
        Of the image, or of the tile in the middle; None if it was not asked for.
    guess : Tensor, (C, h, w), or None
        The image with missing pixels filled in, if it has any and was solved at once.
    weights : Weights or None
        For the warm start of the next plane; None if the optimisation diverged.
    tiles : int
        Number of tiles.
    """

    image: NDArray[np.float32]
    support: NDArray[np.float32]
    kernel: NDArray[np.float32]
    center: float
    offset: float
    losses: NDArray[np.float32]
    reason: StopReason
    residual: Residual | None = None
    guess: Tensor | None = None
    weights: Weights | None = None
    tiles: int = 1
    notes: tuple[str, ...] = ()


class TileJoiner:
    """Stitches tiles that arrive in any order, and keeps what the result needs of them.

    `last` is the tile furthest down and right so far; `residual` that of the tile in the middle,
    or of the first one.
    """

    def __init__(self, plan: TilePlan, *, image: Target, support: Target | None) -> None:
        scale = plan.problem.settings.scale
        self._plan = plan
        self._image = TileBlender(plan.rows, scale=scale, target=image)
        self._support = (
            None if support is None else TileBlender(plan.rows, scale=scale, target=support)
        )
        self._places = [(r, c) for r, line in enumerate(plan.rows) for c in range(len(line))]
        self._ahead: dict[int, Restored] = {}
        self._next = 0
        self._last = self._examined = -1
        self.last: Restored | None = None
        self.residual: Residual | None = None

    def take(self, number: int, outcome: Restored) -> None:
        """Add the outcome of a tile."""
        if number > self._last:
            self._last, self.last = number, outcome
        if self._plan.is_examined(number) and number > self._examined:
            self._examined, self.residual = number, outcome.residual
        self._ahead[number] = outcome
        while self._next in self._ahead:
            given = self._ahead.pop(self._next)
            self._add(given.image, given.support)

    def fill(self) -> None:
        """Fill all missing tiles with NaN."""
        scale, channels = self._plan.problem.settings.scale, len(self._plan.problem.planes.data)
        parts = self._plan.parts
        while self._next < len(parts):
            given = self._ahead.pop(self._next, None)
            if given is not None:
                self._add(given.image, given.support)
                continue
            shape = parts[self._next].inner.scaled(scale).shape
            nothing = np.full((*shape, channels), np.nan, dtype=np.float32)
            self._add(nothing, np.zeros(shape, dtype=np.float32))

    def _add(self, image: NDArray[np.float32], support: NDArray[np.float32]) -> None:
        place = self._places[self._next]
        self._image.add(*place, image)
        if self._support is not None:
            self._support.add(*place, support)
        self._next += 1


class _Delivery:
    """Converts pixels to the user's intensities and writes them to the target, or to an array."""

    def __init__(self, problem: Problem, target: Target | None) -> None:
        self._planes = problem.planes
        shape = problem.output.scaled(problem.settings.scale).shape
        self.array = result_array(shape if target is None else (0, 0), problem.planes)
        self._target = target
        if target is None:
            self._target = (
                np.moveaxis(self.array, 0, -1) if problem.planes.axes == "CYX" else self.array
            )

    def __setitem__(self, index: tuple[slice, slice], block: NDArray[Any]) -> None:
        """Write pixels (H, W, C)."""
        assert self._target is not None
        values = to_intensities(block, self._planes)
        self._target[index] = values[..., 0] if self._planes.axes == "YX" else values


def restored(
    problem: Problem, target: Target | None, *, start: float, stop: bool
) -> Generator[Progress, bool | None, Restored]:
    """Solve a problem at once or in tiles; halve the tiles while memory is short."""
    tile = problem.tile
    notes: tuple[str, ...] = ()
    while True:
        try:
            if tile is None:
                joined = yield from _in_one_go(problem, target, start=start, stop=stop)
            else:
                plan = yield from plan_tiles(problem, tile)
                tiled = yield from join_tiles(plan, restore_tiles, target, start=start, stop=stop)
                assert tiled is not None
                joined = tiled
            return replace(joined, notes=(*joined.notes, *notes))
        except (MemoryError, RuntimeError) as error:
            largest = max(problem.output.scaled(problem.settings.scale).shape)
            tile = min(tile or largest, largest) // 2
            possible = problem.restorer.name != "none" and tile >= SMALLEST_TILE
            if not possible or not is_lack_of_memory(error):
                raise
        if problem.link is not None and problem.link.checkpoint is not None:
            # That of the whole image does not fit the tiles.
            problem.link.checkpoint.state = None
        # The caches that the failed attempt has left.
        gc.collect()
        if problem.compute.device.type == "cuda":
            torch.cuda.empty_cache()
        notes = (short_of_memory(tile),)


def _in_one_go(
    problem: Problem, target: Target | None, *, start: float, stop: bool
) -> Generator[Progress, bool | None, Restored]:
    observation, outcome, total = yield from _solved(problem, stop=stop)
    if problem.restorer.name != "none":
        yield finishing(problem.restorer.name, total, time.perf_counter() - start)
    inner = problem.output.scaled(problem.settings.scale).slices
    whole = _reconstruct(problem, outcome, observation, inner, examined=True)
    delivery = _Delivery(problem, target)
    delivery[:, :] = whole.image
    return replace(
        whole,
        image=delivery.array,
        guess=observation.guess,
        weights=None if outcome.reason is StopReason.DIVERGED else outcome.estimate.weights,
        notes=outcome.notes,
    )


def restore_tiles(
    plan: TilePlan,
    counter: ProgressCounter,
    deliver: Deliver,
    *,
    stop: bool,
) -> Generator[Progress, bool | None, None]:
    """Restore tiles in this process; with `stop`, the first one only, for its kernel."""
    for number, part in enumerate(plan.parts):
        piece = local(plan.problem, part)
        deliver(number, restore_tile(piece, part, examined=plan.is_examined(number)))
        stop = bool((yield counter.progress())) or stop
        if stop:
            break


def plan_tiles(problem: Problem, tile: int) -> Generator[Progress, bool | None, TilePlan]:
    """Estimate the kernel of all tiles, and place tiles of at most `tile` pixels a side."""
    scale = problem.settings.scale
    notes: tuple[str, ...] = ()
    if isinstance(problem.source, KernelFamily):
        problem, notes = yield from _with_optimised_kernel(problem)
    context = context_for(size_of(problem.source, problem.settings), scale)
    problem = wrapped(problem, context)
    rows = cut_tiles(problem.shape, scale=scale, region=problem.output, tile=tile, context=context)
    return TilePlan(problem=problem, rows=rows, notes=notes)


def join_tiles(
    plan: TilePlan,
    restore: TileRestorer,
    target: Target | None,
    *,
    start: float,
    stop: bool,
    supported: bool = True,
) -> Generator[Progress, bool | None, Restored | None]:
    """Restore tiles and stitch them as they finish; None if none was restored.

    `stop` restores as little as possible; without `supported` the support is empty.
    """
    problem = plan.problem
    delivery = _Delivery(problem, target)
    shape = problem.output.scaled(problem.settings.scale).shape
    support = np.zeros(shape if supported else (0, 0), dtype=np.float32)
    joiner = TileJoiner(plan, image=delivery, support=support if supported else None)
    counter = ProgressCounter(start=start, unit="tile", total=len(plan.parts))

    def deliver(number: int, outcome: Restored) -> None:
        joiner.take(number, outcome)
        counter.done += 1

    yield from restore(plan, counter, deliver, stop=stop)
    last, notes = joiner.last, plan.notes
    if last is None:
        return None
    whole = counter.done == counter.total
    if not whole:
        joiner.fill()
        notes = (
            *notes,
            f"{counter.done} of {counter.total} tiles were restored; the others have no values",
        )
    field = problem.source if isinstance(problem.source, KernelField) else None
    return replace(
        last,
        image=delivery.array,
        support=support,
        kernel=last.kernel if field is None else field.middle_of(problem.output),
        reason=StopReason.COMPLETED if whole else StopReason.STOPPED,
        tiles=counter.total,
        residual=joiner.residual,
        notes=notes,
    )


def restore_tile(piece: Problem, part: Tile, *, examined: bool) -> Restored:
    """Restore a tile with the kernel of its problem; if it is examined, with its residual."""
    observation, outcome, _ = drained(_solved(piece, held=True))
    inner = part.inner.moved(-part.outer.top, -part.outer.left).scaled(piece.settings.scale).slices
    return _reconstruct(piece, outcome, observation, inner, examined=examined)


def _reconstruct(
    problem: Problem,
    outcome: Outcome,
    observation: Observation,
    inner: tuple[slice, slice],
    *,
    examined: bool,
) -> Restored:
    """Centre kernel and image of a solver's outcome, restore the image, and crop it to `inner`.

    If it is examined, also compute the residual.
    """
    settings, gain = problem.settings, observation.gain
    canvas, kernel = outcome.estimate.image.float(), outcome.estimate.kernel.float()
    if settings.recentres:
        canvas, kernel = recentre(canvas, kernel, center=observation.center, border=settings.border)
    result = observation.crop(canvas)
    if problem.restorer.name != "none":
        result = problem.restorer(
            replace(observation, data=observation.completed(canvas, kernel), gain=1.0),
            kernel,
            noise=problem.noise / gain,
            measured=observation.measured,
            shot_noise=None if problem.shot_noise is None else problem.shot_noise.times(1 / gain),
            conditions=None if problem.conditions is None else problem.conditions.times(1 / gain),
            kernel_is_known=problem.kernel_is_known,
            colour=problem.colour,
        )
    support = observation.support(kernel > CORE * kernel.max()).cpu().numpy()
    image, weights = result.cpu().numpy(), kernel.cpu().numpy()
    residual = None
    if examined:
        residual = find_residual(
            problem.planes,
            image,
            weights,
            settings,
            border=problem.border,
            noise=problem.unexplained,
        )
    return Restored(
        image=np.moveaxis(image[(..., *inner)], 0, -1),
        support=support[inner],
        kernel=weights,
        center=observation.center,
        offset=observation.offset,
        losses=outcome.losses.numpy(),
        reason=outcome.reason,
        residual=residual,
    )


def _with_optimised_kernel(
    problem: Problem,
) -> Generator[Progress, bool | None, tuple[Problem, tuple[str, ...]]]:
    """Return the problem with the kernel that its method estimates on its most detailed part."""
    box = most_detailed(problem.planes.data[(..., *problem.output.slices)], OPTIMISED_SIDE)
    box = box.moved(problem.output.top, problem.output.left)
    piece = replace(cut(problem, box), border="extend")
    observation, outcome, _ = yield from _solved(piece)
    canvas, kernel = outcome.estimate.image.float(), outcome.estimate.kernel.float()
    if problem.settings.recentres:
        _, kernel = recentre(canvas, kernel, center=observation.center, border="extend")
    note = (
        f"the kernel was estimated from rows {box.top}:{box.bottom}, columns "
        f"{box.left}:{box.right} of the input region, which have the most detail"
    )
    return replace(problem, source=kernel.cpu().numpy()), (note,)


def _solved(
    problem: Problem, *, held: bool = False, stop: bool = False
) -> Generator[Progress, bool | None, tuple[Observation, Outcome, int]]:
    """Solve a problem; returns its observation, the outcome, and the number of steps.

    With `held`, the kernel is kept; with `stop`, the outcome is the state before the first step.
    """
    observation = observe(problem)
    # The solver works at normal brightness, unless the published way is asked for.
    brighten = held or problem.settings.schedule.brighten
    solved = observation.brightened() if brighten else observation
    solver = solver_for(problem, solved, held=held)
    if not stop:
        checkpoint = None if held or problem.link is None else problem.link.checkpoint
        return observation, (yield from solve(solver, solved, checkpoint)), solver.total
    estimate = solver.estimate(solver.init(solved))
    outcome = Outcome(estimate=estimate, losses=torch.empty(0), reason=StopReason.STOPPED)
    return observation, outcome, solver.total


def short_of_memory(tile: int) -> str:
    """Return the note on tiles that were made smaller."""
    return f"memory was short: restored in tiles of at most {tile} pixels a side"


def is_lack_of_memory(error: BaseException) -> bool:
    """Return whether torch or numpy ran out of memory."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    # torch has no exception type for this on the CPU and on Apple GPUs.
    text = str(error).lower()
    return "can't allocate memory" in text or "out of memory" in text or "not enough memory" in text
