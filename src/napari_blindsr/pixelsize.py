"""The size of a pixel in a TIFF file: reading it, and writing it back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tifffile

if TYPE_CHECKING:
    from numpy.typing import NDArray

Flavour = Literal["imagej", "ome", "tags"]

# tifffile.RESUNIT
_TAG_UNITS = {2: "inch", 3: "cm"}
METRES = {
    "nm": 1e-9,
    "um": 1e-6,
    "µm": 1e-6,
    "μm": 1e-6,
    "micron": 1e-6,
    "microns": 1e-6,
    "mm": 1e-3,
    "cm": 1e-2,
    "m": 1.0,
    "inch": 0.0254,
}
OME_UNITS = {"um": "µm", "μm": "µm", "micron": "µm", "microns": "µm", "inch": "in"}


@dataclass(frozen=True, kw_only=True)
class PixelSize:
    """How large a pixel is.

    Attributes
    ----------
    y, x : float
        Height and width, in `unit`.
    unit : str
        As the file has it.
    flavour : {"imagej", "ome", "tags"}
        Where it stands in a TIFF file.
    """

    y: float
    x: float
    unit: str
    flavour: Flavour = "ome"

    def divided(self, scale: int) -> PixelSize:
        """Return the size of a pixel of an image that is `scale` times finer."""
        return replace(self, y=self.y / scale, x=self.x / scale)


def read_pixel_size(tif: tifffile.TiffFile) -> PixelSize | None:
    """Return the pixel size of the first image of a TIFF file, or None if it tells none."""
    size: PixelSize | None = None
    if tif.is_ome and tif.ome_metadata is not None:
        size = _from_ome(tif.ome_metadata)
    elif tif.is_imagej:
        size = _from_imagej(tif)
    if size is None:
        size = _from_tags(tif)
    if size is not None and np.isfinite([size.y, size.x]).all() and min(size.y, size.x) > 0:
        return size
    return None


def _from_ome(xml: str) -> PixelSize | None:
    image = tifffile.xml2dict(xml).get("OME", {}).get("Image")
    image = image[0] if isinstance(image, list) else image
    pixels = image.get("Pixels", {}) if isinstance(image, dict) else {}
    try:
        x = float(pixels["PhysicalSizeX"])
        y = float(pixels.get("PhysicalSizeY", x))
    except (KeyError, TypeError, ValueError):
        return None
    # The schema's default unit.
    return PixelSize(y=y, x=x, unit=pixels.get("PhysicalSizeXUnit", "µm"), flavour="ome")


def _resolution(tif: tifffile.TiffFile) -> tuple[float, float] | None:
    """Return pixels per unit along x and y."""
    tags = tif.pages.first.tags
    found = []
    for name in ("XResolution", "YResolution"):
        tag = tags.get(name)
        if tag is None or not isinstance(tag.value, tuple) or 0 in tag.value[:2]:
            return None
        found.append(tag.value[0] / tag.value[1])
    return found[0], found[1]


def _from_imagej(tif: tifffile.TiffFile) -> PixelSize | None:
    metadata = tif.imagej_metadata or {}
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ").strip()
    resolution = _resolution(tif)
    if resolution is None or unit in ("", "pixel", "pixels"):
        return None
    return PixelSize(y=1 / resolution[1], x=1 / resolution[0], unit=unit, flavour="imagej")


def _from_tags(tif: tifffile.TiffFile) -> PixelSize | None:
    resolution = _resolution(tif)
    tag = tif.pages.first.tags.get("ResolutionUnit")
    unit = _TAG_UNITS.get(int(tag.value)) if tag is not None else None
    if resolution is None or unit is None:
        return None
    return PixelSize(y=1 / resolution[1], x=1 / resolution[0], unit=unit, flavour="tags")


def tiff_options(image: NDArray[Any], size: PixelSize | None) -> dict[str, Any]:
    """Return the options with which `tifffile.imwrite` stores an image and its pixel size.

    The size is written the way it was read. ImageJ has no RGB images of floats, so those
    become OME files.
    """
    return plane_options(colour=image.ndim == 3, size=size)


def plane_options(*, colour: bool, size: PixelSize | None) -> dict[str, Any]:
    """Return those options for one grey or RGB image."""
    options: dict[str, Any] = {
        "photometric": "rgb" if colour else "minisblack",
        "metadata": None,
    }
    if size is None:
        return options
    if size.flavour == "imagej" and not colour:
        # ImageJ's description is ASCII.
        unit = "um" if METRES.get(size.unit) == METRES["um"] else size.unit
        if unit.isascii():
            options |= {
                "imagej": True,
                "resolution": (1 / size.x, 1 / size.y),
                "metadata": {"axes": "YX", "unit": unit},
            }
            return options
    options |= resolution_tags(size)
    if size.flavour != "tags":
        unit = OME_UNITS.get(size.unit, size.unit)
        options["ome"] = True
        options["metadata"] = {
            "axes": "YXS" if colour else "YX",
            "PhysicalSizeX": size.x,
            "PhysicalSizeXUnit": unit,
            "PhysicalSizeY": size.y,
            "PhysicalSizeYUnit": unit,
        }
    return options


def resolution_tags(size: PixelSize) -> dict[str, Any]:
    """Return the resolution as plain tags, for programs that read no more than those."""
    metres = METRES.get(size.unit)
    if metres is None:
        return {}
    unit = "inch" if size.unit == "inch" else "cm"
    factor = METRES[unit] / metres
    return {
        "resolution": (factor / size.x, factor / size.y),
        "resolutionunit": tifffile.RESUNIT.INCH if unit == "inch" else tifffile.RESUNIT.CENTIMETER,
    }
