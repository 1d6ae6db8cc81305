"""Kernels in files: one, a grid, or a folder of them; checked as they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image

from napari_blindsr.errors import FileError, InputError
from napari_blindsr.images.atomic import check_readable, check_suffix, replacing
from napari_blindsr.images.files import read_image
from napari_blindsr.images.plain import read_npy
from napari_blindsr.images.planes import size_text
from napari_blindsr.images.tiff_meaning import check_expansion, check_pages, listening
from napari_blindsr.physics.mat_files import read_matrices

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.images.atomic import Bundle
    from napari_blindsr.physics.kernels.random_paths import KernelSet


SUFFIXES = (".mat", ".npy")


def read_kernel_folder(folder: str | os.PathLike[str]) -> KernelSet:
    """Read the kernels (K, K) of a folder's .mat and .npy files, in the order of their names.

    For ``Motion(kernels=...)``. Sizes may differ; other files and subfolders are ignored.

    Raises
    ------
    FileError
        If the folder does not exist or has no such files, or one cannot be read.
    InputError
        If a kernel is not square, or its sum is not positive.
    """
    # torch takes seconds to import.
    from napari_blindsr.physics.kernels.random_paths import KernelSet  # noqa: PLC0415

    path = Path(folder)
    if not path.is_dir():
        raise FileError(f"{path} is no folder; expected one with kernels (.mat, .npy)")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise FileError(f"the folder {path} holds no kernels; expected .mat or .npy files")
    kernels = []
    for file in files:
        values = read_kernel(file)
        try:
            kernels.append(check_kernel(values))
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
    return KernelSet.of(kernels)


KERNEL_SUFFIXES = (".npy", ".mat", ".tif", ".tiff", ".png")
KERNEL_OUT_SUFFIXES = (".npy", ".tif", ".tiff", ".png")


def read_kernel(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Read a kernel (K, K), or a grid of kernels (R, C, K, K), not normalised.

    From a .npy, TIFF or PNG file, or a MATLAB file with a variable ``Kernel`` or with just one
    matrix; grids from .npy and TIFF.

    Raises
    ------
    FileError, InputError
    """
    file = Path(path)
    suffix = check_suffix(file, KERNEL_SUFFIXES, "read")
    check_readable(file)
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
    return _single_precision(values)


def _single_precision(values: NDArray[Any]) -> NDArray[np.float32]:
    # Values that are too large become infinite, which the checks refuse.
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _read_grid(file: Path, suffix: str) -> NDArray[np.float32] | None:
    """Return the kernels (R, C, K, K) of a file; None if it has no grid."""
    values: NDArray[Any]
    if suffix == ".npy":
        values = read_npy(file)
    elif suffix in (".tif", ".tiff"):
        try:
            with listening(), tifffile.TiffFile(file) as tif:
                # Ours is never OME-TIFF, which may name other files.
                said = tif.shaped_metadata
                if tif.is_ome or not said or len(said[0]["shape"]) != 4:
                    return None
                check_pages(file, tif)
                check_expansion(file, tif.series[0].nbytes, tif.filehandle.size)
                values = tif.series[0].asarray(squeeze=False)
        except Exception:  # noqa: BLE001 - reading the image says what is wrong
            return None
    else:
        return None
    if values.ndim != 4 or values.shape[2] != values.shape[3] or values.dtype.kind not in "uif":
        return None
    return _single_precision(values)


def _read_mat(file: Path) -> NDArray[Any]:
    matrices = read_matrices(file)
    if "Kernel" in matrices:
        return matrices["Kernel"]
    if len(matrices) != 1:
        raise InputError(
            f"{file} holds the matrices {sorted(matrices)}; expected one named 'Kernel', or "
            "a single one"
        )
    return next(iter(matrices.values()))


def write_kernel(
    path: Path, kernel: NDArray[np.float32], *, force: bool = False, bundle: Bundle | None = None
) -> None:
    """Write a correlation kernel (K, K), or a grid of kernels (R, C, K, K).

    .npy or TIFF: float32 as it is. PNG: scaled to 8 bit, for viewing; a grid side by side. `bundle`
    holds files that are written together.
    """
    suffix = check_suffix(path, KERNEL_OUT_SUFFIXES, "write")
    values = np.ascontiguousarray(kernel, dtype=np.float32)
    with replacing(path, force=force, bundle=bundle) as stream:
        if suffix == ".npy":
            np.save(stream, values, allow_pickle=False)
        elif suffix == ".png":
            if values.ndim == 4:
                values = np.concatenate(np.concatenate(values, axis=1), axis=1)
            view = np.rint(255 * np.clip(values / values.max(), 0, 1)).astype(np.uint8)
            Image.fromarray(view).save(stream, format="PNG")
        else:
            # The shape in the metadata distinguishes a grid from a stack of pages.
            metadata: dict[str, Any] | None = {} if values.ndim == 4 else None
            tifffile.imwrite(stream, values, photometric="minisblack", metadata=metadata)


def check_kernel(kernel: ArrayLike) -> NDArray[np.float32]:
    """Check a known kernel (K, K) and return it with sum 1 and an odd side.

    It is finite, non-negative up to rounding, and of positive sum.

    Raises
    ------
    InputError
    """
    array = np.asarray(kernel)
    shape = size_text(array)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.size < 1:
        raise InputError(f"the kernel is {shape}; expected a square array (K × K)")
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise InputError(
            f"the kernel (type {array.dtype}) has values that are no finite numbers; "
            "expected finite weights"
        )
    values = array.astype(np.float64)
    total = values.sum()
    if total <= 0:
        raise InputError(f"the kernel has sum {total:g}; expected a positive sum")
    # Splines and measured point spread functions undershoot a little.
    if values.min() < -0.05 * values.max():
        raise InputError(
            f"the kernel goes down to {values.min() / values.max():.0%} of its peak; "
            "expected non-negative weights"
        )
    if array.shape[0] % 2 == 0:
        # A row and column at the end leave K//2, and so the geometry, as it is.
        values = np.pad(values, (0, 1))
    weights: NDArray[np.float32] = (values / total).astype(np.float32)
    return weights


def check_kernels(kernels: ArrayLike) -> NDArray[np.float32]:
    """Check a known kernel, or a grid (R, C, K, K); return each with sum 1 and an odd side.

    A grid of one becomes a single kernel.

    Raises
    ------
    InputError
    """
    array = np.asarray(kernels)
    if array.ndim == 2:
        return check_kernel(array)
    if array.ndim != 4 or array.shape[2] != array.shape[3] or array.size < 1:
        raise InputError(
            f"the kernel is {size_text(array)}; expected a square array (K × K), or one for each "
            "region of the image (rows × columns × K × K)"
        )
    checked = []
    for row, column in np.ndindex(*array.shape[:2]):
        try:
            checked.append(check_kernel(array[row, column]))
        except InputError as error:
            raise InputError(f"in row {row}, column {column} of the grid {error}") from error
    if len(checked) == 1:
        return checked[0]
    return np.stack(checked).reshape(*array.shape[:2], *checked[0].shape)
