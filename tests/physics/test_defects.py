"""Defects: pixels that no optics can have made are found, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, rotate
from skimage import data

from napari_blindsr import restore
from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.physics.defects import Defects, defects_of, find_defects
from napari_blindsr.physics.noise import estimate_noise
from napari_blindsr.restoration.result import Result

RNG = np.random.default_rng(0)


def seen(side: int = 128, noise: float = 0.01) -> NDArray[np.float32]:
    """Return a blurred, noisy picture in [0, 1]."""
    sharp = data.camera()[60 : 60 + side, 150 : 150 + side] / 255
    image = gaussian_filter(sharp, 0.8) + np.random.default_rng(1).normal(0, noise, sharp.shape)
    return np.asarray(np.clip(image, 0, None), dtype=np.float32)


def found(image: NDArray[Any]) -> Defects:
    planes = np.asarray(image, dtype=np.float32)
    planes = planes[None] if planes.ndim == 2 else planes
    return find_defects(planes, estimate_noise(planes))


def test_a_clean_picture_has_none() -> None:
    defects = found(seen())
    assert not defects.missing.any()
    assert defects.notes == ()


@pytest.mark.parametrize("height", [1.0, -1.0])
def test_single_pixels_are_found_and_no_others(height: float) -> None:
    image = 0.3 * seen() + 0.35
    places = np.zeros(image.shape, dtype=bool)
    rows, columns = RNG.permutation(124)[:12] + 2, RNG.permutation(124)[:12] + 2
    places[rows, columns] = True
    image[places] += height
    defects = found(image)
    np.testing.assert_array_equal(defects.single, places)
    np.testing.assert_array_equal(defects.missing, places)
    assert defects.notes == ("12 hot or dead pixels were ignored and filled in",)


def test_a_point_that_optics_have_blurred_is_none() -> None:
    for width in (0.5, 0.7, 1.0):
        image = np.zeros((64, 64))
        image[10::12, 9::13] = 1
        image = gaussian_filter(image, width) / gaussian_filter(image, width).max()
        image = image + np.random.default_rng(0).normal(0.1, 0.005, image.shape)
        assert not found(image).single.any()


def corner(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    places = np.zeros(image.shape, dtype=bool)
    places[:30, :40] = True
    return places


def row(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    places = np.zeros(image.shape, dtype=bool)
    places[0] = True
    return places


@pytest.mark.parametrize("where", [corner, row])
@pytest.mark.parametrize("value", [0.0, 1.5])
def test_padding_is_found(where: Any, value: float) -> None:
    image = 0.8 * seen() + 0.1
    places = where(image)
    image[places] = value
    np.testing.assert_array_equal(found(image).padding, places)


@pytest.mark.parametrize("legs", [16, 20, 40])
def test_small_cut_off_corners_are_padding(legs: int) -> None:
    image = 0.8 * seen() + 0.1
    places = np.add.outer(*(np.arange(n) for n in image.shape)) < legs
    image[places] = 0
    np.testing.assert_array_equal(found(image).padding, places)


def test_a_turned_picture_has_corners_that_are_padding() -> None:
    image = 0.8 * seen(160) + 0.1
    turned = rotate(image, 20, reshape=False, order=1, cval=0.0)
    inside = rotate(np.ones_like(image), 20, reshape=False, order=1, cval=0.0)
    padding = found(turned).padding
    assert padding[inside == 0].mean() > 0.99
    assert not padding[inside == 1].any()


def test_the_dark_around_cells_is_none() -> None:
    cells = fluorescent_cells((128, 128), seed=2)
    cells = gaussian_filter(cells / cells.max(), 1.0)
    for threshold in (0.02, 0.05, 0.1):
        image = np.maximum(cells - threshold, 0)
        assert (image == 0).mean() > 0.05
        assert not found(image).padding.any()


@pytest.mark.parametrize("name", ["page", "text"])
def test_paper_has_none(name: str) -> None:
    image = getattr(data, name)()[:160, :160]
    defects = defects_of(image, "YX", covered=None, saturation=True)
    assert defects is not None
    assert not defects.missing.any()


def test_what_a_camera_cannot_count_is_found() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((96, 96))
    image[40:44, 30:60] = 1
    image = gaussian_filter(image, 2.0) + rng.normal(0.2, 0.005, image.shape)
    top = float(np.quantile(image, 0.99))
    cut = np.minimum(image, top)
    defects = found(cut)
    np.testing.assert_array_equal(defects.saturated, cut == top)
    count = int((cut == top).sum())
    assert defects.notes == (f"{count} saturated pixels were ignored and filled in",)
    assert not found(image).saturated.any()


def test_saturation_is_looked_for_where_it_is_wanted() -> None:
    image = np.minimum(gaussian_filter(np.eye(64), 2.0), 0.15)
    for wanted in (True, False):
        defects = defects_of(image, "YX", covered=None, saturation=wanted)
        assert defects is not None
        assert bool(defects.saturated.any()) is wanted


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_numbers_of_any_type(dtype: Any) -> None:
    image = np.rint(200 * (0.3 * seen() + 0.35)).astype(dtype)
    image[50, 60] = 250
    defects = defects_of(image, "YX", covered=None, saturation=True)
    assert defects is not None
    assert np.argwhere(defects.single).tolist() == [[50, 60]]


@pytest.mark.parametrize("axes", ["YXC", "CYX"])
def test_a_defect_of_one_channel_is_one_of_all(axes: str) -> None:
    image = np.stack([0.3 * seen() + 0.35] * 3)
    image[1, 50, 60] = 2.0
    image = np.moveaxis(image, 0, -1) if axes == "YXC" else image
    defects = defects_of(image, axes, covered=None, saturation=True)
    assert defects is not None
    assert np.argwhere(defects.missing).tolist() == [[50, 60]]


def test_what_is_covered_is_not_looked_at() -> None:
    image = 0.3 * seen() + 0.35
    image[50, 60] = 2.0
    covered = np.zeros(image.shape, dtype=bool)
    covered[48:53, 58:63] = True
    image[20:30, 20:30], covered[20:30, 20:30] = np.nan, True
    defects = defects_of(image, "YX", covered=covered, saturation=True)
    assert defects is not None
    assert not defects.missing.any()


@pytest.mark.parametrize(
    "image",
    [
        np.full((9, 9), 3.0),
        np.full((9, 9), np.nan),
        np.zeros((0, 3)),
        np.ones((9, 9), dtype=complex),
        np.array([[0.0, np.inf]]),
    ],
)
def test_odd_images_are_left_alone(image: NDArray[Any]) -> None:
    assert defects_of(image, "YX", covered=None, saturation=True) is None


def restored(image: NDArray[Any], **options: Any) -> Result:
    return restore(image, scale=2, device="cpu", threads=1, **options)


def test_they_change_nothing_but_their_surroundings() -> None:
    image = 0.3 * seen(72) + 0.35
    spoilt = image.copy()
    spoilt[40, 30] = 1.5
    spoilt[0] = 0
    clean, hurt = restored(image), restored(spoilt)
    assert not clean.notes
    assert any("1 hot or dead" in note for note in hurt.notes)
    assert any("72 pixels of padding" in note for note in hurt.notes)
    assert hurt.covered is not None
    far = np.ones(clean.image.shape, dtype=bool)
    far[68:96, 48:76] = False
    far[:16] = False
    change = (hurt.image - clean.image)[far]
    assert np.sqrt(np.mean(np.square(change))) < 0.01 * np.ptp(clean.image)


def test_methods_without_masks_take_the_image_as_it_is() -> None:
    image = 0.3 * seen(40) + 0.35
    image[20, 20] = 1.5
    result = restored(image, method="mlmc", steps=2)
    assert not [note for note in result.notes if "ignored" in note]
