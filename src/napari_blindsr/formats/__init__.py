"""The file formats of images of any number of dimensions, one file each."""

from __future__ import annotations

from napari_blindsr.formats import npy, ome_zarr, png, tiff
from napari_blindsr.formats.format import Format

__all__ = ["FORMATS", "Format"]

FORMATS: tuple[Format, ...] = (tiff.FORMAT, ome_zarr.FORMAT, npy.FORMAT, png.FORMAT)
"""A new format is appended here; opening, writing, listing folders and tests take it from here."""
