"""The kinds of files that people have, each written by another program's library."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from napari_blindsr.errors import FileError, InputError
from napari_blindsr.images.files import find_images, open_image
from napari_blindsr.images.metadata import AxisStep, PixelSize
from napari_blindsr.images.pictures import KINDS

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 255, (64, 48)).astype(np.uint8)
RGB = RNG.integers(0, 255, (64, 48, 3)).astype(np.uint8)
# What JPEG keeps.
SMOOTH = np.add.outer(np.arange(64) * 2, np.arange(48)).astype(np.uint8)
EXACT = {"lzw": "lzw", "deflate": "zlib", "zstd": "zstd", "packbits": "packbits", "lzma": "lzma"}


@pytest.mark.parametrize("compression", EXACT.values(), ids=list(EXACT))
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 32)}, {"rowsperstrip": 5}])
@pytest.mark.parametrize("image", [GREY, RGB, GREY.astype(np.uint16) * 257], ids=str)
def test_compressed_tiff(
    tmp_path: Path, compression: str, layout: dict[str, Any], image: NDArray[Any]
) -> None:
    path = tmp_path / "a.tif"
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    tifffile.imwrite(path, image, compression=compression, photometric=photometric, **layout)
    array = open_image(path).array
    np.testing.assert_array_equal(array[...], image)
    np.testing.assert_array_equal(array[10:41:3, 7], image[10:41:3, 7])


def test_lzw_of_images_with_predictor(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, compression="lzw", predictor=True, photometric="rgb")
    np.testing.assert_array_equal(open_image(path).array[...], RGB)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp", "jpegxr"])
@pytest.mark.parametrize("colours", [False, True])
def test_lossy_tiff(tmp_path: Path, compression: str, colours: bool) -> None:
    image = np.stack([SMOOTH, 255 - SMOOTH, SMOOTH // 2], axis=-1) if colours else SMOOTH
    if compression == "webp" and not colours:
        pytest.skip("WebP has colours only")
    path = tmp_path / "a.tif"
    photometric = "rgb" if colours else "minisblack"
    try:
        tifffile.imwrite(
            path, image, compression=compression, photometric=photometric, tile=(32, 32)
        )
    except (ValueError, NotImplementedError, imagecodecs.DelayedImportError) as error:
        pytest.skip(f"this version of imagecodecs does not write it: {error}")
    array = open_image(path).array
    assert np.abs(array[...].astype(int) - image).mean() < 2
    np.testing.assert_array_equal(array[...], tifffile.imread(path))
    np.testing.assert_array_equal(array[5:60, 20:40], array[...][5:60, 20:40])


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".webp", ".gif", ".png"])
@pytest.mark.parametrize("colours", [False, True])
def test_pictures(tmp_path: Path, suffix: str, colours: bool) -> None:
    path = tmp_path / f"a{suffix}"
    image = np.stack([SMOOTH, SMOOTH, SMOOTH // 2], axis=-1) if colours else SMOOTH
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(image).save(path, **options)
    file = open_image(path)
    # WebP has colours only.
    grey = not colours and suffix != ".webp"
    assert file.description.axes == ("YX" if grey else "YXS")
    lossy = 12 if suffix.lower() in (".jpg", ".jpeg") else 9 if suffix == ".gif" else 0
    expected = image if colours or grey else np.stack([image] * 3, axis=-1)
    assert np.abs(file.array[...].astype(int) - expected).max() <= lossy
    assert find_images([tmp_path]) == [path]


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SMOOTH).save(tmp_path / "a.jpg", exif=exif)
    array = open_image(tmp_path / "a.jpg").array
    assert array.shape == (48, 64)
    assert np.abs(array[...].astype(int) - np.rot90(SMOOTH, -1)).max() <= 12


def test_colour_profiles_are_noted(tmp_path: Path) -> None:
    for made, notes in ((ImageCms.createProfile("sRGB"), 0), (ImageCms.createProfile("LAB"), 1)):
        profile = ImageCms.ImageCmsProfile(made).tobytes()
        Image.fromarray(RGB).save(tmp_path / "a.jpg", icc_profile=profile)
        found = open_image(tmp_path / "a.jpg").description.notes
        assert len(found) == notes
        assert all("is not applied" in note for note in found)
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "b.jpg")
    file = open_image(tmp_path / "b.jpg")
    assert file.description.notes == ("its colours were converted from CMYK to RGB",)
    assert file.array.shape == RGB.shape


def test_frames_follow_each_other_in_time(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(SMOOTH, 5 * n, axis=1)) for n in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    file = open_image(tmp_path / "a.gif")
    assert file.description.axes == "TYX"
    assert file.array.shape == (3, 64, 48)
    assert np.abs(file.array[2].astype(int) - np.asarray(frames[2])).max() <= 9


@pytest.mark.parametrize("suffix", [s for s in KINDS if s != ".png"])
def test_damaged_pictures_and_results_in_their_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("text")
    with pytest.raises(
        FileError, match=rf"cannot read .*a{suffix}: it is no {KINDS[suffix]} image"
    ):
        open_image(path)
    with pytest.raises(InputError, match="series is 3"):
        open_image(path, series=3)


def test_values_that_stand_for_something_else_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).quantize(64).save(path)
    assert "palette were applied" in open_image(path).description.notes[0]
    tifffile.imwrite(path, GREY, photometric="miniswhite")
    assert "0 is white" in open_image(path).description.notes[0]


def test_files_of_instruments_that_are_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.btf"
    tifffile.imwrite(path, RGB, photometric="rgb", bigtiff=True)
    np.testing.assert_array_equal(open_image(path).array[...], RGB)


class StandIn:
    """What bioio makes of a file with two scenes."""

    scenes = ("first", "second")
    dims = SimpleNamespace(order="TCZYX")
    physical_pixel_sizes = SimpleNamespace(Z=0.5, Y=0.1, X=0.2)

    def __init__(self, path: Path) -> None:
        if path.suffix == ".nd2":
            raise ValueError("no reader\nat all")
        self.pixels = RNG.integers(0, 999, (1, 2, 3, 8, 9)).astype(np.uint16)
        self.channel_names = ["DAPI", "GFP"]

    def set_scene(self, name: str) -> None:
        # Every stand-in of a file has the same pixels.
        seed = self.scenes.index(name)
        self.pixels = np.random.default_rng(seed).integers(0, 999, (1, 2, 3, 8, 9), dtype=np.uint16)

    shape = property(lambda self: self.pixels.shape)
    dtype = property(lambda self: self.pixels.dtype)
    dask_data = property(lambda self: self.pixels)


def test_files_of_microscopes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.czi"
    path.write_bytes(b"pixels")
    monkeypatch.setitem(sys.modules, "bioio", None)
    with pytest.raises(FileError, match=r'pip install "napari-blindsr\[bioio\]"'):
        open_image(path)
    monkeypatch.setitem(sys.modules, "bioio", SimpleNamespace(BioImage=StandIn))
    with pytest.raises(InputError, match=r"holds 2 images: 0 \(first\), 1 \(second\); choose one"):
        open_image(path)
    file = open_image(path, series=1)
    pixels = np.random.default_rng(1).integers(0, 999, (2, 3, 8, 9), dtype=np.uint16)
    assert file.description.axes == "CZYX"
    assert file.description.pixel_size == PixelSize(y=0.1, x=0.2, unit="µm")
    assert file.description.steps == (AxisStep(axis="Z", size=0.5, unit="µm"),)
    assert file.description.channel_names == ("DAPI", "GFP")
    np.testing.assert_array_equal(file.array[1, :, 2:5], pixels[1, :, 2:5])
    copy = pickle.loads(pickle.dumps(file.array))  # noqa: S301  (our own)
    np.testing.assert_array_equal(copy[0, 2], pixels[0, 2])
    (tmp_path / "b.nd2").write_bytes(b"pixels")
    with pytest.raises(FileError, match=r"no reader; bioio reads such .*: pip install bioio-nd2"):
        open_image(tmp_path / "b.nd2")
