"""Masks as files: nonzero is covered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tifffile
from PIL import Image

from napari_blindsr.files import check_suffix, replacing
from napari_blindsr.io import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MASK_OUT_SUFFIXES = (".png", ".tif", ".tiff")


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask (h, w) from an image file: true where any channel is not zero."""
    array = read_image(path).array
    # What is not a number is not zero either.
    covered = array != 0
    return np.asarray(covered.any(axis=-1) if array.ndim == 3 else covered, dtype=bool)


def write_mask(path: Path, covered: NDArray[np.bool_], *, force: bool = False) -> None:
    """Write a mask (H, W) as 8-bit PNG or TIFF: 255 where covered, else 0."""
    suffix = check_suffix(path, MASK_OUT_SUFFIXES, "write")
    values = np.where(covered, 255, 0).astype(np.uint8)
    with replacing(path, force=force) as stream:
        if suffix == ".png":
            Image.fromarray(values).save(stream, format="PNG")
        else:
            tifffile.imwrite(stream, values, photometric="minisblack", metadata=None)
