"""What commands that write files share: the formats, and the checks before the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_blindsr.commands.options import check_distinct
from napari_blindsr.files import check_output, check_suffix

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
KERNEL_SUFFIXES = (".npy", ".tif", ".tiff", ".png")
FLOAT_SUFFIXES = (".tif", ".tiff", ".npy")
MASK_SUFFIXES = (".png", ".tif", ".tiff")
REPORT_SUFFIXES = (".json",)


def check_files(
    *inputs: Path | None, outputs: Sequence[tuple[Path | None, Collection[str]]], force: bool
) -> None:
    """Check that everything can be written before anything is read.

    Parameters
    ----------
    *inputs : Path or None
        Images and masks that are read; None is not given.
    outputs : sequence of (Path or None, collection of str)
        Files to be written, and the extensions that each may have.
    force : bool
        Whether existing files may be replaced.

    Raises
    ------
    FileError
        Also if a file stands for two things at once.
    """
    for path, suffixes in outputs:
        if path is not None:
            check_output(path, suffixes=suffixes, force=force)
    for given in inputs:
        if given is not None:
            check_suffix(given, IMAGE_SUFFIXES, "read")
    check_distinct([*inputs, *(path for path, _ in outputs)])
