"""What is read from a layer, and what a result takes over from it."""

from __future__ import annotations

import json
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_blindsr.errors import InputError
from napari_blindsr.plugin.layers.outputs import METADATA_KEY, image_layer, is_result, kernel_layer
from napari_blindsr.plugin.layers.read import find_plane, read_layer
from napari_blindsr.settings import Settings
from tests.plugin.conftest import make_result


class LazyStack:
    """An array that counts the pixels it has handed out."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype(np.uint16)
        self.read = 0

    def __getitem__(self, key: Any) -> NDArray[Any]:
        pixels = np.arange(np.prod(self.shape), dtype=self.dtype).reshape(self.shape)
        cut: NDArray[Any] = pixels[key]
        self.read += cut.size
        return cut


def test_grey_pixels_are_copied_in_their_own_type() -> None:
    pixels = np.arange(30, dtype=np.uint16).reshape(5, 6)
    source = read_layer(Image(pixels, name="cells"))
    assert (source.name, source.axes) == ("cells", "YX")
    assert source.data.dtype == np.uint16
    pixels[:] = 0
    assert source.data[4, 5] == 29


def test_multiscale_layers_are_read_at_their_finest_level() -> None:
    fine = np.random.default_rng(0).random((16, 12))
    layer = Image([fine, fine[::2, ::2]], multiscale=True, scale=(2, 3))
    source = read_layer(layer)
    np.testing.assert_array_equal(source.data, fine)
    np.testing.assert_array_equal(source.frame.scale, (2, 3))


def test_of_a_lazy_stack_one_plane_is_read() -> None:
    viewer = ViewerModel()
    stack = LazyStack((50, 8, 9))
    layer = viewer.add_image(stack, contrast_limits=(0, 1))
    viewer.dims.set_point(0, 7)
    stack.read = 0
    source = read_layer(layer, viewer.dims)
    assert stack.read == 72
    assert source.data[0, 0] == 7 * 72
    assert source.provenance()["index"] == [7, None, None]


def test_dask_arrays_are_computed() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(da.arange(60).reshape(3, 4, 5), contrast_limits=(0, 60))
    viewer.dims.set_point(0, 2)
    source = read_layer(layer, viewer.dims)
    assert type(source.data) is np.ndarray
    np.testing.assert_array_equal(source.data, np.arange(40, 60).reshape(4, 5))


def test_rgba_loses_its_alpha_channel_and_says_so() -> None:
    source = read_layer(Image(np.full((5, 6, 4), 200, np.uint8), rgb=True))
    assert source.data.shape == (5, 6, 3)
    assert source.axes == "YXC"
    assert source.provenance()["notes"] == ["alpha channel left out"]


def test_pixels_that_cannot_be_read_give_one_line() -> None:
    class Broken(LazyStack):
        def __getitem__(self, key: Any) -> NDArray[Any]:
            raise OSError("the disk\nis gone")

    viewer = ViewerModel()
    layer = viewer.add_image(LazyStack((5, 6)), contrast_limits=(0, 1), name="far")
    layer._data = Broken((5, 6))
    with pytest.raises(InputError, match=r"layer 'far' cannot be read: OSError: the disk is gone"):
        read_layer(layer, viewer.dims)


def test_a_stack_without_a_viewer_is_refused() -> None:
    with pytest.raises(InputError, match=r"'z' has 3 dimensions; expected a 2-D image"):
        find_plane(Image(np.zeros((3, 4, 5)), name="z"))


def test_a_stack_in_3d_display_is_refused() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((3, 4, 5)))
    viewer.dims.ndisplay = 3
    with pytest.raises(InputError, match="switch the viewer to 2-D"):
        find_plane(layer, viewer.dims)


def test_a_slice_outside_of_the_layer_is_refused() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((30, 4, 5)))
    layer = viewer.add_image(np.zeros((3, 4, 5)))
    viewer.dims.set_point(0, 20)
    with pytest.raises(InputError, match="outside of layer"):
        find_plane(layer, viewer.dims)


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_a_stack_turned_out_of_the_display_is_refused() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((3, 4, 5)), rotate=(0, 20, 0))
    with pytest.raises(InputError, match="turned out of the plane"):
        find_plane(layer, viewer.dims)


def test_a_plane_layer_in_a_viewer_of_stacks_is_taken_whole() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((3, 4, 5)))
    layer = viewer.add_image(np.zeros((6, 7)))
    assert find_plane(layer, viewer.dims).shape == (6, 7)


def test_a_stack_seen_along_an_axis_it_lacks_is_refused() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((2, 3, 4, 5)))
    layer = viewer.add_image(np.zeros((3, 4, 5)), name="short")
    viewer.dims.order = (1, 2, 0, 3)
    with pytest.raises(InputError, match=r"'short' has no axis (-4|0), "):
        find_plane(layer, viewer.dims)


def test_the_result_looks_like_its_source() -> None:
    layer = Image(
        np.zeros((5, 6), np.uint16),
        name="cells",
        colormap="magma",
        gamma=0.7,
        blending="additive",
        opacity=0.8,
        contrast_limits=(3, 900),
        interpolation2d="linear",
    )
    fine = Layer.create(*image_layer(make_result(scale=4, shape=(5, 6)), read_layer(layer)))
    assert fine.name == "cells ×4 (mlmc)"
    assert fine.colormap == layer.colormap
    for name in ("gamma", "blending", "opacity", "interpolation2d"):
        assert getattr(fine, name) == getattr(layer, name)
    assert fine.contrast_limits == [3, 900]


def test_grey_results_are_not_clipped_and_are_shown_as_their_source() -> None:
    layer = Image(np.zeros((10, 10), np.uint8), contrast_limits=(0, 255))
    values = np.full((20, 20), 100, np.float32)
    values[:4] = 700
    result = make_result(scale=2, shape=(10, 10), values=values)
    fine = Layer.create(*image_layer(result, read_layer(layer)))
    assert fine.data.dtype == np.float32
    assert fine.data.max() == 700
    assert fine.contrast_limits == [0, 255]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.uint8, [0, 100, 101, 255]),
        (np.uint16, [0, 100, 101, 300]),
        (np.float32, [0, 1, 1, 1]),
    ],
)
def test_rgb_results_fit_what_napari_shows(dtype: Any, expected: list[int]) -> None:
    layer = Image(np.zeros((2, 2, 3), dtype), rgb=True)
    values = np.zeros((4, 4, 3), np.float32)
    values[0, :, 0] = [-3, 100.4, 100.6, 300]
    result = make_result(scale=2, shape=(2, 2, 3), values=values)
    fine = Layer.create(*image_layer(result, read_layer(layer)))
    assert fine.rgb
    assert fine.data.dtype == dtype
    np.testing.assert_array_equal(fine.data[0, :, 0], expected)


def test_provenance_repeats_the_run() -> None:
    layer = Image(np.arange(30, dtype=np.uint8).reshape(5, 6), name="cells")
    result, source = make_result(scale=3, shape=(5, 6)), read_layer(layer)
    for make, kind in ((image_layer, "image"), (kernel_layer, "kernel")):
        added = Layer.create(*make(result, source))
        assert is_result(added)
        record = json.loads(json.dumps(added.metadata[METADATA_KEY]))
        assert record["kind"] == kind
        assert record["source"]["layer"] == "cells"
        assert record["source"]["shape"] == [5, 6]
        assert record["reason"] == "completed"
        assert Settings.from_json(record["settings"]) == result.settings
    assert not is_result(layer)
