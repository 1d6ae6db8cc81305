"""NumPy's .npy files: read as they lie in the file, written block by block."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy_format

from napari_blindsr.errors import FileError
from napari_blindsr.files import check_output, part_of, writing
from napari_blindsr.formats.description import Description, ImageFile, guessed_axes
from napari_blindsr.formats.format import Format
from napari_blindsr.formats.lazy import MappedArray, colour_last
from napari_blindsr.formats.writer import ImageWriter, Output, RawWriter, check_room

if TYPE_CHECKING:
    from pathlib import Path


def open_npy(path: Path, axes: str | None) -> ImageFile:
    """Open an array; a file says nothing of its axes, so they are told or guessed."""
    array = _mapped(path)
    named = axes or guessed_axes(array.shape)
    if len(named) != array.ndim:
        return ImageFile(array=array, description=Description(axes=named))
    seen, named, notes = colour_last(array, named, ())
    return ImageFile(array=seen, description=Description(axes=named, notes=notes))


def _mapped(path: Path) -> MappedArray:
    try:
        with path.open("rb") as stream:
            version = npy_format.read_magic(stream)
            # The numpy function for either version; later ones differ in the names of fields.
            read = (
                npy_format.read_array_header_1_0
                if version == (1, 0)
                else npy_format.read_array_header_2_0
            )
            shape, columns_first, dtype = read(stream)
            offset = stream.tell()
            length = stream.seek(0, os.SEEK_END)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"cannot read {path}: it is no .npy array of numbers") from error
    if dtype.hasobject:
        raise FileError(f"cannot read {path}: it is no .npy array of numbers")
    array = MappedArray(path, offset, shape, dtype, columns_first)
    if array.offset + array.nbytes > length:
        raise FileError(
            f"cannot read {path}: damaged .npy array ({length} bytes; "
            f"expected {array.offset + array.nbytes})"
        )
    return array


def check_npy(output: Output) -> None:
    """Check that an array can be written."""
    check_output(output.path, suffixes=FORMAT.suffixes, force=output.force)
    check_room(output.path, output.nbytes)


def create_npy(output: Output) -> ImageWriter:
    """Begin an array; it is complete once all its blocks are."""
    part = part_of(output.path)
    header: dict[str, Any] = {
        "descr": npy_format.dtype_to_descr(output.dtype),
        "fortran_order": False,
        "shape": output.shape,
    }
    with writing(output.path), part.open("xb") as stream:
        npy_format.write_array_header_1_0(stream, header)
        offset = stream.tell()
        stream.truncate(offset + output.nbytes)
    axes = output.description.axes
    return RawWriter(output, part, offset=offset, dtype=np.dtype(output.dtype), stored=axes)


FORMAT = Format(
    name="NumPy",
    suffixes=(".npy",),
    open=open_npy,
    check=check_npy,
    create=create_npy,
)
