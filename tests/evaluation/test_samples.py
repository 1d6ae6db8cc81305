"""Samples: what they claim of truth, kernel and place holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from napari.components import ViewerModel
from napari.layers import Image

from napari_blindsr.errors import SettingsError
from napari_blindsr.evaluation.samples import SAMPLES, Camera, Sample, fluorescent_cells
from napari_blindsr.physics.simulate import Degradation, degrade
from napari_blindsr.plugin.layers import sample_data
from napari_blindsr.plugin.layers.outputs import LayerData
from napari_blindsr.plugin.layers.versions import shared_units

CONTRIBUTED = (sample_data.fluorescence, sample_data.micrograph, sample_data.photograph)


def name_of(function: Callable[..., Any]) -> str:
    return function.__name__


samples = pytest.mark.parametrize("make", SAMPLES, ids=name_of)
contributed = pytest.mark.parametrize("make", CONTRIBUTED, ids=name_of)


@samples
def test_sample_is_its_truth_degraded(make: Callable[[], Sample]) -> None:
    sample = make()
    assert 64 <= min(sample.image.shape[:2]) <= max(sample.image.shape[:2]) <= 128
    assert sample.truth.shape[:2] == tuple(sample.scale * n for n in sample.image.shape[:2])
    assert sample.kernel.sum() == pytest.approx(1, abs=1e-5)
    again = degrade(
        sample.truth.astype(np.float32),
        sample.kernel,
        Degradation(scale=sample.scale, geometry=sample.geometry, border="circular"),
    )
    assert sample.offset == again.offset
    # At the border they differ: the truth ends there, but the sharp image went on.
    inner = slice(4, -4)
    difference = sample.image[inner, inner] - again.image[inner, inner]
    if sample.image.dtype == np.uint8:
        # Rounded down.
        assert difference.min() > -1.01
        assert difference.max() < 0.01
    else:
        # Shot noise and read noise of some photons.
        photons = (again.image[inner, inner] - 100) / 2
        deviation = 2 * np.sqrt(photons + 1.5**2)
        assert np.std(difference / deviation) == pytest.approx(1, abs=0.05)
        assert np.mean(difference / deviation) == pytest.approx(0, abs=0.05)


@samples
def test_samples_are_the_same_every_time(make: Callable[[], Sample]) -> None:
    np.testing.assert_array_equal(make().image, make().image)


def test_samples_need_no_download() -> None:
    shipped = Path(skimage.__file__).parent / "data"
    assert (shipped / "ihc.png").is_file()
    assert (shipped / "camera.png").is_file()


def edges(layer: Image) -> np.ndarray:
    """Return the outer pixel edges in the world, low and high."""
    return np.asarray(layer.extent.world + np.array([[-0.5], [0.5]]) * layer.scale)


@contributed
def test_layers_lie_where_they_should(make: Callable[[], list[LayerData]]) -> None:
    viewer = ViewerModel()
    for data, attributes, kind in make():
        assert kind == "image"
        viewer.add_image(data, **attributes)
    truth, kernel, image = viewer.layers
    assert [layer.visible for layer in viewer.layers] == [False, False, True]
    assert viewer.layers.selection.active is image
    assert image.name == make.__name__
    # The outer pixel edges of both coincide.
    np.testing.assert_allclose(edges(truth), edges(image), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(kernel.scale, truth.scale)
    # The kernel stands beside the image, level with its top.
    assert edges(kernel)[0, 1] > edges(image)[1, 1]
    assert edges(kernel)[0, 0] == pytest.approx(edges(image)[0, 0])
    assert kernel.units == truth.units == image.units
    assert shared_units(viewer.layers) is not None


@contributed
def test_metadata_is_json_and_tells_the_kernel(make: Callable[[], list[LayerData]]) -> None:
    layers = make()
    records = [attributes["metadata"]["napari-blindsr"] for _, attributes, _ in layers]
    assert json.loads(json.dumps(records)) == records
    assert [record["kind"] for record in records] == ["truth", "kernel", "image"]
    psf, kernel = layers[1][0], np.array(records[1]["correlation_kernel"])
    # Flipped, and its peak in the middle of the array.
    size = len(kernel)
    np.testing.assert_allclose(psf[-size:, -size:], kernel[::-1, ::-1])
    rows, columns = np.indices(psf.shape)
    middle = (len(psf) - 1) / 2
    assert (psf * rows).sum() == pytest.approx(middle, abs=0.1)
    assert (psf * columns).sum() == pytest.approx(middle, abs=0.1)


def test_micrographs_have_a_size_and_photographs_have_not() -> None:
    units = {make.__name__: str(make()[0][1]["units"][0]) for make in CONTRIBUTED}
    assert units == {"fluorescence": "um", "micrograph": "um", "photograph": "pixel"}


def test_camera_noise() -> None:
    photons = np.full((200, 200), 80.0)
    camera = Camera(counts_per_photon=3.0, offset=50.0, read_noise=2.0)
    counts = camera.expose(photons, seed=1).astype(float)
    assert counts.mean() == pytest.approx(camera.counts(photons).mean(), rel=0.002)
    assert counts.std() == pytest.approx(3 * np.sqrt(80 + 4), rel=0.02)
    assert np.array_equal(counts, camera.expose(photons, seed=1))
    assert not np.array_equal(counts, camera.expose(photons, seed=2))
    # Bright pixels saturate instead of wrapping around.
    assert camera.expose(np.full((2, 2), 1e6), seed=1).min() == 65535


def test_cells_are_positive_and_seeded() -> None:
    cells = fluorescent_cells((80, 90), seed=3)
    assert cells.shape == (80, 90)
    assert cells.min() > 0
    # Filaments and vesicles stand out of the background.
    assert cells.max() > 10 * np.median(cells)
    np.testing.assert_array_equal(cells, fluorescent_cells((80, 90), seed=3))
    assert not np.array_equal(cells, fluorescent_cells((80, 90), seed=4))
    with pytest.raises(SettingsError, match="at least 32"):
        fluorescent_cells((10, 90), seed=3)
