"""Stacks in the dock: which planes, what is read of them, and where they come back."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import psutil
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_blindsr import Settings, StackOptions, restore, restore_stack
from napari_blindsr.evaluation.samples import Camera, fluorescent_cells
from napari_blindsr.images.files import open_image
from napari_blindsr.images.metadata import PixelSize
from napari_blindsr.plugin.layers.read import find_plane
from napari_blindsr.plugin.layers.stacks import axes_text, layer_layout
from napari_blindsr.plugin.restore.request import read_request
from tests.plugin.conftest import DockMaker, Notifications
from tests.plugin.dock import assert_free, click, wait_advice, wait_first_step, wait_idle

KERNEL = np.full((5, 5), 1 / 25, np.float32)
HELD = Settings(scale=2, kernel="known", finish="measurement", device="cpu")


def cells(count: int, side: int = 32) -> NDArray[np.uint16]:
    """Return different pictures of cells, (count, side, side)."""
    return np.stack(
        [
            Camera().expose(fluorescent_cells((side, side), seed=seed), seed=seed)
            for seed in range(count)
        ]
    )


PLANES = cells(6)


@pytest.fixture
def stack_dock(open_dock: DockMaker) -> Callable[..., tuple[Any, Any]]:
    """Return a function that opens the dock on a layer, for quick runs with a known kernel."""

    def make(data: Any, *, kernel: Any = KERNEL, **attributes: Any) -> tuple[Any, Any]:
        viewer, widget = open_dock(method="fast")
        psf = viewer.add_image(kernel, name="psf", visible=False)
        layer = viewer.add_image(data, name="stack", **attributes)
        widget.kernel.value, widget.kernel_layer.value = "known", psf
        widget.finish.value = "measurement"
        widget.image.value = layer
        return viewer, widget

    return make


def run(qtbot: QtBot, widget: Any) -> None:
    click(widget.run_button)
    wait_idle(qtbot, widget)


def is_shown(widget: Any, row: Any) -> bool:
    return bool(widget._form.is_shown(row))


def test_rows_of_stacks_are_there_for_stacks(
    stack_dock: Callable[..., tuple[Any, Any]],
) -> None:
    viewer, widget = stack_dock(PLANES.reshape(3, 2, 32, 32), axis_labels=("t", "c", "y", "x"))
    assert is_shown(widget, widget.planes)
    assert not is_shown(widget, widget.range)
    assert not is_shown(widget, widget.sharing)
    assert "32 × 32 → 64 × 64 px · about" in widget._form.size_row.value
    widget.planes.value, widget.advanced.value = "all", True
    assert widget._form.size_row.value.startswith("32 × 32 → 64 × 64 px · 6 planes")
    # A known kernel is everybody's.
    assert not is_shown(widget, widget.sharing)
    widget.kernel.value = "gaussian"
    assert is_shown(widget, widget.sharing)
    widget.planes.value = "range"
    assert is_shown(widget, widget.range)
    assert widget.range.native.placeholderText() == "T=0:3,C=0:2"
    widget.range.value = "t=1:3, C=1"
    assert widget._form.size_row.value.startswith("32 × 32 → 64 × 64 px · 2 planes")
    widget.range.value = "T=7"
    assert "expected a number or a range within 0:3" in widget._form.size_row.value
    widget.image.value = viewer.add_image(PLANES[0], name="flat")
    assert not any(is_shown(widget, row) for row in (widget.planes, widget.range, widget.sharing))


def test_a_warm_start_is_offered_where_planes_follow_each_other(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot
) -> None:
    viewer, widget = stack_dock(PLANES.reshape(3, 2, 32, 32), axis_labels=("t", "c", "y", "x"))
    widget.planes.value, widget.advanced.value = "all", True
    assert widget.method.value == "fast"
    assert not is_shown(widget, widget.warm_start)
    widget.kernel.value = "gaussian"
    assert not is_shown(widget, widget.warm_start)
    widget.sharing.value = "plane"
    assert is_shown(widget, widget.warm_start)
    widget.sharing.value = "channel"
    widget.finish.value = None
    widget.method.value, widget.kernel.value = "mlmc", "gaussian"
    assert is_shown(widget, widget.warm_start)
    widget.planes.value, widget.range.value = "range", "T=1"
    # Channels have no order.
    assert not is_shown(widget, widget.warm_start)
    widget.range.value = "T=0:2,C=1"
    assert is_shown(widget, widget.warm_start)
    widget.warm_start.value = True
    widget.scale.value, widget.steps.value, widget.channels.value = 1, 8, 8
    run(qtbot, widget)
    records = [layer.metadata.get("napari-blindsr", {}) for layer in viewer.layers]
    (record,) = [entry for entry in records if entry.get("kind") == "image"]
    assert record["options"]["warm_start"]
    widget.planes.value = "current"
    assert not is_shown(widget, widget.warm_start)


@pytest.mark.parametrize(
    ("labels", "rgb", "axes", "text"),
    [
        (("t", "c", "y", "x"), False, "TCYX", "T=0:2,C=0:3"),
        (("Time", "Channel", "y", "x"), False, "TCYX", "T=0:2,C=0:3 (T is 'Time', C is 'Channel')"),
        (("z", "z", "y", "x"), False, "ZQYX", "Z=0:2,Q=0:3 (Q is 'z')"),
        (None, False, "QIYX", "Q=0:2,I=0:3 (Q is axis -4, I is axis -3)"),
        (("p", "y", "a", "b"), True, "PQYXS", "P=0:2,Q=0:3 (Q is 'y')"),
    ],
)
def test_axes_are_called_by_their_labels(labels: Any, rgb: bool, axes: str, text: str) -> None:
    viewer = ViewerModel()
    shape = (2, 3, 8, 8, 4) if rgb else (2, 3, 8, 8)
    layer = viewer.add_image(np.zeros(shape, np.uint8), rgb=rgb, axis_labels=labels)
    plane = find_plane(layer, viewer.dims)
    layout = layer_layout(layer, plane)
    assert layout.axes == axes
    assert axes_text(layer, layout) == text


def test_a_stack_comes_back_in_its_axes_place_and_units(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot, notifications: Notifications
) -> None:
    image = PLANES.reshape(3, 2, 32, 32)
    viewer, widget = stack_dock(
        image,
        scale=(5, 1, 0.2, 0.1),
        translate=(10, 0, 3, 4),
        units=("s", "pixel", "um", "um"),
        axis_labels=("t", "c", "y", "x"),
        metadata={"ours": 1},
    )
    source = viewer.layers["stack"]
    widget.planes.value, widget.range.value = "range", "T=1:3"
    run(qtbot, widget)
    fine, psf = viewer.layers["stack ×2 (fast)"], viewer.layers["stack PSF ×2 (fast)"]
    expected = restore_stack(
        image, HELD, axes="TCYX", known_kernel=KERNEL, options=StackOptions(planes="T=1:3")
    )
    assert fine.data.shape == (2, 2, 64, 64)
    assert fine.data.dtype == np.float32
    np.testing.assert_array_equal(fine.data, expected.image)
    for index in ((0, 0), (1, 1)):
        low = source.data_to_world((index[0] + 1, index[1], -0.5, -0.5))
        np.testing.assert_allclose(fine.data_to_world((*index, -0.5, -0.5)), low)
        high = source.data_to_world((index[0] + 1, index[1], 31.5, 31.5))
        np.testing.assert_allclose(fine.data_to_world((*index, 63.5, 63.5)), high)
    for layer in (fine, psf):
        assert layer.units == source.units
        assert layer.axis_labels == source.axis_labels
        np.testing.assert_allclose(layer.scale, (5, 1, 0.1, 0.05))
        assert layer.translate[0] == 15
    assert psf.data.shape[:2] == (2, 2)
    np.testing.assert_allclose(psf.data.sum(axis=(-2, -1)), 1, rtol=1e-5)
    assert psf.data_to_world((0, 0, 0, -0.5))[3] > source.extent.world[1][3]
    record = json.loads(json.dumps(fine.metadata["napari-blindsr"]))
    assert record["selection"] == {"T": [1, 3], "C": [0, 2]}
    assert record["source"]["axes"] == "TCYX"
    assert len(record["planes"]) == 4
    assert widget.status.value.endswith(": 4 of 4 planes.")
    assert "4 of 4 planes" in widget.verdict.verdict.line
    assert notifications.errors() == []
    assert widget._pair == (source, fine)


def test_kernels_are_those_of_their_channels(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot
) -> None:
    image = cells(4, side=48).reshape(2, 2, 48, 48)
    viewer, widget = stack_dock(image, axis_labels=("z", "c", "y", "x"))
    widget.kernel.value, widget.planes.value = "gaussian", "all"
    run(qtbot, widget)
    result = restore_stack(
        image, Settings(scale=2, finish="measurement", device="cpu"), axes="ZCYX"
    )
    psf = viewer.layers["stack PSF ×2 (fast)"].data
    for channel in (0, 1):
        middle = psf.shape[-1] // 2
        flipped = result.kernels[channel].kernel[::-1, ::-1]
        for z in (0, 1):
            assert psf[z, channel].max() == pytest.approx(flipped.max())
            assert psf[z, channel, middle, middle] == pytest.approx(flipped.max(), rel=0.05)
    text = widget.verdict.verdict.text
    assert "Along Z nothing was sharpened" in text.replace("along", "Along")
    assert "Z=0, C=1: Estimated blur" in text
    record = viewer.layers["stack PSF ×2 (fast)"].metadata["napari-blindsr"]
    np.testing.assert_array_equal(
        np.array(record["correlation_kernels"][1], np.float32), result.kernels[1].kernel
    )


class Watched:
    """An array that says what is read of it, and on which thread."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.log: list[tuple[int, bool]] = []
        self.broken: int | None = None

    def __getitem__(self, index: Any) -> NDArray[Any]:
        block = np.asarray(self.array[index])
        on_main = threading.current_thread() is threading.main_thread()
        self.log.append((block.size, on_main))
        if not on_main and isinstance(index, tuple) and index[0] == self.broken:
            raise OSError("the disk is gone")
        return block


def lazy(array: NDArray[Any]) -> tuple[Any, Watched]:
    watched = Watched(array)
    chunks = (*(1,) * (array.ndim - 2), *array.shape[-2:])
    return da.from_array(watched, chunks=chunks, asarray=False, fancy=False), watched


def test_of_a_lazy_stack_only_what_is_needed_is_read(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot
) -> None:
    stack, watched = lazy(PLANES)
    viewer, widget = stack_dock(stack, axis_labels=("t", "y", "x"))
    widget.planes.value, widget.range.value = "range", "T=2:4"
    wait_advice(qtbot, widget)
    watched.log.clear()
    read_request(widget._form, viewer)
    assert watched.log == []
    run(qtbot, widget)
    expected = restore_stack(
        PLANES, HELD, axes="TYX", known_kernel=KERNEL, options=StackOptions(planes="T=2:4")
    )
    np.testing.assert_array_equal(viewer.layers["stack ×2 (fast)"].data, expected.image)
    # dask cuts what it was asked for out of the chunk that it is in; each plane once.
    off_main = [size for size, on_main in watched.log if not on_main]
    assert sum(off_main) <= 2 * 32 * 32


def test_the_finest_level_of_a_multiscale_stack_is_restored(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot
) -> None:
    viewer, widget = stack_dock([PLANES, PLANES[:, ::2, ::2]], axis_labels=("t", "y", "x"))
    widget.planes.value = "all"
    run(qtbot, widget)
    fine = viewer.layers["stack ×2 (fast)"]
    assert fine.data.shape == (6, 64, 64)
    assert not fine.multiscale
    alone = restore(PLANES[5], scale=2, kernel=KERNEL, finish="measurement", device="cpu")
    np.testing.assert_array_equal(fine.data[5], alone.image)


def test_colours_stay_together(stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot) -> None:
    colours = np.stack([PLANES[:2], PLANES[2:4], PLANES[4:]], axis=-1)
    colours = (colours // (colours.max() // 255 + 1)).astype(np.uint8)
    alpha = np.full((*colours.shape[:3], 1), 255, np.uint8)
    viewer, widget = stack_dock(
        np.concatenate([colours, alpha], axis=-1), rgb=True, axis_labels=("t", "y", "x")
    )
    widget.planes.value = "all"
    run(qtbot, widget)
    fine = viewer.layers["stack ×2 (fast)"]
    assert fine.rgb
    expected = restore_stack(
        colours, HELD, axes="TYXS", known_kernel=KERNEL, options=StackOptions(dtype="source")
    )
    np.testing.assert_array_equal(fine.data, expected.image)
    assert fine.data.shape == (2, 64, 64, 3)
    assert viewer.layers["stack PSF ×2 (fast)"].data.ndim == 3


def test_what_is_changed_meanwhile_does_not_matter(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot
) -> None:
    image = PLANES[:3].copy()
    viewer, widget = stack_dock(image, axis_labels=("t", "y", "x"))
    widget.planes.value = "all"
    click(widget.run_button)
    image[:] = 0
    wait_idle(qtbot, widget)
    expected = restore_stack(PLANES[:3], HELD, axes="TYX", known_kernel=KERNEL)
    np.testing.assert_array_equal(viewer.layers["stack ×2 (fast)"].data, expected.image)


def test_the_type_of_the_image_can_be_kept(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot
) -> None:
    viewer, widget = stack_dock(PLANES[:2], axis_labels=("t", "y", "x"))
    widget.dtype.value = "source"
    run(qtbot, widget)
    assert viewer.layers["stack ×2 (fast)"].data.dtype == np.uint16
    widget.planes.value = "all"
    run(qtbot, widget)
    both = viewer.layers["stack ×2 (fast) [1]"].data
    assert both.dtype == np.uint16
    np.testing.assert_array_equal(viewer.layers["stack ×2 (fast)"].data, both[:1])


def test_a_plane_that_cannot_be_read_is_named(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot, notifications: Notifications
) -> None:
    image = PLANES[:4].astype(np.float32)
    image[2] = np.nan
    viewer, widget = stack_dock(image, axis_labels=("t", "y", "x"))
    widget.planes.value = "all"
    run(qtbot, widget)
    fine: Layer = viewer.layers["stack ×2 (fast)"]
    assert np.isnan(fine.data[2]).all()
    assert np.isfinite(fine.data[[0, 1, 3]]).all()
    assert "3 of 4 planes" in widget.status.value
    assert "Not restored: T=2 (" in widget.verdict.verdict.text
    assert [severity for severity, text in notifications.shown if "T=2" in text] == ["warning"]
    assert np.isfinite(fine.contrast_limits).all()


def test_a_lazy_plane_that_cannot_be_read_is_named(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot
) -> None:
    watched = Watched(PLANES[:3])
    viewer, widget = stack_dock(watched, axis_labels=("t", "y", "x"))
    watched.broken = 1
    widget.planes.value = "all"
    run(qtbot, widget)
    sentence = "T=1 (layer 'stack' cannot be read: OSError: the disk is gone)"
    assert sentence in widget.verdict.verdict.text
    assert viewer.layers["stack ×2 (fast)"].data.shape == (3, 64, 64)


def test_stop_keeps_the_planes_that_are_done(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot
) -> None:
    stack = np.concatenate([PLANES] * 40)
    viewer, widget = stack_dock(stack, axis_labels=("t", "y", "x"))
    widget.planes.value = "all"
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    assert widget.progress.max == 240
    assert "Plane" in widget.status.value
    click(widget.stop_button)
    assert widget.status.value == "Stopping after this plane …"
    wait_idle(qtbot, widget)
    fine = viewer.layers["stack ×2 (fast)"]
    done = np.isfinite(fine.data).all(axis=(1, 2))
    assert fine.data.shape == (240, 64, 64)
    assert 0 < done.sum() < 240
    # In order: none is left out.
    assert done[: done.sum()].all()
    assert widget.status.value.startswith("Stopped and kept in ")
    assert widget.status.value.endswith(f": {done.sum()} of 240 planes.")
    assert_free(widget)


def test_cancel_drops_them(stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot) -> None:
    viewer, widget = stack_dock(np.concatenate([PLANES] * 40), axis_labels=("t", "y", "x"))
    before = list(viewer.layers)
    widget.planes.value = "all"
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    run_ = widget._run
    click(widget.cancel_button)
    wait_idle(qtbot, widget)
    assert list(viewer.layers) == before
    assert widget.status.value == "Cancelled; nothing was added."
    assert run_.source is None
    assert_free(widget)


def test_a_mask_covers_every_plane(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot
) -> None:
    viewer, widget = stack_dock(PLANES[:2], axis_labels=("t", "y", "x"), scale=(3, 1, 1))
    labels = np.zeros((32, 32), np.uint8)
    labels[10:20, 12:22] = 1
    widget.mask.value = viewer.add_labels(labels, name="dust")
    widget.planes.value = "all"
    widget.image.value = viewer.layers["stack"]
    run(qtbot, widget)
    filled = viewer.layers["stack ×2 filled in"]
    assert filled.data.shape == (2, 64, 64)
    assert filled.data[:, 28:32, 32:36].all()
    np.testing.assert_array_equal(filled.scale, viewer.layers["stack ×2 (fast)"].scale)


@pytest.mark.parametrize("labels", [("c", "t", "y", "x"), ("z", "t", "y", "x")])
def test_a_result_on_disk_is_the_same_and_is_read_lazily(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot, tmp_path: Path, labels: Any
) -> None:
    image = PLANES[:4].reshape(2, 2, 32, 32)
    viewer, widget = stack_dock(
        image, axis_labels=labels, scale=(1, 2, 0.2, 0.2), units=("pixel", "s", "um", "um")
    )
    widget.planes.value, widget.folder.value = "all", tmp_path
    viewer.layers["stack"].contrast_limits = (0.25, 0.75)
    run(qtbot, widget)
    fine = viewer.layers["stack ×2 (fast)"]
    (path,) = tmp_path.iterdir()
    assert path.name == "stack x2 fast.ome.zarr"
    assert widget.status.value.endswith(f"Written to {path}.")
    assert fine.metadata["napari-blindsr"]["file"] == str(path)
    assert isinstance(fine.data, da.Array)
    axes = "".join(labels).upper()
    expected = restore_stack(image, HELD, axes=axes, known_kernel=KERNEL)
    np.testing.assert_array_equal(np.asarray(fine.data), expected.image)
    opened = open_image(path)
    assert opened.description.pixel_size == PixelSize(y=0.1, x=0.1, unit="µm")
    step = opened.description.step("T")
    assert step is not None
    assert (step.size, step.unit) == (2, "s")
    channels = 2 if "c" in labels else 1
    assert [shown.limits for shown in opened.description.displays] == [(0.25, 0.75)] * channels


def test_a_plane_on_disk_and_one_that_is_cancelled(
    stack_dock: Callable[..., tuple[Any, Any]], qtbot: QtBot, tmp_path: Path
) -> None:
    viewer, widget = stack_dock(np.concatenate([PLANES] * 40), axis_labels=("t", "y", "x"))
    viewer.dims.set_point(0, 3)
    widget.folder.value = tmp_path
    run(qtbot, widget)
    fine = viewer.layers["stack ×2 (fast)"]
    assert fine.data.shape == (1, 64, 64)
    assert fine.translate[0] == 3
    alone = restore(PLANES[3], scale=2, kernel=KERNEL, finish="measurement", device="cpu")
    np.testing.assert_array_equal(np.asarray(fine.data)[0], alone.image)
    widget.planes.value = "all"
    click(widget.run_button)
    wait_first_step(qtbot, widget)
    click(widget.cancel_button)
    wait_idle(qtbot, widget)
    assert len(list(tmp_path.iterdir())) == 1
    assert_free(widget)


def test_what_a_run_takes_is_shown_beside_what_is_free(
    stack_dock: Callable[..., tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, widget = stack_dock(da.zeros((200, 1024, 1024), chunks=(1, 512, 512), dtype=np.uint8))
    text = widget._form.size_row.value
    sentence = r"Only the plane on display \(.*\) · 1024 × 1024 → 2048 × 2048 px · about .* free"
    assert re.fullmatch(sentence, text)
    available = psutil.virtual_memory()._replace(available=3 * 10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
    widget.planes.value = "all"
    text = widget._form.size_row.value
    assert "200 planes" in text
    assert "of 3.0 GB free" in text
    assert "it may not fit: choose a Region, or smaller Tiles" in text
    assert "Write to Zarr" in text
    widget.folder.value = tmp_path
    assert "Write to Zarr" not in widget._form.size_row.value
    before = widget._form.size_row.value
    widget.tiles.value = 512
    assert widget._form.size_row.value != before
    assert "it may not fit" not in widget._form.size_row.value
