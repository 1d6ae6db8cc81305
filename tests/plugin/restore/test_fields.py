"""Fields in the dock: set, restored, shown over the image, and used again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_blindsr import KernelField
from napari_blindsr.images.tiling import Box
from napari_blindsr.physics.simulate import Degradation, degrade_field, gaussian_kernel
from napari_blindsr.plugin.layers.outputs import kernel_layer, montage, result_layers
from napari_blindsr.plugin.layers.read import holds_field, read_kernel_layer, read_layer
from napari_blindsr.plugin.measure.partners import find_kernel
from tests.estimation.test_field import cells
from tests.plugin.conftest import DockMaker, Notifications, make_result
from tests.plugin.dock import click, wait_idle

SHAPE = (50, 81)


def field(side: int = 11) -> KernelField:
    """Return kernels of 2 × 3 regions, each a point of its own height beside its centre."""
    kernels = np.zeros((2, 3, side, side), np.float32)
    for number, (row, column) in enumerate(np.ndindex(2, 3)):
        kernels[row, column, side // 2, side // 2] = number + 1
        kernels[row, column, 0, 1] = 0.1
    return KernelField(kernels=kernels, extent=Box.whole(SHAPE))


def made() -> Any:
    from dataclasses import replace  # noqa: PLC0415

    return replace(make_result(scale=1, shape=SHAPE), field=field())


def test_a_montage_has_each_kernel_in_the_middle_of_its_region() -> None:
    canvas = montage(field(), 5.0)
    height, width = canvas.shape
    # About the proportions of the image, so that kernels are not stretched.
    assert width / height == pytest.approx(SHAPE[1] / SHAPE[0], rel=0.05)
    for number, (row, column) in enumerate(np.ndindex(2, 3)):
        found = np.argwhere(canvas == number + 1)
        assert len(found) == 1
        expected = ((row + 0.5) * height / 2 - 0.5, (column + 0.5) * width / 3 - 0.5)
        np.testing.assert_allclose(found[0], expected, atol=0.51)
        # A point spread function: the mark of the correlation kernel is on the other side.
        cell = canvas[
            row * height // 2 : (row + 1) * height // 2,
            column * width // 3 : (column + 1) * width // 3,
        ]
        mark = np.argwhere(np.isclose(cell, 0.1))[0] - np.argwhere(cell == number + 1)[0]
        np.testing.assert_array_equal(mark, (5, 4))


@pytest.mark.parametrize(
    "place", [{}, {"scale": (0.4, 0.3), "translate": (3, -2), "rotate": 30, "shear": [0.2]}]
)
def test_the_montage_lies_on_the_whole_image(place: dict[str, Any]) -> None:
    image = Image(np.zeros(SHAPE), **place)
    layer = Layer.create(*kernel_layer(made(), read_layer(image)))
    for ends in ((-0.5, -0.5), (-0.5, 1), (1, -0.5), (1, 1)):
        corner = [n - 0.5 if end == 1 else end for n, end in zip(SHAPE, ends, strict=True)]
        other = [
            n - 0.5 if end == 1 else end for n, end in zip(layer.data.shape, ends, strict=True)
        ]
        np.testing.assert_allclose(
            layer.data_to_world(other), image.data_to_world(corner), atol=1e-6
        )


def test_kernels_of_a_field_lie_on_top_and_are_known_kernels() -> None:
    source = read_layer(Image(np.zeros(SHAPE)))
    layers = [Layer.create(*entry) for entry in result_layers(made(), source)]
    top = layers[-1]
    assert holds_field(top)
    assert not any(holds_field(layer) for layer in layers[:-1])
    assert str(top.blending) == "additive"
    kernel = read_kernel_layer(top, ViewerModel().dims, scale=1, pixel_size=None).kernel
    given = field().kernels
    np.testing.assert_allclose(kernel, given / given.sum(axis=(2, 3), keepdims=True), rtol=1e-6)
    # Measures take one kernel.
    assert find_kernel(layers[0], layers) is None


def blurred(side: int = 50) -> NDArray[np.float32]:
    """Return cells whose right half is twice as blurred as their left."""
    kernels = [gaussian_kernel((v, v), 0.0, scale=2, size=15) for v in (1.5, 6.0)]
    sharp = cells((2 * side + 14, 2 * side + 14), 3)
    image: NDArray[np.float32] = degrade_field(
        sharp, np.stack(kernels)[None], Degradation(scale=2, noise=0.003)
    ).image
    return image


def test_a_field_in_the_dock(
    open_dock: DockMaker, qtbot: Any, notifications: Notifications
) -> None:
    viewer, widget = open_dock(blurred(), method="fast")
    form = widget._form
    form.advanced.value = True
    assert form.is_shown(form.field)
    form.field.value = (1, 2)
    assert form.settings().field == (1, 2)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert not notifications.errors()
    image, kernels = viewer.layers[-2:]
    # The kernels lie above, but it is the image that is saved and compared.
    assert viewer.layers.selection.active == image
    click(widget.compare_button)
    comparison = viewer.window.dock_widgets["Compare layers (napari-blindsr)"]
    assert comparison.picker.chosen() == [viewer.layers[0], image]
    comparison.mode.value = "off"
    record = kernels.metadata["napari-blindsr"]
    assert record["field"]["shape"] == [1, 2]
    first, second = (region["widths"][0] for region in record["field"]["regions"][0])
    assert second > first
    assert "1 × 2 regions" in widget.verdict.verdict.text
    # And again with what was found.
    widget.kernel.value = "known"
    widget.kernel_layer.value = kernels
    assert not form.is_shown(form.field)
    assert form.settings().field == (1, 1)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    assert not notifications.errors()
    again = viewer.layers[-2]
    assert again is not image
    error = np.abs(again.data - image.data)
    assert error.max() < 0.03 * np.ptp(image.data)


def test_methods_that_optimise_have_no_field(open_dock: DockMaker) -> None:
    _, widget = open_dock(blurred(), method="mlmc")
    form = widget._form
    form.advanced.value = True
    form.field.value = (2, 2)
    assert not form.is_shown(form.field)
    assert form.settings().field == (1, 1)


def test_small_regions_are_refused_in_one_line(
    open_dock: DockMaker, qtbot: Any, notifications: Notifications
) -> None:
    _, widget = open_dock(blurred(), method="fast")
    widget._form.field.value = (3, 2)
    click(widget.run_button)
    wait_idle(qtbot, widget)
    (text,) = notifications.errors()
    assert "expected regions of at least 24 × 24" in text
