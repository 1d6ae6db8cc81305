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
from napari_blindsr.images.atomic import check_output, check_suffix, part_of, replacing, writing
from napari_blindsr.images.lazy import MappedArray, block_for, colour_last, region_of
from napari_blindsr.images.metadata import (
    Description,
    ImageFile,
    PixelSize,
    guessed_axes,
    known_optics,
    metres,
    read_optics,
    read_pixel_size,
    tiff_options,
)
from napari_blindsr.images.pictures import KINDS, open_picture, read_picture
from napari_blindsr.images.writer import (
    BlockKey,
    Format,
    ImageWriter,
    Output,
    RawWriter,
    block_key,
    check_room,
    choose,
)
from napari_blindsr.optics import UNKNOWN, Optics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray


def open_npy(path: Path, axes: str | None, series: int | None) -> ImageFile:  # noqa: ARG001
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

    def finish(self) -> None:
        """Give the file its final name."""
        write_image(self.path, self._image, dtype=self._image.dtype, force=self._force)

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
    """

    array: NDArray[Any]
    pixel_size: PixelSize | None = None
    optics: Optics = UNKNOWN
    notes: tuple[str, ...] = ()

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
        Of a PNG, JPEG, BMP, WebP, GIF, TIFF or .npy file. An alpha channel is dropped, with a note.

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
    if suffix in KINDS:
        pixels, notes = read_picture(file)
        return _without_alpha(file, pixels, None, notes)
    if suffix == ".npy":
        return _without_alpha(file, read_npy(file), None, ())
    array, size, optics = _read_tiff(file)
    return replace(_without_alpha(file, array, size, ()), optics=optics)


def check_readable(file: Path) -> None:
    """Raise a `FileError` unless a file is there and can be opened."""
    if file.is_dir():
        raise FileError(f"cannot read {file}: it is a folder; expected a file")
    if not file.exists():
        raise FileError(f"cannot read {file}: there is no such file")
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise FileError(f"cannot read {file}: {error.strerror}") from error


def _without_alpha(
    file: Path, array: NDArray[Any], size: PixelSize | None, notes: tuple[str, ...]
) -> LoadedImage:
    if array.ndim == 3 and array.shape[-1] in (2, 4):
        notes = (*notes, "the alpha channel was dropped")
        array = array[..., :-1]
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[-1] == 3):
        shape = " × ".join(map(str, array.shape)) or "a single number"
        raise InputError(
            f"{file} holds {shape}; expected a grey image (h × w) or an RGB image (h × w × 3)"
        )
    return LoadedImage(array=array, pixel_size=size, notes=notes)


def read_npy(file: Path) -> NDArray[Any]:
    """Return the array of a .npy file."""
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"cannot read {file}: it is no .npy array of numbers") from error
    if not isinstance(array, np.ndarray):
        # numpy opens an archive whatever its name says.
        raise FileError(f"cannot read {file}: it is no .npy array of numbers")
    return array


def _read_tiff(file: Path) -> tuple[NDArray[Any], PixelSize | None, Optics]:
    try:
        with tifffile.TiffFile(file) as tif:
            names = [" × ".join(map(str, one.shape)) for one in tif.series]
            series = tif.series[choose(file, names, None)]
            axes, shape = series.axes, series.shape
            array = series.asarray()
            size = read_pixel_size(tif)
            optics = read_optics(tif)
    except InputError:
        raise
    except tifffile.TiffFileError as error:
        raise FileError(f"cannot read {file}: it is no TIFF image") from error
    except Exception as error:
        # Damaged files fail in every way there is.
        reason = str(error).split("\n", 1)[0]
        if "imagecodecs" in reason:
            reason = "its compression needs another package: pip install imagecodecs"
        raise FileError(f"cannot read {file}: damaged or unknown TIFF image ({reason})") from error
    kept = "".join(a for a, length in zip(axes, shape, strict=True) if length > 1 or a in "YX")
    array = array.reshape([n for a, n in zip(axes, shape, strict=True) if n > 1 or a in "YX"])
    if kept == "SYX":
        array, kept = np.moveaxis(array, 0, -1), "YXS"
    if kept not in ("YX", "YXS"):
        raise InputError(
            f"{file} holds {' × '.join(map(str, shape))} values with axes {axes}; expected one "
            "grey image (YX) or one RGB image (YXS)"
        )
    return array, size, optics


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
    force: bool = False,
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
    force : bool
        Replace an existing file.

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
    with replacing(path, force=force) as stream:
        if suffix == ".png":
            Image.fromarray(image).save(stream, format="PNG")
        elif suffix == ".npy":
            np.save(stream, image, allow_pickle=False)
        else:
            tifffile.imwrite(stream, image, **tiff_options(image, pixel_size))
    return clipped


def write_report(path: Path, report: Mapping[str, Any], *, force: bool = False) -> None:
    """Write a report as JSON; numbers that are not finite become null."""
    check_suffix(path, (".json",), "write")
    text = json.dumps(_finite(report), indent=2, allow_nan=False, ensure_ascii=False)
    with replacing(path, force=force) as stream:
        stream.write(text.encode() + b"\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
