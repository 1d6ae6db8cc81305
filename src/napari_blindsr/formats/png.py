"""PNG files: small, one grey or RGB image, read and written whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import FileError
from napari_blindsr.files import check_output
from napari_blindsr.formats.description import Description, ImageFile
from napari_blindsr.formats.format import Format
from napari_blindsr.formats.lazy import block_for, region_of
from napari_blindsr.formats.writer import BlockKey, ImageWriter, Output, block_key
from napari_blindsr.io import check_image_type, read_image, write_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def open_png(path: Path, axes: str | None) -> ImageFile:
    """Open an image."""
    loaded = read_image(path)
    named = axes or ("YX" if loaded.array.ndim == 2 else "YXS")
    return ImageFile(array=loaded.array, description=Description(axes=named, notes=loaded.notes))


def check_png(output: Output) -> None:
    """Check that an image can be written, and held."""
    check_output(output.path, suffixes=FORMAT.suffixes, force=output.force)
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


FORMAT = Format(name="PNG", suffixes=(".png",), open=open_png, check=check_png, create=create_png)
