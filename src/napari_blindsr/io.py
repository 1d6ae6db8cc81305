"""Reading and writing images and kernels: PNG, TIFF, NumPy and, for kernels, MATLAB files."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from napari_blindsr.errors import FileError, InputError
from napari_blindsr.files import check_suffix, replacing
from napari_blindsr.pixelsize import PixelSize, read_pixel_size, tiff_options

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
KERNEL_SUFFIXES = (".npy", ".mat", ".tif", ".tiff", ".png")
KERNEL_OUT_SUFFIXES = (".npy", ".tif", ".tiff", ".png")


@dataclass(frozen=True, kw_only=True)
class LoadedImage:
    """An image as it came out of its file.

    Attributes
    ----------
    array : ndarray, (h, w) or (h, w, 3)
    pixel_size : PixelSize or None
        If the file tells.
    notes : tuple of str
        What was left out, fit to be shown.
    """

    array: NDArray[Any]
    pixel_size: PixelSize | None = None
    notes: tuple[str, ...] = ()


def read_image(path: str | os.PathLike[str]) -> LoadedImage:
    """Read one grey or RGB image.

    Parameters
    ----------
    path : path
        Of a PNG, TIFF or .npy file. An alpha channel is dropped, with a note.

    Raises
    ------
    FileError
        If there is no such file, or it is no such image.
    InputError
        If it holds something other than one grey or RGB image.
    """
    file = Path(path)
    suffix = check_suffix(file, IMAGE_SUFFIXES, "read")
    _check_readable(file)
    if suffix == ".png":
        return _without_alpha(file, _read_png(file), None, ())
    if suffix == ".npy":
        return _without_alpha(file, _read_npy(file), None, ())
    array, size, notes = _read_tiff(file)
    return _without_alpha(file, array, size, notes)


def _check_readable(file: Path) -> None:
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


def _read_png(file: Path) -> NDArray[Any]:
    header = file.read_bytes()[:26]
    # Pillow would cut 16-bit colour to 8 bit without a word.
    if len(header) == 26 and header[24] == 16 and header[25] != 0:
        raise FileError(
            f"cannot read {file}: PNG with 16 bits a channel; expected 8 bits, or 16-bit grey; "
            "convert it to TIFF"
        )
    try:
        with Image.open(file, formats=("PNG",)) as image:
            palette = "RGBA" if "transparency" in image.info else "RGB"
            mode = {"P": palette, "1": "L"}.get(image.mode, image.mode)
            array = np.asarray(image.convert(mode))
    except UnidentifiedImageError as error:
        raise FileError(f"cannot read {file}: it is no PNG image") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FileError(f"cannot read {file}: damaged PNG image ({error})") from error
    # Older versions of Pillow open 16-bit grey as 32-bit integers.
    return array.astype(np.uint16) if array.dtype == np.int32 else array


def _read_npy(file: Path) -> NDArray[Any]:
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"cannot read {file}: it is no .npy array of numbers") from error
    if not isinstance(array, np.ndarray):
        # numpy opens an archive whatever its name says.
        raise FileError(f"cannot read {file}: it is no .npy array of numbers")
    return array


def _read_tiff(file: Path) -> tuple[NDArray[Any], PixelSize | None, tuple[str, ...]]:
    try:
        with tifffile.TiffFile(file) as tif:
            series = tif.series[0]
            axes, shape = series.axes, series.shape
            array = series.asarray()
            size = read_pixel_size(tif)
            count = len(tif.series)
    except tifffile.TiffFileError as error:
        raise FileError(f"cannot read {file}: it is no TIFF image") from error
    except Exception as error:
        # Damaged files fail in every way there is.
        reason = str(error).split("\n", 1)[0]
        if "imagecodecs" in reason:
            reason = "its compression needs another package: pip install imagecodecs"
        raise FileError(f"cannot read {file}: damaged or unknown TIFF image ({reason})") from error
    notes = (f"only the first of {count} images was read",) if count > 1 else ()
    kept = "".join(a for a, length in zip(axes, shape, strict=True) if length > 1 or a in "YX")
    array = array.reshape([n for a, n in zip(axes, shape, strict=True) if n > 1 or a in "YX"])
    if kept == "SYX":
        array, kept = np.moveaxis(array, 0, -1), "YXS"
    if kept not in ("YX", "YXS"):
        raise InputError(
            f"{file} holds {' × '.join(map(str, shape))} values with axes {axes}; expected one "
            "grey image (YX) or one RGB image (YXS)"
        )
    return array, size, notes


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


def read_kernel(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Read a correlation kernel, or a grid of them.

    Parameters
    ----------
    path : path
        Of a .npy, TIFF or PNG file, or of a MATLAB file with a variable ``Kernel`` or with
        just one matrix.

    Returns
    -------
    ndarray, float32, (K, K) or (R, C, K, K)
        As it is in the file, not normalised: one kernel, or a grid of kernels of the regions of
        an image (.npy and TIFF).

    Raises
    ------
    FileError, InputError
    """
    file = Path(path)
    suffix = check_suffix(file, KERNEL_SUFFIXES, "read")
    _check_readable(file)
    grid = _read_grid(file, suffix)
    if grid is not None:
        return grid
    values = _read_mat(file) if suffix == ".mat" else read_image(file).array
    if values.ndim != 2 or values.dtype.kind not in "uif":
        shape = " × ".join(map(str, values.shape))
        raise InputError(
            f"{file} holds {shape} values of type {values.dtype}; expected a kernel, K × K "
            "numbers, or a grid of kernels, rows × columns × K × K"
        )
    return values.astype(np.float32)


def _read_grid(file: Path, suffix: str) -> NDArray[np.float32] | None:
    """Return the kernels (R, C, K, K) of a file, or None if it holds something else."""
    values: NDArray[Any]
    if suffix == ".npy":
        values = _read_npy(file)
    elif suffix in (".tif", ".tiff"):
        try:
            with tifffile.TiffFile(file) as tif:
                values = tif.series[0].asarray(squeeze=False)
        except Exception:  # noqa: BLE001 - what is wrong with it is said by whoever reads an image
            return None
    else:
        return None
    if values.ndim != 4 or values.shape[2] != values.shape[3] or values.dtype.kind not in "uif":
        return None
    return values.astype(np.float32)


def _read_mat(file: Path) -> NDArray[Any]:
    # Not before now: it takes a while to import, and few files need it.
    from scipy.io import loadmat  # noqa: PLC0415
    from scipy.io.matlab import MatReadError  # noqa: PLC0415

    try:
        variables = loadmat(file)
    except NotImplementedError as error:
        raise FileError(
            f"cannot read {file}: MATLAB file of version 7.3; expected version 7 or older"
        ) from error
    except (MatReadError, ValueError, OSError, TypeError, IndexError, struct.error) as error:
        raise FileError(f"cannot read {file}: it is no MATLAB file") from error
    matrices = {
        name: value
        for name, value in variables.items()
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "uif"
    }
    if "Kernel" in matrices:
        return matrices["Kernel"]
    if len(matrices) != 1:
        raise InputError(
            f"{file} holds the matrices {sorted(matrices)}; expected one named 'Kernel', or "
            "a single one"
        )
    return next(iter(matrices.values()))


def write_kernel(path: Path, kernel: NDArray[np.float32], *, force: bool = False) -> None:
    """Write a correlation kernel, or a grid of them.

    Parameters
    ----------
    path : Path
        .npy or TIFF: float32 as it is. PNG: scaled to 8 bit, for viewing; of a grid, all of them
        side by side.
    kernel : ndarray, (K, K) or (R, C, K, K)
    force : bool
        Replace an existing file.
    """
    suffix = check_suffix(path, KERNEL_OUT_SUFFIXES, "write")
    values = np.ascontiguousarray(kernel, dtype=np.float32)
    with replacing(path, force=force) as stream:
        if suffix == ".npy":
            np.save(stream, values, allow_pickle=False)
        elif suffix == ".png":
            if values.ndim == 4:
                values = np.concatenate(np.concatenate(values, axis=1), axis=1)
            view = np.rint(255 * np.clip(values / values.max(), 0, 1)).astype(np.uint8)
            Image.fromarray(view).save(stream, format="PNG")
        else:
            # What tells a grid from a stack of pages is the shape that is written with it.
            metadata: dict[str, Any] | None = {} if values.ndim == 4 else None
            tifffile.imwrite(stream, values, photometric="minisblack", metadata=metadata)


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
