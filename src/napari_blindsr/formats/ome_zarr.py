"""OME-Zarr: folders of chunks, of which only those that are asked for are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import BlindSRError, FileError
from napari_blindsr.formats.description import Description, ImageFile, guessed_axes
from napari_blindsr.formats.format import Format
from napari_blindsr.formats.lazy import colour_last, full_index
from napari_blindsr.formats.ngff import read_attributes
from napari_blindsr.formats.ome_zarr_out import (
    SUFFIXES,
    check_zarr,
    create_zarr,
    is_zarr,
)
from napari_blindsr.layout import distinct_axes

if TYPE_CHECKING:
    from pathlib import Path
    from types import EllipsisType

    from numpy.typing import NDArray

    Part = int | slice | EllipsisType

__all__ = ["FORMAT", "is_zarr", "open_zarr"]


@dataclass(frozen=True)
class ZarrArray:
    """An array in a folder.

    Attributes
    ----------
    path : Path
    array : zarr.Array
    """

    path: Path
    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """How long its axes are."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values, in native byte order."""
        stored: np.dtype[Any] = np.dtype(self.array.dtype)
        return stored.newbyteorder("=")

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.array.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """In which pieces it is stored."""
        return tuple(self.array.chunks)

    def __getitem__(self, index: Part | tuple[Part, ...]) -> NDArray[Any]:
        parts = full_index(index, self.shape)
        try:
            return np.asarray(self.array[parts], self.dtype)
        except Exception as error:
            # Damaged chunks fail in as many ways as there are compressions.
            reason = str(error).split("\n", 1)[0] or type(error).__name__
            raise FileError(f"cannot read {self.path}: damaged Zarr array ({reason})") from error


def open_zarr(path: Path, axes: str | None) -> ImageFile:
    """Open the image of a folder, at its full size if it is there in several."""
    import zarr  # noqa: PLC0415  (takes a while)

    try:
        # What is pickled must be found from wherever it is unpickled.
        node = zarr.open(path.absolute(), mode="r")
        return _open(path, node, axes)
    except BlindSRError:
        raise
    except (FileNotFoundError, KeyError, TypeError, ValueError, IndexError, OSError) as error:
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise FileError(f"cannot read {path}: it is no OME-Zarr image ({reason})") from error


def _open(path: Path, node: Any, axes: str | None) -> ImageFile:
    attributes = dict(node.attrs)
    if hasattr(node, "dtype"):
        return _plain(path, node, axes)
    if "plate" in attributes or "plate" in attributes.get("ome", {}):
        raise FileError(
            f"cannot read {path}: it is a plate of many images; expected one of them, such as "
            f"{path / 'A' / '1' / '0'}"
        )
    level = read_attributes(attributes)
    if level is None and "0" in node and not hasattr(node["0"], "dtype"):
        # As bioformats2raw lays out what it converts: one group an image.
        opened = _open(path / "0", node["0"], axes)
        if "1" not in node:
            return opened
        notes = (*opened.description.notes, "only the first of several images is read")
        return replace(opened, description=replace(opened.description, notes=notes))
    if level is None:
        raise FileError(f"cannot read {path}: it is no OME-Zarr image (no multiscales)")
    array = ZarrArray(path, node[level.path])
    named = axes or level.axes
    description = level.description
    if len(named) != array.ndim:
        return ImageFile(array=array, description=replace(description, axes=named))
    seen, named, notes = colour_last(array, named, description.notes)
    return ImageFile(array=seen, description=replace(description, axes=named, notes=notes))


def _plain(path: Path, node: Any, axes: str | None) -> ImageFile:
    """Open an array that says at most what its axes are called."""
    array = ZarrArray(path, node)
    names = getattr(node.metadata, "dimension_names", None) or node.attrs.get("_ARRAY_DIMENSIONS")
    letters = [str(name).upper() for name in names or () if name]
    known = distinct_axes("".join(letters)) if all(len(x) == 1 for x in letters) else ""
    if len(known) != array.ndim or not {"Y", "X"} <= set(known):
        known = guessed_axes(array.shape)
    named = axes or known
    if len(named) != array.ndim:
        return ImageFile(array=array, description=Description(axes=named))
    seen, named, notes = colour_last(array, named, ())
    return ImageFile(array=seen, description=Description(axes=named, notes=notes))


FORMAT = Format(
    name="OME-Zarr",
    suffixes=SUFFIXES,
    open=open_zarr,
    check=check_zarr,
    create=create_zarr,
    folder=True,
)
