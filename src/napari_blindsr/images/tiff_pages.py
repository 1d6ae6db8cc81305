"""The pages of a TIFF file: decoding no more of them than what is asked for."""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_blindsr.errors import FileError
from napari_blindsr.images.lazy import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_blindsr.images.lazy import FullIndex


WHOLE_PAGE = 1 << 26
"""Up to how many bytes of strips a page is read at once."""

JPEG_LIKE = (6, 7, 33007, 34892)
"""Compressions whose strips and tiles share tables."""


class TiffPages(Stored):
    """An image of a TIFF file in several pieces, or compressed.

    The file stays open as long as this lives. Only the pages are decoded that are asked for, and
    of large or tiled ones only the strips or tiles.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __init__(self, path: Path, number: int = 0) -> None:
        self.path, self.number = path, number
        self._lock = threading.Lock()
        tif = tifffile.TiffFile(path)
        weakref.finalize(self, tif.close)
        self._series: Any = tif.series[number]
        self.shape = tuple(self._series.shape)
        self.dtype = np.dtype(self._series.dtype).newbyteorder("=")
        page = self._series.keyframe
        self._whole = not page.is_tiled and page.nbytes <= WHOLE_PAGE
        self._inner = _inner_axes(self.shape, page.shaped)
        if math.prod(self.shape[: -self._inner or None]) != len(self._series):
            raise ValueError(f"{len(self._series)} pages for an image of {self.shape}")

    def __reduce__(self) -> tuple[type[TiffPages], tuple[Path, int]]:
        return TiffPages, (self.path.absolute(), self.number)

    def _read(self, parts: FullIndex) -> NDArray[Any]:
        try:
            with self._lock:
                return self._pages(parts)
        except Exception as error:
            # Damaged files fail in every way there is.
            where = ", ".join(
                str(p) if isinstance(p, int) else f"{p.start}:{p.stop}" for p in parts
            )
            raise FileError(f"cannot read [{where}] of {self.path}: {why(error)}") from error

    def _pages(self, parts: FullIndex) -> NDArray[Any]:
        """Return a part, page by page."""
        steps = [p if isinstance(p, slice) else slice(p, p + 1, 1) for p in parts]
        ranges = [range(step.start, step.stop, step.step) for step in steps]
        split = self.ndim - self._inner
        values = np.zeros([len(r) for r in ranges], self.dtype)
        lengths = self.shape[:split]
        for at, position in zip(
            np.ndindex(values.shape[:split]), itertools.product(*ranges[:split]), strict=True
        ):
            number = int(np.ravel_multi_index(position, lengths)) if lengths else 0
            page = self._series[number]
            # OME-TIFF may lack pages: they are 0.
            if page is not None:
                with _open_file(page):
                    values[at] = self._page(page, steps[split:])
        return values[tuple(slice(None) if isinstance(p, slice) else 0 for p in parts)]

    def _page(self, page: Any, steps: list[slice]) -> NDArray[Any]:
        """Return a part of one page."""
        lengths = self.shape[self.ndim - self._inner :]
        if self._whole:
            whole: NDArray[Any] = np.asarray(page.asarray(), self.dtype).reshape(lengths)
            return whole[tuple(steps)]
        # A page is samples, depth, length, width, samples in each pixel: axes longer than 1 are
        # those of the image, in its order.
        longer = iter([step for step, n in zip(steps, lengths, strict=True) if n != 1])
        asked = [slice(0, 1, 1) if n == 1 else next(longer) for n in page.keyframe.shaped]
        values = read_segments(page, [(a.start, a.stop) for a in asked], self.dtype)
        values = values[tuple(slice(None, None, a.step) for a in asked)]
        return values.reshape([len(range(*s.indices(s.stop))) for s in steps])


def _inner_axes(shape: tuple[int, ...], shaped: tuple[int, ...]) -> int:
    """Return how many of the last axes of an image lie within a page."""
    inner = [n for n in shaped if n != 1]
    for count in range(len(shape) + 1):
        if [n for n in shape[len(shape) - count :] if n != 1] == inner:
            return count
    raise ValueError(f"pages of {shaped} for an image of {shape}")


def read_segments(page: Any, asked: list[tuple[int, int]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a part of a page from those of its strips or tiles that have some of it.

    `asked` has the first and last position, exclusive, of each axis of `TiffPage.shaped`.
    """
    key = page.keyframe
    planes, depth, length, width, _ = key.shaped
    size = (
        (1, key.tiledepth, key.tilelength, key.tilewidth)
        if key.is_tiled
        else (1, 1, key.rowsperstrip, width)
    )
    grid = [-(-n // step) for n, step in zip((planes, depth, length, width), size, strict=True)]
    needed = [
        range(low // step, -(-high // step))
        for (low, high), step in zip(asked[:4], size, strict=True)
    ]
    values = np.zeros([high - low for low, high in asked], dtype)
    for place in itertools.product(*needed):
        block, first = _segment(page, int(np.ravel_multi_index(place, grid)))
        if block is None:
            continue
        low = [max(f, a[0]) for f, a in zip(first, asked, strict=True)]
        high = [min(f + n, a[1]) for f, n, a in zip(first, block.shape, asked, strict=True)]
        target = [slice(b - a[0], e - a[0]) for b, e, a in zip(low, high, asked, strict=True)]
        origin = [slice(b - f, e - f) for b, e, f in zip(low, high, first, strict=True)]
        values[tuple(target)] = block[tuple(origin)]
    return values


def _segment(page: Any, number: int) -> tuple[NDArray[Any] | None, tuple[int, ...]]:
    """Return a strip or tile, None if the file leaves it out, and where in the page it begins."""
    key, stream, tables = page.keyframe, page.parent.filehandle, {}
    if key.compression in JPEG_LIKE:
        tables = {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader}
    stream.seek(page.dataoffsets[number])
    data = stream.read(page.databytecounts[number]) or None
    block, first, lengths = key.decode(data, number, **tables)
    if block is not None:
        block = block[tuple(slice(0, n) for n in lengths[:3])][None]
    return block, (*first[:4], 0)


@contextmanager
def _open_file(page: Any) -> Iterator[None]:
    """Within this context the file of a page is open; of many files some are closed meanwhile."""
    stream = page.parent.filehandle
    closed = stream.closed
    if closed:
        stream.open()
    try:
        yield
    finally:
        if closed:
            stream.close()


def why(error: Exception) -> str:
    """Return in a few words what is wrong with a file."""
    reason = str(error).split("\n", 1)[0]
    if "imagecodecs" in reason:
        return "its compression needs another package: pip install imagecodecs"
    return f"damaged or unknown TIFF image ({reason or type(error).__name__})"
