"""What the workers of a cluster do: pure functions of what they are sent."""

from __future__ import annotations

import pickle
import threading
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_blindsr.errors import BlindSRError, FileError
from napari_blindsr.formats.lazy import MappedArray, View
from napari_blindsr.formats.ome_zarr import ZarrArray
from napari_blindsr.formats.tiff import TiffPages
from napari_blindsr.pipeline import translated_errors
from napari_blindsr.runner import PlaneOutcome
from napari_blindsr.shared_kernel import find_shared
from napari_blindsr.stack_target import ArrayTarget
from napari_blindsr.steps import drained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.layout import Index
    from napari_blindsr.stack_job import StackJob
    from napari_blindsr.tally import SharedKernel

ONE_AT_A_TIME = threading.Lock()
"""Held while a process computes: memory is one plane's, and torch's threads are a process's."""

Returned = TypeVar("Returned")


@dataclass(frozen=True, eq=False)
class SentPlanes:
    """An array of which some planes are there.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    loops : tuple of int
        The axes along which there are planes.
    blocks : dict of tuple of int to ndarray
        The planes that are there, in the order of the other axes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    loops: tuple[int, ...]
    blocks: dict[Index, NDArray[Any]]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, place: tuple[Any, ...]) -> NDArray[Any]:
        """Return a block of one plane, by an index as `Layout.place` makes it."""
        index = tuple(place[n] for n in self.loops)
        inside = tuple(part for n, part in enumerate(place) if n not in self.loops)
        block: NDArray[Any] = self.blocks[index][inside]
        return block


def as_payload(job: StackJob, indices: Sequence[Index], *, send: bool) -> bytes:
    """Return a job as a worker gets it.

    It is bytes to the scheduler, which need neither have this package nor see the file.

    Parameters
    ----------
    job : StackJob
    indices : sequence of tuple of int
        The planes that the worker looks at. The job is of the one, if it is one; of several that
        share a kernel, those that cannot be read are left out.
    send : bool
        Read the planes here and send them, not the name of their file.

    Raises
    ------
    BlindSRError
        If not one plane can be read.
    """
    array = _read(job, indices) if send else job.array
    mask = None if job.mask is None else np.asarray(job.mask)
    kept = list(array.blocks) if isinstance(array, SentPlanes) else list(indices)
    sent = replace(job, array=array, mask=mask)
    if len(indices) == 1:
        sent = sent.single(indices[0])
    return pickle.dumps((sent, kept), protocol=5)


def _read(job: StackJob, indices: Sequence[Index]) -> SentPlanes:
    blocks: dict[Index, NDArray[Any]] = {}
    failure: BlindSRError | None = None
    for index in indices:
        place = job.layout.place(index, slice(None), slice(None))
        try:
            with translated_errors():
                blocks[index] = np.asarray(job.array[place])
        except BlindSRError as error:
            failure = error
    if not blocks and failure is not None:
        raise failure
    return SentPlanes(job.layout.shape, np.dtype(job.array.dtype), job.layout.loops, blocks)


def restore_plane(
    payload: bytes, kernel: NDArray[Any] | KernelField | None, start: bytes | None = None
) -> PlaneOutcome | BlindSRError:
    """Restore the one plane of a job, with a kernel that is held or with one of its own.

    A failure is returned: raised, Dask would log it.

    Parameters
    ----------
    payload : bytes
        As `as_payload` makes it.
    kernel : ndarray, (K, K), or None
    start : bytes, optional
        Pickled weights with which the optimisation begins.
    """
    with ONE_AT_A_TIME:
        try:
            job, (index,) = opened_job(payload)
            target = ArrayTarget(job.result.shape, job.dtype)
            place = job.place(target, index)
            weights = None if start is None else pickle.loads(start)  # noqa: S301 - our own
            result = drained(job.run(index, kernel, target=place, start=weights))
        except BlindSRError as error:
            return error
    at = job.result.place(job.position(index), slice(None), slice(None))
    small = np.empty((0, 0), dtype=np.float32)
    return PlaneOutcome(
        index=index,
        result=replace(result, support=small),
        clipped=place.clipped,
        pixels=target.array[at],
    )


def find_kernel(payload: bytes) -> SharedKernel | BlindSRError | None:
    """Find the kernel that the planes of a job share."""
    with ONE_AT_A_TIME:
        try:
            job, indices = opened_job(payload)
            return drained(find_shared(job, indices))
        except BlindSRError as error:
            return error


def opened_job(payload: bytes) -> tuple[StackJob, list[Index]]:
    """Return a job as `as_payload` sent it, and which of its planes are there."""
    try:
        opened: tuple[StackJob, list[Index]] = pickle.loads(payload)  # noqa: S301 - from `as_payload`
    except OSError as error:
        raise FileError(f"a worker cannot read the image: {error}") from error
    return opened


def file_of(array: Any) -> Path | None:
    """Return the file that an array is read from wherever it is unpickled, if there is one."""
    while isinstance(array, View):
        array = array.source
    if isinstance(array, MappedArray | TiffPages | ZarrArray):
        return array.path.absolute()
    return None


def stamp(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return 0 if path.is_dir() else found.st_size, found.st_mtime_ns


def installed_version() -> str:
    """Return the version of this package."""
    return version("napari-blindsr")
