"""TIFF: plain, ImageJ and OME-TIFF; read in part, and written plane by plane or by tiles."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tifffile

from napari_blindsr.errors import BlindSRError, FileError
from napari_blindsr.images.atomic import check_output, part_of, writing
from napari_blindsr.images.axes import distinct_axes
from napari_blindsr.images.lazy import MappedArray, colour_last, upright
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
from napari_blindsr.images.tiff_pages import TiffPages, why
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
    from pathlib import Path

    from napari_blindsr.images.metadata import LazyArray


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
    main = [n for n, s in enumerate(tif.series) if s.name.lower() not in COMPANIONS]
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
        facts = read_metadata(tif, number, meaning.colour_map)
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
    size = facts.pixel_size
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
        facts,
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
        order = _byte_order(part)
    return RawWriter(
        output, part, offset=made[0], dtype=output.dtype.newbyteorder(order), stored=stored
    )


def _byte_order(path: Path) -> Literal["<", ">"]:
    with path.open("rb") as stream:
        return ">" if stream.read(2) == b"MM" else "<"


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
