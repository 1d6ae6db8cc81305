"""Executor that restores planes on the workers of a Dask cluster."""

from __future__ import annotations

import pickle
import time
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import dask
from distributed import CancelledError, KilledWorker

from napari_blindsr.errors import BlindSRError, ClusterError, EngineError, OutOfMemoryError
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
from napari_blindsr.stacks.executor import PlaneOutcome
from napari_blindsr.stacks.shared_kernel import spread
from napari_blindsr.stacks.warm_start import WarmStarts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from pathlib import Path

    from distributed import Client, Future
    from numpy.typing import NDArray

    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.axes import Index
    from napari_blindsr.progress import Progress
    from napari_blindsr.stacks.executor import Clock
    from napari_blindsr.stacks.outputs import StackTarget
    from napari_blindsr.stacks.plan import StackJob
    from napari_blindsr.stacks.result import GroupKernel


AHEAD = 2
"""Tasks submitted per worker: one is running, the next is queued."""

COUNTED = 1.0
"""Seconds after which workers are counted again."""


class Workers:
    """Submits tasks, which can be repeated, to the workers that are connected.

    Several runs may share one object; together they submit no more tasks than one run. `patience`
    is the time in seconds to wait when there is nothing new to report.
    """

    def __init__(self, client: Client, *, patience: float) -> None:
        check_client(client)
        self._client = client
        self.patience = patience
        self._outstanding = 0
        self._workers = 0
        self._counted = 0.0
        self._checked = False
        self._sent: set[Path] = set()

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

    def sends(self, array: Any) -> bool:
        """Return whether workers are sent the pixels of an array, not the name of its file."""
        path = file_of(array)
        return path is None or path in self._sent

    def unseen(self, array: Any) -> Path | None:
        """Return the file of an array, if not all workers can read it."""
        path = file_of(array)
        return path if path in self._sent else None

    def ready(
        self, array: Any, progress: Callable[[], Progress]
    ) -> Generator[Progress, bool | None, bool]:
        """Wait until there are workers, and check them; return whether to stop."""
        while not self.count():
            time.sleep(self.patience)
            if (yield replace(progress(), stage="waiting for a worker")):
                return True
        if not self._checked:
            self._check_versions()
            self._checked = True
        path = file_of(array)
        if path is not None and path not in self._sent:
            seen = self._client.run(stamp, path, on_error="return")
            mine = stamp(path)
            if any(theirs != mine for theirs in seen.values()):
                self._sent.add(path)
        return False

    def work(
        self,
        function: Callable[..., Any],
        items: Iterable[Index],
        *,
        arguments: Callable[[Index], tuple[Any, ...]],
        take: Callable[[Index, Any], None],
        progress: Callable[[], Progress],
        called: str = "plane",
        allowed: Callable[[Index], bool] | None = None,
        keeps_begun: bool = True,
        waits: bool = True,
    ) -> Generator[Progress, bool | None, bool]:
        """Submit tasks, and handle their results in the order in which they end.

        There is one task for each item. An error that `arguments` raises counts as the task's
        result. Returns whether a stop was requested, which cancels the tasks that have not begun,
        or without `keeps_begun` all.
        """
        waiting = deque(items)
        running: dict[Index, Future[Any]] = {}
        name = f"{function.__name__}-{uuid.uuid4().hex}"
        stop, ended = False, False
        try:
            while running or (waiting and not stop):
                while waiting and not stop and self._has_room():
                    item = next((i for i in waiting if allowed is None or allowed(i)), None)
                    if item is None:
                        break
                    waiting.remove(item)
                    try:
                        given = arguments(item)
                    except BlindSRError as error:
                        take(item, error)
                        continue
                    running[item] = self._submit(function, given, key=f"{name}-{item}")
                done = [item for item, future in running.items() if future.done()]
                for item in done:
                    take(item, _answer(running[item], f"{called} {_numbers(item)}"))
                    self._forget({item: running.pop(item)})
                    stop = bool((yield self._named(progress()))) or stop
                if not done:
                    if waits:
                        time.sleep(self.patience)
                    stop = bool((yield self._named(progress()))) or stop
                if stop and not ended:
                    ended = True
                    idle = self._not_begun(running) if keeps_begun else list(running)
                    self._forget({item: running.pop(item) for item in idle})
            return stop
        finally:
            self._forget(running)

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

    def _has_room(self) -> bool:
        return self._outstanding < self.capacity()

    def _submit(
        self, function: Callable[..., Any], given: tuple[Any, ...], *, key: str
    ) -> Future[Any]:
        # Dask warns of large tasks; an array in memory can only be sent this way.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            future = self._client.submit(function, *given, key=key, pure=False)
        self._outstanding += 1
        return future

    def _forget(self, futures: Mapping[Index, Future[Any]]) -> None:
        """Release tasks; those that are not done are cancelled."""
        left = [future for future in futures.values() if not future.done()]
        self._outstanding -= len(futures)
        if left and self._client.status == "running":
            self._client.cancel(left)

    def _not_begun(self, running: Mapping[Index, Future[Any]]) -> list[Index]:
        """Return the tasks that no worker has begun."""
        if self._client.status != "running":
            raise _lost()
        begun: set[Any] = set()
        # A worker that is just dying does not answer.
        with suppress(OSError):
            begun = {key for keys in self._client.call_stack().values() for key in keys}
        return [
            item
            for item, future in running.items()
            if not future.done() and future.key not in begun
        ]

    def _named(self, report: Progress) -> Progress:
        count = self.count()
        workers = _in_words(count) if count else "no worker left, waiting"
        return replace(report, stage=f"{report.stage}, {workers}")


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


def _numbers(item: Index) -> str:
    return " ".join(map(str, item)) or "0"


def _in_words(workers: int) -> str:
    return f"{workers} worker{'' if workers == 1 else 's'}"


def _lost() -> ClusterError:
    return ClusterError(
        "the cluster was lost during the run; complete planes are kept if the result is an OME-Zarr"
    )


class ClusterExecutor:
    """Restores planes on a Dask cluster."""

    def __init__(self, client: Client, *, patience: float = 0.05) -> None:
        self._workers = Workers(client, patience=patience)
        self._shared_out: WeakKeyDictionary[StackJob, int] = WeakKeyDictionary()

    def describe(self) -> str:
        """Return a description of the cluster."""
        return self._workers.describe()

    def capacity(self) -> int:
        """Return how many tasks are submitted at a time."""
        return self._workers.capacity()

    def kernels(
        self,
        job: StackJob,
        groups: Mapping[Index, Sequence[Index]],
        clock: Clock,
        estimated: dict[Index, GroupKernel],
    ) -> Generator[Progress, bool | None, bool]:
        """Estimate the kernel of each group of planes, one task per group."""
        workers = self._workers
        stage = f"estimating the blur, {len(groups)} kernel{'' if len(groups) == 1 else 's'}"

        def arguments(group: Index) -> tuple[bytes]:
            return (as_payload(job, spread(groups[group]), send=workers.sends(job.array)),)

        def take(group: Index, answer: GroupKernel | BlindSRError | None) -> None:
            if isinstance(answer, BlindSRError):
                raise answer
            if answer is not None:
                estimated[group] = answer

        if (yield from workers.ready(job.array, clock.progress)):
            return True
        return (
            yield from workers.work(
                find_kernel,
                groups,
                arguments=arguments,
                take=take,
                progress=lambda: replace(clock.progress(), stage=stage),
                keeps_begun=False,
            )
        )

    def planes(
        self,
        job: StackJob,
        todo: Sequence[tuple[Index, NDArray[Any] | KernelField | None]],
        target: StackTarget,
        clock: Clock,
        deliver: Callable[[PlaneOutcome], None],
    ) -> Generator[Progress, bool | None, bool]:
        """Restore planes, each in one task or tile by tile; deliver them in the order they end."""
        workers, kernels = self._workers, dict(todo)
        warm_starts = WarmStarts(job, kernels)

        def arguments(index: Index) -> tuple[Any, ...]:
            given = as_payload(job, [index], send=workers.sends(job.array)), kernels[index]
            start = warm_starts.start(index)
            return given if start is None else (*given, pickle.dumps(start, protocol=5))

        def take(index: Index, answer: PlaneOutcome | BlindSRError) -> None:
            if isinstance(answer, OutOfMemoryError):
                raise answer
            if isinstance(answer, BlindSRError):
                answer = PlaneOutcome(index=index, error=answer)
            deliver(replace(answer, result=warm_starts.end(index, answer.result)))

        if not todo:
            return False
        if (yield from workers.ready(job.array, clock.progress)):
            return True
        tile = self._tile(job, todo)
        if tile is not None:
            tiled = TiledPlanes(workers, job, tile=tile, target=target, clock=clock)
            return (yield from tiled.run(todo, deliver))
        return (
            yield from workers.work(
                restore_plane,
                warm_starts.order,
                arguments=arguments,
                take=take,
                progress=clock.progress,
                allowed=warm_starts.is_next,
            )
        )

    def notes(self, job: StackJob) -> tuple[str, ...]:
        """Return notes on what differs from a run in one process."""
        notes = []
        path = self._workers.unseen(job.array)
        if path is not None:
            notes.append(f"not all workers can read {path}: its planes were sent to them")
        if job in self._shared_out:
            tile = self._shared_out[job]
            notes.append(
                f"restored in tiles of at most {tile} pixels a side, to give every worker "
                f"something to do: one process makes the same with tile={tile}, and none with "
                "tile=None"
            )
        return tuple(notes)

    def _tile(
        self, job: StackJob, todo: Sequence[tuple[Index, NDArray[Any] | KernelField | None]]
    ) -> int | None:
        """Return the side of the tiles that planes are restored in, or None."""
        settings = job.settings
        tile = tile_side(job.result.plane_shape, settings.tile)
        known = settings.kernel == "known" or all(kernel is not None for _, kernel in todo)
        method = method_named(settings.method)
        # Tiles do not speed up an optimisation, and leave it less data to estimate the kernel from.
        shares = repeats_cheaply(method, known=known, finish=settings.used_finish)
        if settings.tile != "auto" or not shares or job.passes_weights:
            return tile
        side = shared_side(
            job.region.shape,
            scale=settings.scale,
            planes=len(todo),
            workers=self._workers.count(),
            tile=tile,
        )
        if side is not None and side != tile:
            self._shared_out[job] = side
        return side
