"""Stacks: which axes an array has, its planes, and where their results belong."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PLANE_AXES = "YX"
SAMPLES = "S"
"""Red, green and blue of one pixel: restored together, with one kernel."""

CHANNEL = "C"
"""Pictures of different light: each has a blur of its own."""

UNNAMED = "QIJKLMNO"
"""Letters for axes that a file does not name, in the order in which they are given."""

Index = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The axes and the shape of an array.

    `axes` has one capital letter an axis: Y and X; S for the samples of RGB; any other letter, such
    as T, Z and C, for axes along which there are planes.
    """

    axes: str
    shape: tuple[int, ...]

    @property
    def loops(self) -> tuple[int, ...]:
        """The axes along which there are planes, by their place in the array."""
        return tuple(n for n, axis in enumerate(self.axes) if axis not in PLANE_AXES + SAMPLES)

    @property
    def loop_axes(self) -> str:
        """Their letters."""
        return "".join(self.axes[n] for n in self.loops)

    @property
    def loop_shape(self) -> tuple[int, ...]:
        """Their lengths."""
        return tuple(self.shape[n] for n in self.loops)

    @property
    def plane_shape(self) -> tuple[int, int]:
        """(h, w)."""
        return self.shape[self.axes.index("Y")], self.shape[self.axes.index("X")]

    @property
    def plane_axes(self) -> str:
        """The axes of a plane, as `restore` takes them."""
        return "YXC" if SAMPLES in self.axes else "YX"

    def indices(self, selection: Sequence[range]) -> list[Index]:
        """Return the indices of planes along the loop axes, the last axis fastest."""
        return list(itertools.product(*selection))

    def plane(self, array: Any, index: Index) -> Plane:
        """Return a plane that reads no more than what is asked of it."""
        return Plane(array=array, layout=self, index=index)

    def place(self, index: Index, rows: slice, columns: slice) -> tuple[int | slice, ...]:
        """Return the index of a block of a plane in an array of these axes."""
        place: list[int | slice] = [slice(None)] * len(self.axes)
        for n, at in zip(self.loops, index, strict=True):
            place[n] = at
        place[self.axes.index("Y")], place[self.axes.index("X")] = rows, columns
        return tuple(place)

    def arranged(self, block: NDArray[Any]) -> NDArray[Any]:
        """Return a block (h, w) or (h, w, 3) with its axes in the order that they have here."""
        kept = [axis for axis in self.axes if axis in PLANE_AXES + SAMPLES]
        return block.transpose([(PLANE_AXES + SAMPLES).index(axis) for axis in kept])

    def resized(self, selection: Sequence[range], plane: tuple[int, int]) -> Layout:
        """Return the layout of some planes, of another size (H, W)."""
        sizes = dict(zip(self.loop_axes, map(len, selection), strict=True))
        sizes |= dict(zip(PLANE_AXES, plane, strict=True))
        shape = tuple(
            sizes.get(axis, length) for axis, length in zip(self.axes, self.shape, strict=True)
        )
        return Layout(axes=self.axes, shape=shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """A plane of an array, (h, w) or (h, w, 3), of which only what is sliced is read."""

    array: Any
    layout: Layout
    index: Index

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        samples = (3,) if SAMPLES in self.layout.axes else ()
        return (*self.layout.plane_shape, *samples)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        kind: np.dtype[Any] = np.dtype(self.array.dtype)
        return kind

    def __getitem__(self, cut: tuple[slice, ...]) -> NDArray[Any]:
        """Read rows and columns."""
        block: NDArray[Any] = np.asanyarray(
            self.array[self.layout.place(self.index, cut[0], cut[1])]
        )
        kept = [axis for axis in self.layout.axes if axis in PLANE_AXES + SAMPLES]
        order = [kept.index(axis) for axis in (PLANE_AXES + SAMPLES)[: len(kept)]]
        return block.transpose(order)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read all."""
        return np.asarray(self[:, :], dtype=dtype)


def distinct_axes(axes: str) -> str:
    """Return axes with letters of their own for those without a name, or with a double."""
    free = [letter for letter in UNNAMED if letter not in axes or letter == "Q"]
    result = ""
    for letter in axes:
        named = "A" <= letter <= "Z" and letter != "Q" and letter not in result
        if not named and not free:
            raise InputError(
                f"the image has {len(axes)} dimensions; expected at most {len(UNNAMED)} that are "
                "not named"
            )
        result += letter if named else free.pop(0)
    return result


def parse_axes(axes: str | None, shape: Sequence[int]) -> Layout:
    """Return the layout of an array of a shape; axes None guesses "YX" or "YXS"."""
    lengths = tuple(int(n) for n in shape)
    size = " × ".join(map(str, lengths)) or "a single number"
    if axes is None:
        if len(lengths) == 2:
            axes = "YX"
        elif len(lengths) == 3 and lengths[2] == 3:
            axes = "YXS"
        else:
            raise InputError(
                f"the image is {size} and nothing tells what its axes are; expected them as "
                "letters, one an axis, such as axes='TCYX'"
            )
    if not all("A" <= axis <= "Z" for axis in axes) or len(set(axes)) < len(axes):
        raise InputError(f"axes are {axes!r}; expected different capital letters, such as 'TCYX'")
    if not set(PLANE_AXES) <= set(axes):
        raise InputError(f"axes are {axes!r}; expected Y and X among them")
    if len(axes) != len(lengths):
        raise InputError(f"the image is {size}, but axes {axes!r} mean {len(axes)} dimensions")
    if SAMPLES in axes and lengths[axes.index(SAMPLES)] != 3:
        raise InputError(
            f"the image is {size} with axes {axes!r}; expected 3 samples (S: red, green, blue), "
            "or C for channels"
        )
    if 0 in lengths:
        raise InputError(f"the image is empty ({size}); expected at least one pixel")
    return Layout(axes=axes, shape=lengths)


def parse_selection(selection: str | None, layout: Layout) -> tuple[range, ...]:
    """Return which planes along each loop axis are selected; None is everything.

    Such as "T=0:10,C=1": axes with an index or a range, its end excluded, negative numbers from the
    end; axes that are not named in full. An `InputError` if an axis is not there, or nothing is
    selected.
    """
    chosen = {axis: range(n) for axis, n in zip(layout.loop_axes, layout.loop_shape, strict=True)}
    for entry in (selection or "").split(","):
        if not entry.strip():
            continue
        axis, _, bounds = (text.strip() for text in entry.partition("="))
        if axis not in chosen:
            raise InputError(
                f"planes are {selection!r}; expected axes of {layout.loop_axes!r} with a number or "
                "a range, such as T=0:10"
            )
        chosen[axis] = _bounded(bounds, len(chosen[axis]), selection)
    return tuple(chosen[axis] for axis in layout.loop_axes)


def _bounded(bounds: str, length: int, selection: str | None) -> range:
    try:
        numbers = [int(text) if text.strip() else None for text in bounds.split(":")]
    except ValueError:
        numbers = []
    match numbers:
        case [int(at)]:
            inside = -length <= at < length
            found = range(length)[at : at + 1 or None] if inside else range(0)
        case [start, stop]:
            found = range(length)[slice(start, stop)]
        case _:
            found = range(0)
    if not found:
        raise InputError(
            f"planes are {selection!r}, of which {bounds!r} is none of {length}; expected a number "
            f"or a range within 0:{length}"
        )
    return found


def chain_axis(loop_axes: str, selection: Sequence[range]) -> int | None:
    """Return the loop axis along which planes follow each other: T, else Z, else the first one.

    Only axes with several planes count, channels never. None if there is no such axis.
    """
    long = [
        (("T", "Z").index(axis) if axis in "TZ" else 2, n)
        for n, (axis, chosen) in enumerate(zip(loop_axes, selection, strict=True))
        if axis != CHANNEL and len(chosen) > 1
    ]
    return min(long)[1] if long else None


def follow(indices: Sequence[Index], axis: int) -> list[list[Index]]:
    """Return planes in series along a loop axis; a series has one index along each other axis."""
    series: dict[Index, list[Index]] = {}
    for index in sorted(indices):
        series.setdefault((*index[:axis], *index[axis + 1 :]), []).append(index)
    return [series[key] for key in sorted(series)]
