"""Indices of arrays, and views of arrays that are read when they are sliced."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


def full_index(index: Part | tuple[Part, ...], shape: Sequence[int]) -> tuple[int | slice, ...]:
    """Return an index with one entry an axis, none negative and every slice with its ends.

    Raises
    ------
    IndexError
        If it is outside the array, has too many entries, or steps backwards.
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


def region_of(index: Part | tuple[Part, ...], shape: Sequence[int]) -> tuple[slice, ...]:
    """Return the block that an index means, one slice an axis.

    Raises
    ------
    IndexError
        If it is outside the array or has steps.
    """
    parts = full_index(index, shape)
    region = tuple(slice(p, p + 1, 1) if isinstance(p, int) else p for p in parts)
    if any(part.step != 1 for part in region):
        raise IndexError("a block with steps; expected one without")
    return region


def block_for(region: tuple[slice, ...], block: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a block with the dimensions of its region and a type.

    Raises
    ------
    ValueError, TypeError
        If it has another shape, axes of length 1 aside, or a type that does not fit.
    """
    size = tuple(part.stop - part.start for part in region)
    if [n for n in block.shape if n != 1] != [n for n in size if n != 1]:
        raise ValueError(f"a block of {block.shape} values; expected {size}")
    return block.astype(dtype, casting="same_kind", copy=False).reshape(size)


@dataclass(frozen=True)
class View:
    """A part of another array, its axes in another order.

    Attributes
    ----------
    source : LazyArray
    order : tuple of int
        The axes of the source that are kept, in the order of this one.
    lengths : tuple of int
        How much of each axis of the source is kept, from its start; of an axis that is not
        in `order`, the first alone is.
    """

    source: LazyArray
    order: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """How long its axes are."""
        return tuple(self.lengths[axis] for axis in self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values, in native byte order."""
        return self.source.dtype

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.order)

    def __getitem__(self, index: Part | tuple[Part, ...]) -> NDArray[Any]:
        parts: list[int | slice] = [0] * self.source.ndim
        kept = []
        for axis, part in zip(self.order, full_index(index, self.shape), strict=True):
            parts[axis] = part
            if isinstance(part, slice):
                kept.append(axis)
        values = np.asarray(self.source[tuple(parts)])
        return values.transpose(np.argsort(np.argsort(kept)))


def rearranged(
    array: LazyArray, axes: str, target: str, lengths: dict[str, int] | None = None
) -> LazyArray:
    """Return an array with other axes.

    Parameters
    ----------
    array : LazyArray
    axes : str
        What it has.
    target : str
        What it shall have, of the same letters; of those that are left out the first is taken.
    lengths : dict of str to int, optional
        Of axes that are to be cut short.
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
    """Return an array whose samples, if it has any, are red, green and blue, and the last axis.

    Parameters
    ----------
    array : LazyArray
    axes : str
    notes : tuple of str
        To which is added what was done.
    colours : bool
        Whether three samples are red, green and blue; samples of another number are channels.
    alpha : bool
        Whether the last sample is opacity, which is dropped.
    """
    if "S" not in axes:
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


@dataclass(frozen=True)
class MappedArray:
    """An array that lies in one piece in a file.

    The file is open only while it is sliced, so that it can be moved or replaced meanwhile.

    Attributes
    ----------
    path : Path
    offset : int
        In bytes.
    shape : tuple of int
    stored : dtype
        Of the file, with its byte order.
    columns_first : bool
        Fortran's order instead of C's.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    columns_first: bool = False

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values, in native byte order."""
        return self.stored.newbyteorder("=")

    def __reduce__(self) -> tuple[type[MappedArray], tuple[Any, ...]]:
        # Whoever unpickles it may be in another folder.
        place = self.path.absolute(), self.offset, self.shape, self.stored, self.columns_first
        return MappedArray, place

    @property
    def nbytes(self) -> int:
        """How many bytes of the file it takes."""
        return math.prod(self.shape) * self.stored.itemsize

    def __getitem__(self, index: Part | tuple[Part, ...]) -> NDArray[Any]:
        parts = full_index(index, self.shape)
        try:
            mapped = np.memmap(
                self.path,
                self.stored,
                "r",
                self.offset,
                self.shape,
                "F" if self.columns_first else "C",
            )
        except (OSError, ValueError) as error:
            raise FileError(f"cannot read {self.path}: {error}") from error
        # A copy in native byte order: the mapping ends here.
        return np.array(mapped[parts], self.dtype)
