"""What a file format is, and what its writers share."""

from __future__ import annotations

import math
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_blindsr.errors import FileError, InputError
from napari_blindsr.images.atomic import check_free, writing
from napari_blindsr.images.lazy import block_for, region_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_blindsr.images.atomic import Bundle
    from napari_blindsr.images.metadata import Description, ImageFile


@dataclass(frozen=True, kw_only=True)
class Output:
    """An image that is to be written.

    Attributes
    ----------
    path : Path
    shape : tuple of int
    dtype : dtype
    description : Description
    chunks : tuple of int or None
        In which pieces it is stored, where the format lets one choose; None leaves it to the
        format.
    force : bool
        Replace what exists.
    resume : bool
        Go on with what an earlier run left, where the format can and it has the same shape,
        type, axes, chunks and run.
    run : str
        What identifies the computation: results of one are not completed by another.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    description: Description
    chunks: tuple[int, ...] | None = None
    force: bool = False
    resume: bool = False
    run: str = ""

    @property
    def nbytes(self) -> int:
        """How much room the pixels take, not compressed."""
        return math.prod(self.shape) * self.dtype.itemsize


class ImageWriter(Protocol):
    """An output that takes pixels as they come, in any order.

    Blocks may come from several threads, if no two cover the same chunk.

    Attributes
    ----------
    path : Path
        The final name.
    chunks : tuple of int
        In which pieces it is stored; blocks of whole chunks are written fastest.
    resumed : bool
        Whether an earlier run is gone on with.
    """

    path: Path
    chunks: tuple[int, ...]
    resumed: bool

    def write(self, index: tuple[int | slice, ...], block: NDArray[Any]) -> None:
        """Write a block of the array, at an index in the axes of the description.

        Raises
        ------
        FileError
            If the disk is full, for one; `suspend` or `abort` then.
        """

    def written(self, index: tuple[int | slice, ...]) -> bool:
        """Return whether a block with just this index was written, by an earlier run too."""

    def finish(self, bundle: Bundle | None = None) -> None:
        """Make it complete, and give it its final name: at once, or with the others of a bundle."""

    def suspend(self) -> None:
        """End writing, and keep what a later run can go on with; else as `abort`."""

    def abort(self) -> None:
        """Remove what is not complete. Harmless after `finish`."""


BlockKey = tuple[tuple[int, int], ...]


def block_key(region: tuple[slice, ...]) -> BlockKey:
    """Return what identifies a block."""
    return tuple((part.start, part.stop) for part in region)


def check_room(path: Path, needed: int) -> None:
    """Check that a file system has room for a file, before any work.

    Raises
    ------
    FileError
    """
    with suppress(OSError):
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise FileError(
                f"cannot write {path}: it needs {needed / 1e9:.3g} GB; {free / 1e9:.3g} GB are free"
            )


class RawWriter:
    """Writes a file whose pixels lie in one piece, under a temporary name until it is complete.

    Pixels are written, not mapped: a full disk is an error of a write, but kills a process
    that writes to mapped memory.

    Parameters
    ----------
    output : Output
    part : Path
        The file, with its head written and room for its pixels.
    offset : int
        Where the pixels begin.
    dtype : dtype
        With the byte order of the file.
    stored : str
        The axes of the output in the order of the file.
    """

    resumed = False

    def __init__(
        self, output: Output, part: Path, *, offset: int, dtype: np.dtype[Any], stored: str
    ) -> None:
        axes = output.description.axes
        self.path = output.path
        self.chunks = tuple(
            n if axis in "YXS" else 1 for axis, n in zip(axes, output.shape, strict=True)
        )
        self._part, self._offset, self._dtype = part, offset, dtype
        self._shape, self._force = output.shape, output.force
        self._order = tuple(axes.index(axis) for axis in stored)
        self._done: set[BlockKey] = set()
        self._lock = threading.Lock()
        with writing(self.path):
            # Not buffered: what does not fit is told by the write that it belongs to.
            self._stream = part.open("r+b", buffering=0)

    def write(self, index: tuple[int | slice, ...], block: NDArray[Any]) -> None:
        """Write a block, as `ImageWriter.write`."""
        region = region_of(index, self._shape)
        values = block_for(region, block, self._dtype).transpose(self._order)
        start = [region[axis].start for axis in self._order]
        with self._lock, writing(self.path):
            self._put(start, np.ascontiguousarray(values))
            self._done.add(block_key(region))

    def _put(self, start: list[int], values: NDArray[Any]) -> None:
        shape = [self._shape[axis] for axis in self._order]
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        # The last axes that are covered whole lie together, with a range of the one before.
        run = len(shape) - 1
        while run > 0 and values.shape[run] == shape[run]:
            run -= 1
        for outer in np.ndindex(*values.shape[:run]):
            position = [a + b for a, b in zip(start[:run], outer, strict=True)] + start[run:]
            first = sum(p * stride for p, stride in zip(position, strides, strict=True))
            self._stream.seek(self._offset + first * self._dtype.itemsize)
            left = memoryview(values[outer].reshape(-1).view(np.uint8).data)
            while left:
                left = left[self._stream.write(left) :]

    def written(self, index: tuple[int | slice, ...]) -> bool:
        """Return whether a block was written."""
        return block_key(region_of(index, self._shape)) in self._done

    def finish(self, bundle: Bundle | None = None) -> None:
        """Give the file its final name."""
        try:
            with writing(self.path):
                self._stream.close()
                check_free(self.path, force=self._force)
                if bundle is None:
                    self._part.replace(self.path)
                else:
                    bundle.add(self._part, self.path)
        except BaseException:
            self.abort()
            raise

    def suspend(self) -> None:
        """Remove the file: a later run begins anew."""
        self.abort()

    def abort(self) -> None:
        """Remove what is not complete."""
        with suppress(OSError):
            self._stream.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format.

    Attributes
    ----------
    name : str
    suffixes : tuple of str
        In lower case, with their dot.
    open : callable
        From a path, its axes or None where the file's own hold, and which of its images or None,
        to an `ImageFile`.
    check : callable
        Raises a `BlindSRError` if an output cannot be written, before any work.
    create : callable
        Begins an output that was checked.
    folder : bool
        Whether an image is a folder.
    several : bool
        Whether a file may hold several images.
    written : bool
        Whether results can be written in it.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Path, str | None, int | None], ImageFile]
    check: Callable[[Output], None]
    create: Callable[[Output], ImageWriter]
    folder: bool = False
    several: bool = False
    written: bool = True


def choose(path: Path, names: list[str], series: int | None) -> int:
    """Return which image of a file is meant.

    Parameters
    ----------
    path : Path
    names : list of str
        What the file calls its images.
    series : int or None
        The one that was asked for.

    Raises
    ------
    InputError
        If none was asked for and there are several, or there is no such one.
    """
    listed = ", ".join(f"{number} ({name})" for number, name in enumerate(names[:20]))
    listed += ", …" if len(names) > 20 else ""
    if series is None:
        if len(names) > 1:
            raise InputError(
                f"{path} holds {len(names)} images: {listed}; choose one with --series, or series="
            )
        return 0
    if not 0 <= series < len(names):
        raise InputError(f"series is {series}; {path} holds {listed}")
    return series
