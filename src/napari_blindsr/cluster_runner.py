"""Planes restored by the workers of a Dask cluster, each as a task that can be done again."""

from __future__ import annotations

import time
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import dask
from distributed import CancelledError, KilledWorker

from napari_blindsr.cluster import check_client
from napari_blindsr.cluster_tasks import (
    as_payload,
    file_of,
    find_kernel,
    installed_version,
    restore_plane,
    stamp,
)
from napari_blindsr.errors import BlindSRError, ClusterError, EngineError, OutOfMemoryError
from napari_blindsr.runner import PlaneOutcome
from napari_blindsr.shared_kernel import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
    from pathlib import Path

    from distributed import Client, Future
    from numpy.typing import NDArray

    from napari_blindsr.engine.result import Progress
    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.layout import Index
    from napari_blindsr.runner import Clock
    from napari_blindsr.stack_job import StackJob
    from napari_blindsr.stack_target import StackTarget
    from napari_blindsr.tally import SharedKernel

    Answer = PlaneOutcome | SharedKernel | BlindSRError | None

AHEAD = 2
"""Tasks a worker that are handed out at a time: one is done, the next is at hand."""

COUNTED = 1.0
"""Seconds after which workers are counted again."""


class ClusterRunner:
    """Restores planes on a cluster.

    Several runs may share one; then no more is handed out than for one run.

    Parameters
    ----------
    client : distributed.Client
    patience : float
        Seconds to wait before nothing new is reported. Whoever drives several runs in turns waits
        by themselves.

    Raises
    ------
    ClusterError
        If the client is not connected.
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

    def describe(self) -> str:
        """Return which cluster it is, in words."""
        scheduler = self._client.scheduler
        where = "" if scheduler is None else f" of {scheduler.address}"
        return f"{_counted(self._count())}{where}"

    def capacity(self) -> int:
        """Return how many tasks are handed out at a time."""
        return AHEAD * max(1, self._count())

    def kernels(
        self,
        job: StackJob,
        groups: Mapping[Index, Sequence[Index]],
        clock: Clock,
        found: dict[Index, SharedKernel],
    ) -> Generator[Progress, bool | None, bool]:
        """Find the kernel of each group of planes, each by one task."""

        def arguments(group: Index) -> tuple[bytes]:
            return (as_payload(job, spread(groups[group]), send=self._sends(job)),)

        def take(group: Index, answer: Answer) -> None:
            if isinstance(answer, BlindSRError):
                raise answer
            if answer is not None:
                found[group] = cast("SharedKernel", answer)

        return (
            yield from self._work(
                find_kernel,
                groups,
                arguments=arguments,
                take=take,
                clock=clock,
                stage=f"reading the blur, {len(groups)} kernel{'' if len(groups) == 1 else 's'}",
                job=job,
                keeps_begun=False,
            )
        )

    def planes(
        self,
        job: StackJob,
        todo: Sequence[tuple[Index, NDArray[Any] | KernelField | None]],
        target: StackTarget,  # noqa: ARG002 - who delivers puts the pixels there
        clock: Clock,
        deliver: Callable[[PlaneOutcome], None],
    ) -> Generator[Progress, bool | None, bool]:
        """Restore planes, each by one task; they are delivered as they come."""
        kernels = dict(todo)

        def arguments(index: Index) -> tuple[bytes, NDArray[Any] | KernelField | None]:
            return as_payload(job, [index], send=self._sends(job)), kernels[index]

        def take(index: Index, answer: Answer) -> None:
            if isinstance(answer, OutOfMemoryError):
                raise answer
            if isinstance(answer, BlindSRError):
                answer = PlaneOutcome(index=index, error=answer)
            deliver(cast("PlaneOutcome", answer))

        return (
            yield from self._work(
                restore_plane,
                kernels,
                arguments=arguments,
                take=take,
                clock=clock,
                stage=None,
                job=job,
            )
        )

    def notes(self, job: StackJob) -> tuple[str, ...]:
        """Tell that a file was not seen by the workers."""
        path = file_of(job.array)
        if path not in self._sent:
            return ()
        return (f"not all workers see {path}: they were sent its planes",)

    def _work(
        self,
        function: Callable[..., Answer],
        items: Iterable[Index],
        *,
        arguments: Callable[[Index], tuple[Any, ...]],
        take: Callable[[Index, Answer], None],
        clock: Clock,
        stage: str | None,
        job: StackJob,
        keeps_begun: bool = True,
    ) -> Generator[Progress, bool | None, bool]:
        """Hand out tasks, and take what comes of them in whatever order that is.

        A stop cancels those that have not begun, or all of them.
        """
        waiting = deque(items)
        running: dict[Index, Future[Any]] = {}
        name = f"{function.__name__}-{uuid.uuid4().hex}"
        stop, ended = (yield from self._ready(job, clock)), False
        try:
            while running or (waiting and not stop):
                while waiting and not stop and self._has_room():
                    item = waiting.popleft()
                    try:
                        given = arguments(item)
                    except BlindSRError as error:
                        take(item, error)
                        continue
                    running[item] = self._submit(function, given, key=f"{name}-{item}")
                done = [item for item, future in running.items() if future.done()]
                for item in done:
                    take(item, _answer(running[item], item))
                    self._forget({item: running.pop(item)})
                    stop = bool((yield self._progress(clock, stage))) or stop
                if not done:
                    time.sleep(self._patience)
                    stop = bool((yield self._progress(clock, stage))) or stop
                if stop and not ended:
                    ended = True
                    idle = self._not_begun(running) if keeps_begun else list(running)
                    self._forget({item: running.pop(item) for item in idle})
            return stop
        finally:
            self._forget(running)

    def _ready(self, job: StackJob, clock: Clock) -> Generator[Progress, bool | None, bool]:
        """Wait until there are workers, and see what they are like."""
        while not self._count():
            time.sleep(self._patience)
            if (yield replace(clock.progress(), stage="waiting for a worker")):
                return True
        if not self._checked:
            self._check_versions()
            self._checked = True
        path = file_of(job.array)
        if path is not None and path not in self._sent:
            seen = self._client.run(stamp, path, on_error="return")
            mine = stamp(path)
            if any(theirs != mine for theirs in seen.values()):
                self._sent.add(path)
        return False

    def _sends(self, job: StackJob) -> bool:
        path = file_of(job.array)
        return path is None or path in self._sent

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

    def _count(self) -> int:
        """Return how many workers there are, as of a moment ago."""
        if self._client.status != "running":
            raise _lost()
        now = time.monotonic()
        if not self._workers or now - self._counted > COUNTED:
            try:
                self._workers = len(self._client.nthreads())
            except (OSError, AttributeError) as error:
                # A client whose scheduler has gone a moment ago fails in either way.
                raise _lost() from error
            self._counted = now
        return self._workers

    def _has_room(self) -> bool:
        return self._outstanding < self.capacity()

    def _submit(
        self, function: Callable[..., Answer], given: tuple[Any, ...], *, key: str
    ) -> Future[Any]:
        # Dask warns of tasks that carry much; what an array in memory holds must go this way.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            future = self._client.submit(function, *given, key=key, pure=False)
        self._outstanding += 1
        return future

    def _forget(self, futures: Mapping[Index, Future[Any]]) -> None:
        """Let go of tasks; those that are not done are cancelled."""
        left = [future for future in futures.values() if not future.done()]
        self._outstanding -= len(futures)
        if left and self._client.status == "running":
            self._client.cancel(left)

    def _not_begun(self, running: Mapping[Index, Future[Any]]) -> list[Index]:
        """Return the tasks that no worker is at."""
        if self._client.status != "running":
            raise _lost()
        begun: set[Any] = set()
        # A worker that dies just now tells nothing.
        with suppress(OSError):
            begun = {key for keys in self._client.call_stack().values() for key in keys}
        return [
            item
            for item, future in running.items()
            if not future.done() and future.key not in begun
        ]

    def _progress(self, clock: Clock, stage: str | None) -> Progress:
        report = clock.progress()
        count = self._count()
        crew = _counted(count) if count else "no worker left, waiting"
        return replace(report, stage=f"{stage or report.stage}, {crew}")


def _answer(future: Future[Any], item: Index) -> Answer:
    """Return what came of a task."""
    if future.status in ("cancelled", "lost"):
        raise _lost()
    try:
        return cast("Answer", future.result())
    except CancelledError as error:
        raise _lost() from error
    except KilledWorker:
        return EngineError(
            f"plane {' '.join(map(str, item)) or 0} ended its worker several times, perhaps for "
            "want of memory"
        )


def _counted(workers: int) -> str:
    return f"{workers} worker{'' if workers == 1 else 's'}"


def _lost() -> ClusterError:
    return ClusterError(
        "the cluster was lost while it was at work; what is complete is kept where the result "
        "is an OME-Zarr"
    )
