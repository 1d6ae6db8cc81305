"""TIFF: the kinds that microscopes and programs write, and what others read of ours."""

from __future__ import annotations

import gc
import pickle
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_blindsr.errors import FileError, InputError
from napari_blindsr.images.files import create_image, open_image
from napari_blindsr.images.metadata import AxisStep, Description, Flavour, PixelSize
from napari_blindsr.images.plain import write_image

RNG = np.random.default_rng(11)
STACK = RNG.integers(0, 60000, (2, 3, 4, 32, 48)).astype(np.uint16)
SIZE = PixelSize(y=0.2, x=0.1, unit="µm")
COLORS = ("0000FF", "00FF00", "FF00FF")
STEPS = (AxisStep(axis="Z", size=0.3, unit="µm"), AxisStep(axis="T", size=1.5, unit="s"))
WHOLE = Description(
    axes="TCZYX", pixel_size=SIZE, steps=STEPS, channel_names=("DAPI", "GFP & <RFP>", "Cy5")
)


def save(path: Path, image: NDArray[Any], description: Description) -> Path:
    writer = create_image(path, shape=image.shape, dtype=image.dtype, description=description)
    writer[(slice(None),) * image.ndim] = image
    writer.finish()
    return path


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.OME.TIFF"])
def test_tifffile_reads_what_ome_tiff_says(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, STACK, WHOLE)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "TCZYX"
        np.testing.assert_array_equal(tif.asarray(), STACK)
        assert tif.ome_metadata is not None
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    expected = {
        "SizeT": 2,
        "SizeC": 3,
        "SizeZ": 4,
        "Type": "uint16",
        "PhysicalSizeX": 0.1,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.2,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 0.3,
        "PhysicalSizeZUnit": "µm",
        "TimeIncrement": 1.5,
        "TimeIncrementUnit": "s",
    }
    assert {key: pixels[key] for key in expected} == expected
    assert [channel["Name"] for channel in pixels["Channel"]] == list(WHOLE.channel_names)


@pytest.mark.parametrize("flavour", ["imagej", "ome", "tags", None])
@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
def test_pictures_are_written_as_single_images_always_were(
    tmp_path: Path, flavour: Flavour | None, shape: tuple[int, ...]
) -> None:
    image = RNG.random(shape).astype(np.float32)
    size = None if flavour is None else PixelSize(y=0.2, x=0.1, unit="um", flavour=flavour)
    write_image(tmp_path / "one.tif", image, dtype=np.float32, pixel_size=size)
    axes = "YX" if len(shape) == 2 else "YXS"
    save(tmp_path / "two.tif", image, Description(axes=axes, pixel_size=size))
    with (
        tifffile.TiffFile(tmp_path / "one.tif") as one,
        tifffile.TiffFile(tmp_path / "two.tif") as two,
    ):
        assert (
            one.is_ome == two.is_ome == (flavour == "ome" or (flavour == "imagej" and axes != "YX"))
        )
        assert one.is_imagej == two.is_imagej
        kept = ("XResolution", "YResolution", "ResolutionUnit", "PhotometricInterpretation")
        assert [one.pages.first.tags[t].value for t in kept if t in one.pages.first.tags] == [
            two.pages.first.tags[t].value for t in kept if t in two.pages.first.tags
        ]
        np.testing.assert_array_equal(one.asarray(), two.asarray())
    assert (
        open_image(tmp_path / "two.tif").description.pixel_size
        == open_image(tmp_path / "one.tif").description.pixel_size
    )


def hyperstack(path: Path) -> Path:
    tifffile.imwrite(
        path,
        STACK.swapaxes(1, 2),
        imagej=True,
        resolution=(10, 5),
        metadata={
            "axes": "TZCYX",
            "unit": "um",
            "spacing": 0.3,
            "finterval": 1.5,
            "tunit": "sec",
        },
    )
    return path


def test_hyperstacks_of_imagej_stay_such(tmp_path: Path) -> None:
    source = open_image(hyperstack(tmp_path / "a.tif"))
    assert source.description.axes == "TZCYX"
    assert source.description.flavour == "imagej"
    assert source.description.pixel_size == PixelSize(y=0.2, x=0.1, unit="um", flavour="imagej")
    assert set(source.description.steps) == {replace(STEPS[0], unit="um"), STEPS[1]}
    image = source.array[...].astype(np.float32)
    copy = save(tmp_path / "b.tif", image, source.description)
    with tifffile.TiffFile(copy) as tif:
        assert tif.is_imagej
        assert tif.series[0].axes == "TZCYX"
        metadata = tif.imagej_metadata or {}
        assert (metadata["channels"], metadata["slices"], metadata["frames"]) == (3, 4, 2)
        assert metadata["hyperstack"]
        np.testing.assert_array_equal(tif.asarray(), image)
    assert open_image(copy).description == source.description
    # ImageJ has no such numbers, and OME-TIFF is asked for.
    for name, dtype in (("c.tif", "f8"), ("d.ome.tif", "f4")):
        other = save(tmp_path / name, image.astype(dtype), source.description)
        opened = open_image(other).description
        assert opened.flavour == "ome"
        assert set(opened.steps) == set(STEPS)


def test_what_imagej_cannot_say_is_said_by_ome(tmp_path: Path) -> None:
    base = open_image(hyperstack(tmp_path / "a.tif")).description
    size = base.pixel_size
    assert size is not None
    for change in (
        {"steps": (AxisStep(axis="Z", size=0.3, unit="mm"),)},
        {"steps": (AxisStep(axis="T", size=0.3, unit="h"),)},
        {"pixel_size": replace(size, unit="Å")},
    ):
        changed = replace(base, **change)
        path = save(tmp_path / "b.tif", STACK.swapaxes(1, 2), changed)
        opened = open_image(path).description
        assert opened.flavour == "ome"
        assert set(opened.steps) == {
            replace(step, unit="µm" if step.unit == "um" else step.unit) for step in changed.steps
        }
        path.unlink()


def test_imagej_keeps_names_and_colours_of_channels(tmp_path: Path) -> None:
    base = open_image(hyperstack(tmp_path / "a.tif")).description
    described = replace(base, channel_names=("DAPI", "µ", "Cy5"), channel_colors=COLORS)
    path = save(tmp_path / "b.tif", STACK.swapaxes(1, 2), described)
    assert open_image(path).description == described
    with tifffile.TiffFile(path) as tif:
        metadata = tif.imagej_metadata or {}
    assert metadata["mode"] == "composite"
    assert metadata["Labels"] == ["DAPI", "µ", "Cy5"] * 8


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_one_plane_keeps_its_name_and_colour(tmp_path: Path, name: str) -> None:
    described = Description(
        axes="YX",
        pixel_size=PixelSize(y=0.2, x=0.1, unit="µm", flavour="imagej"),
        channel_names=("DAPI",),
        channel_colors=("0000FF",),
        flavour="imagej",
    )
    opened = open_image(save(tmp_path / name, STACK[0, 0, 0], described)).description
    assert (opened.channel_names, opened.channel_colors) == (("DAPI",), ("0000FF",))
    assert opened.pixel_size is not None
    assert (opened.pixel_size.y, opened.pixel_size.x) == pytest.approx((0.2, 0.1))


def test_large_files_are_bigtiff(tmp_path: Path) -> None:
    # The file has a hole where the pixels are; it takes no room on the disk.
    path = tmp_path / "a.tif"
    if shutil.disk_usage(tmp_path).free < 6e9:
        pytest.skip("a file of 5 GB needs that much room to be begun")
    writer = create_image(
        path, shape=(5, 2**15, 2**15), dtype="u1", description=Description(axes="ZYX")
    )
    corner = np.arange(6, dtype=np.uint8).reshape(2, 3)
    writer[(4, slice(-2, None), slice(-3, None))] = corner
    writer.finish()
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff
        assert tif.is_ome
    tracemalloc.start()
    file = open_image(path)
    np.testing.assert_array_equal(file.array[4, -2:, -4:], np.pad(corner, ((0, 0), (1, 0))))
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "u4", "f2", "f4", "f8"])
def test_either_byte_order(tmp_path: Path, byteorder: Literal["<", ">"], dtype: str) -> None:
    path = tmp_path / "a.tif"
    image = (STACK[0, 0] % 100).astype(dtype)
    tifffile.imwrite(path, image, byteorder=byteorder, photometric="minisblack")
    file = open_image(path)
    assert file.array.dtype == np.dtype(dtype)
    assert file.array[0].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(file.array[1:3, 4:9], image[1:3, 4:9])


STORED: dict[str, dict[str, Any]] = {
    "plain": {},
    "compressed": {"compression": "zlib"},
    "predicted": {"compression": "zlib", "predictor": True},
    "tiled": {"tile": (16, 16)},
    "tiled and compressed": {"tile": (16, 16), "compression": "zlib"},
    "strips": {"rowsperstrip": 5, "compression": "zlib"},
}


@pytest.mark.parametrize("options", STORED.values(), ids=list(STORED))
def test_however_it_is_stored(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, metadata={"axes": "TCZYX"}, **options)
    file = open_image(path)
    assert file.description.axes == "TCZYX"
    np.testing.assert_array_equal(file.array[...], STACK)
    np.testing.assert_array_equal(file.array[1, :, 2, 3:30, 7], STACK[1, :, 2, 3:30, 7])
    copy = pickle.loads(pickle.dumps(file.array))  # noqa: S301  (our own)
    np.testing.assert_array_equal(copy[0, 1], STACK[0, 1])
    # A file that is open no more is closed, not left to the system.
    del file, copy
    gc.collect()


@pytest.mark.parametrize("options", [STORED["tiled and compressed"], STORED["compressed"]])
def test_only_what_is_asked_for_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0, 0], photometric="minisblack", **options)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[2]
        offset, count = page.dataoffsets[-1], page.databytecounts[-1]
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff" * count)
    array = open_image(path).array
    for good in (0, 1, 3):
        np.testing.assert_array_equal(array[good], STACK[0, 0, good])
    if "tile" in options:
        np.testing.assert_array_equal(array[2, :16, :48], STACK[0, 0, 2, :16, :48])
    with pytest.raises(FileError, match=r"cannot read \[2, 20:32, 40:48\] of .*a\.tif: damaged"):
        array[2, 20:, 40:]


def test_large_planes_are_read_by_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_blindsr.images.tiff.WHOLE_PAGE", 1000)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0, 0, 0], rowsperstrip=8, compression="zlib")
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages.first.dataoffsets[-1]
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff" * 20)
    array = open_image(path).array
    np.testing.assert_array_equal(array[:24], STACK[0, 0, 0, :24])
    with pytest.raises(FileError, match="damaged"):
        array[24:]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}])
def test_files_cut_short(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0, 0], photometric="minisblack", **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 8])
    with pytest.raises(FileError, match=r"cannot read .*a\.tif"):
        _ = open_image(path).array[...]


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha"])
def test_alpha_is_dropped(tmp_path: Path, extra: str) -> None:
    path = tmp_path / "a.tif"
    image = RNG.integers(0, 255, (9, 12, 4)).astype(np.uint8)
    tifffile.imwrite(path, image, photometric="rgb", extrasamples=[extra])
    file = open_image(path)
    assert file.description.axes == "YXS"
    assert file.description.notes == ("the alpha channel was dropped",)
    np.testing.assert_array_equal(file.array[2:, 3], image[2:, 3, :3])


def test_colour_in_planes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    image = RNG.integers(0, 255, (3, 9, 12)).astype(np.uint8)
    tifffile.imwrite(path, image, photometric="rgb", planarconfig="separate")
    file = open_image(path)
    assert file.description.axes == "YXS"
    np.testing.assert_array_equal(file.array[...], np.moveaxis(image, 0, -1))


def test_samples_that_are_no_colours_are_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    image = RNG.integers(0, 255, (9, 12, 5)).astype(np.uint8)
    tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
    file = open_image(path)
    assert file.description.axes == "YXC"
    np.testing.assert_array_equal(file.array[..., 4], image[..., 4])


def test_stacks_without_names(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for plane in STACK[0, 0]:
            writer.write(plane, photometric="minisblack", contiguous=False, metadata=None)
    file = open_image(path)
    assert file.array.shape == (4, 32, 48)
    assert file.description.axes[1:] == "YX"
    assert file.description.axes[0] in "QI"
    assert open_image(path, axes="ZYX").description.axes == "ZYX"
    tifffile.imwrite(path, STACK[0], photometric="minisblack")
    assert open_image(path).description.axes == "QIYX"


def test_pyramids_and_further_images(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(STACK[0, 0], subifds=1, tile=(16, 16), metadata={"axes": "ZYX"})
        writer.write(STACK[0, 0, :, ::2, ::2], subfiletype=1, tile=(16, 16))
        writer.write(STACK[0, 1, 0], metadata={"axes": "YX"})
    listed = (
        r"holds 2 images: 0 \(.*4 × 32 × 48 ZYX\), 1 \(.*32 × 48 YX\); choose one with --series"
    )
    with pytest.raises(InputError, match=listed):
        open_image(path)
    file = open_image(path, series=0)
    assert file.array.shape == (4, 32, 48)
    np.testing.assert_array_equal(file.array[...], STACK[0, 0])
    np.testing.assert_array_equal(open_image(path, series=1).array[...], STACK[0, 1, 0])
    with pytest.raises(InputError, match=r"series is 2; .* holds 0"):
        open_image(path, series=2)


def test_images_in_several_files(tmp_path: Path) -> None:
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        'SizeX="48" SizeY="32" SizeZ="2" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        + "".join(
            f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1">'
            f'<UUID FileName="{z}.ome.tif">urn:uuid:00000000-0000-0000-0000-00000000000{z}</UUID>'
            "</TiffData>"
            for z in range(2)
        )
        + "</Pixels></Image></OME>"
    )
    for z in range(2):
        tifffile.imwrite(
            tmp_path / f"{z}.ome.tif",
            STACK[0, 0, z],
            description=xml,
            metadata=None,
            contiguous=True,
        )
    file = open_image(tmp_path / "0.ome.tif")
    assert file.description.axes == "ZYX"
    np.testing.assert_array_equal(file.array[...], STACK[0, 0, :2])


def test_values_that_are_no_numbers_of_an_image(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0, 0, 0] > 30000, photometric="minisblack")
    with pytest.raises(InputError, match="values of type bool; expected integers or floating"):
        open_image(path)
    tifffile.imwrite(path, STACK[0, 0, 0].astype(np.complex64), photometric="minisblack")
    with pytest.raises(InputError, match="values of type complex64"):
        open_image(path)


def test_an_open_input_may_be_replaced(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", STACK, WHOLE)
    file = open_image(path)
    writer = create_image(
        path, shape=STACK.shape, dtype="u2", description=file.description, force=True
    )
    for time in range(2):
        writer[(time,)] = file.array[time] // 2
    writer.finish()
    np.testing.assert_array_equal(open_image(path).array[...], STACK // 2)
