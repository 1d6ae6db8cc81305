"""Image files of any axes and types: what is read is what is there, and only what is asked for."""

from __future__ import annotations

import itertools
import pickle
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_blindsr.errors import BlindSRError, FileError, InputError
from napari_blindsr.images.axes import distinct_axes
from napari_blindsr.images.files import (
    FORMATS,
    check_image,
    create_image,
    find_images,
    image_suffixes,
    open_image,
)
from napari_blindsr.images.lazy import full_index, rearranged
from napari_blindsr.images.metadata import AxisStep, Description, ImageFile, PixelSize, guessed_axes

LENGTHS = {"T": 2, "C": 3, "Z": 4, "Y": 11, "X": 13, "S": 3, "Q": 5, "I": 2}
AXES = ("YX", "YXS", "TYX", "ZYX", "CYX", "TCYX", "CTYX", "ZCYX", "TZCYX", "TCZYX", "YXC", "XYZT")
TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
NAMES = ("a.tif", "a.ome.tif", "a.npy", "a.ome.zarr")
SIZE = PixelSize(y=0.2, x=0.1, unit="µm")
STEPS = (AxisStep(axis="T", size=1.5, unit="s"), AxisStep(axis="Z", size=0.3, unit="µm"))


WRITTEN = [entry for entry in FORMATS if entry.written]


def described(axes: str, **changes: Any) -> Description:
    """Return a description that says all that can be said of some axes."""
    names = ("DAPI", "GFP & <RFP>", "Cy5") if "C" in axes else ()
    steps = tuple(step for step in STEPS if step.axis in axes)
    colors = ("0000FF", "00FF00", "FF00FF") if "C" in axes else ()
    whole = Description(
        axes=axes, pixel_size=SIZE, steps=steps, channel_names=names, channel_colors=colors
    )
    return replace(whole, **changes)


def pixels(axes: str, dtype: str = "u2", *, seed: int = 0) -> NDArray[Any]:
    shape = tuple(LENGTHS[axis] for axis in axes)
    values = np.random.default_rng(seed).integers(0, 120, shape)
    return (values / 4 if "f" in dtype else values).astype(dtype)


def save(path: Path, image: NDArray[Any], description: Description, **options: Any) -> Path:
    """Write an image in blocks that are no planes, the last one first."""
    writer = create_image(
        path, shape=image.shape, dtype=image.dtype, description=description, **options
    )
    for block in reversed(list(blocks(image.shape))):
        writer[block] = image[block]
    writer.finish()
    return path


def blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Return blocks that cover an array once; the last three axes are in two pieces."""
    cuts = [
        [slice(0, n)] if axis < len(shape) - 3 else [slice(0, (n + 1) // 2), slice((n + 1) // 2, n)]
        for axis, n in enumerate(shape)
    ]
    return itertools.product(*cuts)


def in_axes(file: ImageFile, axes: str) -> NDArray[Any]:
    """Return the whole image with its axes in another order."""
    order = [file.description.axes.index(axis) for axis in axes]
    return file.array[...].transpose(order)


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Make the system refuse to write files beyond a size, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axes", AXES)
def test_axes_come_back(tmp_path: Path, name: str, axes: str) -> None:
    image = pixels(axes)
    file = open_image(
        save(tmp_path / name, image, described(axes)), axes=axes if name == "a.npy" else None
    )
    assert sorted(file.description.axes) == sorted(axes)
    np.testing.assert_array_equal(in_axes(file, axes), image)
    if name != "a.npy":
        size = file.description.pixel_size
        assert size is not None
        # A plain TIFF file has its resolution as fractions.
        assert (size.y, size.x) == pytest.approx((0.2, 0.1), rel=1e-6)
        assert size.unit == "µm"
        assert set(file.description.steps) == set(described(axes).steps)
        assert file.description.channel_names == described(axes).channel_names
        assert file.description.channel_colors == described(axes).channel_colors
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.zarr"])
@pytest.mark.parametrize("axes", ["YX", "TZYX"])
@pytest.mark.parametrize("dtype", [*TYPES, ">u2", ">f4"])
def test_types_come_back(tmp_path: Path, name: str, axes: str, dtype: str) -> None:
    image = pixels(axes, dtype)
    file = open_image(save(tmp_path / name, image, described(axes)))
    assert file.array.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(file.array[...], image)
    if name != "a.npy" and axes == "TZYX":
        assert file.description.axes == axes
        assert set(file.description.steps) == set(STEPS)
        assert file.description.pixel_size is not None


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.zarr"])
@pytest.mark.parametrize("axes", ["YX", "YXS", "TCZYX"])
def test_nothing_is_made_up(tmp_path: Path, name: str, axes: str) -> None:
    file = open_image(save(tmp_path / name, pixels(axes), Description(axes=axes)))
    assert file.description.pixel_size is None
    assert file.description.steps == ()
    assert file.description.channel_names == ()
    assert file.description.notes == ()


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.zarr"])
def test_axes_without_a_name_stay_so(tmp_path: Path, name: str) -> None:
    image = pixels("QYX", "f4")
    file = open_image(save(tmp_path / name, image, Description(axes="QYX")))
    assert file.description.axes == "QYX"
    np.testing.assert_array_equal(file.array[...], image)


@pytest.mark.parametrize("entry", WRITTEN, ids=lambda entry: entry.name)
@pytest.mark.parametrize("axes", ["YX", "YXS"])
def test_every_format_holds_pictures(tmp_path: Path, entry: Any, axes: str) -> None:
    image = pixels(axes, "u1")
    for suffix in entry.suffixes:
        file = open_image(save(tmp_path / f"a{suffix.upper()}", image, Description(axes=axes)))
        assert file.description.axes == axes
        np.testing.assert_array_equal(file.array[...], image)
    if entry.name != "PNG":
        copy = pickle.loads(pickle.dumps(file.array))  # noqa: S301  (our own)
        np.testing.assert_array_equal(copy[...], image)


@pytest.mark.parametrize("name", ["a.ome.tif", "a.npy", "a.zarr"])
def test_every_kind_of_slice(tmp_path: Path, name: str) -> None:
    image = pixels("TCZYX")
    array = open_image(save(tmp_path / name, image, described("TCZYX"))).array
    assert (array.shape, array.ndim) == (image.shape, 5)
    for index in (
        (0, 1, 2),
        (-1, ..., slice(3, 9), slice(None, None, 2)),
        (slice(1, 2), 0, slice(1, None), 5, 6),
        ...,
        (..., -1),
        (0, 0, 0, 0, 0),
        (slice(5, 2), ...),
    ):
        np.testing.assert_array_equal(array[index], image[index])
    for wrong in ((2,), (0,) * 6, (slice(None, None, -1),), (0.5,)):
        with pytest.raises(IndexError):
            array[wrong]  # type: ignore[index]


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.zarr"])
def test_pixels_that_were_not_written_are_zero(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    writer = create_image(path, shape=(3, 8, 9), dtype="f4", description=Description(axes="ZYX"))
    writer[(1, slice(2, 4), -1)] = np.ones((2,), "f4")
    writer.finish()
    expected = np.zeros((3, 8, 9))
    expected[1, 2:4, 8] = 1
    np.testing.assert_array_equal(open_image(path).array[...], expected)


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.zarr", "a.png"])
def test_blocks_that_do_not_fit(tmp_path: Path, name: str) -> None:
    writer = create_image(
        tmp_path / name, shape=(8, 9), dtype="u1", description=Description(axes="YX")
    )
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        writer[(slice(0, 2), slice(0, 9))] = np.ones((2, 3), "u1")
    with pytest.raises(IndexError):
        writer[(8, slice(None))] = np.ones(9, "u1")
    with pytest.raises(TypeError):
        writer[(slice(None), slice(None))] = np.ones((8, 9), "f4")
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.zarr", "a.png"])
def test_nothing_is_replaced_without_force_and_all_of_it_with(tmp_path: Path, name: str) -> None:
    old, new = pixels("YX", "u1"), pixels("YX", "u1", seed=1)
    path = save(tmp_path / name, old, Description(axes="YX"))
    with pytest.raises(FileError, match="exists already"):
        save(path, new, Description(axes="YX"))
    options: dict[str, Any] = {"shape": new.shape, "dtype": "u1", "force": True}
    writer = create_image(path, description=Description(axes="YX"), **options)
    writer[(...,)] = new
    # The old one is there until the new one is complete.
    np.testing.assert_array_equal(open_image(path).array[...], old)
    writer.finish()
    np.testing.assert_array_equal(open_image(path).array[...], new)
    writer.abort()
    np.testing.assert_array_equal(open_image(path).array[...], new)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.zarr", "a.png"])
def test_what_came_into_being_meanwhile_stays(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    writer = create_image(path, shape=(8, 9), dtype="u1", description=Description(axes="YX"))
    path.write_bytes(b"theirs")
    with pytest.raises(FileError, match="exists already"):
        writer.finish()
    writer.abort()
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.zarr"])
def test_a_full_disk(tmp_path: Path, name: str) -> None:
    image = np.random.default_rng(0).random((24, 64, 64))
    writer = create_image(
        tmp_path / name, shape=image.shape, dtype="f8", description=Description(axes="ZYX")
    )
    with no_file_above(8000), pytest.raises(FileError, match=f"cannot write .*{name}: file too"):
        writer[(slice(0, 24),)] = image
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_room_is_looked_for_before_the_work(tmp_path: Path) -> None:
    for name in ("a.tif", "a.npy"):
        with pytest.raises(FileError, match=r"it needs 8e\+09 GB; .* GB are free"):
            check_image(
                tmp_path / name,
                shape=(10**6, 10**6, 10**6),
                dtype="f8",
                description=Description(axes="ZYX"),
            )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "suffix", [suffix for suffix in image_suffixes("write") if suffix != ".png"]
)
def test_outputs_are_checked_before_the_work(tmp_path: Path, suffix: str) -> None:
    def check(path: Path, shape: tuple[int, ...], dtype: str, axes: str) -> None:
        check_image(path, shape=shape, dtype=dtype, description=Description(axes=axes))

    path = tmp_path / f"a{suffix}"
    check(path, (3, 8, 9), "f4", "ZYX")
    assert list(tmp_path.iterdir()) == []
    for shape, dtype, axes, message in (
        ((8, 9), "f4", "ZYX", "8 × 9, but the axes ZYX mean 3 dimensions"),
        ((8, 9), "?", "YX", "values of type bool; expected integers or floating point"),
        ((8, 9), "c8", "YX", "values of type complex64"),
        ((0, 9), "f4", "YX", "is empty"),
        ((8, 9, 2), "f4", "YXS", "has 2 samples"),
    ):
        with pytest.raises(InputError, match=message):
            check(path, shape, dtype, axes)
    with pytest.raises(FileError, match="there is no folder"):
        check(tmp_path / "none" / f"a{suffix}", (8, 9), "f4", "YX")
    with pytest.raises(FileError, match="cannot write"):
        check(Path(f"/proc/a{suffix}"), (8, 9), "f4", "YX")


def test_what_a_format_cannot_hold(tmp_path: Path) -> None:
    for name, dtype, axes, message in (
        ("a.png", "u1", "ZYX", r"PNG holds .* not axes ZYX; expected \.tif"),
        ("a.png", "f4", "YX", "PNG does not hold a float32 grey image"),
        ("a.zarr", "f4", "QCYX", "OME-Zarr holds the axes T, Z, Y, X and one other; these are QC"),
        ("a.zarr", "f4", "CYXS", "OME-Zarr holds"),
        ("a.ome.tif", "f2", "ZYX", "OME-TIFF does not hold a float16 image with axes ZYX"),
        ("a.ome.tif", "u8", "YX", "OME-TIFF does not hold a uint64 image"),
        ("a.ome.tif", "f4", "QYX", "with axes QYX; expected axes of CSTXYZ"),
        ("a.jpg", "u1", "YX", "results are not written in this format"),
        ("a", "u1", "YX", "no extension"),
    ):
        with pytest.raises(FileError, match=message):
            check_image(
                tmp_path / name,
                shape=tuple(LENGTHS[axis] for axis in axes),
                dtype=dtype,
                description=Description(axes=axes),
            )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", image_suffixes("write"))
def test_files_that_are_not_there_or_no_images(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(FileError, match="there is no such file"):
        open_image(path)
    path.write_bytes(b"no image at all")
    with pytest.raises(FileError, match=f"cannot read .*a{suffix}: it is "):
        open_image(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(FileError, match=f"cannot read .*a{suffix}: it is "):
        open_image(path)


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.zarr"])
def test_axes_that_are_given_must_fit(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, pixels("ZYX"), Description(axes="ZYX"))
    assert open_image(path, axes="TYX").description.axes == "TYX"
    for axes in ("YX", "TZYX"):
        with pytest.raises(InputError, match=f"axes {axes} mean {len(axes)} dimensions"):
            open_image(path, axes=axes)
    for axes in ("ZYY", "zyx", "ABC"):
        with pytest.raises(BlindSRError, match=f"{name}: the axes are '{axes}'; expected capital"):
            open_image(path, axes=axes)


def test_colour_is_the_last_axis(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected S"):
        Description(axes="SYX")
    image = pixels("CYX", "u1")
    np.save(tmp_path / "a.npy", image)
    file = open_image(tmp_path / "a.npy", axes="SYX")
    assert file.description.axes == "YXS"
    np.testing.assert_array_equal(file.array[2:5, ..., 1], image[1, 2:5])


def test_finer_descriptions() -> None:
    coarse = described("ZYX", origin=(10.0, 20.0))
    fine = coarse.finer(4, first=(-0.375, -0.375))
    assert fine.pixel_size == PixelSize(y=0.05, x=0.025, unit="µm")
    assert fine.origin == pytest.approx((10 - 0.075, 20 - 0.0375))
    assert fine.steps == coarse.steps
    assert fine.step("Z") == STEPS[1]
    assert fine.step("T") is None
    plain = Description(axes="YX")
    assert plain.finer(4, first=(-0.375, -0.375)) == plain


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((8, 9), "YX"),
        ((8, 9, 3), "YXS"),
        ((8, 9, 4), "YXC"),
        ((8, 9, 5), "QYX"),
        ((5, 8, 9), "QYX"),
        ((2, 2, 3), "QYX"),
        ((5, 8, 9, 3), "QYXS"),
        ((5, 6, 8, 9), "QIYX"),
    ],
)
def test_guessed_axes(shape: tuple[int, ...], axes: str) -> None:
    assert guessed_axes(shape) == axes


def test_too_few_axes() -> None:
    for shape, words in (((), "a single number"), ((7,), "7")):
        with pytest.raises(InputError, match=f"the image is {words}; expected two"):
            guessed_axes(shape)


@given(st.text("QIJTYX", max_size=6))
def test_axes_are_made_distinct(axes: str) -> None:
    result = distinct_axes(axes)
    assert len(set(result)) == len(result) == len(axes)
    for before, after in zip(axes, result, strict=True):
        assert before in (after, "Q") or axes.count(before) > 1


@given(st.data())
def test_views_are_transposed_and_cut_arrays(data: st.DataObject) -> None:
    axes = data.draw(st.permutations("TZYX").map("".join))
    target = data.draw(st.permutations(axes[:3]).map("".join))
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    cut = array.shape[axes.index(target[0])] - 1
    view = rearranged(array, axes, target, {target[0]: cut})
    expected = array[..., 0].transpose([axes.index(axis) for axis in target])[:cut]
    assert view.shape == expected.shape
    index = tuple(
        data.draw(
            st.one_of(
                st.integers(-length, length - 1),
                st.slices(length).filter(lambda part: (part.step or 1) > 0),
            )
        )
        for length in expected.shape
    )
    np.testing.assert_array_equal(view[index], expected[index])
    assert len(full_index(index, expected.shape)) == 3


def test_images_are_found(tmp_path: Path) -> None:
    names = ["a10.tif", "a2.tif", "b.PNG", "c.npy", "d.TIFF"]
    for name in [*names, "notes.txt", ".hidden.tif", "report.json"]:
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "z.tif").touch()
    save(tmp_path / "e.ome.zarr", pixels("YX"), Description(axes="YX"))
    (tmp_path / "f.ome.zarr.part").mkdir()
    ordered = [tmp_path / x for x in ("a2.tif", "a10.tif", *names[2:], "e.ome.zarr")]
    assert find_images([tmp_path]) == ordered
    assert find_images([str(tmp_path / "a*.tif")]) == ordered[:2]
    assert find_images([tmp_path / "a10.tif", tmp_path]) == [ordered[1], ordered[0], *ordered[2:]]
    assert find_images([tmp_path / "e.ome.zarr"]) == [tmp_path / "e.ome.zarr"]
    # Its levels are no images of their own.
    assert find_images([tmp_path / "*.zarr"]) == [tmp_path / "e.ome.zarr"]
    assert find_images([tmp_path / "none.tif"]) == [tmp_path / "none.tif"]
    assert find_images([tmp_path / "deep*"]) == [tmp_path / "deeper" / "z.tif"]
    (tmp_path / "x[1].tif").touch()
    assert find_images([tmp_path / "x[1].tif"]) == [tmp_path / "x[1].tif"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="empty holds no images"):
        find_images([tmp_path / "empty"])
    with pytest.raises(FileError, match="nothing matches"):
        find_images([tmp_path / "*.jpg"])
