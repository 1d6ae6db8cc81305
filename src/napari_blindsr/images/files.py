"""Image files of any number of dimensions: the list of formats, opening, writing, and masks."""

from __future__ import annotations

import glob
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image

from napari_blindsr.errors import BlindSRError, FileError, InputError
from napari_blindsr.images import ome_zarr, pictures, plain, tiff
from napari_blindsr.images.atomic import (
    check_readable,
    check_suffix,
    listed,
    mode_of,
    reason_of,
    replacing,
)
from napari_blindsr.images.metadata import (
    Description,
    ImageFile,
    PixelSize,
    checked,
    known_optics,
    metres,
)
from napari_blindsr.images.ome_zarr import is_zarr
from napari_blindsr.images.plain import read_npy
from napari_blindsr.images.tiff_meaning import listening
from napari_blindsr.images.tiff_metadata import read_optics
from napari_blindsr.images.writer import Format, ImageWriter, Output, choose
from napari_blindsr.optics import UNKNOWN, Optics

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from napari_blindsr.images.atomic import Bundle


def image_suffixes(purpose: str = "read") -> tuple[str, ...]:
    """Return the extensions of images that can be read, or written, with their dot."""
    return tuple(
        suffix
        for entry in FORMATS
        if purpose == "read" or entry.written
        for suffix in entry.suffixes
    )


def open_image(
    path: str | os.PathLike[str], *, axes: str | None = None, series: int | None = None
) -> ImageFile:
    """Open an image without reading its pixels (those of JPEG, GIF and the like are read).

    Of an OME-Zarr folder it is the level of full size. Samples come out last, without alpha.

    Parameters
    ----------
    path : path
    axes : str, optional
        What the axes of the array in the file are, one letter each, where the file names none or
        wrong ones.
    series : int, optional
        Which image of a file with several, from 0.

    Raises
    ------
    FileError, InputError
        If there is no such image, it is damaged, it has axes that are no image's, or there are
        several and none was chosen.
    """
    file = Path(path)
    mode = mode_of(file, f"cannot read {file}")
    if mode is None:
        raise FileError(f"cannot read {file}: there is no such file")
    entry = _format_of(file, "read")
    if stat.S_ISDIR(mode) and not entry.folder:
        raise FileError(f"cannot read {file}: it is a folder; expected a file")
    if not entry.folder:
        check_readable(file)
    elif not stat.S_ISDIR(mode):
        raise FileError(f"cannot read {file}: it is a file; expected a folder")
    if series and not entry.several:
        choose(file, [file.name], series)
    try:
        opened = entry.open(file, axes, series)
    except InputError as error:
        text = str(error)
        raise InputError(text if str(file) in text else f"{file}: {text}") from error
    return checked(str(file), opened)


def create_image(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    description: Description,
    force: bool = False,
    resume: bool = False,
    run: str = "",
) -> ImageWriter:
    """Begin an image file that takes its pixels as they come; pixels that were not written are 0.

    Nothing stands under the final name before `ImageWriter.finish`. The extension says the format.
    TIFF becomes OME-TIFF if it is named so or has more axes than Y, X and S; a hyperstack of ImageJ
    stays one where it can.

    Parameters
    ----------
    description : Description
        Its axes are those of `shape` and of the blocks. Formats with an order of their own store
        the axes in that order.
    force : bool
        Replace what exists.
    resume : bool
        Go on with an OME-Zarr that an earlier run has not finished, if shape, type, axes and
        `run`, which identifies the computation, are the same.

    Raises
    ------
    FileError, InputError
        If the format cannot hold it, or it cannot be written there.
    """
    output = _output(Path(path), shape, dtype, description, force=force, resume=resume, run=run)
    entry = _checked_format(output)
    assert entry.create is not None  # `Format.check` refuses it otherwise
    return entry.create(output)


def check_image(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    description: Description,
    force: bool = False,
) -> None:
    """Raise an error, as `create_image`, if an image could not be begun; nothing is kept."""
    _checked_format(_output(Path(path), shape, dtype, description, force=force))


def _output(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    description: Description,
    **options: Any,
) -> Output:
    """Return an output whose shape, type and axes fit each other."""
    kind, lengths = np.dtype(dtype).newbyteorder("="), tuple(int(n) for n in shape)
    stand_in = np.broadcast_to(np.zeros((), kind), lengths)
    checked(f"the image for {path}", ImageFile(array=stand_in, description=description))
    return Output(path=path, shape=lengths, dtype=kind, description=description, **options)


def _checked_format(output: Output) -> Format:
    """Return the format of an output, after the check that it can be written."""
    entry = _format_of(output.path, "write")
    entry.check(output)
    return entry


def _format_of(path: Path, purpose: str) -> Format:
    suffix = path.suffix.lower()
    for entry in FORMATS:
        if suffix in entry.suffixes or (purpose == "read" and entry.folder and is_zarr(path)):
            return entry
    has = f"the extension {path.suffix!r}" if suffix else "no extension"
    raise FileError(
        f"cannot {purpose} {path}: it has {has}; expected {listed(image_suffixes(purpose))}"
    )


def find_images(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the images that are meant by files, folders and patterns.

    A folder stands for the images in it (not for those in its folders) by their extensions, in
    natural order: 2 before 10. A pattern with ``*``, ``?`` or ``[…]`` that is not the name of a
    file is expanded. Files are taken as they are, whether or not they exist. A `FileError` if a
    folder has no images, or nothing matches a pattern.
    """
    found: dict[Path, None] = {}
    for given in map(Path, paths):
        found |= dict.fromkeys(_expanded(given))
    return list(found)


def _expanded(given: Path) -> list[Path]:
    if glob.has_magic(str(given)) and mode_of(given, f"cannot read {given}") is None:
        matches = sorted(map(Path, glob.glob(str(given))), key=_natural)  # noqa: PTH207
        if not matches:
            raise FileError(f"nothing matches {given}; expected the names of images")
        return [image for match in matches for image in _expanded(match)]
    try:
        if not given.is_dir() or is_zarr(given):
            return [given]
        images = [entry for entry in given.iterdir() if _is_image(entry)]
    except OSError as error:
        raise FileError(f"cannot read {given}: {reason_of(error)}") from error
    if not images:
        raise FileError(f"{given} holds no images; expected {listed(image_suffixes())}")
    return sorted(images, key=_natural)


def _is_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    return not path.name.startswith(".") and any(
        suffix in entry.suffixes and path.is_dir() == entry.folder for entry in FORMATS
    )


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Return a key that sorts numbers in names by their values."""
    pieces = re.split(r"(\d+)", str(path))
    return [(p.isdigit(), int(p) if p.isdigit() else 0, p) for p in pieces]


FORMATS: tuple[Format, ...] = (
    tiff.FORMAT,
    ome_zarr.FORMAT,
    plain.NPY,
    plain.PNG,
    pictures.FORMAT,
    tiff.KIN,
    pictures.MICROSCOPES,
)
"""A new format is appended here; opening, writing, listing folders and tests take it from here."""

READ_SUFFIXES = (*plain.IMAGE_SUFFIXES, *pictures.FORMAT.suffixes)


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """A grey or RGB image, (h, w) or (h, w, 3), as it came out of its file.

    `optics` is what the file says of the microscope, `notes` what was left out.
    """

    array: NDArray[Any]
    pixel_size: PixelSize | None = None
    optics: Optics = UNKNOWN
    notes: tuple[str, ...] = ()
    description: Description | None = None

    def known_optics(self, given: Optics) -> Optics:
        """Return the given optics, completed by those of the file.

        A pixel size alone says nothing of the blur, and is left out.
        """
        optics = given.completed(self.optics)
        optics = optics.completed(_optics_of(self.pixel_size))
        return optics if optics.sigma is not None or given != Optics() else Optics()


def read_image(path: str | os.PathLike[str]) -> LoadedImage:
    """Read one grey or RGB image; axes of length 1 and real alpha are dropped.

    Raises
    ------
    FileError, InputError
        If there is no such image, or it holds something other than one grey or RGB image.
    """
    file = Path(path)
    suffix = check_suffix(file, READ_SUFFIXES, "read")
    loaded = _single(file, open_image(file))
    if suffix not in (".tif", ".tiff"):
        return loaded
    with listening(), tifffile.TiffFile(file) as tif:
        return replace(loaded, optics=read_optics(tif))


def file_optics(path: Path) -> Optics:
    """Return what a file says of the microscope; nothing of one that cannot be read."""
    try:
        size = open_image(path).description.pixel_size
    except BlindSRError:
        # Whoever reads the image says why.
        return UNKNOWN
    optics = UNKNOWN
    if path.suffix.lower() in tiff.SUFFIXES:
        with listening(), tifffile.TiffFile(path) as tif:
            optics = read_optics(tif)
    return optics.completed(_optics_of(size))


def _optics_of(size: PixelSize | None) -> Optics:
    side = None if size is None else metres(size.x, size.unit)
    return UNKNOWN if side is None else known_optics(pixel_size_nm=1e9 * side)


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


MASK_OUT_SUFFIXES = (".png", ".tif", ".tiff")


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask (h, w) from an image file: true where any channel is not zero."""
    # An array of truth values is no image, but a mask.
    values = read_npy(path) if path.suffix.lower() == ".npy" else None
    whole = values is not None and values.dtype == np.bool_ and values.ndim == 2
    array = values if values is not None and whole else read_image(path).array
    # What is not a number is not zero either.
    covered = array != 0
    return np.asarray(covered.any(axis=-1) if array.ndim == 3 else covered, dtype=bool)


def write_mask(
    path: Path, covered: NDArray[np.bool_], *, force: bool = False, bundle: Bundle | None = None
) -> None:
    """Write a mask (H, W) as 8-bit PNG or TIFF: 255 where covered, else 0."""
    suffix = check_suffix(path, MASK_OUT_SUFFIXES, "write")
    values = np.where(covered, 255, 0).astype(np.uint8)
    with replacing(path, force=force, bundle=bundle) as stream:
        if suffix == ".png":
            Image.fromarray(values).save(stream, format="PNG")
        else:
            tifffile.imwrite(stream, values, photometric="minisblack", metadata=None)
