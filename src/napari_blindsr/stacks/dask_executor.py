"""Executor that restores planes on the workers of a Dask cluster."""

from __future__ import annotations

import pickle
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import dask
from distributed import CancelledError, KilledWorker

from napari_blindsr.errors import BlindSRError, ClusterError, EngineError
from napari_blindsr.images.lazy import file_of
from napari_blindsr.images.tiling import shared_side, tile_side
from napari_blindsr.methods import method_named, repeats_cheaply
from napari_blindsr.stacks.dask_client import check_client
from napari_blindsr.stacks.dask_tasks import (
    as_payload,
    find_kernel,
    installed_version,
    restore_plane,
    stamp,
)
from napari_blindsr.stacks.dask_tiles import TiledPlanes
from napari_blindsr.stacks.executor import interleaved, keep, plane_report, restore_planes
from napari_blindsr.stacks.shared_kernel import spread
from napari_blindsr.stacks.warm_start import WarmStarts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from distributed import Client, Future

    from napari_blindsr.images.axes import Index
    from napari_blindsr.progress import Progress
    from napari_blindsr.stacks.executor import PlaneOutcome, Steps
    from napari_blindsr.stacks.plan import StackJob
    from napari_blindsr.stacks.restore_stack import StackRun
    from napari_blindsr.stacks.result import GroupKernel


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
        self._shared_out: WeakKeyDictionary[StackJob, int] = WeakKeyDictionary()

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
                lambda: (self.payload(run.job, spread(groups[group])),),
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
        warm_starts = WarmStarts(run.job, run.todo)

        def progress(_: Sequence[Progress] = ()) -> Progress:
            return self.named(plane_report(run.counter))

        def plane(index: Index) -> Steps[PlaneOutcome | None]:
            def arguments() -> tuple[Any, ...]:
                given = self.payload(run.job, [index]), run.kernel(index)
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

    def notes(self, job: StackJob) -> tuple[str, ...]:
        """Return notes on what differs from a run in one process."""
        notes = []
        path = file_of(job.array)
        if path in self._sent:
            notes.append(f"not all workers can read {path}: its planes were sent to them")
        if job in self._shared_out:
            tile = self._shared_out[job]
            notes.append(
                f"restored in tiles of at most {tile} pixels a side, to give every worker "
                f"something to do: one process makes the same with tile={tile}, and none with "
                "tile=None"
            )
        return tuple(notes)

    def payload(self, job: StackJob, indices: Sequence[Index]) -> bytes:
        """Return planes of a stack for a worker: the name of the file, or else their pixels."""
        path = file_of(job.array)
        return as_payload(job, indices, send=path is None or path in self._sent)

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
        path = file_of(run.job.array)
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
        job, settings = run.job, run.job.settings
        tile = tile_side(job.result.plane_shape, settings.tile)
        known = settings.kernel == "known" or all(run.kernel(i) is not None for i in run.todo)
        method = method_named(settings.method)
        # Tiles do not speed up an optimisation, and leave it less data to estimate the kernel from.
        shares = repeats_cheaply(method, known=known, finish=settings.used_finish)
        if settings.tile != "auto" or not shares or job.passes_weights:
            return tile
        side = shared_side(
            job.region.shape,
            scale=settings.scale,
            planes=len(run.todo),
            workers=self.count(),
            tile=tile,
        )
        if side is not None and side != tile:
            self._shared_out[job] = side
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
