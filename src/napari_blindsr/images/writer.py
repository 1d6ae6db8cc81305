"""What a file format is, and what its writers share."""

from __future__ import annotations

import math
import shutil
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import FileError, InputError
from napari_blindsr.images.atomic import check_free, writing
from napari_blindsr.images.lazy import full_index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import EllipsisType

    from numpy.typing import NDArray

    from napari_blindsr.images.atomic import Bundle
    from napari_blindsr.images.metadata import Description, ImageFile

    Part = int | slice | EllipsisType
    Region = tuple[slice, ...]


@dataclass(frozen=True, kw_only=True)
class Output:
    """An image that is to be written; the fields are those of `create_image`."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    description: Description
    force: bool = False
    resume: bool = False
    run: str = ""

    @property
    def nbytes(self) -> int:
        """How many bytes the pixels take, not compressed."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def lengths(self) -> dict[str, int]:
        """The length of each axis."""
        return dict(zip(self.description.axes, self.shape, strict=True))


class ImageWriter(ABC):
    """An image file that takes its pixels in blocks, by item assignment, in any order.

    The index is in the axes of the description, without steps. Assignment raises a `FileError` if
    the disk is full, for one; call `suspend` or `abort` then. Blocks may come from several threads.
    `path` is the final name; `resumed` says whether the file has pixels of an earlier run.
    """

    resumed = False

    def __init__(self, output: Output) -> None:
        self.path = output.path
        self._output = output
        self._lock = threading.Lock()

    def __setitem__(self, index: Part | tuple[Part, ...], block: NDArray[Any]) -> None:
        parts = full_index(index, self._output.shape)
        region = tuple(slice(p, p + 1, 1) if isinstance(p, int) else p for p in parts)
        if any(part.step != 1 for part in region):
            raise IndexError("a block with steps; expected one without")
        size = tuple(part.stop - part.start for part in region)
        if [n for n in block.shape if n != 1] != [n for n in size if n != 1]:
            raise ValueError(f"a block of {block.shape} values; expected {size}")
        values = block.astype(self._output.dtype, casting="same_kind", copy=False).reshape(size)
        with self._lock, writing(self.path):
            self._put(region, values)

    @abstractmethod
    def _put(self, region: Region, values: NDArray[Any]) -> None:
        """Write the pixels of a region."""

    @abstractmethod
    def finish(self, bundle: Bundle | None = None) -> None:
        """Complete the file and give it its final name: at once, or with the others of a bundle."""

    def suspend(self) -> None:
        """End writing, and keep what a later run can go on with; most formats keep nothing."""
        self.abort()

    @abstractmethod
    def abort(self) -> None:
        """Remove what is not complete. Harmless after `finish`."""


def check_room(path: Path, needed: int) -> None:
    """Raise a `FileError` if a file system has less room than a file needs, in bytes."""
    with suppress(OSError):
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise FileError(
                f"cannot write {path}: it needs {needed / 1e9:.3g} GB; {free / 1e9:.3g} GB are free"
            )


class RawWriter(ImageWriter):
    """Writes a file whose pixels lie in one piece, under a temporary name until it is complete.

    Pixels are written, not mapped: a full disk is an error of a write, but kills a process
    that writes to mapped memory. `part` has its head written and room for its pixels, `offset`
    bytes in; `dtype` has the byte order of the file, and `stored` its order of axes.
    """

    def __init__(
        self, output: Output, part: Path, *, offset: int, dtype: np.dtype[Any], stored: str
    ) -> None:
        super().__init__(output)
        self._part, self._offset, self._dtype = part, offset, dtype
        self._order = tuple(output.description.axes.index(axis) for axis in stored)
        with writing(self.path):
            # Not buffered: the write that does not fit is the one that fails.
            self._stream = part.open("r+b", buffering=0)

    def _put(self, region: Region, values: NDArray[Any]) -> None:
        values = np.ascontiguousarray(values.astype(self._dtype, copy=False).transpose(self._order))
        start = [region[axis].start for axis in self._order]
        shape = [self._output.shape[axis] for axis in self._order]
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

    def finish(self, bundle: Bundle | None = None) -> None:
        """Give the file its final name."""
        try:
            with writing(self.path):
                self._stream.close()
                check_free(self.path, force=self._output.force)
                if bundle is None:
                    self._part.replace(self.path)
                else:
                    bundle.add(self._part, self.path)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Remove what is not complete."""
        with suppress(OSError):
            self._stream.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format.

    `suffixes` are in lower case, with their dot; `open` takes a path, the axes that the caller
    names or None, and which image of the file or None; `check` raises a `BlindSRError` if an output
    cannot be written, before any work; `create` is None for formats that are only read. `folder`
    says whether an image is a folder, `several` whether a file may hold several images.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Path, str | None, int | None], ImageFile]
    check: Callable[[Output], None]
    create: Callable[[Output], ImageWriter] | None
    folder: bool = False
    several: bool = False

    @property
    def written(self) -> bool:
        """Whether results can be written in this format."""
        return self.create is not None


def refuse_to_write(output: Output) -> None:
    """Raise a `FileError`: formats that are only read would lose what a restoration brings."""
    raise FileError(
        f"cannot write {output.path}: results are not written in this format; "
        "expected .tif, .tiff, .png, .npy or .zarr"
    )


def choose(path: Path, names: list[str], series: int | None) -> int:
    """Return which image of a file, of those with some names, is meant.

    Raises an `InputError` if none was asked for and there are several, or there is no such one.
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
