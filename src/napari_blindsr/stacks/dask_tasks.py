"""Tasks that run on the workers of a cluster: pure functions of their payload."""

from __future__ import annotations

import pickle
import threading
from dataclasses import dataclass, replace
from functools import lru_cache, wraps
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import torch

from napari_blindsr.errors import BlindSRError, EngineError, FileError
from napari_blindsr.progress import drained
from napari_blindsr.restoration.problem import Problem, local
from napari_blindsr.restoration.reconstruct import plan_tiles, restore_tile
from napari_blindsr.restoration.restore import conclude, cpu_threads, translated_errors
from napari_blindsr.restoration.setup import with_blur
from napari_blindsr.solvers.device import choose_compute
from napari_blindsr.solvers.nonblind.restorers import NonblindRestorer, load_restorer
from napari_blindsr.stacks.executor import PlaneOutcome
from napari_blindsr.stacks.outputs import ArrayTarget, empty_array
from napari_blindsr.stacks.shared_kernel import find_shared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.axes import Index
    from napari_blindsr.restoration.reconstruct import Restored, TilePlan
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.plan import StackProblem
    from napari_blindsr.stacks.result import GroupKernel


ONE_AT_A_TIME = threading.Lock()
"""Held while a process computes, which has memory for one plane, and one set of torch threads."""

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def task(function: Callable[Given, Returned]) -> Callable[Given, Returned | BlindSRError]:
    """Return a task that runs alone in its process, and returns errors: Dask logs raised ones."""

    @wraps(function)
    def run(*given: Given.args, **options: Given.kwargs) -> Returned | BlindSRError:
        with ONE_AT_A_TIME:
            try:
                return function(*given, **options)
            except BlindSRError as error:
                return error

    return run


@dataclass(frozen=True, eq=False)
class SentPlanes:
    """An array of which only some planes (`blocks`) are present; planes lie along axes `loops`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    loops: tuple[int, ...]
    blocks: dict[Index, NDArray[Any]]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, place: tuple[Any, ...]) -> NDArray[Any]:
        """Return a block of one plane, at an index from `Layout.place`."""
        index = tuple(place[n] for n in self.loops)
        inside = tuple(part for n, part in enumerate(place) if n not in self.loops)
        block: NDArray[Any] = self.blocks[index][inside]
        return block


def as_payload(problem: StackProblem, indices: Sequence[Index], *, send: bool) -> bytes:
    """Return a stack pickled for a worker.

    The scheduler only passes on the bytes: it needs neither this package nor the file. With `send`,
    the planes are read here; those that cannot be read are left out, unless that are all.
    """
    array = _read(problem, indices) if send else problem.array
    mask = None if problem.mask is None else np.asarray(problem.mask)
    kept = list(array.blocks) if isinstance(array, SentPlanes) else list(indices)
    sent = replace(problem, array=array, mask=mask)
    if len(indices) == 1:
        sent = sent.single(indices[0])
    return pickle.dumps((sent, kept), protocol=5)


def _read(problem: StackProblem, indices: Sequence[Index]) -> SentPlanes:
    blocks: dict[Index, NDArray[Any]] = {}
    failure: BlindSRError | None = None
    for index in indices:
        place = problem.layout.place(index, slice(None), slice(None))
        try:
            with translated_errors():
                blocks[index] = np.asarray(problem.array[place])
        except BlindSRError as error:
            failure = error
    if not blocks and failure is not None:
        raise failure
    return SentPlanes(
        problem.layout.shape, np.dtype(problem.array.dtype), problem.layout.loops, blocks
    )


@task
def restore_plane(
    payload: bytes, kernel: NDArray[Any] | KernelField | None, start: bytes | None = None
) -> PlaneOutcome:
    """Restore the one plane of a stack, with a given kernel or an estimated one.

    The payload is that of `as_payload`; `start` has the pickled weights for a warm start.
    """
    problem, (index,) = opened_problem(payload)
    target = ArrayTarget(empty_array(problem.result.shape, problem.dtype))
    place = problem.place(target, index)
    weights = None if start is None else pickle.loads(start)  # noqa: S301 - our own
    result = drained(problem.run(index, kernel, target=place, start=weights))
    at = problem.result.place(problem.position(index), slice(None), slice(None))
    small = np.empty((0, 0), dtype=np.float32)
    return PlaneOutcome(
        index=index,
        result=replace(result, support=small),
        clipped=place.clipped,
        pixels=target.array[at],
    )


@task
def find_kernel(payload: bytes) -> GroupKernel | None:
    """Estimate the kernel that the planes of a stack share."""
    problem, indices = opened_problem(payload)
    return drained(find_shared(problem, indices))


def opened_problem(payload: bytes) -> tuple[StackProblem, list[Index]]:
    """Return the stack that `as_payload` pickled, and which of its planes are present."""
    try:
        opened: tuple[StackProblem, list[Index]] = pickle.loads(payload)  # noqa: S301 - from `as_payload`
    except OSError as error:
        raise FileError(f"a worker cannot read the image: {error}") from error
    return opened


def stamp(path: Path) -> tuple[int, int] | None:
    """Return size and modification time, to compare files of one name; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return 0 if path.is_dir() else status.st_size, status.st_mtime_ns


def installed_version() -> str:
    """Return the version of this package."""
    return version("napari-blindsr")


@task
def plan_plane(payload: bytes, kernel: NDArray[Any] | KernelField | None, tile: int) -> TilePlan:
    """Prepare the one plane of a stack for tiles: range, noise level, kernel.

    The plan comes back without what only a worker needs.
    """
    stack, (index,) = opened_problem(payload)
    with translated_errors(), cpu_threads(stack.settings.threads):
        problem = stack.prepared(index, kernel)
        if problem.estimates_blur:
            problem = with_blur(problem)
        # If the blur varies, tiles are small on every executor.
        plan = drained(plan_tiles(problem, min(tile, problem.tile or tile)))
    # Without networks, and with nothing on a device.
    problem = plan.problem
    shot_noise = None if problem.shot_noise is None else problem.shot_noise.to(torch.device("cpu"))
    restorer = replace(problem.restorer, prior=None, usrnet=None)
    return replace(plan, problem=replace(problem, restorer=restorer, shot_noise=shot_noise))


def tile_payload(plan: TilePlan, number: int) -> bytes:
    """Return a tile pickled for a worker, with its input region only."""
    part = plan.parts[number]
    piece = local(plan.problem, part)
    if piece.shot_noise is not None:
        # A view would be pickled with the whole array behind it.
        shot_noise = replace(piece.shot_noise, levels=piece.shot_noise.levels.clone())
        piece = replace(piece, shot_noise=shot_noise)
    return pickle.dumps((piece, part, plan.is_examined(number)), protocol=5)


@task
def run_tile(payload: bytes) -> Restored:
    """Restore a tile."""
    piece, part, examined = pickle.loads(payload)  # noqa: S301 - from `tile_payload`
    with translated_errors(), cpu_threads(piece.settings.threads):
        return restore_tile(_equipped(piece), part, examined=examined)


def result_payload(plan: TilePlan, joined: Restored) -> bytes:
    """Return the stitched reconstruction of a plane pickled for a worker, without its pixels."""
    nothing = np.empty((0, 0), dtype=np.float32)
    return pickle.dumps((plan.problem, replace(joined, image=nothing, support=nothing)), protocol=5)


@task
def conclude_plane(payload: bytes) -> Result:
    """Run the diagnostics on a result, and return it without its pixels."""
    problem, joined = pickle.loads(payload)  # noqa: S301 - from `result_payload`
    with translated_errors(), cpu_threads(problem.settings.threads):
        return conclude(_equipped(problem), joined, seconds=0.0)


def _equipped(problem: Problem) -> Problem:
    """Return a problem with the device and the networks of this process.

    An `EngineError` if a network is missing here that the plane was prepared for.
    """
    # The kernel does not decide which networks are needed.
    restorer = _restorer(replace(problem.settings, kernel="known"))
    if restorer.name != problem.restorer.name:
        raise EngineError(
            f"a worker lacks the weights of {problem.restorer.name!r}, which another one has; "
            "expected all workers to find them"
        )
    compute = restorer.compute
    shot_noise = None if problem.shot_noise is None else problem.shot_noise.to(compute.device)
    return replace(problem, compute=compute, restorer=restorer, shot_noise=shot_noise)


@lru_cache(maxsize=1)
def _restorer(settings: Settings) -> NonblindRestorer:
    return load_restorer(settings, choose_compute(settings.device, settings.precision))[0]
