"""What must not matter to a restoration: how an image is turned, and what is added to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_blindsr import restore
from napari_blindsr.evaluation.samples import fluorescence

Turn = Callable[[NDArray[Any]], NDArray[Any]]

TURNS: dict[str, Turn] = {
    "upside down": lambda image: image[::-1],
    "mirrored": lambda image: image[:, ::-1],
    "transposed": lambda image: image.swapaxes(0, 1),
    "a quarter": np.rot90,
}


def photograph() -> NDArray[np.uint8]:
    """Return a blurred picture in 8 bit, sampled at every other pixel."""
    sharp = gaussian_filter(data.camera()[60:204, 150:310].astype(float), 1.8)
    noisy = sharp[::2, ::2] + np.random.default_rng(0).normal(0, 2, (72, 80))
    image: NDArray[np.uint8] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return image


def cells() -> NDArray[Any]:
    """Return cells with the noise of photons."""
    image: NDArray[Any] = fluorescence().image[:64, :56]
    return image


IMAGES: dict[str, Callable[[], NDArray[Any]]] = {"photograph": photograph, "cells": cells}


def restored(image: NDArray[Any], **options: Any) -> NDArray[np.float32]:
    return restore(image, **{"scale": 2, "device": "cpu", "threads": 1, **options}).image


def difference(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return the root mean square difference, in units of the range."""
    error = first.astype(np.float64) - second
    return float(np.sqrt(np.mean(np.square(error))) / np.ptp(first))


@pytest.fixture(scope="module", params=list(IMAGES))
def pair(request: pytest.FixtureRequest) -> tuple[NDArray[Any], NDArray[np.float32]]:
    image = IMAGES[request.param]()
    return image, restored(image)


@pytest.mark.parametrize("name", TURNS)
def test_a_turned_image_is_restored_turned(
    name: str, pair: tuple[NDArray[Any], NDArray[np.float32]]
) -> None:
    image, expected = pair
    turn = TURNS[name]
    found = restored(np.ascontiguousarray(turn(image)))
    assert difference(turn(expected), found) < 1e-3


@pytest.mark.parametrize("offset", [100, 1000.0])
def test_what_is_added_to_all_pixels_is_added_to_the_result(
    offset: float, pair: tuple[NDArray[Any], NDArray[np.float32]]
) -> None:
    image, expected = pair
    found = restored(image.astype(np.float64) + offset)
    assert difference(restored(image.astype(np.float64)), expected) < 1e-3
    assert difference(expected + offset, found) < 1e-3


@pytest.mark.parametrize("factor", [0.01, 16.0])
def test_the_unit_of_intensities_is_that_of_the_result(
    factor: float, pair: tuple[NDArray[Any], NDArray[np.float32]]
) -> None:
    image, expected = pair
    found = restored(factor * image.astype(np.float64))
    assert difference(factor * expected, found) < 1e-3


def test_the_same_with_a_known_kernel_and_at_another_scale() -> None:
    image, axis = photograph(), np.arange(15) - 8.0
    kernel = np.exp(-(axis[:, None] ** 2) / 8 - (axis[None] - 0.4 * axis[:, None]) ** 2 / 3)
    options: dict[str, Any] = {"scale": 3, "kernel": kernel}
    # Off the middle, kernels are moved there first.
    turned = {**options, "kernel": kernel.T}
    expected = restored(image, **options)
    found = restored(np.ascontiguousarray(image.T), **turned)
    assert difference(expected.T, found) < 1e-3


def test_regions_keep_their_brightness() -> None:
    image = photograph()
    result = restored(image)
    seen = image[:64].reshape(4, 16, 5, 16).mean(axis=(1, 3))
    found = result[:128].reshape(4, 32, 5, 32).mean(axis=(1, 3))
    # But for what the blur carries over their borders.
    assert np.abs(found - seen).mean() < 0.01 * np.ptp(image)


def test_neutral_stays_neutral() -> None:
    image = np.repeat(photograph()[..., None], 3, axis=-1)
    result = restored(image)
    assert np.ptp(result, axis=-1).max() < 0.1
