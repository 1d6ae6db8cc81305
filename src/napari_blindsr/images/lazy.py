"""Arrays of which only what is sliced is read: parts of files, and views of other arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_blindsr.errors import FileError
from napari_blindsr.images.axes import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import EllipsisType

    from numpy.typing import NDArray

    from napari_blindsr.images.metadata import LazyArray

    Part = int | slice | EllipsisType
    FullIndex = tuple[int | slice, ...]


def full_index(index: Part | tuple[Part, ...], shape: Sequence[int]) -> FullIndex:
    """Return an index with one entry an axis, none negative and every slice with its ends.

    An `IndexError` if it is outside the array, has too many entries, or steps backwards.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    at = parts.index(Ellipsis)
    missing = len(shape) - len(parts) + 1
    if missing < 0:
        raise IndexError(f"{len(parts) - 1} indices for an array of {len(shape)} dimensions")
    parts[at : at + 1] = [slice(None)] * missing
    return tuple(_full(part, length) for part, length in zip(parts, shape, strict=True))


def _full(part: Part, length: int) -> int | slice:
    if isinstance(part, slice):
        start, stop, step = part.indices(length)
        if step < 1:
            raise IndexError(f"a slice with step {step}; expected 1 or more")
        return slice(start, max(start, stop), step)
    if isinstance(part, int | np.integer):
        position = int(part) + (length if part < 0 else 0)
        if 0 <= position < length:
            return position
        raise IndexError(f"index {part} of an axis of length {length}")
    raise IndexError(f"an index {part!r}; expected integers, slices and an ellipsis")


class Sliced:
    """A `LazyArray`: a subclass has a shape and a type, and reads the part at a full index."""

    if TYPE_CHECKING:

        @property
        def shape(self) -> tuple[int, ...]:
            """The lengths of the axes."""

        @property
        def dtype(self) -> np.dtype[Any]:
            """The type of the values, in native byte order."""

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Part | tuple[Part, ...]) -> NDArray[Any]:
        return self._read(full_index(index, self.shape))

    def _read(self, parts: FullIndex) -> NDArray[Any]:
        raise NotImplementedError


class Stored(Sliced):
    """An array in a file, which is opened by name wherever the array is unpickled."""

    path: Path


@dataclass(frozen=True, eq=False)
class Derived(Sliced):
    """A view of another array, as long and of the same type unless a subclass says otherwise."""

    source: LazyArray

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return tuple(self.source.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values, in native byte order."""
        return self.source.dtype


def file_of(array: Any) -> Path | None:
    """Return the file that an array is read from wherever it is unpickled, if there is one."""
    while isinstance(array, Derived):
        array = array.source
    return array.path.absolute() if isinstance(array, Stored) else None


@dataclass(frozen=True, eq=False)
class View(Derived):
    """A part of another array, its axes in another order.

    `order` has the axes of the source that are kept, in the order of this array, and of the others
    the first position is taken; `lengths` says how much of each axis of the source is kept.
    """

    order: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return tuple(self.lengths[axis] for axis in self.order)

    def _read(self, parts: FullIndex) -> NDArray[Any]:
        asked: list[int | slice] = [0] * self.source.ndim
        kept = []
        for axis, part in zip(self.order, parts, strict=True):
            asked[axis] = part
            if isinstance(part, slice):
                kept.append(axis)
        values = np.asarray(self.source[tuple(asked)])
        return values.transpose(np.argsort(np.argsort(kept)))


@dataclass(frozen=True, eq=False)
class Flipped(Derived):
    """An array some of whose axes, those in `flipped`, run the other way."""

    flipped: tuple[int, ...]

    def _read(self, parts: FullIndex) -> NDArray[Any]:
        read: list[int | slice] = []
        order: list[slice] = []
        for axis, (part, length) in enumerate(zip(parts, self.shape, strict=True)):
            if axis not in self.flipped:
                read.append(part)
            elif isinstance(part, int):
                read.append(length - 1 - part)
            else:
                read.append(slice(length - part.stop, length - part.start))
            if isinstance(part, slice):
                order.append(slice(None, None, -part.step if axis in self.flipped else 1))
        return np.asarray(self.source[tuple(read)])[tuple(order)]


@dataclass(frozen=True, eq=False)
class Linear(Derived):
    """An array of the values ``offset + factor * v``, of type `kind`."""

    offset: float
    factor: float
    kind: np.dtype[Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        return self.kind

    def _read(self, parts: FullIndex) -> NDArray[Any]:
        values = np.asarray(self.source[parts]).astype(np.float64)
        return np.asarray(self.offset + self.factor * values).astype(self.kind)


@dataclass(frozen=True, eq=False)
class Palette(Derived):
    """An array of the colours, along a new last axis, or grey values that unsigned integers mean.

    `table`, (n,) or (n, 3), has the grey value, or red, green and blue, of each integer.
    """

    table: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return (*self.source.shape, *self.table.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        return self.table.dtype

    def _read(self, parts: FullIndex) -> NDArray[Any]:
        count = len(self.source.shape)
        stored = np.asarray(self.source[parts[:count]])
        values = self.table[np.minimum(stored, len(self.table) - 1)]
        return np.asarray(values[(..., *parts[count:])] if parts[count:] else values)


def rearranged(
    array: LazyArray, axes: str, target: str, lengths: dict[str, int] | None = None
) -> LazyArray:
    """Return an array with its axes in the order of `target`, some of the same letters.

    Of axes that are left out the first position is taken; `lengths` cuts others short.
    """
    if axes == target and not lengths:
        return array
    kept = {**dict(zip(axes, array.shape, strict=True)), **(lengths or {})}
    return View(array, tuple(axes.index(letter) for letter in target), tuple(kept[a] for a in axes))


def colour_last(
    array: LazyArray,
    axes: str,
    notes: tuple[str, ...],
    *,
    colours: bool = True,
    alpha: bool = False,
) -> tuple[LazyArray, str, tuple[str, ...]]:
    """Return an array whose samples (S), if any, are red, green and blue and come last; and notes.

    Samples are channels unless there are three and `colours` is set; with `alpha`, the last one is
    opacity and dropped.
    """
    # `checked` refuses axes of another number.
    if "S" not in axes or len(axes) != array.ndim:
        return array, axes, notes
    whole = array.shape[axes.index("S")]
    count = whole - 1 if alpha and whole > 1 else whole
    if count < whole:
        notes = (*notes, "the alpha channel was dropped")
    cut = {"S": count} if count < whole else None
    others = axes.replace("S", "")
    if count == 1:
        return rearranged(array, axes, others, cut), others, notes
    if colours and count == 3:
        return rearranged(array, axes, others + "S", cut), others + "S", notes
    letter = "C" if "C" not in axes else next(x for x in UNNAMED if x not in axes)
    notes = (*notes, f"the {count} samples of a pixel are no colours: they are channels")
    return rearranged(array, axes, axes, cut), axes.replace("S", letter), notes


# TIFF 6.0 and EXIF 2.3, tag 274: flipped axes, and whether rows and columns change places first.
_FLIPS: dict[int, tuple[str, bool]] = {
    1: ("", False),
    2: ("X", False),
    3: ("YX", False),
    4: ("Y", False),
    5: ("", True),
    6: ("X", True),
    7: ("YX", True),
    8: ("Y", True),
}


def upright(array: LazyArray, axes: str, orientation: int) -> tuple[LazyArray, bool]:
    """Return an array upright, by tag 274 of TIFF, and whether rows and columns changed places."""
    flips, swapped = _FLIPS.get(orientation, _FLIPS[1])
    if swapped:
        # The axis that was Y becomes X.
        array = rearranged(array, axes, axes.translate(str.maketrans("YX", "XY")))
    turned = tuple(n for n, axis in enumerate(axes) if axis in flips)
    return (Flipped(array, turned) if turned else array), swapped


@dataclass(frozen=True)
class MappedArray(Stored):
    """An array that lies in one piece in a file, `offset` bytes in, in C or Fortran order.

    The file is open only while it is sliced, so that it can be moved or replaced meanwhile.
    `stored` is the type in the file, with its byte order.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    columns_first: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values, in native byte order."""
        return self.stored.newbyteorder("=")

    def __reduce__(self) -> tuple[type[MappedArray], tuple[Any, ...]]:
        # Whoever unpickles it may be in another folder.
        place = self.path.absolute(), self.offset, self.shape, self.stored, self.columns_first
        return MappedArray, place

    @property
    def nbytes(self) -> int:
        """How many bytes of the file it takes."""
        return math.prod(self.shape) * self.stored.itemsize

    def _read(self, parts: FullIndex) -> NDArray[Any]:
        order: Literal["C", "F"] = "F" if self.columns_first else "C"
        try:
            mapped = np.memmap(self.path, self.stored, "r", self.offset, self.shape, order)
        except (OSError, ValueError) as error:
            raise FileError(f"cannot read {self.path}: {error}") from error
        # A copy in native byte order: the mapping ends here.
        return np.array(mapped[parts], self.dtype)
