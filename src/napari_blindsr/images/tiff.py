"""TIFF: plain, ImageJ and OME-TIFF; read in part, and written plane by plane or by tiles."""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tifffile

from napari_blindsr.errors import BlindSRError, FileError, first_line
from napari_blindsr.images.atomic import check_output, part_of, writing
from napari_blindsr.images.axes import distinct_axes
from napari_blindsr.images.lazy import MappedArray, Stored, colour_last, upright
from napari_blindsr.images.metadata import Description, ImageFile
from napari_blindsr.images.tiff_meaning import (
    check_companions,
    check_expansion,
    check_pages,
    listening,
    meaning_of,
    warnings_as_notes,
)
from napari_blindsr.images.tiff_metadata import (
    imagej_options,
    ome_options,
    plain_options,
    plane_options,
    read_metadata,
)
from napari_blindsr.images.writer import (
    Format,
    ImageWriter,
    Output,
    RawWriter,
    check_room,
    choose,
    refuse_to_write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_blindsr.images.lazy import FullIndex
    from napari_blindsr.images.metadata import LazyArray


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
    reason = first_line(error)
    if "imagecodecs" in reason:
        return "its compression needs another package: pip install imagecodecs"
    return f"damaged or unknown TIFF image ({reason})"


COMPANIONS = ("thumbnail", "label", "macro")
"""Names that slide scanners give to the small images beside the main one."""


def open_tiff(path: Path, axes: str | None, series: int | None) -> ImageFile:
    """Open an image of a file, at its full size if it is there in several."""
    try:
        return _open(path, axes, series)
    except BlindSRError:
        raise
    except tifffile.TiffFileError as error:
        raise FileError(f"cannot read {path}: it is no TIFF image") from error
    except Exception as error:
        # Damaged files fail in every way there is.
        raise FileError(f"cannot read {path}: {why(error)}") from error


def choose_series(path: Path, tif: tifffile.TiffFile, number: int | None) -> int:
    """Return which image of a file is meant; small companions of a slide do not count.

    Raises an `InputError` if it is not clear, or there is no such one.
    """
    if not tif.series:
        raise FileError(f"cannot read {path}: it holds no image")
    names = [
        f"{series.name} {' × '.join(map(str, series.shape))} {series.axes}".strip()
        for series in tif.series
    ]
    main = [
        n
        for n, s in enumerate(tif.series)
        if s.name.lower() not in COMPANIONS and not s.keyframe.is_reduced
    ]
    if number is None and len(main) == 1:
        return main[0]
    return choose(path, names, number)


def _open(path: Path, axes: str | None, number: int | None) -> ImageFile:
    with listening() as said, tifffile.TiffFile(path) as tif:
        notes = check_companions(path, tif)
        number = choose_series(path, tif, number)
        series = tif.series[number]
        notes = (*notes, *check_pages(path, tif, number))
        meaning = meaning_of(tif, series)
        stored = distinct_axes(series.axes)
        description = read_metadata(tif, number, meaning.colour_map)
        # Those of several files lie at the same offsets, but not in one file.
        offset = None if series.is_multifile else series.dataoffset
        shape, dtype = tuple(series.shape), np.dtype(series.dtype)
        length = tif.filehandle.size
        order = tif.byteorder
        handles = (page.parent.filehandle for page in series.pages if page is not None)
        files = {handle.name: handle.size for handle in handles}
    array: LazyArray
    if offset is None:
        check_expansion(path, math.prod(shape) * dtype.itemsize, sum(files.values()))
        array = TiffPages(path, number)
        # What cannot be decoded is refused before the work.
        _ = array[tuple(slice(0, 1) for _ in shape)]
    else:
        array = MappedArray(path, offset, shape, dtype.newbyteorder(order))
        if offset + array.nbytes > length:
            raise FileError(
                f"cannot read {path}: damaged or unknown TIFF image ({length} bytes; expected "
                f"{offset + array.nbytes})"
            )
    array, stored = meaning.applied(array, stored)
    stored = axes or stored
    size = description.pixel_size
    if len(stored) == array.ndim:
        array, swapped = upright(array, stored, meaning.orientation)
        if swapped and size is not None:
            size = replace(size, y=size.x, x=size.y)
        array, stored, notes = colour_last(
            array,
            stored,
            notes,
            colours=meaning.colours or axes is not None,
            alpha=meaning.alpha,
        )
    description = replace(
        description,
        axes=stored,
        pixel_size=size,
        notes=(*notes, *meaning.notes, *warnings_as_notes(said)),
    )
    return ImageFile(array=array, description=description)


SUFFIXES = (".tif", ".tiff")
OME_SUFFIXES = (".ome.tif", ".ome.tiff")
_OME_AXES = frozenset("TZCYXS")
_OME_TYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8")


def check_tiff(output: Output) -> None:
    """Check that an image can be written, and held."""
    check_output(output.path, suffixes=SUFFIXES, force=output.force)
    code = output.dtype.str[1:]
    if output.path.name.lower().endswith(OME_SUFFIXES) and (
        code not in _OME_TYPES or not set(output.description.axes) <= _OME_AXES
    ):
        raise FileError(
            f"cannot write {output.path}: OME-TIFF does not hold a {output.dtype} image with axes "
            f"{output.description.axes}; expected axes of {''.join(sorted(_OME_AXES))}, 8- to "
            "32-bit integers, float32 or float64; or a name that ends in .zarr, or in .tif alone"
        )
    check_room(output.path, output.nbytes)


def create_tiff(output: Output) -> ImageWriter:
    """Begin an image; its planes lie one behind the other, not compressed."""
    part = part_of(output.path)
    stored, options = _layout(output)
    with writing(output.path):
        try:
            made = tifffile.imwrite(
                part,
                shape=tuple(output.lengths[axis] for axis in stored),
                dtype=output.dtype,
                returnoffset=True,
                **options,
            )
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        assert made is not None  # not compressed, so in one piece
        with part.open("rb") as stream:
            order: Literal["<", ">"] = ">" if stream.read(2) == b"MM" else "<"
    return RawWriter(
        output, part, offset=made[0], dtype=output.dtype.newbyteorder(order), stored=stored
    )


def _layout(output: Output) -> tuple[str, dict[str, Any]]:
    """Return the axes in the order of the file, and the options that describe it."""
    given = output.description
    # Planes are what TIFF consists of.
    planes = "YXS" if "S" in given.axes else "YX"
    stored = "".join(axis for axis in given.axes if axis not in planes) + planes
    description = replace(given, axes=stored)
    if not output.path.name.lower().endswith(OME_SUFFIXES):
        ome = given.pixel_size is not None and given.pixel_size.flavour != "tags"
        plain = not (given.channel_names or given.channel_colors or given.displays or given.labels)
        if stored == planes and plain and (output.dtype.str[1:] in _OME_TYPES or not ome):
            return stored, plane_options(colour=planes == "YXS", size=given.pixel_size)
        if given.flavour == "imagej":
            hyperstack = _hyperstack(output, description)
            if hyperstack is not None:
                return hyperstack
    if output.dtype.str[1:] in _OME_TYPES and set(stored) <= _OME_AXES:
        return stored, ome_options(description)
    return stored, plain_options(description)


_IMAGEJ_ORDER = "TZCYXS"
_IMAGEJ_TYPES = ("u1", "u2", "f4")
_IMAGEJ_COLOUR_TYPES = ("u1",)
# Offsets of ordinary TIFF are of 32 bits; the rest is left for the head.
_IMAGEJ_LIMIT = 2**32 - 2**25


def _hyperstack(output: Output, description: Description) -> tuple[str, dict[str, Any]] | None:
    stored = "".join(axis for axis in _IMAGEJ_ORDER if axis in description.axes)
    types = _IMAGEJ_COLOUR_TYPES if "S" in stored else _IMAGEJ_TYPES
    if len(stored) < len(description.axes) or output.dtype.str[1:] not in types:
        return None
    if output.nbytes > _IMAGEJ_LIMIT:
        return None
    shape = [output.lengths[axis] for axis in stored]
    options = imagej_options(replace(description, axes=stored), shape)
    return None if options is None else (stored, options)


FORMAT = Format(
    name="TIFF",
    suffixes=SUFFIXES,
    open=open_tiff,
    check=check_tiff,
    create=create_tiff,
    several=True,
)


KIN = Format(
    name="TIFF of instruments",
    suffixes=(".lsm", ".stk", ".svs", ".ndpi", ".btf", ".qptiff"),
    open=open_tiff,
    check=refuse_to_write,
    create=None,
    several=True,
)
