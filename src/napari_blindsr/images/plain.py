"""NumPy's .npy and PNG files; single images and reports written whole."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.lib import format as npy_format
from PIL import Image

from napari_blindsr.errors import FileError
from napari_blindsr.images.atomic import (
    check_output,
    check_suffix,
    part_of,
    replacing,
    writing,
)
from napari_blindsr.images.lazy import MappedArray, colour_last
from napari_blindsr.images.metadata import Description, ImageFile, PixelSize, guessed_axes
from napari_blindsr.images.pictures import open_picture
from napari_blindsr.images.tiff_metadata import imagej_options, ome_options, plane_options
from napari_blindsr.images.writer import Format, ImageWriter, Output, RawWriter, check_room

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from napari_blindsr.images.atomic import Bundle
    from napari_blindsr.images.writer import Region


def open_npy(path: Path, axes: str | None, series: int | None) -> ImageFile:  # noqa: ARG001
    """Open an array; its axes, which a file does not name, are given or guessed."""
    array = _mapped(path)
    named = axes or guessed_axes(array.shape)
    notes: tuple[str, ...] = ()
    if axes is None and named.endswith("YXC"):
        notes = (f"the last axis, of length {array.shape[-1]}, was taken for channels",)
    ordered, named, notes = colour_last(array, named, notes)
    return ImageFile(array=ordered, description=Description(axes=named, notes=notes))


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
    except Exception as error:
        # The head is Python's own notation, which fails in every way there is.
        raise FileError(f"cannot read {path}: it is no .npy array of numbers") from error
    if dtype.hasobject or any(n < 0 for n in shape):
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
    check_output(output.path, suffixes=NPY.suffixes, force=output.force)
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


NPY = Format(
    name="NumPy",
    suffixes=(".npy",),
    open=open_npy,
    check=check_npy,
    create=create_npy,
)


def check_png(output: Output) -> None:
    """Check that an image can be written, and held."""
    check_output(output.path, suffixes=PNG.suffixes, force=output.force)
    axes = output.description.axes
    if axes not in ("YX", "YXS"):
        raise FileError(
            f"cannot write {output.path}: PNG holds one grey image (YX) or RGB image (YXS), not "
            f"axes {axes}; expected .tif, .tiff, .npy or .zarr"
        )
    check_image_type(output.path, np.empty((0,) * len(axes), output.dtype))


class HeldWriter(ImageWriter):
    """Holds an image until it is complete."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._image = np.zeros(output.shape, output.dtype)

    def _put(self, region: Region, values: NDArray[Any]) -> None:
        self._image[region] = values

    def finish(self, bundle: Bundle | None = None) -> None:
        """Write the file under its final name."""
        dtype, force = self._image.dtype, self._output.force
        write_image(self.path, self._image, dtype=dtype, force=force, bundle=bundle)

    def abort(self) -> None:
        """Do nothing: nothing is on disk before `finish`."""


PNG = Format(name="PNG", suffixes=(".png",), open=open_picture, check=check_png, create=HeldWriter)

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".npy")


def read_npy(file: Path) -> NDArray[Any]:
    """Return the array of a .npy file."""
    # Only what its head says is there, and fits the file.
    return _mapped(file)[...]


def check_image_type(path: Path, array: NDArray[Any]) -> None:
    """Raise a `FileError` unless a file can hold values of this type: PNG is 8 bit, or 16 grey."""
    if path.suffix.lower() != ".png" or array.dtype == np.uint8:
        return
    if array.dtype == np.uint16 and array.ndim == 2:
        return
    kind = "grey" if array.ndim == 2 else "RGB"
    raise FileError(
        f"cannot write {path}: PNG does not hold a {array.dtype} {kind} image; "
        "expected .tif, .tiff or .npy"
    )


def write_image(
    path: Path,
    image: NDArray[Any],
    *,
    dtype: DTypeLike,
    pixel_size: PixelSize | None = None,
    description: Description | None = None,
    force: bool = False,
    bundle: Bundle | None = None,
) -> int:
    """Write an image (H, W) or (H, W, 3), and return how many pixels were clipped.

    PNG is rounded to `dtype`, the input's, and clipped to its range; TIFF and .npy are float32.
    `pixel_size` is of this image, `description` of the one that it was made of: a TIFF file keeps
    its names and colours. It takes its name together with the other files of a `bundle`.
    """
    suffix = check_suffix(path, IMAGE_SUFFIXES, "write")
    clipped = 0
    if suffix == ".png":
        limits = np.iinfo(np.dtype(dtype))
        rounded = np.rint(image)
        beyond = (rounded < limits.min) | (rounded > limits.max)
        clipped = int((beyond.any(axis=-1) if image.ndim == 3 else beyond).sum())
        image = np.clip(rounded, limits.min, limits.max).astype(dtype)
        check_image_type(path, image)
    else:
        image = np.ascontiguousarray(image, dtype=np.float32)
    with replacing(path, force=force, bundle=bundle) as stream:
        if suffix == ".png":
            Image.fromarray(image).save(stream, format="PNG")
        elif suffix == ".npy":
            np.save(stream, image, allow_pickle=False)
        else:
            tifffile.imwrite(stream, image, **_tiff_options(image, pixel_size, description))
    return clipped


def _tiff_options(
    image: NDArray[Any], size: PixelSize | None, description: Description | None
) -> dict[str, Any]:
    if (
        description is None
        or image.ndim != 2
        or not (description.displays or description.channel_names or description.channel_colors)
    ):
        return plane_options(colour=image.ndim == 3, size=size)
    described = replace(description, pixel_size=size)
    options = imagej_options(described, image.shape) if description.flavour == "imagej" else None
    return ome_options(described) if options is None else options


def write_report(
    path: Path, report: Mapping[str, Any], *, force: bool = False, bundle: Bundle | None = None
) -> None:
    """Write a report as JSON; numbers that are not finite become null."""
    check_suffix(path, (".json",), "write")
    text = json.dumps(_finite(report), indent=2, allow_nan=False, ensure_ascii=False)
    with replacing(path, force=force, bundle=bundle) as stream:
        # Names of files that are no text: an escape of Python's is one of JSON's, too.
        stream.write(text.encode(errors="backslashreplace") + b"\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
