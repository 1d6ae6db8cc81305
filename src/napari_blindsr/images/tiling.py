"""Regions and tiles of an image: their places, their context, and how they are blended."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


WHOLE = 2048 * 2048
"""Pixels of the largest result that is made in one go by default."""

USUAL_TILE = 1536
"""Default of the largest side of a tile of the result, in pixels."""

CONTEXT = 64
"""Pixels of the result on each side of a tile, beyond the kernel's reach and the blend."""

OPTIMISED_SIDE = 96
"""Largest side, in pixels of the input, of the crop that an optimisation takes the kernel from."""

GRID = 8
"""Pixels between two points of the coarsest grid that a network computes on."""

SHARED_TILE = 512
"""Least side of tiles that are made only to be shared out: their context is computed twice."""

TILES_A_REGION = 2
"""Tiles from one kernel of a field to the next."""

SMALLEST_FIELD_TILE = 64
"""Side, in pixels of the result, of the smallest tiles that a field asks for: smaller ones would
be restored several times over, as context of other tiles."""

BLEND = 16
"""Pixels of the result over which neighbouring tiles cross-fade."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of pixels: rows top … bottom − 1, columns left … right − 1.

    Examples
    --------
    >>> box = Box(top=10, left=20, bottom=40, right=60)
    >>> box.shape, box.scaled(2).shape
    ((30, 40), (60, 80))
    """

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Box:
        """Return the box of a whole image (h, w)."""
        return cls(top=0, left=0, bottom=shape[0], right=shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w)."""
        return self.bottom - self.top, self.right - self.left

    @property
    def middle(self) -> tuple[float, float]:
        """Row and column of its middle; pixels' own middles are whole numbers."""
        return (self.top + self.bottom - 1) / 2, (self.left + self.right - 1) / 2

    @property
    def slices(self) -> tuple[slice, slice]:
        """Of rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def moved(self, rows: int, columns: int) -> Box:
        """Return the box so many pixels further down and right."""
        return Box(
            top=self.top + rows,
            left=self.left + columns,
            bottom=self.bottom + rows,
            right=self.right + columns,
        )

    def scaled(self, scale: int) -> Box:
        """Return the pixels of a `scale` times finer image that the box covers."""
        return Box(
            top=scale * self.top,
            left=scale * self.left,
            bottom=scale * self.bottom,
            right=scale * self.right,
        )

    def grown(self, margin: int, shape: tuple[int, int]) -> Box:
        """Return the box with a margin on each side, as far as an image (h, w) goes."""
        return Box(
            top=max(0, self.top - margin),
            left=max(0, self.left - margin),
            bottom=min(shape[0], self.bottom + margin),
            right=min(shape[1], self.right + margin),
        )

    def at_least(self, side: int, shape: tuple[int, int]) -> Box:
        """Return the box widened to so many pixels a side, as far as an image (h, w) goes."""
        top, bottom = _widened(self.top, self.bottom, side, shape[0])
        left, right = _widened(self.left, self.right, side, shape[1])
        return Box(top=top, left=left, bottom=bottom, right=right)

    def to_json(self) -> list[int]:
        """Return top, left, bottom, right."""
        return [self.top, self.left, self.bottom, self.right]


def _widened(start: int, stop: int, side: int, length: int) -> tuple[int, int]:
    missing = max(0, min(side, length) - (stop - start))
    start = max(0, start - missing // 2)
    stop = min(length, max(stop, start + min(side, length)))
    return max(0, min(start, stop - min(side, length))), stop


def as_box(region: Box | tuple[slice, slice] | None, shape: tuple[int, int]) -> Box | None:
    """Return a region of an image (h, w), a box or two slices without steps, as a box."""
    if region is None or isinstance(region, Box):
        return region
    for cut in region:
        if cut.step not in (None, 1):
            raise InputError(f"the region has the step {cut.step}; expected rows and columns")
    bounds = [
        (
            0 if cut.start is None else int(cut.start),
            length if cut.stop is None else int(cut.stop),
        )
        for cut, length in zip(region, shape, strict=True)
    ]
    (top, bottom), (left, right) = bounds
    return Box(top=top, left=left, bottom=bottom, right=right)


def check_region(region: Box, shape: tuple[int, int]) -> None:
    """Raise an `InputError` if a region is no part of an image (h, w)."""
    inside = 0 <= region.top < region.bottom <= shape[0]
    inside = inside and 0 <= region.left < region.right <= shape[1]
    if not inside:
        raise InputError(
            f"the region is rows {region.top}:{region.bottom}, columns "
            f"{region.left}:{region.right}; expected a part of the image, which has "
            f"{shape[0]} rows and {shape[1]} columns"
        )


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A tile of an image, in pixels of the input.

    It is restored from the outer region, and delivers the inner one, which overlaps those of its
    neighbours by `BLEND`.
    """

    outer: Box
    inner: Box


def context_for(kernel_size: int, scale: int) -> int:
    """Return how many pixels of the input a tile sees on each side of its inner region."""
    return math.ceil((kernel_size // 2 + CONTEXT) / scale)


def tile_side(result: tuple[int, int], tile: int | Literal["auto"] | None) -> int | None:
    """Return the largest side of tiles for a result (H, W); None restores it in one go."""
    if tile == "auto":
        return USUAL_TILE if result[0] * result[1] > WHOLE else None
    return tile if tile is not None and max(result) > tile else None


def shared_side(
    shape: tuple[int, int], *, scale: int, planes: int, workers: int, tile: int | None
) -> int | None:
    """Return the largest side of tiles that give each of some workers something to do.

    What is restored of a plane is (h, w) in pixels of the input; `tile`, from `tile_side`, is an
    upper limit. If no side gives enough tiles, the smallest one that is worth its overlaps is
    returned; None is in one go.
    """
    longest = max(shape)
    side = tile
    for count in range(1, longest + 1):
        tried = scale * math.ceil(longest / count)
        if tile is not None and tried > tile:
            continue
        if planes * count_tiles(shape, scale, side) >= workers or (
            count > 1 and tried < SHARED_TILE
        ):
            break
        side = tried if count > 1 else side
    return side


def count_tiles(shape: tuple[int, int], scale: int, tile: int | None) -> int:
    """Return how many tiles `cut_tiles` makes of a region (h, w)."""
    if tile is None:
        return 1
    return math.prod(math.ceil(length / max(1, tile // scale)) for length in shape)


def field_tile(
    shape: tuple[int, int],
    field: tuple[int, int],
    *,
    scale: int,
    tile: int | Literal["auto"] | None,
) -> int:
    """Return the largest side of tiles where the blur varies: so small that one kernel will do.

    The image is (h, w); `field` has the rows and columns of its regions, each with its own kernel.
    """
    distances = [
        scale * length / count
        for length, count in zip(shape, field, strict=True)
        # Along one region nothing changes.
        if count > 1
    ]
    side = max(SMALLEST_FIELD_TILE, int(min(distances, default=USUAL_TILE) / TILES_A_REGION))
    return min(side, tile if isinstance(tile, int) else USUAL_TILE)


def cut_tiles(
    shape: tuple[int, int], *, scale: int, region: Box, tile: int | None, context: int
) -> list[list[Tile]]:
    """Cut a region of an image (h, w) into rows of tiles.

    `tile` is the largest side of a tile in the result, without its overlaps; None is one tile.
    `context` are the pixels of the image that a tile sees on each side of its inner region.
    """
    side = None if tile is None else max(1, tile // scale)
    overlap = max(1, BLEND // scale)
    return [
        [
            Tile(inner=inner, outer=_aligned(inner.grown(context, shape), shape))
            for left, right in _cuts(region.left, region.right, side, overlap)
            for inner in (Box(top=top, left=left, bottom=bottom, right=right),)
        ]
        for top, bottom in _cuts(region.top, region.bottom, side, overlap)
    ]


def _aligned(box: Box, shape: tuple[int, int]) -> Box:
    """Widen a box so that the coarsest grid of the image prior lies in it as in the whole image.

    That grid is counted from the first pixel and, for the mirrored image, from the last.
    """
    return Box(
        top=box.top - box.top % GRID,
        left=box.left - box.left % GRID,
        bottom=box.bottom + (shape[0] - box.bottom) % GRID,
        right=box.right + (shape[1] - box.right) % GRID,
    )


def _cuts(start: int, stop: int, side: int | None, overlap: int) -> list[tuple[int, int]]:
    """Cut an interval into pieces of about one length, that overlap."""
    length = stop - start
    count = 1 if side is None else math.ceil(length / side)
    edges = [start + length * index // count for index in range(count + 1)]
    before, after = overlap // 2, overlap - overlap // 2
    return [
        (low - before * (low > start), high + after * (high < stop))
        for low, high in itertools.pairwise(edges)
    ]


def most_detailed(planes: NDArray[np.float32], side: int) -> Box:
    """Return the square of at most `side` pixels a side with most detail in planes (C, h, w)."""
    shape = planes.shape[1], planes.shape[2]
    boxes = [
        Box(top=top, left=left, bottom=min(top + side, shape[0]), right=min(left + side, shape[1]))
        for top in _starts(shape[0], side)
        for left in _starts(shape[1], side)
    ]
    return max(boxes, key=lambda box: detail(planes[(..., *box.slices)]))


def _starts(length: int, side: int) -> list[int]:
    """Return where squares begin that cover a length and lie within it."""
    count = max(1, math.ceil(length / side))
    return [round(index * max(0, length - side) / max(1, count - 1)) for index in range(count)]


def detail(planes: NDArray[np.float32]) -> float:
    """Return the mean square of the differences between neighbouring pixels of planes (C, h, w).

    Flat and textureless parts of an image say nothing of its blur.
    """
    slopes = [np.square(np.diff(planes, axis=axis)).mean() for axis in (-2, -1)]
    return float(sum(slopes))


class Target(Protocol):
    """Takes the pixels of a result by item assignment: an array, in memory or in a file."""

    def __setitem__(self, index: tuple[slice, slice], block: NDArray[Any], /) -> None: ...


class TileBlender:
    """Blends tiles that come row by row, and hands on the rows that are complete.

    Neighbouring tiles, as from `cut_tiles`, cross-fade linearly. Only incomplete rows are held.
    """

    def __init__(self, rows: Sequence[Sequence[Tile]], *, scale: int, target: Target) -> None:
        self._scale = scale
        self._target = target
        self._rows = rows
        first, last = rows[0][0].inner, rows[-1][-1].inner
        self._top, self._left = scale * first.top, scale * first.left
        self._width = scale * (last.right - first.left)
        self._band: NDArray[np.float64] | None = None
        self._start = self._top

    def add(self, row: int, column: int, block: NDArray[Any]) -> None:
        """Add the inner region of a tile, (s·h, s·w) or (s·h, s·w, C).

        Tiles come from left to right, and rows from top to bottom.
        """
        inner = self._rows[row][column].inner.scaled(self._scale)
        single = len(self._rows) == 1 and len(self._rows[0]) == 1
        if single:
            self._target[:, :] = block
            return
        height = inner.bottom - self._start
        if self._band is None:
            self._band = np.zeros((height, self._width, *block.shape[2:]))
        elif len(self._band) < height:
            more = np.zeros((height - len(self._band), *self._band.shape[1:]))
            self._band = np.concatenate((self._band, more))
        rows, columns = self._weights(row, column)
        weights = rows[:, None] * columns[None, :]
        place = inner.moved(-self._start, -self._left).slices
        self._band[place] += block * weights.reshape(*weights.shape, *[1] * (block.ndim - 2))
        if column == len(self._rows[row]) - 1:
            self._hand_on(row)

    def _hand_on(self, row: int) -> None:
        """Give away the rows to which no later part adds."""
        assert self._band is not None
        last = row == len(self._rows) - 1
        end = self._rows[row][0].inner.bottom if last else self._rows[row + 1][0].inner.top
        count = self._scale * end - self._start
        begin = self._start - self._top
        self._target[begin : begin + count, :] = self._band[:count]
        self._band = self._band[count:].copy()
        self._start += count

    def _weights(self, row: int, column: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weights of a part along its rows and columns."""
        vertical = [line[0].inner for line in self._rows]
        horizontal = [part.inner for part in self._rows[row]]
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


def region_middles(length: int, count: int) -> NDArray[np.float64]:
    """Return the positions of the middles of `count` regions along an axis; pixel 0 is at 0."""
    return (np.arange(count) + 0.5) * length / count - 0.5


def region_weights(positions: NDArray[np.floating], length: int, count: int) -> NDArray[np.float64]:
    """Return the weights (n, count) of the regions along an axis at some positions (n,).

    Linear between the regions' middles, constant beyond the outermost ones; each position's sum to
    1.
    """
    steps = np.clip((positions + 0.5) * count / length - 0.5, 0, count - 1)
    weights: NDArray[np.float64] = np.maximum(0, 1 - np.abs(steps[:, None] - np.arange(count)))
    return weights
