"""Where the planes of a stack are written: an array, or a file that records complete planes."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_blindsr.errors import FileError
from napari_blindsr.images.atomic import writing
from napari_blindsr.stacks.result import PlaneRecord, StackKernel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_blindsr.images.atomic import Bundle
    from napari_blindsr.images.axes import Index, Layout
    from napari_blindsr.images.writer import ImageWriter
    from napari_blindsr.types import OutputType


Kept = tuple[PlaneRecord, "StackKernel | None"]
"""The record of a plane of an earlier run, and its kernel."""


def kernel_to_json(kernel: StackKernel) -> dict[str, Any]:
    """Return a kernel as plain JSON types."""
    values = np.ascontiguousarray(kernel.kernel, dtype="<f4")
    return {
        "side": len(values),
        "center": kernel.center,
        "values": base64.b64encode(values.tobytes()).decode("ascii"),
    }


def kernel_from_json(entry: Any, index: Index) -> StackKernel | None:
    """Return the kernel of a plane from the output of `kernel_to_json`."""
    if entry is None:
        return None
    flat = np.frombuffer(base64.b64decode(entry["values"]), "<f4")
    values = flat.reshape(int(entry["side"]), -1).astype(np.float32)
    return StackKernel(kernel=values, center=float(entry["center"]), indices=(index,))


class OutputError(FileError):
    """The output cannot be written any more; all other planes would fail, too."""


class StackTarget(Protocol):
    """Receives the pixels of a result, and knows which planes are already complete."""

    def write(self, index: tuple[int | slice, ...], block: NDArray[Any]) -> None:
        """Write a block of the result, in its axes."""

    def finished(self, position: Index) -> bool:  # noqa: ARG002
        """Return whether a plane is complete, by its position in the result."""
        return False

    def note(self, position: Index, record: PlaneRecord, kernel: StackKernel | None = None) -> None:
        """Record that a plane is complete, and with which kernel."""

    def kept(self) -> Sequence[Kept]:
        """Return the records of the planes that an earlier run completed."""
        return ()


class ArrayTarget(StackTarget):
    """An array in memory, or a file of which no earlier run has written anything."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def write(self, index: tuple[int | slice, ...], block: NDArray[Any]) -> None:
        """Write a block of the result."""
        self.array[index] = block

    def note(self, position: Index, record: PlaneRecord, kernel: StackKernel | None = None) -> None:
        """Ignore the record of a complete plane."""


class PlaneTarget:
    """Converts blocks of a plane to the type and axes of the result, and writes them there."""

    def __init__(
        self, output: StackTarget, *, layout: Layout, position: Index, dtype: np.dtype[Any]
    ) -> None:
        self._output = output
        self._layout = layout
        self._position = position
        self._dtype = dtype
        self.clipped = 0

    def __setitem__(self, index: tuple[slice, slice], block: NDArray[Any]) -> None:
        """Write rows and columns of the plane: (h, w) or (h, w, 3)."""
        values, clipped = converted(block, self._dtype)
        self.clipped += clipped
        self._write(index, values)

    def put(self, block: NDArray[Any]) -> None:
        """Write a whole plane that is already in the result's type and axes."""
        height, width = self._layout.plane_shape
        self._hand_on((slice(0, height), slice(0, width)), block)

    def fill(self, value: float | None = None) -> None:
        """Set all pixels of the plane to one value; None means that it has no values."""
        height, width = self._layout.plane_shape
        samples = (3,) if "S" in self._layout.axes else ()
        block = np.full((height, width, *samples), empty_value(self._dtype), dtype=self._dtype)
        if value is not None:
            block, _ = converted(np.full(block.shape, value, dtype=np.float64), self._dtype)
        self._write((slice(0, height), slice(0, width)), block)

    def _write(self, index: tuple[slice, slice], values: NDArray[Any]) -> None:
        height, width = self._layout.plane_shape
        rows, columns = slice(*index[0].indices(height)), slice(*index[1].indices(width))
        self._hand_on((rows, columns), self._layout.arranged(values))

    def _hand_on(self, index: tuple[slice, slice], block: NDArray[Any]) -> None:
        place = self._layout.place(self._position, *index)
        try:
            self._output.write(place, block)
        except FileError as error:
            # Not to be mistaken for a plane that cannot be read.
            raise OutputError(str(error)) from error


def empty_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of pixels that were not restored."""
    return np.full(shape, empty_value(dtype), dtype=dtype)


def empty_value(dtype: np.dtype[Any]) -> float:
    """Return the value of pixels that were not restored."""
    return 0 if dtype.kind in "iu" else float("nan")


def result_type(chosen: OutputType, source: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of a result, in the machine's byte order."""
    if chosen == "float32":
        return np.dtype(np.float32)
    return source.newbyteorder("=")


def converted(block: NDArray[Any], dtype: np.dtype[Any]) -> tuple[NDArray[Any], int]:
    """Return floating-point values in a type, and how many were clipped to its range."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        rounded = np.rint(np.nan_to_num(block.astype(np.float64)))
        kept = np.clip(rounded, limits.min, limits.max)
        return kept.astype(dtype), int((kept != rounded).sum())
    if dtype == np.float16:
        held = np.clip(block, -65504, 65504)
        return held.astype(dtype), int((held != block).sum())
    return block.astype(dtype, copy=False), 0


class FileTarget:
    """An image file in any writable format.

    One that an earlier run left incomplete is resumed; a journal beside it lists the complete
    planes.
    """

    def __init__(self, writer: ImageWriter) -> None:
        self._writer = writer
        self._journal = journal_of(writer.path)
        self._done: dict[Index, Kept | None] = {}
        with writing(writer.path):
            if writer.resumed:
                self._read()
            else:
                self._journal.unlink(missing_ok=True)

    def _read(self) -> None:
        with suppress(FileNotFoundError):
            for line in self._journal.read_text(encoding="ascii").splitlines():
                # A line that was cut short by the end of a run does not count.
                with suppress(ValueError, TypeError, KeyError):
                    entry = json.loads(line)
                    position = tuple(int(at) for at in entry["position"])
                    self._done[position] = None
                    record = PlaneRecord.from_json(entry["record"])
                    self._done[position] = record, kernel_from_json(entry["kernel"], record.index)

    def write(self, index: tuple[int | slice, ...], block: NDArray[Any]) -> None:
        """Write a block of the result."""
        self._writer[index] = block

    def finished(self, position: Index) -> bool:
        """Return whether a plane is complete."""
        return position in self._done

    def note(self, position: Index, record: PlaneRecord, kernel: StackKernel | None = None) -> None:
        """Record that a plane is complete."""
        entry = {
            "position": list(position),
            "record": record.to_json(),
            "kernel": None if kernel is None else kernel_to_json(kernel),
        }
        # Starts a new line, even if the last one was cut short.
        with writing(self._journal), self._journal.open("a", encoding="ascii") as journal:
            journal.write(f"\n{json.dumps(entry)}\n")
        self._done[position] = None

    def kept(self) -> Sequence[Kept]:
        """Return the records of the planes that an earlier run completed."""
        return [entry for entry in self._done.values() if entry is not None]

    def finish(self, bundle: Bundle) -> None:
        """Complete the file; it is renamed together with the others of a bundle."""
        self._writer.finish(bundle)

    def done(self) -> None:
        """Remove the journal, once the file has its final name."""
        with suppress(OSError):
            self._journal.unlink(missing_ok=True)

    def suspend(self) -> None:
        """Stop writing; formats that can be resumed keep their pixels for the next run."""
        self._writer.suspend()
        if not can_go_on(self._writer.path):
            self._journal.unlink(missing_ok=True)


def journal_of(path: Path) -> Path:
    """Return the journal that lists the complete planes of an incomplete output."""
    return path.with_name(f".{path.name}.planes")


def can_go_on(path: Path) -> bool:
    """Return whether an incomplete file is kept, so that another run can resume it."""
    return path.name.lower().endswith(".zarr")
