"""OME-Zarr: read by others, chunk by chunk, gone on with after an interruption."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from numpy.typing import NDArray

from napari_blindsr.errors import FileError, InputError
from napari_blindsr.images.files import create_image, find_images, open_image
from napari_blindsr.images.metadata import AxisStep, Description, PixelSize
from napari_blindsr.images.ngff import stored_axes
from napari_blindsr.images.writer import ImageWriter

with_zarr_3 = pytest.mark.skipif(
    not hasattr(zarr, "create_group"), reason="the test itself writes with zarr 3"
)

RNG = np.random.default_rng(5)
STACK = RNG.integers(1, 60000, (2, 3, 4, 32, 48)).astype(np.uint16)
SIZE = PixelSize(y=0.2, x=0.1, unit="µm")
STEPS = (AxisStep(axis="T", size=1.5, unit="s"), AxisStep(axis="Z", size=300.0, unit="nm"))
WHOLE = Description(
    axes="TCZYX",
    pixel_size=SIZE,
    origin=(-0.075, 0.5),
    steps=STEPS,
    channel_names=("DAPI", "GFP", "Cy5"),
)


def begin(
    path: Path, image: NDArray[Any] = STACK, description: Description = WHOLE, **options: Any
) -> ImageWriter:
    return create_image(
        path, shape=image.shape, dtype=image.dtype, description=description, **options
    )


def save(path: Path, image: NDArray[Any], description: Description, **options: Any) -> Path:
    writer = begin(path, image, description, **options)
    for first in range(image.shape[0]):
        writer[(first,)] = image[first]
    writer.finish()
    return path


@pytest.mark.parametrize(
    "axes", ["YX", "YXS", "TYX", "ZYX", "CYX", "QYX", "TZCYX", "CTYX", "XYZT", "TCZYX", "TYXS"]
)
def test_another_project_finds_it_valid(tmp_path: Path, axes: str) -> None:
    lengths = {"T": 2, "C": 3, "Z": 4, "Y": 9, "X": 12, "S": 3, "Q": 5}
    image = RNG.random([lengths[axis] for axis in axes]).astype(np.float32)
    steps = tuple(step for step in STEPS if step.axis in axes)
    names = WHOLE.channel_names if "C" in axes else ()
    description = replace(WHOLE, axes=axes, steps=steps, channel_names=names)
    path = save(tmp_path / "a.ome.zarr", image, description)
    # What the specification asks for but does not demand is a warning, so an error here.
    yaozarrs.validate_zarr_store(path)
    group = yaozarrs.open_group(path)
    described: Any = group.ome_metadata()
    scale, translation = described.multiscales[0].datasets[0].coordinateTransformations
    stored = stored_axes(axes)
    assert [axis.name.upper() for axis in described.multiscales[0].axes] == [
        "C" if axis == "S" else axis for axis in stored
    ]
    expected = {"Y": (0.2, -0.075), "X": (0.1, 0.5), "T": (1.5, 0), "Z": (300, 0)}
    assert list(zip(scale.scale, translation.translation, strict=True)) == [
        expected.get(axis, (1, 0)) for axis in stored
    ]
    array: Any = group["0"].to_zarr_python()
    order = [axes.index(axis) for axis in stored]
    np.testing.assert_array_equal(array[...], image.transpose(order))


def test_units_channels_and_what_they_show(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ome.zarr", STACK, WHOLE)
    described: Any = yaozarrs.open_group(path).ome_metadata()
    axes = described.multiscales[0].axes
    assert [axis.type for axis in axes] == ["time", "channel", "space", "space", "space"]
    units = ["second", None, "nanometer", "micrometer", "micrometer"]
    assert [axis.unit for axis in axes] == units
    channels = described.omero.channels
    assert [channel.label for channel in channels] == ["DAPI", "GFP", "Cy5"]
    for number, channel in enumerate(channels):
        values = STACK[:, number]
        assert (channel.window.start, channel.window.end) == (values.min(), values.max())
    assert open_image(path).description == WHOLE


def test_colours_are_three_channels_to_others(tmp_path: Path) -> None:
    image = RNG.integers(0, 255, (9, 12, 3)).astype(np.uint8)
    path = save(tmp_path / "a.zarr", image, Description(axes="YXS"))
    described: Any = yaozarrs.open_group(path).ome_metadata()
    assert [(c.label, c.color) for c in described.omero.channels] == [
        ("Red", "FF0000"),
        ("Green", "00FF00"),
        ("Blue", "0000FF"),
    ]
    file = open_image(path)
    assert file.description == Description(axes="YXS")
    np.testing.assert_array_equal(file.array[2:, 3], image[2:, 3])


def test_a_channel_of_one_value_has_something_to_show(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zarr", np.full((2, 9, 12), 7, np.float32), Description(axes="CYX"))
    described: Any = yaozarrs.open_group(path).ome_metadata()
    windows = [(channel.window.start, channel.window.end) for channel in described.omero.channels]
    assert windows == [(7, 8), (7, 8)]


def test_chunks(tmp_path: Path) -> None:
    image = np.zeros((3, 600, 700), np.uint8)
    path = save(tmp_path / "a.zarr", image, Description(axes="ZYX"))
    assert zarr.open_group(path, mode="r")["0"].chunks == (1, 512, 512)  # type: ignore[union-attr]


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zarr", STACK, WHOLE)
    for chunk in (path / "0").rglob("*"):
        kept = chunk.relative_to(path / "0").parts[:3] == ("1", "2", "3")
        if chunk.is_file() and chunk.name.isdigit() and not kept:
            chunk.write_bytes(b"no chunk")
    array = open_image(path).array
    np.testing.assert_array_equal(array[1, 2, 3, :16, 16:32], STACK[1, 2, 3, :16, 16:32])
    with pytest.raises(FileError, match=r"cannot read .*a\.zarr: damaged Zarr array"):
        _ = array[1, 2, 2:, :16, 16:32]


def test_nothing_has_the_final_name_before_the_end(tmp_path: Path) -> None:
    path, part = tmp_path / "a.ome.zarr", tmp_path / "a.ome.zarr.part"
    writer = begin(path)
    writer[(0, 0)] = STACK[0, 0]
    assert list(tmp_path.iterdir()) == [part]
    yaozarrs.validate_zarr_store(part)
    seen = open_image(part)
    assert seen.description.notes == (
        "the image is incomplete: the run that wrote it has not ended",
    )
    np.testing.assert_array_equal(seen.array[0, 0], STACK[0, 0])
    writer.finish()
    assert list(tmp_path.iterdir()) == [path]
    assert open_image(path).description.notes == ()
    # The journal is of no use any more.
    assert not [entry for entry in path.iterdir() if entry.name.endswith("jsonl")]


def test_an_interrupted_run_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    first = begin(path, run="settings", resume=True)
    assert not first.resumed
    for c in range(3):
        first[(0, c)] = STACK[0, c]
    first.suspend()
    second = begin(path, run="settings", resume=True)
    assert second.resumed
    for c in range(3):
        second[(1, c, ...)] = STACK[1, c]
    second.finish()
    np.testing.assert_array_equal(open_image(path).array[...], STACK)
    described: Any = yaozarrs.open_group(path).ome_metadata()
    ends = [channel.window.end for channel in described.omero.channels]
    assert ends == [STACK[:, c].max() for c in range(3)]


def test_a_killed_process_loses_no_block_that_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    script = f"""
import os, numpy as np
from napari_blindsr.images.metadata import Description
from napari_blindsr.images.files import create_image
writer = create_image({str(path)!r}, shape=(4, 32, 48), dtype="f4",
                      description=Description(axes="ZYX"), run="settings")
writer[(0,)] = np.full((32, 48), 1, "f4")
writer[(2,)] = np.full((32, 48), 3, "f4")
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -9
    # As if the last line of the journal had been cut short.
    with (tmp_path / "a.ome.zarr.part" / ".written.jsonl").open("a") as journal:
        journal.write('{"block": [[3, 4], [0')
    image = np.empty((4, 32, 48), np.float32)
    writer = begin(path, image, Description(axes="ZYX"), run="settings", resume=True)
    assert writer.resumed
    writer[(3,)] = np.full((32, 48), 4, np.float32)
    writer.suspend()
    writer = begin(path, image, Description(axes="ZYX"), run="settings", resume=True)
    writer.finish()
    assert open_image(path).array[:, 5, 6].tolist() == [1, 0, 3, 4]


@pytest.mark.parametrize(
    "change",
    [
        {"run": "other settings"},
        {"resume": False},
        {"image": STACK[:, :, :2]},
        {"image": STACK.astype(np.float32)},
        {"description": replace(WHOLE, pixel_size=None)},
        {"description": replace(WHOLE, axes="ZCTYX", steps=())},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_another_run_left_is_not_mixed_in(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "a.ome.zarr"
    same: dict[str, Any] = {"run": "settings", "resume": True}
    first = begin(path, **same)
    first[(0,)] = STACK[0]
    first.suspend()
    image = change.get("image", STACK)
    second = begin(path, **{**same, **change})
    assert not second.resumed
    second.finish()
    assert not open_image(path).array[...].any()
    assert sorted(open_image(path).array.shape) == sorted(image.shape)


def test_damaged_remains_are_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    begin(path).suspend()
    (tmp_path / "a.ome.zarr.part" / ".zattrs").write_text("{not JSON")
    assert not begin(path, resume=True).resumed


def test_abort_leaves_nothing(tmp_path: Path) -> None:
    writer = begin(tmp_path / "a.ome.zarr")
    writer[(0,)] = STACK[0]
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_folders_that_are_no_zarr_are_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "thesis.txt").touch()
    with pytest.raises(FileError, match="was not made by this program, and would be lost"):
        begin(path, force=True)
    assert (path / "thesis.txt").exists()


@with_zarr_3
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_pyramids_of_others(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.ome.zarr"
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for level in range(2):
        image = STACK[..., :: 2**level, :: 2**level]
        names = None if version == "0.4" else tuple("tczyx")
        group.create_array(str(level), data=image, dimension_names=names)
        factors = [1, 1, 1, 2**level, 2**level]
        placed = [{"type": "scale", "scale": [1, 1, 2, *(0.25 * f for f in factors[3:])]}]
        datasets.append({"path": str(level), "coordinateTransformations": placed})
    kinds = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
    multiscale: dict[str, Any] = {
        "axes": [
            {"name": name, "type": kind, **({"unit": "micrometer"} if kind == "space" else {})}
            for name, kind in kinds.items()
        ],
        "datasets": datasets,
        # Of the image as a whole: here the time between frames.
        "coordinateTransformations": [{"type": "scale", "scale": [5, 1, 1, 1, 1]}],
    }
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": version, **multiscale}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [multiscale]}
    yaozarrs.validate_zarr_store(path)
    file = open_image(path)
    assert file.description == Description(
        axes="TCZYX",
        pixel_size=PixelSize(y=0.25, x=0.25, unit="µm"),
        steps=(AxisStep(axis="Z", size=2.0, unit="µm"),),
    )
    np.testing.assert_array_equal(file.array[1, 2], STACK[1, 2])


def nested(path: Path, count: int) -> Path:
    """Write images in the layout of bioformats2raw."""
    group = zarr.create_group(path, zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for number in range(count):
        save(path / f"{number}.zarr", STACK + number, WHOLE)
        (path / f"{number}.zarr").rename(path / str(number))
    return path


@with_zarr_3
def test_images_one_folder_down(tmp_path: Path) -> None:
    file = open_image(nested(tmp_path / "a.zarr", 1))
    assert file.description == WHOLE
    np.testing.assert_array_equal(file.array[0, 0], STACK[0, 0])
    with pytest.raises(InputError, match=r"2 images: 0 \(b\.zarr/0\), 1 \(b\.zarr/1\); choose"):
        open_image(nested(tmp_path / "b.zarr", 2))
    file = open_image(tmp_path / "b.zarr", series=1)
    np.testing.assert_array_equal(file.array[0, 0], STACK[0, 0] + 1)
    # One of them by its name, which says nothing of its kind.
    path = tmp_path / "b.zarr" / "1"
    assert find_images([path]) == [path]
    np.testing.assert_array_equal(open_image(path).array[0, 0], STACK[0, 0] + 1)


@with_zarr_3
def test_plates_and_empty_groups_are_refused(tmp_path: Path) -> None:
    plate = zarr.create_group(tmp_path / "plate.zarr", zarr_format=2)
    plate.attrs["plate"] = {"wells": []}
    with pytest.raises(FileError, match=r"it is a plate .* such as .*plate\.zarr/A/1/0"):
        open_image(tmp_path / "plate.zarr")
    zarr.create_group(tmp_path / "empty.zarr")
    with pytest.raises(FileError, match="it is no OME-Zarr image"):
        open_image(tmp_path / "empty.zarr")
    path = save(tmp_path / "a.zarr", STACK, WHOLE)
    (path / "0" / ".zarray").unlink()
    with pytest.raises(FileError, match="it is no OME-Zarr image"):
        open_image(path)
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0]["datasets"] = []
    (path / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(FileError, match="it is no OME-Zarr image"):
        open_image(path)


@with_zarr_3
def test_plain_arrays(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=STACK[0], dimension_names=("c", "z", "y", "x"))
    assert open_image(tmp_path / "a.zarr").description.axes == "CZYX"
    zarr.create_array(tmp_path / "b.zarr", data=STACK[0], zarr_format=2)
    file = open_image(tmp_path / "b.zarr")
    assert file.description.axes == "QIYX"
    np.testing.assert_array_equal(file.array[2, 1, 3:7], STACK[0, 2, 1, 3:7])
    assert open_image(tmp_path / "b.zarr", axes="CZYX").description.axes == "CZYX"
    zarr.create_array(tmp_path / "c.zarr", data=STACK[0] > 9)
    with pytest.raises(InputError, match="values of type bool"):
        open_image(tmp_path / "c.zarr")


def test_a_scale_without_a_unit_is_no_pixel_size(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zarr", STACK, WHOLE)
    attributes = json.loads((path / ".zattrs").read_text())
    for axis in attributes["multiscales"][0]["axes"]:
        axis.pop("unit", None)
    (path / ".zattrs").write_text(json.dumps(attributes))
    description = open_image(path).description
    assert description.pixel_size is None
    assert description.steps == ()
    assert description.notes == ("the pixel size was left out: it has no unit",)


def test_without_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.zarr", STACK, WHOLE)
    monkeypatch.setitem(sys.modules, "zarr", None)
    line = r'OME-Zarr needs packages that .*: pip install "napari-blindsr\[zarr\]"'
    with pytest.raises(FileError, match=line):
        open_image(tmp_path / "a.zarr")
    with pytest.raises(FileError, match=line):
        begin(tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr.part").exists()


def test_what_zarr_2_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    monkeypatch.delattr(zarr, "create_group", raising=False)
    with pytest.raises(FileError, match="its Zarr format 3 needs zarr 3; here is "):
        open_image(tmp_path / "a.zarr")
