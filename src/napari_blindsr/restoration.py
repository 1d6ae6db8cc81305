"""From a job to pixels: in one go, or in tiles of which each sees enough of its surroundings."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_blindsr.arrays import result_array, to_intensities
from napari_blindsr.engine.kernels import KernelFamily
from napari_blindsr.engine.recentre import recentre
from napari_blindsr.engine.result import Outcome, Progress, StopReason
from napari_blindsr.engine.solve import Solver, solve
from napari_blindsr.facts import find_residual
from napari_blindsr.finish import Pixels, finish, finishing
from napari_blindsr.job import Job, cut, local, observe, solver_for, wrapped
from napari_blindsr.kernel_field import KernelField
from napari_blindsr.kernel_source import size_of
from napari_blindsr.mosaic import Mosaic
from napari_blindsr.parts import context_for, most_detailed, plan_parts
from napari_blindsr.settings import SMALLEST_TILE

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_blindsr.engine.observation import Observation
    from napari_blindsr.metrics.residual import Residual
    from napari_blindsr.mosaic import Target
    from napari_blindsr.parts import Part

OPTIMISED = 96
"""Largest side, in pixels of the input, of what an optimisation finds the kernel of tiles on."""


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
    observation : Observation
        Of the last part.
    outcome : Outcome
        Of the last part; its reason is that of the whole.
    tiles : int
        How many parts there were.
    residual : Residual or None
        What the result leaves unexplained: of all, or of the part in the middle.
    notes : tuple of str
    """

    image: NDArray[np.float32]
    support: NDArray[np.float32]
    kernel: NDArray[np.float32]
    observation: Observation
    outcome: Outcome
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
                joined = yield from _in_tiles(job, tile, target, start=start, stop=stop)
            return replace(joined, notes=(*joined.notes, *notes))
        except (MemoryError, RuntimeError) as error:
            largest = max(job.wanted.scaled(job.settings.scale).shape)
            tile = min(tile or largest, largest) // 2
            tiled = job.finisher.name != "none" and tile >= SMALLEST_TILE
            if not tiled or not is_lack_of_memory(error):
                raise
        _free_memory(job)
        notes = (f"memory was short: restored in tiles of at most {tile} pixels a side",)


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
    if job.finisher.name != "none":
        yield finishing(job.finisher.name, solver.total, time.perf_counter() - start)
    pixels = _finished(job, outcome, observation)
    inner = job.wanted.scaled(job.settings.scale).slices
    delivery = _Delivery(job, target)
    delivery[:, :] = np.moveaxis(pixels.image[:, *inner], 0, -1)
    return Restored(
        image=delivery.array,
        support=pixels.support[inner],
        kernel=pixels.kernel,
        observation=observation,
        outcome=outcome,
        tiles=1,
        residual=find_residual(job.planes, pixels, job.settings, border=job.border),
    )


def _in_tiles(
    job: Job, tile: int, target: Target | None, *, start: float, stop: bool
) -> Generator[Progress, bool | None, Restored]:
    """Restore tiles of at most so many pixels a side, each with its kernel."""
    scale = job.settings.scale
    notes: tuple[str, ...] = ()
    if isinstance(job.source, KernelFamily):
        job, notes = yield from _with_optimised_kernel(job)
    context = context_for(size_of(job.source, job.settings), scale)
    job = wrapped(job, context)
    rows = plan_parts(job.shape, scale=scale, region=job.wanted, tile=tile, context=context)
    delivery = _Delivery(job, target)
    support = np.zeros(job.wanted.scaled(scale).shape, dtype=np.float32)
    mosaics = Mosaic(rows, scale=scale, target=delivery), Mosaic(rows, scale=scale, target=support)
    count = sum(map(len, rows))
    last: tuple[Outcome, Observation, Pixels] | None = None
    unexplained: Residual | None = None
    done, began = 0, time.perf_counter()
    for row, line in enumerate(rows):
        for column, part in enumerate(line):
            # The first one is always made: there is no result without a kernel.
            if last is None or not stop:
                last = _tile(job, part)
                if done == 0 or done == count // 2:
                    piece = local(job, part)
                    unexplained = find_residual(
                        piece.planes, last[2], job.settings, border=piece.border
                    )
                done += 1
                image, seen = _kept(last[2], part, scale)
                stop = bool((yield _tile_progress(done, count, began=began, start=start))) or stop
            else:
                image, seen = _empty(job, part, scale)
            mosaics[0].add(row, column, image)
            mosaics[1].add(row, column, seen)
    assert last is not None
    outcome, observation, pixels = last
    if done < count:
        outcome = replace(outcome, reason=StopReason.STOPPED)
        notes = (*notes, f"{done} of {count} tiles were restored; the others have no values")
    return Restored(
        image=delivery.array,
        support=support,
        kernel=job.source.middle_of(job.wanted)
        if isinstance(job.source, KernelField)
        else pixels.kernel,
        observation=observation,
        outcome=outcome,
        tiles=count,
        residual=unexplained,
        notes=notes,
    )


def _tile(job: Job, part: Part) -> tuple[Outcome, Observation, Pixels]:
    """Restore what is seen of a part, with the kernel that is known by now."""
    piece = local(job, part)
    observation = observe(piece)
    solved = observation.brightened()
    steps = solve(solver_for(piece, solved, held=True), solved)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            break
    return outcome, observation, _finished(piece, outcome, observation)


def _kept(
    pixels: Pixels, part: Part, scale: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what is kept of a part: image (H, W, C) and support (H, W)."""
    inner = part.kept.moved(-part.seen.top, -part.seen.left).scaled(scale).slices
    return np.moveaxis(pixels.image[:, *inner], 0, -1), pixels.support[inner]


def _empty(job: Job, part: Part, scale: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what stands for a part that was not restored."""
    shape = part.kept.scaled(scale).shape
    image = np.full((*shape, len(job.planes.data)), np.nan, dtype=np.float32)
    return image, np.zeros(shape, dtype=np.float32)


def _with_optimised_kernel(
    job: Job,
) -> Generator[Progress, bool | None, tuple[Job, tuple[str, ...]]]:
    """Return the job with the kernel that its method finds on its most detailed part."""
    box = most_detailed(job.planes.data[:, *job.wanted.slices], OPTIMISED)
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
        outcome, observation, job.settings, job.finisher, noise=job.noise, light=job.light
    )


def _tile_progress(done: int, count: int, *, began: float, start: float) -> Progress:
    """Return the report that so many tiles are done."""
    now = time.perf_counter()
    return Progress(
        step=done,
        total=count,
        stage=f"tile {done} of {count}",
        loss=None,
        seconds=now - start,
        remaining=(now - began) / done * (count - done),
        unit="tile",
    )


def _at_once(solver: Solver[Any], observation: Observation) -> Outcome:
    """Return what there is before the first step, for a run that is stopped by then."""
    estimate = solver.estimate(solver.init(observation))
    return Outcome(estimate=estimate, losses=torch.empty(0), reason=StopReason.STOPPED)


def is_lack_of_memory(error: BaseException) -> bool:
    """Tell whether torch or numpy could not get the memory that they asked for."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # On the CPU and on Apple's GPUs torch has no type of its own for it.
    text = str(error).lower()
    return "can't allocate memory" in text or "out of memory" in text or "not enough memory" in text


def _free_memory(job: Job) -> None:
    """Give back what a failed attempt has left in caches."""
    gc.collect()
    if job.compute.device.type == "cuda":
        torch.cuda.empty_cache()
