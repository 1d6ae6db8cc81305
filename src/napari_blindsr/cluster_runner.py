"""Planes restored by the workers of a Dask cluster, each as a task, or in tiles that are tasks."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_blindsr.chains import Chains
from napari_blindsr.cluster_crew import Crew
from napari_blindsr.cluster_tasks import as_payload, find_kernel, restore_plane
from napari_blindsr.cluster_tiles import TiledPlanes
from napari_blindsr.errors import BlindSRError, OutOfMemoryError
from napari_blindsr.methods import method_named, repeats_cheaply
from napari_blindsr.parts import shared_side, tile_side
from napari_blindsr.runner import PlaneOutcome
from napari_blindsr.shared_kernel import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from distributed import Client
    from numpy.typing import NDArray

    from napari_blindsr.engine.result import Progress
    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.layout import Index
    from napari_blindsr.runner import Clock
    from napari_blindsr.stack_job import StackJob
    from napari_blindsr.stack_target import StackTarget
    from napari_blindsr.tally import SharedKernel


class ClusterRunner:
    """Restores planes on a cluster.

    Parameters
    ----------
    client : distributed.Client
    patience : float
        As for `Crew`.

    Raises
    ------
    ClusterError
        If the client is not connected.
    """

    def __init__(self, client: Client, *, patience: float = 0.05) -> None:
        self._crew = Crew(client, patience=patience)
        self._shared_out: WeakKeyDictionary[StackJob, int] = WeakKeyDictionary()

    def describe(self) -> str:
        """Return which cluster it is, in words."""
        return self._crew.describe()

    def capacity(self) -> int:
        """Return how many tasks are handed out at a time."""
        return self._crew.capacity()

    def kernels(
        self,
        job: StackJob,
        groups: Mapping[Index, Sequence[Index]],
        clock: Clock,
        found: dict[Index, SharedKernel],
    ) -> Generator[Progress, bool | None, bool]:
        """Find the kernel of each group of planes, each by one task."""
        crew = self._crew
        stage = f"reading the blur, {len(groups)} kernel{'' if len(groups) == 1 else 's'}"

        def arguments(group: Index) -> tuple[bytes]:
            return (as_payload(job, spread(groups[group]), send=crew.sends(job.array)),)

        def take(group: Index, answer: SharedKernel | BlindSRError | None) -> None:
            if isinstance(answer, BlindSRError):
                raise answer
            if answer is not None:
                found[group] = answer

        if (yield from crew.ready(job.array, clock.progress)):
            return True
        return (
            yield from crew.work(
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
        """Restore planes, each by one task, or tile by tile; they are delivered as they come."""
        crew, kernels = self._crew, dict(todo)
        chains = Chains(job, kernels)

        def arguments(index: Index) -> tuple[Any, ...]:
            given = as_payload(job, [index], send=crew.sends(job.array)), kernels[index]
            start = chains.start(index)
            return given if start is None else (*given, pickle.dumps(start, protocol=5))

        def take(index: Index, answer: PlaneOutcome | BlindSRError) -> None:
            if isinstance(answer, OutOfMemoryError):
                raise answer
            if isinstance(answer, BlindSRError):
                answer = PlaneOutcome(index=index, error=answer)
            deliver(replace(answer, result=chains.end(index, answer.result)))

        if not todo:
            return False
        if (yield from crew.ready(job.array, clock.progress)):
            return True
        tile = self._tile(job, todo)
        if tile is not None:
            tiled = TiledPlanes(crew, job, tile=tile, target=target, clock=clock)
            return (yield from tiled.run(todo, deliver))
        return (
            yield from crew.work(
                restore_plane,
                chains.order,
                arguments=arguments,
                take=take,
                progress=clock.progress,
                allowed=chains.is_next,
            )
        )

    def notes(self, job: StackJob) -> tuple[str, ...]:
        """Tell what was done because it is a cluster."""
        notes = []
        path = self._crew.unseen(job.array)
        if path is not None:
            notes.append(f"not all workers see {path}: they were sent its planes")
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
        # An optimisation is no faster for tiles, and finds its kernel on less.
        shares = repeats_cheaply(method, known=known, finish=settings.used_finish)
        if settings.tile != "auto" or not shares or job.hands_on:
            return tile
        side = shared_side(
            job.region.shape,
            scale=settings.scale,
            planes=len(todo),
            workers=self._crew.count(),
            tile=tile,
        )
        if side is not None and side != tile:
            self._shared_out[job] = side
        return side
