"""What stored values and sizes mean: applied, carried over or refused, and always reported."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_blindsr.errors import FileError, InputError
from napari_blindsr.images.files import create_image, open_image, read_image
from napari_blindsr.images.lazy import MappedArray, upright
from napari_blindsr.images.metadata import Description
from napari_blindsr.images.plain import write_image

RNG = np.random.default_rng(7)
GREY = RNG.integers(0, 256, (9, 12), dtype=np.uint8)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"PhysicalSizeX": 0.1, "PhysicalSizeY": 200, "PhysicalSizeYUnit": "nm"}, (0.2, 0.1)),
        ({"PhysicalSizeX": 100, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.2}, (200, 100)),
        ({"PhysicalSizeX": 100, "PhysicalSizeXUnit": "nm"}, (100, 100)),
        ({"PhysicalSizeX": 1e-7, "PhysicalSizeXUnit": "m", "PhysicalSizeY": 0.1}, (1e-7, 1e-7)),
    ],
)
def test_units_of_ome_may_differ(
    tmp_path: Path, sizes: dict[str, Any], expected: tuple[float, float]
) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, GREY, photometric="minisblack", metadata={"axes": "YX", **sizes})
    size = open_image(path).description.pixel_size
    assert size is not None
    assert size.unit == sizes.get("PhysicalSizeXUnit", "µm")
    assert (size.y, size.x) == pytest.approx(expected, rel=1e-12)


def test_units_of_imagej_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        np.stack([GREY, GREY]),
        imagej=True,
        resolution=(10, 0.005),
        metadata={"axes": "ZYX", "unit": "um", "yunit": "nm", "zunit": "mm", "spacing": 0.3},
    )
    opened = open_image(path).description
    assert opened.pixel_size is not None
    assert opened.pixel_size.unit == "um"
    assert opened.pixel_size.x == pytest.approx(0.1)
    assert opened.pixel_size.y == pytest.approx(0.2)
    depth = opened.step("Z")
    assert depth is not None
    assert (depth.size, depth.unit) == (0.3, "mm")


@pytest.mark.parametrize(("size", "unit"), [(1e-6, "nm"), (3e6, "m")])
def test_absurd_sizes_are_reported(tmp_path: Path, size: float, unit: str) -> None:
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    tifffile.imwrite(path, GREY, photometric="minisblack", metadata=metadata)
    (note,) = open_image(path).description.notes
    assert "is unlikely" in note


@pytest.mark.parametrize("count", [2, 3, 4])
def test_samples_of_grey_are_channels(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.tif"
    image = RNG.integers(0, 255, (9, 12, count)).astype(np.uint8)
    tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
    opened = open_image(path)
    assert opened.description.axes == "YXC"
    np.testing.assert_array_equal(opened.array[...], image)
    assert any("channels" in note for note in opened.description.notes)
    with pytest.raises(InputError, match="axes YXC"):
        read_image(path)


def test_a_fourth_sample_of_which_nothing_is_said_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    image = RNG.integers(0, 255, (9, 12, 4)).astype(np.uint8)
    tifffile.imwrite(path, image, photometric="rgb", extrasamples=["unspecified"])
    opened = open_image(path)
    assert opened.description.axes == "YXC"
    np.testing.assert_array_equal(opened.array[...], image)


@pytest.mark.parametrize("kind", ["separated", "cielab", "cfa"])
def test_inks_and_the_like_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tif"
    image = RNG.integers(0, 255, (9, 12, 4 if kind == "separated" else 3)).astype(np.uint8)
    if kind == "cfa":
        image = image[..., 0]
    tifffile.imwrite(path, image, photometric=kind)
    with pytest.raises(InputError, match="expected intensities, RGB or a palette"):
        open_image(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_may_be_zero(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY.astype(dtype), photometric="miniswhite")
    opened = open_image(path)
    np.testing.assert_array_equal(opened.array[...], np.iinfo(dtype).max - GREY.astype(dtype))
    assert opened.array.dtype == dtype
    assert opened.description.notes == ("intensities were inverted: in the file 0 is white",)


def test_palettes_are_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(path, GREY, photometric="palette", colormap=table)
    opened = open_image(path)
    expected = (table.T[GREY] // 257).astype(np.uint8)
    assert opened.description.axes == "YXS"
    np.testing.assert_array_equal(opened.array[...], expected)
    np.testing.assert_array_equal(opened.array[2, 3:7, 1], expected[2, 3:7, 1])
    grey = np.tile(table[0], (3, 1))
    tifffile.imwrite(path, GREY, photometric="palette", colormap=grey)
    opened = open_image(path)
    assert opened.description.axes == "YX"
    np.testing.assert_array_equal(opened.array[...], (grey[0] // 257)[GREY])


def test_colour_maps_of_microscopes_are_no_palettes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    table = np.zeros((3, 256), np.uint16)
    table[1] = np.arange(256) * 257
    tifffile.imwrite(path, GREY, imagej=True, photometric="palette", colormap=table)
    opened = open_image(path)
    assert opened.description.axes == "YX"
    np.testing.assert_array_equal(opened.array[...], GREY)


def rotated(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return what the standard says of stored rows and columns, by Pillow's code."""
    picture = Image.fromarray(image)
    names = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return np.asarray(picture.transpose(names[orientation]) if orientation in names else picture)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_images_are_put_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tag = (274, "H", 1, orientation, False)
        tifffile.imwrite(
            path,
            GREY,
            photometric="minisblack",
            metadata=None,
            extratags=[tag],
            resolution=(100, 50),
            resolutionunit="CENTIMETER",
        )
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(GREY).save(path, exif=exif)
    opened = open_image(path)
    expected = rotated(GREY, orientation)
    assert opened.array.shape == expected.shape
    np.testing.assert_array_equal(opened.array[...], expected)
    np.testing.assert_array_equal(opened.array[1:8:2, 3], expected[1:8:2, 3])
    np.testing.assert_array_equal(read_image(path).array, expected)
    if suffix == ".tif":
        size = opened.description.pixel_size
        assert size is not None
        swapped = orientation >= 5
        assert (size.y, size.x) == pytest.approx((0.01, 0.02) if swapped else (0.02, 0.01))


def test_turned_arrays_can_be_sent(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    image = RNG.random((3, 5, 7))
    np.save(path, image)
    stored = open_image(path).array
    assert isinstance(stored, MappedArray)
    turned, swapped = upright(stored, "ZYX", 6)
    assert swapped
    copy = pickle.loads(pickle.dumps(turned))  # noqa: S301 - made just here
    expected = np.stack([np.rot90(plane, -1) for plane in image])
    np.testing.assert_array_equal(copy[...], expected)
    np.testing.assert_array_equal(copy[1, 2:6:3, ::2], expected[1, 2:6:3, ::2])


def calibrated(path: Path, image: np.ndarray, **about: object) -> Path:
    lines = {"ImageJ": "1.54f", "images": 1, **about}
    text = "\n".join(f"{key}={value}" for key, value in lines.items()) + "\n"
    tifffile.imwrite(path, image, photometric="minisblack", description=text, metadata=None)
    return path


def test_straight_calibrations_are_applied(tmp_path: Path) -> None:
    image = GREY.astype(np.uint16)
    path = calibrated(tmp_path / "a.tif", image, cf=0, c0=-10.5, c1=0.25, vunit="e-")
    opened = open_image(path).array
    assert opened.dtype == np.float32
    np.testing.assert_array_equal(opened[...], (-10.5 + 0.25 * GREY).astype(np.float32))
    signed = calibrated(tmp_path / "b.tif", image, cf=0, c0=-32768, c1=1)
    opened = open_image(signed).array
    assert opened.dtype == np.int16
    np.testing.assert_array_equal(opened[...], image.astype(np.int32) - 32768)


def test_other_calibrations_are_refused(tmp_path: Path) -> None:
    path = calibrated(tmp_path / "a.tif", GREY, cf=4, c0=1, c1=2)
    with pytest.raises(InputError, match=r"a\.tif: ImageJ calibrates .* function 4"):
        open_image(path)


def test_incomplete_files_are_named_and_refused(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (5, 32, 48)).astype(np.uint8)
    whole = tmp_path / "whole.ome.tif"
    tifffile.imwrite(whole, stack, photometric="minisblack", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(whole) as tif:
        text = tif.ome_metadata
    assert text is not None
    fewer = tmp_path / "fewer.ome.tif"
    with tifffile.TiffWriter(fewer, ome=False) as writer:
        for number, plane in enumerate(stack[:3]):
            description = text if number == 0 else None
            writer.write(plane, contiguous=False, description=description, metadata=None)
    with pytest.raises(FileError, match="incomplete"):
        open_image(fewer)
    cut = tmp_path / "cut.tif"
    tifffile.imwrite(cut, stack, photometric="minisblack", compression="zlib", metadata=None)
    with tifffile.TiffFile(cut) as tif:
        last = tif.pages[4]
        assert isinstance(last, tifffile.TiffPage)
        tag = last.tags["StripOffsets"]
        position = tag.valueoffset
    data = bytearray(cut.read_bytes())
    data[position : position + 4] = (10**8).to_bytes(4, "little")
    cut.write_bytes(data)
    with pytest.raises(FileError, match=r"pixels of plane 4 of 5 are not there"):
        open_image(cut)
    fiji = tmp_path / "fiji.tif"
    lines = "ImageJ=1.54f\nimages=9\nslices=9\n"
    with tifffile.TiffWriter(fiji) as writer:
        for number, plane in enumerate(stack):
            writer.write(
                plane,
                contiguous=False,
                compression="zlib",
                description=lines if number == 0 else None,
                metadata=None,
            )
    with pytest.raises(FileError, match="declares 9 planes, of which 5 are there"):
        open_image(fiji)


def companions(folder: Path, name: str) -> Path:
    """Write an OME-TIFF whose second plane is in another file; returns the first."""
    first = folder / "first.ome.tif"
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="12" '
        'SizeY="9" SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0"/>'
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="first.ome.tif">urn:uuid:1'
        f'</UUID></TiffData><TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="{name}">'
        "urn:uuid:2</UUID></TiffData></Pixels></Image></OME>"
    )
    tifffile.imwrite(first, GREY, photometric="minisblack", description=xml, metadata=None)
    return first


def test_companions_are_read_with_a_note(tmp_path: Path) -> None:
    first = companions(tmp_path, "second.ome.tif")
    with pytest.raises(FileError, match=r"its part 'second\.ome\.tif': there is no such file"):
        open_image(first)
    tifffile.imwrite(tmp_path / "second.ome.tif", 255 - GREY, photometric="minisblack")
    opened = open_image(first)
    np.testing.assert_array_equal(opened.array[...], np.stack([GREY, 255 - GREY]))
    assert "pixels also come from second.ome.tif" in opened.description.notes


@pytest.mark.parametrize("name", ["../b.tif", "/etc/passwd", "sub/b.tif", "..", "a\\b.tif"])
def test_companions_elsewhere_are_not_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError, match="expected files of the same folder"):
        open_image(companions(tmp_path, name))


def test_companions_are_plain_files(tmp_path: Path) -> None:
    first = companions(tmp_path, "second.ome.tif")
    os.mkfifo(tmp_path / "second.ome.tif")
    with pytest.raises(FileError, match="it is a pipe"):
        open_image(first)
    (tmp_path / "second.ome.tif").unlink()
    (tmp_path / "second.ome.tif").symlink_to(first)
    with pytest.raises(FileError, match="is a link"):
        open_image(first)


def test_warnings_of_the_library_become_notes(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.stack([GREY, GREY]), photometric="minisblack")
    text = path.read_bytes().replace(b'SizeZ="2"', b'SizeZ="1"').replace(b'SizeT="2"', b'SizeT="1"')
    path.write_bytes(text.replace(b'SizeC="2"', b'SizeC="1"'))
    notes = open_image(path).description.notes
    assert any(note.startswith("tifffile warns: ") for note in notes)


def test_images_that_are_bombs(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.zeros((64, 64), np.uint8), compression="zlib", rowsperstrip=64, metadata=None
    )
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tag = tif.pages.first.tags[name]
            at = tag.offset + 8
            data[at : at + 4] = (60000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(FileError, match=r"promises 3\.6 GB of pixels"):
        open_image(path)


def copied(source: Path, target: Path, dtype: type = np.float32) -> Description:
    """Write what a file holds to another one, and return the description that is read there."""
    opened = open_image(source)
    values: np.ndarray = opened.array[...].astype(dtype)
    writer = create_image(target, shape=values.shape, dtype=dtype, description=opened.description)
    writer[(slice(None),) * values.ndim] = values
    writer.finish()
    return open_image(target).description


def test_how_imagej_shows_an_image_is_kept(tmp_path: Path) -> None:
    tables = [RNG.integers(0, 256, (3, 256)).astype(np.uint8) for _ in range(2)]
    labels = ["one", "two", "three", "four"]
    stack = np.stack([GREY] * 4).reshape(2, 2, 9, 12).astype(np.uint16)
    shown = {"LUTs": tables, "Ranges": (0.0, 99.5, 3.0, 200.0), "Labels": labels}
    tifffile.imwrite(
        tmp_path / "a.tif",
        stack,
        imagej=True,
        metadata={"axes": "ZCYX", "mode": "composite", **shown},
    )
    found = copied(tmp_path / "a.tif", tmp_path / "b.tif")
    assert found == open_image(tmp_path / "a.tif").description
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        metadata = tif.imagej_metadata or {}
    assert metadata["mode"] == "composite"
    assert metadata["Labels"] == labels
    assert metadata["Ranges"] == (0.0, 99.5, 3.0, 200.0)
    for table, expected in zip(metadata["LUTs"], tables, strict=True):
        np.testing.assert_array_equal(table, expected)


def test_colours_of_channels_are_kept(tmp_path: Path) -> None:
    stack = np.stack([GREY, GREY])
    about = {"Name": ["DAPI", "GFP"], "Color": [65535, -16776961]}
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        stack,
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": about},
    )
    colours = ("0000FF", "FF0000")
    assert open_image(tmp_path / "a.ome.tif").description.channel_colors == colours
    for name in ("b.ome.tif", "b.ome.zarr"):
        found = copied(tmp_path / "a.ome.tif", tmp_path / name)
        assert found.channel_colors == colours
        assert found.channel_names == ("DAPI", "GFP")


def test_a_colour_map_is_kept(tmp_path: Path) -> None:
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, imagej=True, photometric="palette", colormap=table)
    loaded = read_image(path)
    write_image(
        tmp_path / "b.tif",
        loaded.array.astype(np.float32),
        dtype=np.float32,
        description=loaded.description,
    )
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        # Of a single channel, tifffile returns no list.
        found = (tif.imagej_metadata or {})["LUTs"]
    np.testing.assert_array_equal(found, table // 257)
