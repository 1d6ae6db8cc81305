"""Read a folder of measured blur kernels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_blindsr.arrays import check_kernel
from napari_blindsr.engine.kernels.shake import KernelSet
from napari_blindsr.errors import FileError, InputError
from napari_blindsr.io import read_kernel

if TYPE_CHECKING:
    import os

SUFFIXES = (".mat", ".npy")


def read_kernel_folder(folder: str | os.PathLike[str]) -> KernelSet:
    """Read all kernels of a folder, for ``Motion(kernels=...)``.

    Parameters
    ----------
    folder : path
        Of .mat and .npy files, each with one correlation kernel (K, K) in HR pixels; the
        sizes may differ. Other files and subfolders are left alone.

    Returns
    -------
    KernelSet
        In the order of the file names.

    Raises
    ------
    FileError
        If the folder does not exist or has no such files, or one cannot be read.
    InputError
        If a kernel is not square, or its sum is not positive.
    """
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
