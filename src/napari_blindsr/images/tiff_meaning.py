"""What a TIFF file must hold to be read, and what its stored values mean."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np

from napari_blindsr.errors import FileError, InputError
from napari_blindsr.images.atomic import check_plain, listed
from napari_blindsr.images.lazy import Linear, Palette

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import tifffile
    from numpy.typing import NDArray

    from napari_blindsr.images.metadata import LazyArray


MOST_NOTES = 5
"""Warnings of the library that are passed on; one damaged file gives hundreds."""


class _Listener(logging.Handler):
    """Collects the messages of one thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        if record.thread == self.thread:
            self.lines.append(record.getMessage())


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what `tifffile` warns of; these lines become notes."""
    listener = _Listener()
    logger = logging.getLogger("tifffile")
    logger.addHandler(listener)
    try:
        yield listener.lines
    finally:
        logger.removeHandler(listener)


def warnings_as_notes(lines: Sequence[str]) -> tuple[str, ...]:
    """Return warnings of the library as notes: each once, the first few."""
    said = dict.fromkeys(" ".join(line.split())[:200] for line in lines)
    notes = [f"tifffile warns: {line}" for line in said]
    if len(notes) > MOST_NOTES:
        notes[MOST_NOTES:] = [f"{len(notes) - MOST_NOTES} more warnings of tifffile"]
    return tuple(notes)


def check_companions(path: Path, tif: tifffile.TiffFile) -> tuple[str, ...]:
    """Check the other files of an OME-TIFF before any is opened, and return a note that names them.

    Raises a `FileError` if one is missing, in another folder, or no plain file.
    """
    if not tif.is_ome or tif.ome_metadata is None:
        return ()
    try:
        # expat itself refuses entities that grow.
        root = ET.fromstring(tif.ome_metadata)  # noqa: S314
    except ET.ParseError:
        return ()
    own = root.get("UUID")
    named: dict[str, None] = {}
    for element in root.iter():
        name = element.get("FileName")
        # A file may be renamed: what counts is its identifier.
        if not element.tag.endswith("UUID") or name is None or (own and element.text == own):
            continue
        if own is None and name.lower() == path.name.lower():
            continue
        named[name] = None
    for name in named:
        if Path(name).name != name or name in {".", ".."} or "\\" in name or "\0" in name:
            raise FileError(
                f"cannot read {path}: its metadata name the file {name!r}; expected files of the "
                "same folder"
            )
        companion = path.with_name(name)
        if companion.is_symlink():
            raise FileError(f"cannot read {path}: its part {name!r} is a link; expected a file")
        check_plain(companion, f"cannot read {path}: its part {name!r}")
    others = [name for name in named if name != path.name]
    if not others:
        return ()
    few = listed(others[:3]).replace(" or ", " and ")
    return (f"pixels also come from {few}" + (" and others" if len(others) > 3 else ""),)


def check_pages(path: Path, tif: tifffile.TiffFile, number: int = 0) -> tuple[str, ...]:
    """Check that the planes that a file declares of an image are there, and lie within it.

    Returns a note if some strips or tiles are left out on purpose; raises a `FileError` if planes
    lack.
    """
    series = tif.series[number]
    count = _count(series.shape, series.axes)
    declared = _declared(tif, number)
    if declared > count:
        raise FileError(
            f"cannot read {path}: it declares {declared} planes, of which {count} are there: it "
            "is incomplete"
        )
    if series.dataoffset is not None and not series.is_multifile:
        # In one piece: whoever maps it compares its end with that of the file.
        return ()
    left_out = 0
    there = len(series.pages) * max(1, series.keyframe.size) // max(1, _plane_size(series))
    if there < count:
        raise FileError(
            f"cannot read {path}: it declares {count} planes, of which {there} are there: it is "
            "incomplete"
        )
    for at, page in enumerate(series.pages):
        if page is None:
            raise FileError(
                f"cannot read {path}: plane {at} of {len(series.pages)} is missing: the file, "
                "or one of those that it consists of, is incomplete"
            )
        size = page.parent.filehandle.size
        left_out += sum(length == 0 for length in page.databytecounts)
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=False):
            if length < 0 or (length > 0 and not 0 < offset <= size - length):
                raise FileError(
                    f"cannot read {path}: the pixels of plane {at} of {len(series.pages)} are "
                    f"not there (bytes {offset} to {offset + length} of {size}): the file is "
                    "truncated or damaged"
                )
    if not left_out:
        return ()
    return (f"{left_out} strips or tiles are left out of the file: pixels are 0 there",)


MOST_EXPANDED = 2000
"""How many times larger than its file an image may be: what LZW and deflate can pack, twice."""

LARGE = 1 << 28
"""Bytes of pixels up to which that does not matter."""


def check_expansion(path: Path, nbytes: int, stored: int) -> None:
    """Raise a `FileError` if a file cannot hold the bytes that its head promises."""
    if nbytes > LARGE and nbytes > MOST_EXPANDED * stored:
        raise FileError(
            f"cannot read {path}: it promises {nbytes / 1e9:.3g} GB of pixels in {stored} bytes; "
            "expected an image that is no such bomb"
        )


def _plane_size(series: tifffile.TiffPageSeries) -> int:
    return int(np.prod(series.shape, dtype=np.int64)) // _count(series.shape, series.axes)


def _count(shape: Sequence[int], axes: str) -> int:
    lengths = [length for axis, length in zip(axes, shape, strict=True) if axis not in "YXS"]
    return int(np.prod(lengths, dtype=np.int64)) if lengths else 1


def _declared(tif: tifffile.TiffFile, number: int) -> int:
    """Return how many planes the description of a file promises for one of its images."""
    series = tif.series[number]
    try:
        if tif.is_ome:
            return _of_ome(tif, series, number)
        if number > 0:
            return 1
        if tif.is_imagej:
            return _of_imagej(tif.imagej_metadata or {}, int(series.keyframe.samplesperpixel))
        if tif.is_shaped:
            shape = (tif.shaped_metadata or ({},))[0].get("shape", ())
            return (
                int(np.prod(shape, dtype=np.int64))
                * _count(series.shape, series.axes)
                // max(1, int(np.prod(series.shape, dtype=np.int64)))
            )
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError):
        pass
    return 1


def _of_imagej(found: Mapping[str, Any], samples: int) -> int:
    channels = int(found.get("channels", 1))
    if samples > 1:
        # Other programs declare samples as channels.
        return int(found.get("frames", 1)) * int(found.get("slices", 1))
    counted = int(found.get("frames", 1)) * int(found.get("slices", 1)) * channels
    return max(counted, int(found.get("images", 1)))


def _of_ome(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, number: int) -> int:
    root = ET.fromstring(tif.ome_metadata or "")  # noqa: S314 - as above
    images = [element for element in root.iter() if element.tag.endswith("Pixels")]
    if len(images) != len(tif.series) and number > 0:
        # Some have no pixels, so the one meant is unknown.
        return 1
    pixels = images[number]
    samples = series.keyframe.samplesperpixel if "S" in series.axes else 1
    lengths = [int(pixels.get(f"Size{axis}", "1")) for axis in "CZT"]
    return int(np.prod(lengths, dtype=np.int64)) // samples


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the stored values of a page mean.

    `colours` says whether its samples are red, green and blue, else they are channels; `alpha`
    whether the last sample is opacity. `orientation` is as in tag 274. `table` (n,) or (n, 3) has
    the colours of a palette; `linear` offset, factor and type of intensities; `colour_map` the
    colours in which intensities are shown, uint8, (3, 256).
    """

    colours: bool = False
    alpha: bool = False
    orientation: int = 1
    table: NDArray[Any] | None = None
    linear: tuple[float, float, np.dtype[Any]] | None = None
    colour_map: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = ()

    def applied(self, array: LazyArray, axes: str) -> tuple[LazyArray, str]:
        """Return an array of what the values mean, and its axes."""
        if self.linear is not None:
            array = Linear(array, *self.linear)
        if self.table is not None:
            array = Palette(array, self.table)
            axes += "S" * (self.table.ndim - 1)
        return array, axes


_ALPHA = {1, 2}
_JPEG = {6, 7, 33003, 33005, 33007, 34712, 34892}
_WORDS = {
    4: "a transparency mask",
    5: "inks (CMYK)",
    6: "YCbCr that is not compressed as JPEG",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "the mosaic of a camera's colour filters",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw data of a camera",
}


def meaning_of(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> Meaning:
    """Return what the values of an image mean; an `InputError` if no intensities or colours."""
    page = series.keyframe
    kind = int(page.photometric)
    samples = int(page.samplesperpixel)
    extra = tuple(int(value) for value in page.extrasamples or ())
    tag = page.tags.get(274)
    orientation = int(tag.value) if tag is not None else 1
    notes: tuple[str, ...] = ()
    if orientation not in range(1, 9):
        orientation, notes = 1, (f"an orientation tag of {orientation} means nothing: left out",)
    if orientation != 1:
        notes = (*notes, f"the image was put upright (orientation tag {orientation})")
    colours = kind in {2, 6}
    own = 3 if colours else 1
    alpha = samples == own + 1 and len(extra) == 1 and extra[0] in _ALPHA
    common: dict[str, Any] = {"orientation": orientation, "notes": notes}
    if kind == 0:
        return Meaning(
            linear=_inverted(page),
            alpha=alpha,
            orientation=orientation,
            notes=(*notes, "intensities were inverted: in the file 0 is white"),
        )
    if kind == 1:
        return Meaning(alpha=alpha, linear=calibration(tif), **common)
    if kind == 2 or (kind == 6 and int(page.compression) in _JPEG):
        return Meaning(colours=samples - alpha == own, alpha=alpha, **common)
    if kind == 3 and page.colormap is not None and samples == 1:
        return _of_palette(tif, page.colormap, common)
    raise InputError(
        f"its values are {_WORDS.get(kind, f'of kind {kind} (photometric interpretation)')}; "
        "expected intensities, RGB or a palette"
    )


def _inverted(page: Any) -> tuple[float, float, np.dtype[Any]]:
    dtype = np.dtype(page.dtype).newbyteorder("=")
    if dtype.kind != "u":
        raise InputError(f"its values are {dtype} with 0 for white; expected unsigned integers")
    return float(2 ** int(page.bitspersample) - 1), -1.0, dtype


def _of_palette(tif: tifffile.TiffFile, found: Any, common: Mapping[str, Any]) -> Meaning:
    table = np.asarray(found)
    # 8 bits are stored as 16, in either of two ways.
    coarse = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    if tif.is_imagej or tif.is_ome or tif.is_lsm or tif.is_stk:
        # Intensities of a microscope, and how they are shown.
        shown = coarse if coarse.shape == (3, 256) else None
        return Meaning(linear=calibration(tif), colour_map=shown, **common)
    colours: NDArray[Any] = coarse.T
    if (coarse[0] == coarse[1]).all() and (coarse[0] == coarse[2]).all():
        colours = coarse[0]
    notes = (*common["notes"], "the colours of its palette were applied")
    return Meaning(
        colours=colours.ndim == 2,
        table=np.ascontiguousarray(colours),
        orientation=common["orientation"],
        notes=notes,
    )


STRAIGHT, NO_FUNCTION = 0, 20


def calibration(tif: tifffile.TiffFile) -> tuple[float, float, np.dtype[Any]] | None:
    """Return offset and factor of ImageJ's calibration of intensities, and the type they need.

    Raises an `InputError` for a function other than a straight line.
    """
    found = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    function = found.get("cf")
    if function is None or function == NO_FUNCTION:
        return None
    if function != STRAIGHT:
        raise InputError(
            f"ImageJ calibrates its intensities by function {function}, which is no straight line; "
            "expected none (in ImageJ: Analyze, Calibrate, None)"
        )
    try:
        offset, factor = float(found["c0"]), float(found["c1"])
    except (KeyError, TypeError, ValueError):
        raise InputError("ImageJ's calibration of its intensities is damaged") from None
    stored = np.dtype(tif.pages.first.dtype)
    if (offset, factor, stored.str[1:]) == (-32768.0, 1.0, "u2"):
        # ImageJ's own way of storing signed integers.
        return offset, factor, np.dtype(np.int16)
    if (offset, factor) == (0.0, 1.0):
        return None
    return offset, factor, np.dtype(np.float32)
