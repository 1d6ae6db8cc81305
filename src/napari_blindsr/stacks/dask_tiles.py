"""Planes whose tiles are restored on the workers of a Dask cluster, and stitched here."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_blindsr.errors import BlindSRError, OutOfMemoryError
from napari_blindsr.images.tiling import count_tiles
from napari_blindsr.restoration.reconstruct import join_tiles, short_of_memory
from napari_blindsr.settings import SMALLEST_TILE
from napari_blindsr.stacks.dask_tasks import (
    conclude_plane,
    plan_plane,
    result_payload,
    run_tile,
    tile_payload,
)
from napari_blindsr.stacks.executor import (
    PlaneOutcome,
    interleaved,
    plane_report,
    uninterrupted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_blindsr.images.axes import Index
    from napari_blindsr.progress import Progress, ProgressCounter
    from napari_blindsr.restoration.tiles import Restored, TilePlan
    from napari_blindsr.stacks.dask_executor import ClusterExecutor
    from napari_blindsr.stacks.executor import Steps
    from napari_blindsr.stacks.restore_stack import StackRun


@dataclass(frozen=True, kw_only=True, eq=False)
class TiledPlanes:
    """Restores planes in tiles on a cluster: several planes at once if one has too few tiles."""

    executor: ClusterExecutor
    run: StackRun
    tile: int

    def at_once(self) -> int:
        """Return how many planes keep all workers busy, plus one."""
        job = self.run.job
        tiles = count_tiles(job.region.shape, job.settings.scale, self.tile)
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
        job, kernel, start = self.run.job, self.run.kernel(index), time.perf_counter()
        plan: TilePlan | None = yield from self._task(
            plan_plane,
            index,
            lambda: (self.executor.payload(job, [index]), kernel, tile),
            "getting ready",
        )
        if plan is None:
            return None
        place = job.place(self.run.target, index)
        covers = plan.job.planes.measured is not None
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
            region=job.part,
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
            name=f"plane {' '.join(map(str, index)) or 0}",
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
