"""What became of the planes of a stack, counted as they come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.chains import ALONE
from napari_blindsr.engine.result import StopReason
from napari_blindsr.stack_result import PlaneRecord, StackKernel, StackResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.blur import BlurEstimate
    from napari_blindsr.errors import BlindSRError
    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.layout import Index
    from napari_blindsr.result import Result
    from napari_blindsr.stack_job import StackJob


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedKernel:
    """A kernel (K, K), or a grid or field of them, that planes share; what was read of their blur.

    A field has what was read itself.
    """

    kernel: NDArray[Any] | KernelField
    blur: BlurEstimate | None = None


class Tally:
    """Collects what planes amount to, in whatever order they come; no pixels are kept.

    Parameters
    ----------
    job : StackJob
    kept : int
        Planes that an earlier run had finished.
    """

    def __init__(self, job: StackJob, *, kept: int) -> None:
        self._records: list[PlaneRecord] = []
        self._job = job
        self._kept = kept
        self._kernels: dict[Index, StackKernel] = {}
        self._covered: NDArray[np.bool_] | None = None
        self._example: tuple[Index, Result] | None = None
        self._failure: tuple[Index, BlindSRError] | None = None
        self._partial: list[PlaneRecord] = []

    def failed(self, index: Index, error: BlindSRError) -> None:
        """Hear that a plane could not be restored."""
        self._records.append(PlaneRecord(index=index, error=str(error)))
        if self._failure is None or index > self._failure[0]:
            self._failure = index, error

    def restored(
        self, index: Index, result: Result, shared: SharedKernel | None, *, clipped: int
    ) -> PlaneRecord:
        """Hear what became of a plane; returns what is noted of it."""
        record = PlaneRecord.of(index, result, clipped=clipped)
        self._records.append(record)
        if result.reason is StopReason.STOPPED:
            self._partial.append(record)
        group = self._job.group(index)
        before = self._kernels.get(group)
        if before is None or index < before.indices[0]:
            self._kernels[group] = StackKernel(
                kernel=result.kernel,
                center=result.kernel_center[0],
                indices=(index, *(() if before is None else before.indices)),
                blur=result.blur if shared is None else shared.blur,
                field=result.field,
            )
        else:
            indices = tuple(sorted((*before.indices, index)))
            self._kernels[group] = replace(before, indices=indices)
        if result.covered is not None:
            if self._covered is None:
                shape = (*map(len, self._job.selection), *result.covered.shape)
                self._covered = np.zeros(shape, dtype=bool)
            self._covered[self._job.position(index)] = result.covered
        if self._example is None or index < self._example[0]:
            small = np.empty((0, 0), dtype=np.float32)
            self._example = index, replace(result, image=small, support=small, covered=None)
        return record

    def result(self, array: NDArray[Any] | None, *, seconds: float, total: int) -> StackResult:
        """Return the result.

        Parameters
        ----------
        array : ndarray or None
            The pixels, unless a target has them.
        seconds : float
        total : int
            Planes that were to be restored.

        Raises
        ------
        BlindSRError
            If not a single plane could be restored: what was wrong with the last one.
        """
        if self._example is None and self._failure is not None:
            raise self._failure[1]
        example = None if self._example is None else self._example[1]
        job = self._job
        if array is None:
            array = np.empty((0,) * len(job.layout.axes), dtype=job.dtype)
        complete = len(self._records) == total and not self._partial
        return StackResult(
            image=array,
            axes=job.layout.axes,
            loop_axes=job.layout.loop_axes,
            selection=job.selection,
            region=job.options.region,
            kernels=tuple(sorted(self._kernels.values(), key=lambda kernel: kernel.indices[0])),
            covered=self._covered,
            records=tuple(sorted(self._records, key=lambda record: record.index)),
            kept=self._kept,
            offset=0.0 if example is None else example.offset,
            settings=job.settings,
            options=job.options,
            example=example,
            notes=self._notes(),
            seconds=seconds,
            reason=StopReason.COMPLETED if complete else StopReason.STOPPED,
        )

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if "Z" in self._job.layout.loop_axes:
            notes.append("each plane was restored by itself: along Z nothing was sharpened")
        for record in self._partial:
            name = " ".join(map(str, record.index)) or 0
            notes += [f"plane {name} is not complete: {note}" for note in record.notes]
        alone = sum(ALONE in record.notes for record in self._records)
        if alone:
            notes.append(f"{alone} planes {ALONE}")
        clipped = sum(record.clipped for record in self._records)
        if clipped:
            notes.append(f"{clipped} values were beyond the range of {self._job.dtype}: clipped")
        return tuple(notes)
