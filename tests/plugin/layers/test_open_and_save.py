"""Files opened in napari and saved from it keep axes, pixel sizes, units, names and colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from npe2 import PluginManager
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.errors import InputError
from napari_blindsr.images.files import create_image, open_image
from napari_blindsr.images.metadata import AxisStep, Description, PixelSize
from napari_blindsr.plugin.layers.open_files import get_reader
from napari_blindsr.plugin.layers.save_files import FILTERS, collect, layer_data, write_image
from napari_blindsr.plugin.layers.versions import unit_symbol
from napari_blindsr.plugin.widgets.save import ask_and_save
from tests.plugin.dock import click, wait_idle

NAMES = ["a.ome.tif", "a.tif", "a.ome.zarr"]
FILE = Description(
    axes="TCZYX",
    pixel_size=PixelSize(y=0.2, x=0.1, unit="µm", flavour="imagej"),
    steps=(AxisStep(axis="T", size=1.5, unit="s"), AxisStep(axis="Z", size=0.3, unit="µm")),
    channel_names=("DAPI", "GFP"),
    channel_colors=("0000FF", "12AB34"),
    flavour="imagej",
)
STACK = np.random.default_rng(3).integers(0, 4000, (2, 2, 3, 24, 32)).astype(np.uint16)


@pytest.fixture(autouse=True)
def _plugins() -> None:
    """Let napari find the plugin's reader and writers, as its window does."""
    PluginManager.instance().discover()


def write(path: Path, image: NDArray[Any] = STACK, description: Description = FILE) -> Path:
    writer = create_image(path, shape=image.shape, dtype=image.dtype, description=description)
    writer[(slice(None),) * image.ndim] = image
    writer.finish()
    return path


def opened(path: Path, viewer: Any) -> list[Any]:
    """Return the layers that napari makes of a file."""
    layers: list[Any] = viewer.open(path, plugin="napari-blindsr")
    return layers


def described(path: Path) -> dict[str, Any]:
    """Return what a file says, in one spelling."""
    found = open_image(path).description
    size = found.pixel_size
    assert size is not None
    sizes = dict.fromkeys("YX", size.unit) | {step.axis: step.unit for step in found.steps}
    numbers = {"Y": size.y, "X": size.x} | {step.axis: step.size for step in found.steps}
    return {
        "axes": set(found.axes),
        "units": {axis: unit.replace("um", "µm") for axis, unit in sizes.items()},
        "names": found.channel_names,
        "colors": found.channel_colors,
        "numbers": {axis: pytest.approx(number) for axis, number in numbers.items()},
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_file_becomes_one_lazy_layer_a_channel(tmp_path: Path, name: str) -> None:
    blue, green = opened(write(tmp_path / name), ViewerModel())
    assert (blue.name, green.name) == ("DAPI", "GFP")
    for number, layer in enumerate((blue, green)):
        assert layer.axis_labels == ("t", "z", "y", "x")
        assert layer.scale == pytest.approx((1.5, 0.3, 0.2, 0.1))
        assert [unit_symbol(unit) for unit in layer.units] == ["s", "µm", "µm", "µm"]
        assert layer.blending == "additive"
        assert hasattr(layer.data, "dask")
        np.testing.assert_array_equal(np.asarray(layer.data), STACK[:, number])
        assert layer.contrast_limits[1] <= STACK.max()
    assert blue.colormap.name == "blue"
    np.testing.assert_allclose(green.colormap.colors[-1][:3], np.array([18, 171, 52]) / 255)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_what_is_opened_and_saved_says_the_same(tmp_path: Path, name: str, target: str) -> None:
    source = write(tmp_path / name)
    viewer = ViewerModel()
    opened(source, viewer)
    path = tmp_path / f"saved {target}"
    assert viewer.layers.save(str(path), plugin="napari-blindsr") == [str(path)]
    assert described(path) == described(source)
    file = open_image(path)
    order = [file.description.axes.index(axis) for axis in "TCZYX"]
    np.testing.assert_array_equal(file.array[...].transpose(order), STACK)


@pytest.mark.parametrize("name", NAMES)
def test_one_plane_keeps_what_its_file_says(tmp_path: Path, name: str) -> None:
    one = Description(
        axes="YX",
        pixel_size=FILE.pixel_size,
        channel_names=("GFP",),
        channel_colors=("00FF00",),
        flavour="imagej",
    )
    source = write(tmp_path / name, STACK[0, 0, 0], one)
    viewer = ViewerModel()
    (layer,) = opened(source, viewer)
    assert isinstance(layer.data, np.ndarray)
    assert (layer.name, layer.colormap.name) == ("a", "green")
    path = tmp_path / f"saved {name}"
    viewer.layers.save(str(path), plugin="napari-blindsr")
    assert described(path) == described(source)


@pytest.mark.parametrize("name", NAMES)
def test_colours_and_unnamed_axes(tmp_path: Path, name: str) -> None:
    image = STACK[0, 0, :, :, :30].reshape(24, 30, 3).astype(np.uint8)
    stated = Description(axes="YXS", pixel_size=FILE.pixel_size)
    viewer = ViewerModel()
    (layer,) = opened(write(tmp_path / name, image, stated), viewer)
    assert layer.rgb
    path = tmp_path / f"saved {name}"
    viewer.layers.save(str(path), plugin="napari-blindsr")
    file = open_image(path)
    assert file.description.axes == "YXS"
    np.testing.assert_array_equal(file.array[...], image)


def test_what_is_meant_for_a_printer_is_no_pixel_size(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", STACK[0, 0, 0], resolution=(72, 72), resolutionunit=2)
    tifffile.imwrite(tmp_path / "b.tif", STACK[0, 0], photometric="minisblack")
    viewer = ViewerModel()
    (layer,) = opened(tmp_path / "a.tif", viewer)
    assert [str(unit) for unit in layer.units] == ["pixel", "pixel"]
    (stack,) = opened(tmp_path / "b.tif", viewer)
    assert stack.axis_labels == ("-3", "y", "x")


def test_several_images_of_a_file_are_all_opened(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
        tif.write(STACK[0, 0, 0], metadata={"Name": "one"})
        tif.write(STACK[0, 0, 0, :10], metadata={"Name": "two"})
    layers = opened(tmp_path / "a.ome.tif", ViewerModel())
    assert [layer.data.shape for layer in layers] == [(24, 32), (10, 32)]


def test_files_of_others_are_left_alone() -> None:
    assert get_reader("picture.png") is None
    assert get_reader(["a.tif", "b.tif"]) is None
    assert get_reader(["a.tif"]) is not None


def test_layers_that_are_no_channels_are_refused(tmp_path: Path) -> None:
    viewer = ViewerModel()
    viewer.add_image(STACK[0, 0, 0])
    viewer.add_image(STACK[0, 0, 0, :10])
    with pytest.raises(InputError, match="differ in size"):
        write_image(str(tmp_path / "a.tif"), layer_data(list(viewer.layers)))
    assert not list(tmp_path.iterdir())


def test_layers_of_napari_can_be_saved(tmp_path: Path) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(STACK[0, 0] > 2000, name="mask", axis_labels=("time", "y", "x"))
    saved = collect(layer_data([layer]))
    assert (saved.axes, str(saved.dtype)) == ("TYX", "uint8")
    assert saved.description.channel_names == ("mask",)
    write_image(str(tmp_path / "a.ome.tif"), layer_data([layer]))
    np.testing.assert_array_equal(open_image(tmp_path / "a.ome.tif").array[...], STACK[0, 0] > 2000)


def looks(layer: Any, scale: int = 1) -> dict[str, Any]:
    """Return what a file keeps of a layer, the pixels `scale` times larger."""
    finer = dict.fromkeys("yx", scale)
    sizes = zip(layer.axis_labels, layer.scale, strict=True)
    return {
        "axes": layer.axis_labels,
        "sizes": {axis: float(f"{size * finer.get(axis, 1):.6g}") for axis, size in sizes},
        "units": [unit_symbol(unit) for unit in layer.units],
        "colours": layer.colormap.colors.tolist(),
        "limits": layer.contrast_limits,
        "blending": layer.blending,
    }


def write_plain(path: Path) -> Path:
    tifffile.imwrite(path, STACK[0, 0, 0], resolution=(5e4, 5e4), resolutionunit=3, metadata=None)
    return path


@pytest.mark.parametrize("name", ["plain.tif", *NAMES])
def test_what_is_opened_restored_and_saved_says_the_same(
    lend_viewer: Callable[..., Any],
    qtbot: QtBot,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = name == "plain.tif"
    source = write_plain(tmp_path / name) if plain else write(tmp_path / name, STACK[:, :, :2])
    viewer = lend_viewer()
    channels = opened(source, viewer)
    assert len(channels) == (1 if plain else 2)
    for number, layer in enumerate(channels):
        layer.contrast_limits = (100.5 + number, 3000.25)
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Blind super-resolution")
    widget.scale.value, widget.device.value = 2, "cpu"
    results = []
    for channel in channels:
        widget.image.value, widget.planes.value = channel, "all"
        click(widget.run_button)
        wait_idle(qtbot, widget)
        results.append(viewer.layers.selection.active)
    # All are selected, so all are saved as channels.
    viewer.layers.selection = set(results)
    path = tmp_path / f"restored {name}"
    pattern = f"*.{name.split('.', 1)[1]})"
    asked = (str(path), next(key for key in FILTERS if key.endswith(pattern)))
    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getSaveFileName", lambda *_, **__: asked)
    click(widget.save_button)
    qtbot.waitUntil(lambda: "Saved" in widget.status.value, timeout=30_000)
    again = opened(path, viewer)
    assert [looks(layer, 2) for layer in again] == [looks(layer) for layer in channels]
    for layer, result in zip(again, results, strict=True):
        np.testing.assert_array_equal(np.asarray(layer.data), result.data)
    if not plain:
        assert open_image(path).description.channel_names == ("DAPI", "GFP")
        assert [layer.name for layer in again] == ["DAPI [1]", "GFP [1]"]


def test_a_file_is_not_replaced_under_a_name_that_was_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = ViewerModel().add_image(STACK[0, 0, 0])
    (tmp_path / "a.ome.tif").write_bytes(b"precious")
    asked = (str(tmp_path / "a"), next(iter(FILTERS)))
    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getSaveFileName", lambda *_, **__: asked)
    failed: list[Exception] = []
    parent: Any = None
    ask_and_save(parent, [layer], saved=lambda _: None, failed=failed.append)
    assert "exists already" in str(failed[0])
    assert (tmp_path / "a.ome.tif").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif", "a.ome.zarr", "shaped.tif"])
@pytest.mark.parametrize("colormap", ["viridis", "gray_r", "cyan"])
def test_the_display_of_a_layer_is_saved(tmp_path: Path, name: str, colormap: str) -> None:
    image = STACK[0, 0, 0].astype(np.float32)
    if name == "shaped.tif":
        # Of a type that neither ImageJ nor OME has.
        image = image.astype(np.float16)
    # All that there is, which is not what is shown of a file that says nothing.
    limits = (float(image.min()), float(image.max()))
    viewer = ViewerModel()
    viewer.add_image(image, contrast_limits=limits, colormap=colormap)
    path = tmp_path / name
    viewer.layers.save(str(path), plugin="napari-blindsr")
    (layer,) = opened(path, ViewerModel())
    assert layer.contrast_limits == list(limits)
    colours, expected = layer.colormap.colors, viewer.layers[0].colormap
    if name == "a.tif":
        # ImageJ has lookup tables.
        shown = layer.colormap.map(np.linspace(0, 1, 256))
        np.testing.assert_allclose(shown, expected.map(np.linspace(0, 1, 256)), atol=0.01)
    else:
        brightest = max(expected.colors.tolist(), key=sum)
        np.testing.assert_allclose(colours[-1], brightest, atol=0.01)


def test_channels_of_one_layer_keep_its_display_range(tmp_path: Path) -> None:
    viewer = ViewerModel()
    viewer.add_image(STACK[0, :, 0], axis_labels=("c", "y", "x"), contrast_limits=(7, 99))
    viewer.layers.save(str(tmp_path / "a.ome.tif"), plugin="napari-blindsr")
    layers = opened(tmp_path / "a.ome.tif", ViewerModel())
    assert [layer.contrast_limits for layer in layers] == [[7, 99], [7, 99]]
