"""NumPy's .npy and PNG files, and single images read and written whole."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.lib import format as npy_format
from PIL import Image

from napari_blindsr.errors import FileError, InputError
from napari_blindsr.images.atomic import (
    check_output,
    check_plain,
    check_suffix,
    part_of,
    reason_of,
    replacing,
    writing,
)
from napari_blindsr.images.lazy import MappedArray, block_for, colour_last, region_of
from napari_blindsr.images.metadata import (
    Description,
    ImageFile,
    PixelSize,
    checked,
    guessed_axes,
    known_optics,
    metres,
    read_optics,
    tiff_options,
)
from napari_blindsr.images.pictures import KINDS, open_picture
from napari_blindsr.images.tiff import imagej_options, ome_options, open_tiff
from napari_blindsr.images.tiff_meaning import listening
from napari_blindsr.images.writer import (
    BlockKey,
    Format,
    ImageWriter,
    Output,
    RawWriter,
    block_key,
    check_room,
)
from napari_blindsr.optics import UNKNOWN, Optics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from napari_blindsr.images.atomic import Bundle


def open_npy(path: Path, axes: str | None, series: int | None) -> ImageFile:  # noqa: ARG001
    """Open an array; a file says nothing of its axes, so they are told or guessed."""
    array = _mapped(path)
    named = axes or guessed_axes(array.shape)
    if len(named) != array.ndim:
        return ImageFile(array=array, description=Description(axes=named))
    if axes is None and named.endswith("YXC"):
        note = f"the last axis, of length {array.shape[-1]}, was taken for channels"
        return ImageFile(array=array, description=Description(axes=named, notes=(note,)))
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
    except Exception as error:
        # The head is Python's own notation, which fails in every way there is.
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


class HeldWriter:
    """Holds an image until it is complete."""

    resumed = False

    def __init__(self, output: Output) -> None:
        self.path, self.chunks = output.path, output.shape
        self._force = output.force
        self._image = np.zeros(output.shape, output.dtype)
        self._done: set[BlockKey] = set()

    def write(self, index: tuple[int | slice, ...], block: NDArray[Any]) -> None:
        """Write a block, as `ImageWriter.write`."""
        region = region_of(index, self._image.shape)
        self._image[region] = block_for(region, block, self._image.dtype)
        self._done.add(block_key(region))

    def written(self, index: tuple[int | slice, ...]) -> bool:
        """Return whether a block was written."""
        return block_key(region_of(index, self._image.shape)) in self._done

    def finish(self, bundle: Bundle | None = None) -> None:
        """Give the file its final name."""
        dtype = self._image.dtype
        write_image(self.path, self._image, dtype=dtype, force=self._force, bundle=bundle)

    def suspend(self) -> None:
        """Remove the file: a later run begins anew."""
        self.abort()

    def abort(self) -> None:
        """Remove what is not complete."""
        # Nothing is on disk before `finish`.
        self._done.clear()


def create_png(output: Output) -> ImageWriter:
    """Begin an image."""
    return HeldWriter(output)


PNG = Format(name="PNG", suffixes=(".png",), open=open_picture, check=check_png, create=create_png)

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
READ_SUFFIXES = (*IMAGE_SUFFIXES, *(suffix for suffix in KINDS if suffix != ".png"))


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """An image as it came out of its file.

    Attributes
    ----------
    array : ndarray, (h, w) or (h, w, 3)
    pixel_size : PixelSize or None
        If the file tells.
    optics : Optics
        What the file tells of the microscope.
    notes : tuple of str
        What was left out, fit to be shown.
    description : Description or None
        All that the file says, of axes YX or YXS.
    """

    array: NDArray[Any]
    pixel_size: PixelSize | None = None
    optics: Optics = UNKNOWN
    notes: tuple[str, ...] = ()
    description: Description | None = None

    def known_optics(self, given: Optics) -> Optics:
        """Return what is given of a microscope, and for the rest what the file tells.

        A pixel size alone tells nothing of the blur, and is left out.
        """
        optics = given.completed(self.optics)
        if optics.pixel_size_nm is None and self.pixel_size is not None:
            size = metres(self.pixel_size.x, self.pixel_size.unit)
            if size is not None:
                optics = optics.completed(known_optics(pixel_size_nm=1e9 * size))
        return optics if optics.sigma is not None or given != Optics() else Optics()


def read_image(path: str | os.PathLike[str]) -> LoadedImage:
    """Read one grey or RGB image.

    Parameters
    ----------
    path : path
        Of a PNG, JPEG, BMP, WebP, GIF, TIFF or .npy file. Axes of length 1 and real alpha are
        dropped.

    Raises
    ------
    FileError
        If there is no such file, or it is no such image.
    InputError
        If it holds something other than one grey or RGB image.
    """
    file = Path(path)
    suffix = check_suffix(file, READ_SUFFIXES, "read")
    check_readable(file)
    openers = {".npy": open_npy, **dict.fromkeys(KINDS, open_picture)}
    opened = openers.get(suffix, open_tiff)(file, None, None)
    loaded = _single(file, checked(str(file), opened))
    if suffix not in (".tif", ".tiff"):
        return loaded
    with listening(), tifffile.TiffFile(file) as tif:
        return replace(loaded, optics=read_optics(tif))


def check_readable(file: Path) -> None:
    """Raise a `FileError` unless a file is there, is none that never ends, and can be opened."""
    check_plain(file, f"cannot read {file}")
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise FileError(f"cannot read {file}: {reason_of(error)}") from error


def _single(file: Path, opened: ImageFile) -> LoadedImage:
    """Return the image of a file that holds one grey or RGB image."""
    description = opened.description
    kept = "".join(
        axis
        for axis, length in zip(description.axes, opened.array.shape, strict=True)
        if length > 1 or axis in "YX"
    )
    if kept not in ("YX", "YXS"):
        shape = " × ".join(map(str, opened.array.shape))
        raise InputError(
            f"{file} holds {shape} values with axes {description.axes}; expected a grey image "
            "(h × w, YX) or an RGB image (h × w × 3, YXS)"
        )
    index = tuple(slice(None) if axis in kept else 0 for axis in description.axes)
    array = opened.array[index]
    return LoadedImage(
        array=array,
        pixel_size=description.pixel_size,
        notes=description.notes,
        description=replace(description, axes=kept, steps=()),
    )


def read_npy(file: Path) -> NDArray[Any]:
    """Return the array of a .npy file."""
    # Only what its head says is there, and fits the file.
    return _mapped(file)[...]


def check_image_type(path: Path, array: NDArray[Any]) -> None:
    """Check that a file can hold a result in the type of its input, before any work.

    Raises
    ------
    FileError
        A PNG file holds 8-bit images and 16-bit grey ones only.
    """
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
    """Write an image.

    Parameters
    ----------
    path : Path
        PNG: rounded to `dtype` and clipped to its range. TIFF and .npy: float32 as it is.
    image : ndarray, (H, W) or (H, W, 3)
    dtype : dtype
        uint8, or uint16 for a grey image; of the input.
    pixel_size : PixelSize, optional
        Of this image, for a TIFF file.
    description : Description, optional
        Of the image that it was made of: names and colours of a TIFF file are kept.
    force : bool
        Replace an existing file.
    bundle : Bundle, optional
        Files with which it takes its name together.

    Returns
    -------
    int
        How many pixels were clipped.
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
    if description is None or image.ndim != 2:
        return tiff_options(image, size)
    if not (description.displays or description.channel_names or description.channel_colors):
        return tiff_options(image, size)
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
