"""Restores planes on the workers of a Dask cluster: one task a plane, or one a tile."""

from __future__ import annotations

import math
import pickle
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import dask
from distributed import CancelledError, KilledWorker

from napari_blindsr.errors import BlindSRError, ClusterError, EngineError, OutOfMemoryError
from napari_blindsr.images.lazy import file_of
from napari_blindsr.images.tiling import count_tiles, shared_side, tile_side
from napari_blindsr.methods import method_named, repeats_cheaply
from napari_blindsr.restoration.reconstruct import join_tiles, short_of_memory
from napari_blindsr.settings import SMALLEST_TILE
from napari_blindsr.stacks.dask_client import check_client
from napari_blindsr.stacks.dask_tasks import (
    as_payload,
    conclude_plane,
    find_kernel,
    installed_version,
    plan_plane,
    restore_plane,
    result_payload,
    run_tile,
    stamp,
    tile_payload,
)
from napari_blindsr.stacks.executor import (
    PlaneOutcome,
    interleaved,
    keep,
    plane_report,
    restore_planes,
    uninterrupted,
)
from napari_blindsr.stacks.shared_kernel import WarmStarts, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from distributed import Client, Future

    from napari_blindsr.images.axes import Index
    from napari_blindsr.progress import Progress, ProgressCounter
    from napari_blindsr.restoration.reconstruct import Restored, TilePlan
    from napari_blindsr.stacks.executor import Steps
    from napari_blindsr.stacks.plan import StackProblem
    from napari_blindsr.stacks.restore_stack import StackRun
    from napari_blindsr.stacks.result import GroupKernel


@dataclass(frozen=True, kw_only=True, eq=False)
class TiledPlanes:
    """Restores planes in tiles on a cluster: several planes at once if one has too few tiles."""

    executor: ClusterExecutor
    run: StackRun
    tile: int

    def at_once(self) -> int:
        """Return how many planes keep all workers busy, plus one."""
        problem = self.run.problem
        tiles = count_tiles(problem.region.shape, problem.settings.scale, self.tile)
        return 1 + math.ceil(self.executor.capacity() / tiles)

    def progress(self, reports: Sequence[Progress]) -> Progress:
        """Return the progress of the first plane's tiles, if there is one plane, or of the run."""
        inner = reports[0] if reports else None
        if inner is not None and inner.unit == "tile" and self.run.counter.total == 1:
            return inner
        return plane_report(self.run.counter, inner)

    def plane(self, index: Index) -> Steps[PlaneOutcome | None]:
        """Restore a plane, in smaller tiles if memory is short; None if that was stopped."""
        tile = self.tile
        notes: tuple[str, ...] = ()
        while True:
            try:
                return (yield from self._attempt(index, tile, notes))
            except OutOfMemoryError:
                tile //= 2
                if tile < SMALLEST_TILE:
                    raise
                notes = (short_of_memory(tile),)

    def _attempt(
        self, index: Index, tile: int, notes: tuple[str, ...]
    ) -> Steps[PlaneOutcome | None]:
        problem, kernel, start = self.run.problem, self.run.kernel(index), time.perf_counter()
        plan: TilePlan | None = yield from self._task(
            plan_plane,
            index,
            lambda: (self.executor.payload(problem, [index]), kernel, tile),
            "getting ready",
        )
        if plan is None:
            return None
        place = problem.place(self.run.target, index)
        covers = plan.problem.planes.measured is not None
        joined = yield from join_tiles(
            plan, self._tiles, place, start=start, stop=False, supported=covers
        )
        if joined is None:
            return None
        payload = result_payload(plan, joined)
        result = yield from uninterrupted(
            self._task(conclude_plane, index, lambda: (payload,), "checking the result")
        )
        result = replace(
            result,
            covered=joined.support == 0 if covers else None,
            region=problem.part,
            seconds=time.perf_counter() - start,
            notes=(*result.notes, *notes),
        )
        return PlaneOutcome(index=index, result=result, clipped=place.clipped)

    def _task(
        self,
        function: Callable[..., Any],
        index: Index,
        arguments: Callable[[], tuple[Any, ...]],
        stage: str,
    ) -> Steps[Any]:
        """Run one task of a plane; None if a stop was requested before it ended."""
        executor = self.executor
        return executor.run(
            function,
            arguments,
            name=_name(index),
            progress=lambda: executor.named(replace(plane_report(self.run.counter), stage=stage)),
            keeps_begun=False,
        )

    def _tiles(
        self,
        plan: TilePlan,
        counter: ProgressCounter,
        deliver: Callable[[int, Restored], None],
        *,
        stop: bool,
    ) -> Generator[Progress, bool | None, None]:
        """Restore tiles, one task per tile; after a stop, tiles that have begun are completed.

        No tile is submitted that is further ahead of the first missing one than there are tasks at
        a time, so at most that many tiles are held here.
        """
        executor, missing = self.executor, set(range(counter.total))

        def progress(_: Sequence[Progress] = ()) -> Progress:
            return executor.named(counter.progress())

        def tile(number: int) -> Steps[Restored | None]:
            return executor.run(
                run_tile,
                lambda: (tile_payload(plan, number),),
                name=f"tile {number}",
                progress=progress,
            )

        def ended(number: int, outcome: Restored | BlindSRError | None, _: object) -> None:
            if isinstance(outcome, BlindSRError):
                raise outcome
            if outcome is not None:
                missing.remove(number)
                deliver(number, outcome)

        if not stop:
            yield from interleaved(
                [(number, tile(number)) for number in range(counter.total)],
                at_once=executor.capacity,
                ended=ended,
                progress=progress,
                allowed=lambda number: number < min(missing) + executor.capacity(),
            )


AHEAD = 2
"""Tasks submitted per worker: one is running, the next is queued."""

COUNTED = 1.0
"""Seconds after which workers are counted again."""


class ClusterExecutor:
    """Restores planes on a Dask cluster.

    Several runs may share one object; together they submit no more tasks than one run. `patience`
    is the time in seconds to wait when there is nothing new to report.
    """

    def __init__(self, client: Client, *, patience: float = 0.05) -> None:
        check_client(client)
        self._client = client
        self._patience = patience
        self._outstanding = 0
        self._workers = 0
        self._counted = 0.0
        self._checked = False
        self._sent: set[Path] = set()
        self._shared_out: WeakKeyDictionary[StackProblem, int] = WeakKeyDictionary()

    def describe(self) -> str:
        """Return a description of the cluster."""
        scheduler = self._client.scheduler
        where = "" if scheduler is None else f" of {scheduler.address}"
        return f"{_in_words(self.count())}{where}"

    def capacity(self) -> int:
        """Return how many tasks are submitted at a time."""
        return AHEAD * max(1, self.count())

    def count(self) -> int:
        """Return how many workers there were at the last count."""
        if self._client.status != "running":
            raise _lost()
        now = time.monotonic()
        if not self._workers or now - self._counted > COUNTED:
            try:
                self._workers = len(self._client.nthreads())
            except (OSError, AttributeError) as error:
                # If the scheduler has just gone, the client fails in either way.
                raise _lost() from error
            self._counted = now
        return self._workers

    def kernels(self, run: StackRun, groups: Mapping[Index, Sequence[Index]]) -> Steps[bool]:
        """Estimate the kernel of each group of planes, one task per group."""
        stage = f"estimating the blur, {len(groups)} kernel{'' if len(groups) == 1 else 's'}"

        def progress(_: Sequence[Progress] = ()) -> Progress:
            return self.named(replace(plane_report(run.counter), stage=stage))

        def kernel(group: Index) -> Steps[GroupKernel | None]:
            return self.run(
                find_kernel,
                lambda: (self.payload(run.problem, spread(groups[group])),),
                name=_name(group),
                progress=progress,
                keeps_begun=False,
            )

        if (yield from self._ready(run)):
            return True
        return (
            yield from interleaved(
                [(group, kernel(group)) for group in groups],
                at_once=self.capacity,
                ended=partial(keep, run.kernels),
                progress=progress,
                patience=self._patience,
            )
        )

    def planes(self, run: StackRun) -> Steps[bool]:
        """Restore planes, each in one task or tile by tile; deliver them in the order they end."""
        warm_starts = WarmStarts(run.problem, run.todo)

        def progress(_: Sequence[Progress] = ()) -> Progress:
            return self.named(plane_report(run.counter))

        def plane(index: Index) -> Steps[PlaneOutcome | None]:
            def arguments() -> tuple[Any, ...]:
                given = self.payload(run.problem, [index]), run.kernel(index)
                start = warm_starts.start(index)
                return given if start is None else (*given, pickle.dumps(start, protocol=5))

            return self.run(restore_plane, arguments, name=_name(index), progress=progress)

        if not run.todo:
            return False
        if (yield from self._ready(run)):
            return True
        tile = self._tile(run)
        tiled = None if tile is None else TiledPlanes(executor=self, run=run, tile=tile)
        return (
            yield from restore_planes(
                run,
                warm_starts,
                plane if tiled is None else tiled.plane,
                at_once=self.capacity if tiled is None else tiled.at_once,
                progress=progress if tiled is None else tiled.progress,
                patience=self._patience,
            )
        )

    def notes(self, problem: StackProblem) -> tuple[str, ...]:
        """Return notes on what differs from a run in one process."""
        notes = []
        path = file_of(problem.array)
        if path in self._sent:
            notes.append(f"not all workers can read {path}: its planes were sent to them")
        if problem in self._shared_out:
            tile = self._shared_out[problem]
            notes.append(
                f"restored in tiles of at most {tile} pixels a side, to give every worker "
                f"something to do: one process makes the same with tile={tile}, and none with "
                "tile=None"
            )
        return tuple(notes)

    def payload(self, problem: StackProblem, indices: Sequence[Index]) -> bytes:
        """Return planes of a stack for a worker: the name of the file, or else their pixels."""
        path = file_of(problem.array)
        return as_payload(problem, indices, send=path is None or path in self._sent)

    def run(
        self,
        function: Callable[..., Any],
        arguments: Callable[[], tuple[Any, ...]],
        *,
        name: str,
        progress: Callable[[], Progress],
        keeps_begun: bool = True,
    ) -> Steps[Any]:
        """Run a task, which can be repeated, as soon as there is room for it.

        Returns its result, or None if a stop was requested before it began, or without
        `keeps_begun` before it ended.
        """
        while self._outstanding >= self.capacity():
            if (yield progress()):
                return None
        key = f"{function.__name__}-{uuid.uuid4().hex}"
        # Dask warns of large tasks; an array in memory can only be sent this way.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            future = self._client.submit(function, *arguments(), key=key, pure=False)
        self._outstanding += 1
        stopped = False
        try:
            while not future.done():
                if (yield progress()) and not stopped:
                    stopped = True
                    if not keeps_begun or not self._has_begun(future):
                        return None
            answer = _answer(future, name)
        finally:
            self._outstanding -= 1
            if not future.done() and self._client.status == "running":
                future.cancel()
        if isinstance(answer, BlindSRError):
            raise answer
        return answer

    def named(self, report: Progress) -> Progress:
        """Return a report with the number of workers."""
        count = self.count()
        workers = _in_words(count) if count else "no worker left, waiting"
        return replace(report, stage=f"{report.stage}, {workers}")

    def _ready(self, run: StackRun) -> Steps[bool]:
        """Wait until there are workers, and check them; return whether to stop."""
        while not self.count():
            time.sleep(self._patience)
            if (yield replace(plane_report(run.counter), stage="waiting for a worker")):
                return True
        if not self._checked:
            self._check_versions()
            self._checked = True
        path = file_of(run.problem.array)
        if path is not None and path not in self._sent:
            seen = self._client.run(stamp, path, on_error="return")
            mine = stamp(path)
            if any(theirs != mine for theirs in seen.values()):
                self._sent.add(path)
        return False

    def _check_versions(self) -> None:
        mine = version("napari-blindsr")
        for worker, theirs in self._client.run(installed_version, on_error="return").items():
            if isinstance(theirs, ImportError):
                raise ClusterError(
                    f"the worker {worker} has no napari-blindsr ({theirs}); expected {mine}, as "
                    "here"
                )
            if isinstance(theirs, str) and theirs != mine:
                raise ClusterError(
                    f"the worker {worker} has napari-blindsr {theirs}; expected {mine}, as here"
                )

    def _has_begun(self, future: Future[Any]) -> bool:
        """Return whether a worker has begun a task."""
        if self._client.status != "running":
            raise _lost()
        # A worker that is just dying does not answer.
        with suppress(OSError):
            return any(future.key in keys for keys in self._client.call_stack().values())
        return False

    def _tile(self, run: StackRun) -> int | None:
        """Return the side of the tiles that planes are restored in, or None."""
        problem, settings = run.problem, run.problem.settings
        tile = tile_side(problem.result.plane_shape, settings.tile)
        known = settings.kernel == "known" or all(run.kernel(i) is not None for i in run.todo)
        method = method_named(settings.method)
        # Tiles do not speed up an optimisation, and leave it less data to estimate the kernel from.
        shares = repeats_cheaply(method, known=known, finish=settings.used_finish)
        if settings.tile != "auto" or not shares or problem.passes_weights:
            return tile
        side = shared_side(
            problem.region.shape,
            scale=settings.scale,
            planes=len(run.todo),
            workers=self.count(),
            tile=tile,
        )
        if side is not None and side != tile:
            self._shared_out[problem] = side
        return side


def _answer(future: Future[Any], name: str) -> Any:
    """Return the result of a task."""
    if future.status in ("cancelled", "lost"):
        raise _lost()
    try:
        return future.result()
    except CancelledError as error:
        raise _lost() from error
    except KilledWorker:
        return EngineError(f"{name} ended its worker several times, perhaps for lack of memory")


def _name(index: Index) -> str:
    return f"plane {' '.join(map(str, index)) or 0}"


def _in_words(workers: int) -> str:
    return f"{workers} worker{'' if workers == 1 else 's'}"


def _lost() -> ClusterError:
    return ClusterError(
        "the cluster was lost during the run; complete planes are kept if the result is an OME-Zarr"
    )
