"""Files: what is read is what is there, and nothing is written by halves."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.io import savemat

from napari_blindsr.errors import BlindSRError, FileError, InputError
from napari_blindsr.images.atomic import check_output, replacing
from napari_blindsr.images.files import read_image
from napari_blindsr.images.metadata import METRES, Flavour, PixelSize
from napari_blindsr.images.plain import (
    IMAGE_SUFFIXES,
    check_image_type,
    write_image,
    write_report,
)
from napari_blindsr.physics.kernel_files import read_kernel, write_kernel

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 12), dtype=np.uint8)
RGB = RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)


def store(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".png":
        Image.fromarray(array).save(path)
    else:
        tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 3 else "minisblack")
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".npy", ".PNG"])
@pytest.mark.parametrize("array", [GREY, RGB, GREY.astype(np.uint16) * 250], ids=str)
def test_images_are_read_as_they_are(tmp_path: Path, suffix: str, array: np.ndarray) -> None:
    if suffix == ".PNG":
        path = tmp_path / "image.PNG"
        Image.fromarray(array).save(path)
    else:
        path = store(tmp_path / f"image{suffix}", array)
    loaded = read_image(path)
    assert loaded.array.dtype == array.dtype
    np.testing.assert_array_equal(loaded.array, array)
    assert loaded.notes == ()


def test_four_samples_of_which_nothing_is_said_are_not_alpha(tmp_path: Path) -> None:
    path = store(tmp_path / "image.npy", np.dstack([RGB, GREY]))
    with pytest.raises(InputError, match="9 × 12 × 4 values with axes YXC"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_dropped_with_a_note(tmp_path: Path, suffix: str) -> None:
    rgba = np.dstack([RGB, GREY])
    loaded = read_image(store(tmp_path / f"image{suffix}", rgba))
    np.testing.assert_array_equal(loaded.array, RGB)
    assert loaded.notes == ("the alpha channel was dropped",)


def test_palette_and_binary_png(tmp_path: Path) -> None:
    path = tmp_path / "palette.png"
    Image.fromarray(RGB // 64 * 64).quantize(256).save(path)
    assert read_image(path).array.shape == RGB.shape
    Image.fromarray(GREY > 127).save(path)
    np.testing.assert_array_equal(read_image(path).array, 255 * (GREY > 127))


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_sixteen_bit_colour_png_is_not_cut_to_eight(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "image.png"
    deep = RNG.integers(0, 65536, (9, 12, samples)).astype(np.uint16)
    path.write_bytes(imagecodecs.png_encode(deep))
    expected = deep[..., 0] if samples == 2 else deep[..., :3]
    np.testing.assert_array_equal(read_image(path).array, expected)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(FileError, match="damaged PNG image"):
        read_image(path)


def test_planar_tiff_and_one_of_several_images(tmp_path: Path) -> None:
    planar, several = tmp_path / "planar.tif", tmp_path / "several.tif"
    tifffile.imwrite(planar, np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(planar).array, RGB)
    with tifffile.TiffWriter(several) as writer:
        writer.write(GREY, photometric="minisblack")
        writer.write(GREY[:5], photometric="minisblack")
    with pytest.raises(InputError, match=r"several\.tif holds 2 images: 0 .*, 1 "):
        read_image(several)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"plain text, no image", b"II*\0", b"\x89PNG\r\n\x1a\n"])
def test_files_that_are_no_image(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"image{suffix}"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"cannot read .*image") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = store(tmp_path / f"image{suffix}", RGB)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FileError, match="cannot read"):
        read_image(path)


def test_compression_that_needs_another_package(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    Image.fromarray(GREY).save(path, compression="tiff_lzw")
    if find_spec("imagecodecs") is None:
        with pytest.raises(FileError, match="pip install imagecodecs"):
            read_image(path)
    else:
        np.testing.assert_array_equal(read_image(path).array, GREY)


def test_pickles_and_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.npy"
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(FileError, match=r"no \.npy array"):
        read_image(path)
    with path.open("wb") as stream:
        np.savez(stream, a=GREY)
    with pytest.raises(FileError, match=r"no \.npy array"):
        read_image(path)


def test_missing_folder_and_unknown_names(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "none.png", "no such file"),
        (tmp_path / "image.psd", r"extension '\.psd'; expected \.png, \.tif, \.tiff, \.npy, \.jpg"),
        (tmp_path / "image", "no extension"),
    ):
        with pytest.raises(FileError, match=message):
            read_image(path)
    folder = tmp_path / "folder.png"
    folder.mkdir()
    with pytest.raises(FileError, match="folder"):
        read_image(folder)


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
@pytest.mark.parametrize("shape", [(3, 9, 12), (4, 5, 9, 12)])
def test_stacks_are_refused(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / f"image{suffix}"
    stack = np.zeros(shape, np.uint8)
    if suffix == ".npy":
        np.save(path, stack)
    else:
        tifffile.imwrite(path, stack, photometric="minisblack")
    with pytest.raises(InputError, match=" × ".join(map(str, shape))):
        read_image(path)


def test_png_is_rounded_and_clipped_in_the_type_of_the_input(tmp_path: Path) -> None:
    path = tmp_path / "result.png"
    values = np.array([[-3.0, -0.4, 12.6], [255.4, 256.0, 1e9]])
    assert write_image(path, values, dtype=np.uint8) == 3
    assert np.asarray(Image.open(path)).tolist() == [[0, 0, 13], [255, 255, 255]]
    assert write_image(path, values, dtype=np.uint16, force=True) == 2
    stored = read_image(path).array
    assert stored.dtype == np.uint16
    assert stored.tolist() == [[0, 0, 13], [255, 256, 65535]]
    # A pixel counts once, however many of its channels are clipped.
    assert write_image(path, np.full((2, 2, 3), 999.0), dtype=np.uint8, force=True) == 4


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
def test_tiff_and_npy_keep_every_value(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / f"result{suffix}"
    image = RNG.normal(0, 1e6, shape).astype(np.float32)
    assert write_image(path, image, dtype=np.uint8) == 0
    loaded = read_image(path).array
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, image)


@pytest.mark.parametrize("name", ["result.png", "result.tif", "result.npy"])
def test_nothing_is_overwritten_without_force(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"mine")
    with pytest.raises(FileError, match="exists already"):
        write_image(path, GREY.astype(np.float32), dtype=np.uint8)
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]
    write_image(path, GREY.astype(np.float32), dtype=np.uint8, force=True)
    np.testing.assert_array_equal(read_image(path).array, GREY)


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with replacing(tmp_path / "a.bin", force=False) as stream:
            stream.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    def check(path: Path, *, force: bool = False) -> None:
        check_output(path, suffixes=(".png", ".tif"), force=force)

    check(tmp_path / "new.png")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.png").touch()
    check(tmp_path / "old.png", force=True)
    (tmp_path / "folder.tif").mkdir()
    for path, message in (
        (tmp_path / "old.png", "exists already"),
        (tmp_path / "new.jpg", r"expected \.png or \.tif"),
        (tmp_path / "new", "no extension"),
        (tmp_path / "none" / "new.png", "there is no folder"),
        (tmp_path / "folder.tif", "it is a folder"),
        (Path("/proc/new.png"), "cannot write"),
    ):
        with pytest.raises(FileError, match=message):
            check(path)


def test_types_that_png_cannot_hold(tmp_path: Path) -> None:
    png, tif = tmp_path / "a.png", tmp_path / "a.tif"
    held: list[np.ndarray] = [GREY, RGB, GREY.astype(np.uint16)]
    for array in held:
        check_image_type(png, array)
    others: list[np.ndarray] = [
        GREY.astype(np.float32),
        RGB.astype(np.uint16),
        GREY.astype(np.int32),
    ]
    for array in others:
        check_image_type(tif, array)
        with pytest.raises(FileError, match=f"does not hold a {array.dtype}"):
            check_image_type(png, array)


def tagged(kind: str, array: np.ndarray) -> dict[str, Any]:
    """Return options for a file of 0.25 × 0.5 µm pixels, in three ways of saying so."""
    colour = array.ndim == 3
    base: dict[str, Any] = {"photometric": "rgb" if colour else "minisblack"}
    if kind == "imagej":
        return base | {"imagej": True, "resolution": (4, 2), "metadata": {"unit": "um"}}
    if kind == "ome":
        sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
        units = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
        return base | {
            "ome": True,
            "metadata": {"axes": "YXS" if colour else "YX", **sizes, **units},
        }
    return base | {"resolution": (40000, 20000), "resolutionunit": "CENTIMETER", "metadata": None}


@pytest.mark.parametrize("array", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("kind", ["imagej", "ome", "tags"])
def test_pixel_size_is_carried_over_divided(tmp_path: Path, kind: str, array: np.ndarray) -> None:
    source, target = tmp_path / "source.tif", tmp_path / "target.tif"
    tifffile.imwrite(source, array, **tagged(kind, array))
    size = read_image(source).pixel_size
    assert size is not None
    micrometres = 1e4 if size.unit == "cm" else 1
    assert size.unit == {"imagej": "um", "ome": "µm", "tags": "cm"}[kind]
    assert (size.y * micrometres, size.x * micrometres) == pytest.approx((0.5, 0.25))
    fine = np.repeat(np.repeat(array, 4, axis=0), 4, axis=1).astype(np.float32)
    write_image(target, fine, dtype=array.dtype, pixel_size=size.divided(4))
    loaded = read_image(target)
    np.testing.assert_array_equal(loaded.array, fine)
    assert loaded.pixel_size is not None
    after = 1e4 if loaded.pixel_size.unit == "cm" else 1
    assert (loaded.pixel_size.y * after, loaded.pixel_size.x * after) == pytest.approx(
        (0.125, 0.0625), rel=1e-5
    )
    # Programs that read nothing but the tags see the size too.
    with tifffile.TiffFile(target) as tif:
        tags = tif.pages.first.tags
        x = tags["XResolution"].value
        per_unit = 16 if tif.is_imagej else 160000
        assert x[0] / x[1] == pytest.approx(per_unit, rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolution": (4, 2), "resolutionunit": "NONE"},
        {"imagej": True, "resolution": (4, 2)},
        {"ome": True},
        {"resolution": (0, 0), "resolutionunit": "CENTIMETER"},
    ],
    ids=["nothing", "aspect ratio", "imagej without unit", "ome without size", "zero"],
)
def test_no_pixel_size_is_made_up(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, GREY, photometric="minisblack", **options)
    assert read_image(path).pixel_size is None
    write_image(path, GREY, dtype=np.uint8, force=True)
    assert read_image(path).pixel_size is None


def test_unknown_units_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    size = PixelSize(y=2.0, x=3.0, unit="furlong", flavour="imagej")
    write_image(path, GREY, dtype=np.uint8, pixel_size=size)
    assert read_image(path).pixel_size == size


@pytest.mark.parametrize("flavour", ["tags", "ome", "imagej"])
@pytest.mark.parametrize("unit", ["pm", "Å", "um", "cm", "inch", "km", "furlong"])
@pytest.mark.parametrize("length", [0.3, 1, np.pi, 1e5 / 3, 1e10])
def test_pixels_of_any_size_are_kept(
    tmp_path: Path, flavour: Flavour, unit: str, length: float
) -> None:
    # The tags hold pixels per inch or cm as fractions of 32 bits.
    path = tmp_path / "image.tif"
    size = PixelSize(y=length, x=2 * length, unit=unit, flavour=flavour)
    write_image(path, GREY, dtype=np.uint8, pixel_size=size)
    found = read_image(path).pixel_size
    assert found is not None
    in_metres = METRES.get(found.unit, 1) / METRES.get(unit, 1)
    assert (found.y * in_metres, found.x * in_metres) == pytest.approx((length, 2 * length))


KERNEL = RNG.random((7, 7)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".tiff"])
def test_kernels_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"kernel{suffix}"
    write_kernel(path, KERNEL)
    np.testing.assert_array_equal(read_kernel(path), KERNEL)
    assert read_kernel(path).dtype == np.float32
    with pytest.raises(FileError, match="exists already"):
        write_kernel(path, KERNEL)


def test_kernel_pictures_use_the_whole_range(tmp_path: Path) -> None:
    path = tmp_path / "kernel.png"
    write_kernel(path, KERNEL / np.float32(1000))
    seen = read_kernel(path)
    assert seen.max() == 255
    np.testing.assert_allclose(seen / 255, KERNEL / KERNEL.max(), atol=0.5 / 255 + 1e-6)


def test_matlab_kernels(tmp_path: Path) -> None:
    path = tmp_path / "kernel.mat"
    savemat(path, {"Kernel": KERNEL, "other": np.eye(3)})
    np.testing.assert_array_equal(read_kernel(path), KERNEL)
    savemat(path, {"k": KERNEL, "note": "text"})
    np.testing.assert_array_equal(read_kernel(path), KERNEL)
    savemat(path, {"a": KERNEL, "b": KERNEL})
    with pytest.raises(InputError, match=r"\['a', 'b'\]; expected one named 'Kernel'"):
        read_kernel(path)
    path.write_bytes(b"no matlab file at all")
    with pytest.raises(FileError, match="no MATLAB file"):
        read_kernel(path)


def test_kernels_of_the_wrong_kind(tmp_path: Path) -> None:
    np.save(tmp_path / "colour.npy", np.zeros((5, 5, 3)))
    with pytest.raises(InputError, match="expected a kernel"):
        read_kernel(tmp_path / "colour.npy")
    with pytest.raises(BlindSRError, match=r"expected \.npy, \.mat, \.tif, \.tiff or \.png"):
        read_kernel(tmp_path / "kernel.txt")


def test_reports_are_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(path, {"losses": [1.5, math.nan], "text": "×4", "nested": {"t": (1, 2)}})
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "losses": [1.5, None],
        "text": "×4",
        "nested": {"t": [1, 2]},
    }
