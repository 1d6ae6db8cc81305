"""Planes whose tiles are restored on the workers of a Dask cluster, and stitched here."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_blindsr.errors import BlindSRError, ClusterError, OutOfMemoryError
from napari_blindsr.images.tiling import count_tiles
from napari_blindsr.restoration.reconstruct import join_tiles, short_of_memory
from napari_blindsr.settings import SMALLEST_TILE
from napari_blindsr.stacks.dask_tasks import (
    as_payload,
    conclude_plane,
    plan_plane,
    result_payload,
    run_tile,
    tile_payload,
)
from napari_blindsr.stacks.executor import PlaneOutcome, interleaved
from napari_blindsr.stacks.outputs import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import NDArray

    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.axes import Index
    from napari_blindsr.progress import Progress, ProgressCounter
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.restoration.tiles import TileOutcome, TilePlan
    from napari_blindsr.stacks.dask_executor import Workers
    from napari_blindsr.stacks.executor import Clock
    from napari_blindsr.stacks.outputs import StackTarget
    from napari_blindsr.stacks.plan import StackJob


class ClusterTiles:
    """Restores tiles on a cluster.

    No tile is submitted that is further ahead of the first missing one than there are tasks at a
    time, so at most that many tiles are held here.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def tiles(
        self,
        plan: TilePlan,
        counter: ProgressCounter,
        deliver: Callable[[int, TileOutcome], None],
        *,
        stop: bool,
    ) -> Generator[Progress, bool | None, None]:
        """Restore tiles, one task per tile; after a stop, tiles that have begun are completed."""
        missing = set(range(counter.total))

        def take(item: Index, answer: TileOutcome | BlindSRError) -> None:
            if isinstance(answer, BlindSRError):
                raise answer
            missing.remove(item[0])
            deliver(item[0], answer)

        if stop:
            return
        yield from self._workers.work(
            run_tile,
            [(number,) for number in range(counter.total)],
            arguments=lambda item: (tile_payload(plan, item[0]),),
            take=take,
            progress=counter.progress,
            called="tile",
            allowed=lambda item: item[0] < min(missing) + self._workers.capacity(),
            waits=False,
        )


class TiledPlanes:
    """Restores planes in tiles on a cluster: several planes at once if one has too few tiles."""

    def __init__(
        self, workers: Workers, job: StackJob, *, tile: int, target: StackTarget, clock: Clock
    ) -> None:
        self._workers = workers
        self._job = job
        self._tile = tile
        self._target = target
        self._clock = clock

    def run(
        self,
        todo: Sequence[tuple[Index, NDArray[Any] | KernelField | None]],
        deliver: Callable[[PlaneOutcome], None],
    ) -> Generator[Progress, bool | None, bool]:
        """Restore planes; returns whether a stop was requested."""

        def ended(_: Index, outcome: PlaneOutcome | BlindSRError | None, __: object) -> None:
            if isinstance(outcome, BlindSRError):
                raise outcome
            if outcome is not None:
                deliver(outcome)

        return (
            yield from interleaved(
                [(index, self._plane(index, kernel)) for index, kernel in todo],
                at_once=self._at_once,
                ended=ended,
                progress=self._progress,
                patience=self._workers.patience,
            )
        )

    def _at_once(self) -> int:
        """Return how many planes keep all workers busy, plus one."""
        tiles = count_tiles(self._job.region.shape, self._job.settings.scale, self._tile)
        return 1 + math.ceil(self._workers.capacity() / tiles)

    def _progress(self, reports: Sequence[Progress]) -> Progress:
        inner = reports[0] if reports else None
        if inner is not None and inner.unit == "tile" and self._clock.total == 1:
            return inner
        return self._clock.progress(inner)

    def _plane(
        self, index: Index, kernel: NDArray[Any] | KernelField | None
    ) -> Generator[Progress, bool | None, PlaneOutcome | None]:
        """Restore a plane, in smaller tiles if memory is short; None if that failed."""
        tile = self._tile
        notes: tuple[str, ...] = ()
        while True:
            try:
                outcome = yield from self._attempt(index, kernel, tile)
            except OutOfMemoryError:
                tile //= 2
                if tile < SMALLEST_TILE:
                    raise
                notes = (short_of_memory(tile),)
            except (OutputError, ClusterError):
                raise
            except BlindSRError as error:
                return PlaneOutcome(index=index, error=error)
            else:
                if outcome is None or outcome.result is None:
                    return None
                noted = replace(outcome.result, notes=(*outcome.result.notes, *notes))
                return replace(outcome, result=noted)

    def _attempt(
        self, index: Index, kernel: NDArray[Any] | KernelField | None, tile: int
    ) -> Generator[Progress, bool | None, PlaneOutcome | None]:
        job, workers, start = self._job, self._workers, time.perf_counter()

        def sent() -> tuple[Any, ...]:
            return as_payload(job, [index], send=workers.sends(job.array)), kernel, tile

        plan: TilePlan | None = yield from self._task(plan_plane, index, sent, "getting ready")
        if plan is None:
            return None
        place = job.place(self._target, index)
        covers = plan.job.planes.measured is not None
        joined = yield from join_tiles(
            plan, ClusterTiles(workers).tiles, place, start=start, stop=False, supported=covers
        )
        if joined is None:
            return None

        def done() -> tuple[Any, ...]:
            return (result_payload(plan, joined),)

        last = self._task(conclude_plane, index, done, "checking the result")
        result = yield from _to_the_end(last)
        assert result is not None
        result = replace(
            result,
            covered=joined.support == 0 if covers else None,
            region=job.part,
            seconds=time.perf_counter() - start,
        )
        return PlaneOutcome(index=index, result=result, clipped=place.clipped)

    def _task(
        self,
        function: Callable[..., Any],
        index: Index,
        arguments: Callable[[], tuple[Any, ...]],
        stage: str,
    ) -> Generator[Progress, bool | None, Any]:
        """Run one task; None if a stop was requested before it ended."""
        answers: list[Any] = []

        def take(_: Index, answer: Any) -> None:
            if isinstance(answer, BlindSRError):
                raise answer
            answers.append(answer)

        yield from self._workers.work(
            function,
            [index],
            arguments=lambda _: arguments(),
            take=take,
            progress=lambda: replace(self._clock.progress(), stage=stage),
            keeps_begun=False,
            waits=False,
        )
        return answers[0] if answers else None


def _to_the_end(
    steps: Generator[Progress, bool | None, Result | None],
) -> Generator[Progress, bool | None, Result | None]:
    """Run a generator to its end, whether or not a stop is requested."""
    while True:
        try:
            report = next(steps)
        except StopIteration as end:
            result: Result | None = end.value
            return result
        yield report
