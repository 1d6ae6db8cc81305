"""Writing TIFF: OME-TIFF, hyperstacks of ImageJ, and plain files, plane by plane or by tiles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import tifffile

from napari_blindsr.errors import FileError
from napari_blindsr.files import check_output, part_of, writing
from napari_blindsr.formats.tiff_metadata import imagej_options, ome_options, plain_options
from napari_blindsr.formats.writer import ImageWriter, Output, RawWriter, check_room
from napari_blindsr.pixelsize import plane_options

if TYPE_CHECKING:
    from pathlib import Path

    from napari_blindsr.formats.description import Description

SUFFIXES = (".tif", ".tiff")
OME_SUFFIXES = (".ome.tif", ".ome.tiff")
_OME_AXES = frozenset("TZCYXS")
_OME_TYPES = ("u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8")
_IMAGEJ_ORDER = "TZCYXS"
_IMAGEJ_TYPES = ("u1", "u2", "f4")
_IMAGEJ_COLOUR_TYPES = ("u1",)
# Offsets of ordinary TIFF are of 32 bits; the rest is left for the head.
_IMAGEJ_LIMIT = 2**32 - 2**25


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
    axes = output.description.axes
    lengths = dict(zip(axes, output.shape, strict=True))
    with writing(output.path):
        try:
            made = tifffile.imwrite(
                part,
                shape=tuple(lengths[axis] for axis in stored),
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
        if stored == planes and (output.dtype.str[1:] in _OME_TYPES or not ome):
            return stored, plane_options(colour=planes == "YXS", size=given.pixel_size)
        if given.flavour == "imagej":
            hyperstack = _hyperstack(output, description)
            if hyperstack is not None:
                return hyperstack
    if output.dtype.str[1:] in _OME_TYPES and set(stored) <= _OME_AXES:
        return stored, ome_options(description)
    return stored, plain_options(description)


def _hyperstack(output: Output, description: Description) -> tuple[str, dict[str, Any]] | None:
    stored = "".join(axis for axis in _IMAGEJ_ORDER if axis in description.axes)
    types = _IMAGEJ_COLOUR_TYPES if "S" in stored else _IMAGEJ_TYPES
    if len(stored) < len(description.axes) or output.dtype.str[1:] not in types:
        return None
    if output.nbytes > _IMAGEJ_LIMIT:
        return None
    options = imagej_options(replace(description, axes=stored))
    return None if options is None else (stored, options)
