"""Profiles in a real viewer: in the world, live, and saved."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
from hypothesis import given, settings
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr.errors import BlindSRError, InputError
from napari_blindsr.plugin.compare.planes import read_placed
from tests.helpers import PATIENCE
from tests.plugin.transforms import transforms

SIGMA = 2.0


def spot(shape: tuple[int, int], center: tuple[float, float], sigma: float) -> NDArray[np.float32]:
    row, column = np.mgrid[: shape[0], : shape[1]]
    away = (row - center[0]) ** 2 + (column - center[1]) ** 2
    return np.asarray(10 + 500 * np.exp(-away / (2 * sigma**2)), np.float32)


@pytest.fixture
def dock(lend_viewer: Callable[[], Any]) -> tuple[Any, Any]:
    """A viewer with one spot at two pixel sizes in µm, and the dock with both chosen."""
    viewer = lend_viewer()
    low = spot((32, 32), (16, 16), 2 * SIGMA / 4)
    viewer.add_image(low, name="LR", scale=(0.4, 0.4), units=("um", "um"))
    high = spot((128, 128), (65.5, 65.5), SIGMA * 2)
    place = (-0.15, -0.15)
    viewer.add_image(high, name="HR", scale=(0.1, 0.1), translate=place, units=("um", "um"))
    _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Compare layers")
    widget.compare(list(viewer.layers), mode="off")
    return viewer, widget


def test_a_line_is_sampled_in_all_layers(dock: tuple[Any, Any], qtbot: QtBot) -> None:
    viewer, widget = dock
    widget.profile.draw.native.click()
    shapes = viewer.layers["Profile line"]
    size = shapes.scale[0]
    shapes.data = [np.array([[6.4, 2.4], [6.4, 10.4]]) / size]
    qtbot.waitUntil(
        lambda: widget.profile.result.line.distance[-1] == pytest.approx(8), timeout=1000 * PATIENCE
    )
    result = widget.profile.result
    assert result.units == ("µm", "µm")
    low, high = result.profiles
    assert [low.name, high.name] == ["LR", "HR"]
    # Both spots have σ = 0.4 µm at 6.4 µm; linear interpolation widens the coarser one's.
    assert high.peak.fwhm == pytest.approx(2.3548 * 0.4, rel=0.01)
    assert low.peak.fwhm == pytest.approx(2.3548 * 0.4, rel=0.12)
    for profile in result.profiles:
        assert profile.peak.center == pytest.approx(4, abs=0.02)
    # Curve and fit of each, and a row of the table.
    assert len(widget.profile.plot.plotItem.listDataItems()) == 4
    assert [label.text for _, label in widget.profile.plot.legend.items] == ["LR", "HR"]
    assert "µm" in widget.profile.plot.plotItem.getAxis("bottom").labelText
    assert widget.profile.table.item(1, 1).text() == f"{high.peak.fwhm:.4g}"


def test_it_follows_line_layers_and_width(dock: tuple[Any, Any], qtbot: QtBot) -> None:
    viewer, widget = dock
    panel = widget.profile
    panel.draw.native.click()
    shapes, first = viewer.layers["Profile line"], panel.result
    # As while a shape is moved: napari says that its data have changed only at the end.
    shapes.__wrapped__._data_view.shift(0, np.array([5.0, 0.0]))
    shapes.refresh()
    qtbot.waitUntil(lambda: panel.result is not first, timeout=1000 * PATIENCE)
    moved = panel.result.line.points[0] - first.line.points[0]
    np.testing.assert_allclose(moved, [5 * shapes.scale[0], 0], atol=1e-9)
    before = panel.result
    viewer.layers["LR"].data = np.zeros((32, 32))
    qtbot.waitUntil(lambda: panel.result is not before, timeout=1000 * PATIENCE)
    assert panel.result.profiles[0].peak is None
    assert panel.result.profiles[0].trouble == "the profile is flat"
    assert panel.table.item(0, 1).text() == "–"
    peak = panel.result.profiles[1].values.max()
    panel.line_width.value = 2
    assert panel.result.profiles[1].values.max() < 0.9 * peak
    panel.scaled.value = True
    curve = panel.plot.plotItem.listDataItems()[1].getData()[1]
    assert (np.nanmin(curve), np.nanmax(curve)) == pytest.approx((0, 1))
    widget.picker.choose([viewer.layers["HR"].__wrapped__])
    assert [profile.name for profile in panel.result.profiles] == ["HR"]


def test_an_existing_layer_without_a_line(dock: tuple[Any, Any]) -> None:
    viewer, widget = dock
    shapes = viewer.add_shapes([[[0, 0], [0, 9], [9, 9]]], shape_type="polygon", name="cells")
    widget.profile.line.value = shapes
    assert widget.profile.result is None
    assert "layer 'cells' has no line" in widget.profile.message.value
    shapes.add([[[1.0, 1.0], [1.0, 9.0], [5.0, 9.0]]], shape_type="path")
    widget.profile.follow()
    result: Any = widget.profile.result
    assert result.line.distance[-1] == pytest.approx(12)


def test_export(dock: tuple[Any, Any], tmp_path: Path) -> None:
    _, widget = dock
    with pytest.raises(InputError, match="draw a line"):
        widget.profile.export(tmp_path / "none.csv")
    widget.profile.draw.native.click()
    path = tmp_path / "profile.csv"
    widget.profile.export(path)
    header, *rows = list(csv.reader(io.StringIO(path.read_text("utf-8"), newline="")))
    fits = [f"FWHM {profile.peak.fwhm:.6g} µm" for profile in widget.profile.result.profiles]
    assert header[:4] == ["distance (µm)", "y (µm)", "x (µm)", "LR"]
    assert header[4:] == [f"LR: fit, {fits[0]}", "HR", f"HR: fit, {fits[1]}"]
    values = np.array([float(row[5]) for row in rows])
    np.testing.assert_allclose(values, widget.profile.result.profiles[1].values, rtol=1e-6)
    with pytest.raises(BlindSRError, match=r"\.txt"):
        widget.profile.export(tmp_path / "profile.txt")


def test_the_line_goes_with_the_dock(dock: tuple[Any, Any]) -> None:
    viewer, widget = dock
    widget.profile.draw.native.click()
    mine = viewer.add_shapes([[[0, 0], [5, 5]]], shape_type="line", name="mine")
    native, _ = viewer.window.add_plugin_dock_widget("napari-blindsr", "Compare layers")
    native.destroyOnClose()
    assert [layer.name for layer in viewer.layers] == ["LR", "HR", mine.name]
    # Nothing is left that would follow them.
    viewer.layers.remove("LR")
    viewer.layers["HR"].data = np.zeros((4, 4))


@given(transform=transforms())
@settings(deadline=None, max_examples=30)
def test_planes_lie_where_the_layer_does(transform: dict[str, Any]) -> None:
    viewer = ViewerModel()
    layer = viewer.add_layer(Image(np.random.default_rng(0).random((5, 7)), **transform))
    placed = read_placed(layer, viewer)
    for pixel in ((0, 0), (4, 1), (2.25, 6)):
        world = np.array(layer.data_to_world(pixel))
        scale = 1 + np.abs(world).max()
        np.testing.assert_allclose(placed.to_world(pixel), world, atol=1e-9 * scale)


def test_units_are_brought_together() -> None:
    viewer = ViewerModel()
    if not hasattr(viewer.layers.extent, "units"):
        pytest.skip("this napari shows numbers as they are")
    micro = viewer.add_image(np.zeros((10, 10)), scale=(0.1, 0.1), units=("um", "um"))
    nano = viewer.add_image(np.zeros((40, 40)), scale=(25, 25), units=("nm", "nm"))
    ends = [read_placed(layer, viewer).bounds()[1] for layer in (micro, nano)]
    ratio = ends[0] / ends[1]
    # 0.95 µm and 987.5 nm.
    np.testing.assert_allclose(ratio, 0.95 / 0.9875)


@pytest.mark.parametrize("kind", ["stack", "lazy", "pyramid", "rgb"])
def test_the_plane_on_display_is_read(kind: str) -> None:
    viewer = ViewerModel()
    rng = np.random.default_rng(3)
    stack = rng.random((4, 12, 10)).astype(np.float32)
    if kind == "rgb":
        colours = rng.integers(0, 255, (12, 10, 3), dtype=np.uint8)
        layer = viewer.add_image(colours, rgb=True)
        expected = (colours / 255) @ [0.2126, 0.7152, 0.0722]
    else:
        lazy: Any = dask.array
        data: Any = lazy.from_array(stack) if kind == "lazy" else stack
        data = [data, data[:, ::2, ::2]] if kind == "pyramid" else data
        layer = viewer.add_image(data, multiscale=kind == "pyramid")
        viewer.dims.set_point(0, 2)
        expected = stack[2]
    np.testing.assert_allclose(read_placed(layer, viewer).data, expected, atol=1e-6)


def test_a_large_pyramid_is_read_at_a_coarser_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_blindsr.plugin.compare.planes.MOST_PIXELS", 200)
    viewer = ViewerModel()
    fine = np.add.outer(np.arange(32.0), np.arange(24.0))
    coarse = fine.reshape(16, 2, 12, 2).mean(axis=(1, 3))
    layer = viewer.add_image([fine, coarse], scale=(3, 3), multiscale=True)
    placed = read_placed(layer, viewer)
    assert placed.data.shape == (16, 12)
    # The ramp tells the place: (row + column) in pixels of the finest level.
    assert placed.sample((3 * 5.0, 3 * 8.0)) == pytest.approx(13)
