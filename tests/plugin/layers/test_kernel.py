"""Known kernels from layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_blindsr.errors import InputError
from napari_blindsr.plugin.layers.outputs import kernel_layer
from napari_blindsr.plugin.layers.read import read_kernel_layer, read_layer
from tests.plugin.conftest import make_result


def read(layer: Any, *, scale: int = 2, pixel_size: float | None = None) -> NDArray[np.float32]:
    dims = ViewerModel().dims
    return read_kernel_layer(layer, dims, scale=scale, pixel_size=pixel_size).kernel


def bead() -> NDArray[np.uint16]:
    pixels = np.zeros((5, 5), np.uint16)
    pixels[2, 2], pixels[0, 1] = 30, 10
    return pixels


def test_a_measured_kernel_is_flipped_and_normalised() -> None:
    kernel = read(Image(bead()))
    assert kernel[2, 2] == pytest.approx(0.75)
    assert kernel[4, 3] == pytest.approx(0.25)
    assert kernel.sum() == pytest.approx(1)


def test_a_kernel_of_even_side_becomes_odd() -> None:
    assert read(Image(bead()[:4, :4])).shape == (5, 5)


def test_our_own_layer_gives_the_kernel_that_it_keeps() -> None:
    result = make_result(scale=4, shape=(9, 9), side=19)
    source = read_layer(Image(np.zeros((9, 9))))
    layer = Layer.create(*kernel_layer(result, source))
    # Shown flipped, and padded to its centre.
    assert layer.data.shape != result.kernel.shape
    np.testing.assert_allclose(read(layer, scale=4), result.kernel, rtol=1e-6)
    with pytest.raises(InputError, match="a kernel for scale 4; the scale is 2"):
        read(layer, scale=2)


def test_pixels_of_another_size_than_the_results_are_refused() -> None:
    layer = Image(bead(), name="bead", scale=(0.1, 0.1), units=("um", "um"))
    with pytest.raises(InputError, match=r"'bead', the kernel, has pixels of 100 nm; expected 50"):
        read(layer, pixel_size=50)
    assert read(layer, pixel_size=100).shape == (5, 5)
    # In pixels, or beside an image in pixels, nothing is known.
    assert read(layer).shape == (5, 5)
    assert read(Image(bead()), pixel_size=50).shape == (5, 5)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (bead()[:4], "'psf': the kernel is 4 × 5; expected a square array"),
        (bead() - 20.0, "'psf': the kernel has sum"),
        (np.where(bead() == 10, -10.0, bead()), "expected non-negative weights"),
        (np.zeros((5, 5)), "'psf': the kernel has sum 0"),
        (np.zeros((2, 5, 5)), "'psf' has 3 dimensions|'psf': the kernel"),
    ],
)
def test_what_is_no_kernel_is_refused_in_one_line(pixels: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(Image(pixels, name="psf"))
    assert "\n" not in str(caught.value)
