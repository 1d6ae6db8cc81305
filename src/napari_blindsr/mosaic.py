"""Parts of an image joined to one, with no visible seams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_blindsr.parts import Part


class Target(Protocol):
    """What takes the pixels of a result: an array, in memory or in a file."""

    def __setitem__(self, index: tuple[slice, slice], block: NDArray[Any], /) -> None: ...


class Mosaic:
    """Joins parts that come row by row, and hands on the pixels that are complete.

    Neighbours go over into each other linearly. No more is held than the rows that are not
    complete.

    Parameters
    ----------
    rows : sequence of sequence of Part
        As `plan_parts` returns them.
    scale : int
    target : Target
        Rows and columns of the result.
    """

    def __init__(self, rows: Sequence[Sequence[Part]], *, scale: int, target: Target) -> None:
        self._scale = scale
        self._target = target
        self._rows = rows
        first, last = rows[0][0].kept, rows[-1][-1].kept
        self._top, self._left = scale * first.top, scale * first.left
        self._width = scale * (last.right - first.left)
        self._band: NDArray[np.float64] | None = None
        self._start = self._top

    def add(self, row: int, column: int, block: NDArray[Any]) -> None:
        """Take what is kept of a part: (s·h, s·w) or (s·h, s·w, C).

        Parts come from left to right, and rows from top to bottom.
        """
        kept = self._rows[row][column].kept.scaled(self._scale)
        single = len(self._rows) == 1 and len(self._rows[0]) == 1
        if single:
            self._target[:, :] = block
            return
        height = kept.bottom - self._start
        if self._band is None:
            self._band = np.zeros((height, self._width, *block.shape[2:]))
        elif len(self._band) < height:
            more = np.zeros((height - len(self._band), *self._band.shape[1:]))
            self._band = np.concatenate((self._band, more))
        rows, columns = self._weights(row, column)
        weights = rows[:, None] * columns[None, :]
        place = kept.moved(-self._start, -self._left).slices
        self._band[place] += block * weights.reshape(*weights.shape, *[1] * (block.ndim - 2))
        if column == len(self._rows[row]) - 1:
            self._hand_on(row)

    def _hand_on(self, row: int) -> None:
        """Give away the rows to which no later part adds."""
        assert self._band is not None
        last = row == len(self._rows) - 1
        end = self._rows[row][0].kept.bottom if last else self._rows[row + 1][0].kept.top
        count = self._scale * end - self._start
        begin = self._start - self._top
        self._target[begin : begin + count, :] = self._band[:count]
        self._band = self._band[count:].copy()
        self._start += count

    def _weights(self, row: int, column: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weights of a part along its rows and columns."""
        vertical = [line[0].kept for line in self._rows]
        horizontal = [part.kept for part in self._rows[row]]
        return (
            _ramps([(box.top, box.bottom) for box in vertical], row, self._scale),
            _ramps([(box.left, box.right) for box in horizontal], column, self._scale),
        )


def _ramps(pieces: list[tuple[int, int]], index: int, scale: int) -> NDArray[np.float64]:
    """Return weights of a piece that sum to 1 with those of the ones before and after it."""
    start, stop = pieces[index]
    weights = np.ones(scale * (stop - start))
    if index > 0 and (shared := scale * (pieces[index - 1][1] - start)) > 0:
        weights[:shared] *= (np.arange(shared) + 0.5) / shared
    if index + 1 < len(pieces) and (shared := scale * (stop - pieces[index + 1][0])) > 0:
        weights[-shared:] *= 1 - (np.arange(shared) + 0.5) / shared
    return weights
