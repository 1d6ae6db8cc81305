"""The dock that degrades an image: its layers lie where they belong and are what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_blindsr.plugin.simulate.dock import BLURS, Simulation, kernel_of
from tests.plugin.conftest import Notifications
from tests.plugin.dock import assert_seen, seen

SIDE = 96


@pytest.fixture
def sharp() -> NDArray[np.uint16]:
    noise = np.random.default_rng(3).normal(size=(SIDE, SIDE))
    return np.asarray(2000 + 4000 * gaussian_filter(noise, 2), np.uint16)


@pytest.fixture
def open_simulation(lend_viewer: Callable[[], Any]) -> Callable[..., tuple[Any, Any]]:
    def make(image: NDArray[Any], **attributes: Any) -> tuple[Any, Any]:
        viewer = lend_viewer()
        viewer.add_image(image, name="sharp", **attributes)
        _, widget = viewer.window.add_plugin_dock_widget("napari-blindsr", "Simulate degradation")
        widget.photons.value = 0
        return viewer, widget

    return make


def center_of_mass(layer: Any) -> NDArray[np.float64]:
    """Return the middle of what is bright, in the world."""
    data = np.asarray(layer.data, float) - np.min(layer.data)
    grid = np.moveaxis(np.indices(data.shape), 0, -1).reshape(-1, 2)
    middle = (grid * data.reshape(-1, 1)).sum(0) / data.sum()
    return np.asarray(layer.data_to_world(middle))


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("blur", BLURS)
def test_a_spot_stays_where_it_is(
    open_simulation: Callable[..., tuple[Any, Any]], blur: str, scale: int
) -> None:
    image = np.zeros((SIDE, SIDE), np.float32)
    image[48, 45] = 1000.0
    # Wide enough for what is sampled of it to have its middle.
    image = gaussian_filter(image, 4)
    viewer, widget = open_simulation(image, scale=(0.1, 0.1), translate=(5, -2), units="um")
    widget.scale.value, widget.blur.value, widget.size.value = scale, blur, 3.0
    widget.simulate_button.native.click()
    expected = viewer.layers["sharp"].data_to_world((48, 45))
    pixel = 0.1 * scale
    np.testing.assert_allclose(
        center_of_mass(viewer.layers["sharp: simulated"]), expected, atol=0.02 * pixel
    )
    np.testing.assert_allclose(
        center_of_mass(viewer.layers[f"sharp: truth ×{scale}"]), expected, atol=1e-4
    )
    np.testing.assert_allclose(viewer.layers["sharp: simulated"].scale, (pixel, pixel))
    assert str(viewer.layers["sharp: simulated"].units[0]) in ("um", "micrometer")


def test_the_image_is_the_truth_blurred_and_sampled(
    open_simulation: Callable[..., tuple[Any, Any]], sharp: NDArray[np.uint16]
) -> None:
    viewer, widget = open_simulation(sharp)
    widget.simulate_button.native.click()
    sigma = 2 * 2.0 / np.sqrt(8 * np.log(2))
    blurred = gaussian_filter(sharp.astype(float), sigma, truncate=6)
    made = viewer.layers["sharp: simulated"]
    place = viewer.layers["sharp"].world_to_data(made.data_to_world((0, 0)))
    rows, columns = (place[axis] + 2 * np.arange(made.data.shape[axis]) for axis in (0, 1))
    grid = np.meshgrid(rows, columns, indexing="ij")
    expected = map_coordinates(blurred, grid, order=3)
    # It is rounded to whole numbers, as its source is.
    assert made.data.dtype == np.uint16
    np.testing.assert_allclose(made.data, expected, atol=3)


def test_noise_and_missing_pixels_are_as_asked_for(
    open_simulation: Callable[..., tuple[Any, Any]],
) -> None:
    image = np.full((SIDE, SIDE), 500.0, np.float32)
    image[48, 48] = 1000.0
    viewer, widget = open_simulation(image)
    widget.size.value = 0.5
    widget.photons.value, widget.hidden.value = 400, 25
    widget.simulate_button.native.click()
    data = viewer.layers["sharp: simulated"].data
    missing = viewer.layers["sharp: missing"].data > 0
    assert (data[missing] == 0).all()
    assert 0.1 < missing.mean() < 0.4
    # 200 photons a pixel, of 2.5 each.
    assert np.std(data[~missing]) == pytest.approx(2.5 * np.sqrt(200), rel=0.1)


def test_a_change_is_followed_until_layers_are_kept(
    open_simulation: Callable[..., tuple[Any, Any]], sharp: NDArray[np.uint16], qtbot: QtBot
) -> None:
    viewer, widget = open_simulation(sharp)
    widget.size.value = 3.0
    qtbot.wait(400)
    assert len(viewer.layers) == 1
    widget.simulate_button.native.click()
    first = viewer.layers["sharp: simulated"].data
    widget.size.value = 6.0
    qtbot.waitUntil(
        lambda: np.std(viewer.layers["sharp: simulated"].data) < 0.9 * np.std(first), timeout=20000
    )
    assert len(viewer.layers) == 4
    assert widget.image.value == viewer.layers["sharp"]
    widget.keep_button.native.click()
    widget.simulate_button.native.click()
    assert len(viewer.layers) == 7


def test_all_that_is_simulated_is_in_sight_until_one_looks_closer(
    open_simulation: Callable[..., tuple[Any, Any]], sharp: NDArray[np.uint16]
) -> None:
    viewer, widget = open_simulation(sharp)
    viewer.add_image(sharp, name="elsewhere", translate=(0, 5 * SIDE))
    widget.image.value = viewer.layers["sharp"]
    viewer.scene.camera.zoom = 50
    widget.simulate_button.native.click()
    assert len(viewer.layers) == 5
    assert_seen(viewer, viewer.layers["sharp"])
    for layer in widget._layers:
        assert_seen(viewer, layer)
    viewer.scene.camera.zoom *= 2
    before = seen(viewer)
    widget.size.value += 1
    widget.simulate_button.native.click()
    np.testing.assert_allclose(seen(viewer), before)


def test_a_simulation_of_a_simulation_leaves_that_alone(
    open_simulation: Callable[..., tuple[Any, Any]], sharp: NDArray[Any]
) -> None:
    viewer, widget = open_simulation(sharp)
    widget.simulate_button.native.click()
    first = viewer.layers["sharp: simulated"]
    before = first.data.copy()
    widget.image.value = first
    widget.simulate_button.native.click()
    assert first in viewer.layers
    np.testing.assert_array_equal(first.data, before)
    assert viewer.layers["sharp: simulated: simulated"].data.shape < before.shape
    assert widget.image.value == first


def test_colour_and_stacks(
    open_simulation: Callable[..., tuple[Any, Any]], sharp: NDArray[np.uint16]
) -> None:
    colour = np.stack([sharp / sharp.max() * 255] * 3, -1).astype(np.uint8)
    viewer, widget = open_simulation(colour, rgb=True)
    widget.jpeg.value = 50
    widget.simulate_button.native.click()
    assert viewer.layers["sharp: simulated"].rgb
    viewer.layers.clear()
    viewer.add_image(np.stack([sharp] * 3), name="stack")
    viewer.dims.set_current_step(0, 1)
    widget.simulate_button.native.click()
    assert viewer.layers["stack: simulated"].ndim == 3


def test_a_simulation_can_be_restored_with_its_own_kernel(
    open_simulation: Callable[..., tuple[Any, Any]], sharp: NDArray[np.uint16]
) -> None:
    from napari_blindsr.plugin.layers.read import read_kernel_layer  # noqa: PLC0415

    viewer, widget = open_simulation(sharp)
    widget.blur.value = "line"
    widget.simulate_button.native.click()
    read = read_kernel_layer(viewer.layers["sharp: PSF"], viewer.dims, scale=2, pixel_size=None)
    kernel = kernel_of(Simulation(blur="line", size=2.0))
    np.testing.assert_allclose(read.kernel, kernel, atol=1e-6)


@pytest.mark.parametrize("image", [np.full((40, 40), 7.0), np.zeros((9, 9)), np.eye(40) * np.nan])
def test_what_cannot_be_simulated_is_said(
    open_simulation: Callable[..., tuple[Any, Any]],
    notifications: Notifications,
    image: NDArray[np.float64],
) -> None:
    viewer, widget = open_simulation(image)
    widget.simulate_button.native.click()
    assert len(viewer.layers) == 1
    assert notifications.errors() == [widget.status.value]
