"""The commonest kinds of files, as docs/files.md lists them, each read from a real file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_blindsr.images.files import open_image
from napari_blindsr.images.metadata import metres
from tests.images.instruments import write_lif, write_lsm, write_nd2, write_stk

RNG = np.random.default_rng(5)
PLANE = RNG.integers(0, 60000, (48, 64)).astype(np.uint16)
STACK = RNG.integers(0, 60000, (4, 48, 64)).astype(np.uint16)
HYPERSTACK = RNG.integers(0, 60000, (4, 3, 48, 64)).astype(np.uint16)
COLOURS = RNG.integers(0, 255, (48, 64, 3)).astype(np.uint8)
# What lossy compression keeps.
SMOOTH = np.add.outer(np.arange(48) * 2, np.arange(64))[..., None] + np.array([0, 40, 80])
SMOOTH = SMOOTH.astype(np.uint8)
SIDE, STEP = 0.065, 0.3
"""In µm."""
CENTIMETRE = {"resolution": (1e4 / SIDE, 1e4 / SIDE), "resolutionunit": "CENTIMETER"}
OME = {"PhysicalSizeX": SIDE, "PhysicalSizeY": SIDE, "PhysicalSizeZ": STEP}


@dataclass(frozen=True)
class Kind:
    """What a file of a kind holds, and what is to be read from it."""

    name: str
    """Its row in the table of the page."""
    file: str
    pixels: NDArray[Any]
    axes: str
    write: Callable[[Path], object]
    size: bool = True
    """Whether pixels have a size."""
    names: tuple[str, ...] = ()
    tolerance: int = 0


def tiff(pixels: NDArray[Any], **options: Any) -> Callable[[Path], object]:
    """Return what writes a TIFF file of pixels."""
    base = {"photometric": "rgb" if pixels.shape[-1] == 3 else "minisblack"}
    return lambda path: tifffile.imwrite(path, pixels, **{**base, **options})


def write_slide(path: Path) -> None:
    """Write a slide of Aperio's: a pyramid of JPEG tiles, and a thumbnail."""
    options: dict[str, Any] = {"photometric": "rgb", "metadata": None}
    tiles = {"tile": (16, 16), "compression": "jpeg", **options}
    said = f"Aperio Image Library v11.2.1\n64x48 JPEG|AppMag = 40|MPP = {SIDE}"
    with tifffile.TiffWriter(path) as tif:
        tif.write(SMOOTH, description=said, **tiles)
        tif.write(SMOOTH[::4, ::4], **options)
        tif.write(SMOOTH[::2, ::2], description=said, **tiles)
        tif.write(SMOOTH[::3, ::3], subfiletype=1, **options)


def write_zarr(edition: str) -> Callable[[Path], None]:
    """Return what writes an OME-Zarr of one level, as the specification of a version has it."""

    def write(path: Path) -> None:
        zarr = pytest.importorskip("zarr", minversion="3")
        group = zarr.create_group(path, zarr_format=2 if edition == "0.4" else 3)
        named = {} if edition == "0.4" else {"dimension_names": tuple("zcyx")}
        group.create_array("0", data=HYPERSTACK, chunks=(1, 1, 16, 16), **named)
        length = {"type": "space", "unit": "micrometer"}
        axes = [{"name": name, **length} for name in "zyx"]
        axes.insert(1, {"name": "c", "type": "channel"})
        scale = [{"type": "scale", "scale": [STEP, 1, SIDE, SIDE]}]
        image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
        if edition == "0.4":
            group.attrs["multiscales"] = [{"version": edition, **image}]
        else:
            group.attrs["ome"] = {"version": edition, "multiscales": [image]}

    return write


def write_czi(path: Path) -> None:
    """Write what Zeiss's own library writes."""
    # Comes with bioio-czi.
    from pylibCZIrw import czi  # noqa: PLC0415

    with czi.create_czi(str(path)) as document:
        for z, c in np.ndindex(HYPERSTACK.shape[:2]):
            document.write(HYPERSTACK[z, c], plane={"C": c, "Z": z, "T": 0})
        names = dict(enumerate(("DAPI", "GFP", "Cy5")))
        sides = {f"scale_{axis}": 1e-6 * SIDE for axis in "xy"}
        document.write_metadata(channel_names=names, scale_z=1e-6 * STEP, **sides)


def picture(pixels: NDArray[Any], **options: Any) -> Callable[[Path], None]:
    """Return what writes a picture with Pillow."""
    return lambda path: Image.fromarray(pixels).save(path, **options)


def needing(
    package: str, write: Callable[[Path], object], least: str = "0"
) -> Callable[[Path], None]:
    """Return what writes a file, if a version of a package is there that reads it."""

    def checked(path: Path) -> None:
        try:
            installed = version(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
        if numbers(installed) < numbers(least):
            pytest.skip(f"{package} {installed} does not read it; {least} does")
        write(path)

    return checked


def numbers(text: str) -> list[int]:
    """Return the numbers of a version."""
    return [int(part) for part in re.findall(r"\d+", text)]


CZYX = HYPERSTACK.transpose(1, 0, 2, 3)
CHANNELS = ("DAPI", "GFP", "Cy5")
TURNED = Image.Exif()
TURNED[0x0112] = 6
IMAGEJ = {"spacing": STEP, "unit": "um"}
NUMBERED = {"axes": "ZCYX", "Channel": {"Name": list(CHANNELS)}, **OME}
KINDS = (
    Kind("TIFF", "a.tif", PLANE, "YX", tiff(PLANE, **CENTIMETRE)),
    Kind("TIFF, LZW", "a.tif", COLOURS, "YXS", tiff(COLOURS, compression="lzw", **CENTIMETRE)),
    Kind(
        "TIFF, JPEG",
        "a.tif",
        SMOOTH,
        "YXS",
        tiff(SMOOTH, compression="jpeg", tile=(16, 16), **CENTIMETRE),
        tolerance=12,
    ),
    Kind("TIFF of several pages", "a.tif", STACK, "IYX", tiff(STACK, metadata=None), size=False),
    Kind("BigTIFF", "a.btf", PLANE, "YX", tiff(PLANE, bigtiff=True, **CENTIMETRE)),
    Kind(
        "ImageJ hyperstack",
        "a.tif",
        HYPERSTACK,
        "ZCYX",
        tiff(HYPERSTACK, imagej=True, resolution=(1 / SIDE, 1 / SIDE), metadata=IMAGEJ),
    ),
    Kind(
        "OME-TIFF",
        "a.ome.tif",
        HYPERSTACK,
        "ZCYX",
        tiff(HYPERSTACK, metadata=NUMBERED),
        names=CHANNELS,
    ),
    Kind("SVS", "a.svs", SMOOTH, "YXS", write_slide, tolerance=12),
    Kind(
        "LSM",
        "a.lsm",
        HYPERSTACK,
        "ZCYX",
        lambda path: write_lsm(path, HYPERSTACK, side=SIDE, step=STEP),
        names=CHANNELS,
    ),
    Kind("STK", "a.stk", STACK, "ZYX", lambda path: write_stk(path, STACK, side=SIDE)),
    Kind("OME-Zarr 0.4", "a.ome.zarr", HYPERSTACK, "ZCYX", write_zarr("0.4")),
    Kind("OME-Zarr 0.5", "a.ome.zarr", HYPERSTACK, "ZCYX", write_zarr("0.5")),
    Kind("NumPy", "a.npy", STACK, "QYX", lambda path: np.save(path, STACK), size=False),
    Kind("PNG, 8 bit", "a.png", COLOURS, "YXS", picture(COLOURS), size=False),
    Kind("PNG, 16 bit", "a.png", PLANE, "YX", picture(PLANE), size=False),
    Kind(
        "JPEG",
        "a.jpg",
        np.rot90(SMOOTH, -1),
        "YXS",
        picture(SMOOTH, quality=95, exif=TURNED),
        size=False,
        tolerance=20,
    ),
    Kind("BMP", "a.bmp", COLOURS, "YXS", picture(COLOURS), size=False),
    Kind("CZI", "a.czi", CZYX, "CZYX", needing("bioio-czi", write_czi, "3"), names=CHANNELS),
    Kind(
        "LIF",
        "a.lif",
        CZYX,
        "CZYX",
        needing("bioio-lif", lambda path: write_lif(path, CZYX, side=SIDE, step=STEP)),
        names=CHANNELS,
    ),
    Kind(
        "ND2",
        "a.nd2",
        CZYX[:, 0],
        "CYX",
        needing("bioio-nd2", lambda path: write_nd2(path, CZYX[:, 0], side=SIDE)),
        names=CHANNELS,
    ),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_values_sizes_and_names_are_those_of_the_file(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.file
    kind.write(path)
    file = open_image(path)
    about = file.description
    assert about.axes == kind.axes
    found = file.array[...]
    assert (found.shape, found.dtype) == (kind.pixels.shape, kind.pixels.dtype)
    assert np.abs(found.astype(int) - kind.pixels).max() <= kind.tolerance
    inside = {"Y": slice(5, 21), "X": slice(7, 8)}
    part = tuple(inside.get(axis, slice(1, 3)) for axis in kind.axes)
    np.testing.assert_array_equal(file.array[part], found[part])
    assert (about.pixel_size is not None) == kind.size
    if about.pixel_size is not None:
        size = about.pixel_size
        assert metres(size.x, size.unit) == pytest.approx(1e-6 * SIDE, rel=1e-4)
        assert metres(size.y, size.unit) == pytest.approx(1e-6 * SIDE, rel=1e-4)
    steps = {step.axis: metres(step.size, step.unit) for step in about.steps}
    known = "Z" in kind.axes and kind.name != "STK"
    assert steps == ({"Z": pytest.approx(1e-6 * STEP, rel=1e-4)} if known else {})
    assert about.channel_names == kind.names


def test_the_page_lists_them() -> None:
    page = Path(__file__).parents[2] / "docs" / "files.md"
    _, _, table = page.read_text(encoding="utf-8").partition("## The commonest kinds")
    rows = re.findall(r"^\| \d+ \| ([^|]+) \|", table.partition("\n## ")[0], re.MULTILINE)
    assert [row.strip() for row in rows] == [kind.name for kind in KINDS]
