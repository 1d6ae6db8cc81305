"""TIFF files: plain, of ImageJ, and OME-TIFF; only the parts that are asked for are read."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_blindsr.errors import BlindSRError, FileError
from napari_blindsr.formats.description import Description, ImageFile
from napari_blindsr.formats.format import Format
from napari_blindsr.formats.lazy import MappedArray, colour_last, full_index
from napari_blindsr.formats.tiff_metadata import read_metadata
from napari_blindsr.formats.tiff_out import SUFFIXES, check_tiff, create_tiff
from napari_blindsr.layout import distinct_axes

if TYPE_CHECKING:
    from pathlib import Path
    from types import EllipsisType

    from numpy.typing import NDArray

    from napari_blindsr.formats.description import LazyArray

    Part = int | slice | EllipsisType

WHOLE_PAGE = 1 << 26
"""Up to how many bytes of strips a page is read at once."""


class TiffPages:
    """An image of a TIFF file in several pieces, or compressed.

    The file stays open as long as this lives.
    """

    def __init__(self, path: Path) -> None:
        import zarr  # noqa: PLC0415  (takes a while)

        self.path = path
        self._lock = threading.Lock()
        tif = tifffile.TiffFile(path)
        weakref.finalize(self, tif.close)
        series = tif.series[0]
        page = series.keyframe
        whole = not page.is_tiled and page.nbytes <= WHOLE_PAGE
        store = series.aszarr(level=0, chunkmode="page" if whole else None)
        self._array: Any = zarr.open_array(store, mode="r")
        self.shape: tuple[int, ...] = tuple(series.shape)
        self.dtype = np.dtype(series.dtype).newbyteorder("=")

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def __reduce__(self) -> tuple[type[TiffPages], tuple[Path]]:
        return TiffPages, (self.path.absolute(),)

    def __getitem__(self, index: Part | tuple[Part, ...]) -> NDArray[Any]:
        parts = full_index(index, self.shape)
        try:
            with self._lock:
                return np.asarray(self._array[parts], self.dtype)
        except Exception as error:
            # Damaged files fail in every way there is.
            where = ", ".join(
                str(p) if isinstance(p, int) else f"{p.start}:{p.stop}" for p in parts
            )
            raise FileError(f"cannot read [{where}] of {self.path}: {_why(error)}") from error


def _why(error: Exception) -> str:
    reason = str(error).split("\n", 1)[0]
    if "imagecodecs" in reason:
        return "its compression needs another package: pip install imagecodecs"
    return f"damaged or unknown TIFF image ({reason or type(error).__name__})"


def open_tiff(path: Path, axes: str | None) -> ImageFile:
    """Open the first image of a file, at its full size if it is there in several."""
    try:
        return _open(path, axes)
    except BlindSRError:
        raise
    except tifffile.TiffFileError as error:
        raise FileError(f"cannot read {path}: it is no TIFF image") from error
    except Exception as error:
        # Damaged files fail in every way there is.
        raise FileError(f"cannot read {path}: {_why(error)}") from error


def _open(path: Path, axes: str | None) -> ImageFile:
    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        stored = axes or distinct_axes(series.axes)
        facts = read_metadata(tif)
        count = len(tif.series)
        # Those of several files lie at the same offsets, but not in one file.
        offset = None if series.is_multifile else series.dataoffset
        shape, dtype = tuple(series.shape), np.dtype(series.dtype)
        length = tif.filehandle.size
        order = tif.byteorder
    notes: tuple[str, ...] = (f"only the first of {count} images is read",) if count > 1 else ()
    array: LazyArray
    if offset is None:
        array = TiffPages(path)
        # What cannot be decoded is told before the work.
        _ = array[tuple(slice(0, 1) for _ in shape)]
    else:
        array = MappedArray(path, offset, shape, dtype.newbyteorder(order))
        if offset + array.nbytes > length:
            raise FileError(
                f"cannot read {path}: damaged or unknown TIFF image ({length} bytes; expected "
                f"{offset + array.nbytes})"
            )
    if len(stored) == array.ndim:
        array, stored, notes = colour_last(array, stored, notes)
    return ImageFile(
        array=array,
        description=Description(
            axes=stored,
            pixel_size=facts.pixel_size,
            steps=facts.steps,
            channel_names=facts.channel_names,
            flavour=facts.flavour,
            notes=notes,
        ),
    )


FORMAT = Format(
    name="TIFF",
    suffixes=SUFFIXES,
    open=open_tiff,
    check=check_tiff,
    create=create_tiff,
)
