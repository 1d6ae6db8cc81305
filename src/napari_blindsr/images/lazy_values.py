"""Views of lazy arrays: their values, or the order of their pixels, come about as they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.images.lazy import full_index, rearranged

if TYPE_CHECKING:
    from types import EllipsisType

    from numpy.typing import NDArray

    from napari_blindsr.images.metadata import LazyArray

    Part = int | slice | EllipsisType


@dataclass(frozen=True, eq=False)
class Linear:
    """An array of the values ``offset + factor * v``.

    Attributes
    ----------
    source : LazyArray
    offset, factor : float
    dtype : dtype
    """

    source: LazyArray
    offset: float
    factor: float
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """How long its axes are."""
        return tuple(self.source.shape)

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def __getitem__(self, index: Part | tuple[Part, ...]) -> NDArray[Any]:
        values = np.asarray(self.source[index]).astype(np.float64)
        return np.asarray(self.offset + self.factor * values).astype(self.dtype)


@dataclass(frozen=True, eq=False)
class Palette:
    """An array of the colours that the values of another stand for.

    Attributes
    ----------
    source : LazyArray
        Of unsigned integers.
    table : ndarray, (n,) or (n, 3)
        The grey value, or red, green and blue, of each; these become the last axis.
    """

    source: LazyArray
    table: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """How long its axes are."""
        return (*self.source.shape, *self.table.shape[1:])

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values."""
        return self.table.dtype

    def __getitem__(self, index: Part | tuple[Part, ...]) -> NDArray[Any]:
        parts = full_index(index, self.shape)
        count = len(self.source.shape)
        stored = np.asarray(self.source[parts[:count]])
        values = self.table[np.minimum(stored, len(self.table) - 1)]
        return np.asarray(values[(..., *parts[count:])] if parts[count:] else values)


@dataclass(frozen=True)
class Flipped:
    """An array some of whose axes run the other way.

    Attributes
    ----------
    source : LazyArray
    flipped : tuple of int
        Which axes.
    """

    source: LazyArray
    flipped: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """How long its axes are."""
        return tuple(self.source.shape)

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values."""
        return self.source.dtype

    def __getitem__(self, index: Part | tuple[Part, ...]) -> NDArray[Any]:
        read: list[int | slice] = []
        order: list[slice] = []
        for axis, part in enumerate(full_index(index, self.shape)):
            length = self.shape[axis]
            if axis not in self.flipped:
                read.append(part)
            elif isinstance(part, int):
                read.append(length - 1 - part)
            else:
                read.append(slice(length - part.stop, length - part.start))
            if isinstance(part, slice):
                order.append(slice(None, None, -part.step if axis in self.flipped else 1))
        return np.asarray(self.source[tuple(read)])[tuple(order)]


# TIFF 6.0 and EXIF 2.3, tag 274: rows and columns, and whether they change places before that.
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
    """Return an array as it is to be looked at, and whether rows and columns changed places.

    Parameters
    ----------
    array : LazyArray
    axes : str
        What it has, and will have.
    orientation : int
        1…8, as in tag 274 of TIFF and EXIF.
    """
    flips, swapped = _FLIPS.get(orientation, _FLIPS[1])
    if swapped:
        # The axis that was Y becomes X.
        array = rearranged(array, axes, axes.translate(str.maketrans("YX", "XY")))
    turned = tuple(n for n, axis in enumerate(axes) if axis in flips)
    return (Flipped(array, turned) if turned else array), swapped
