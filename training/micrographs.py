"""Simulated fluorescence: filaments, vesicles, nuclei, membranes and beads, before the optics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray


def micrograph(side: int, rng: Generator) -> NDArray[np.uint8]:
    """Draw some kinds of structures on a dim background.

    Parameters
    ----------
    side : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, uint8, (side, side, 3)
        Three equal channels; the brightest pixels reach 255.
    """
    image = np.zeros((side, side), dtype=np.float32)
    for draw in STRUCTURES:
        if rng.random() < 0.45:
            layer = draw(side, rng)
            # Some structures are much dimmer than others: brightness over a range of 20.
            brightness = np.float32(np.exp(rng.uniform(-3, 0)))
            image += brightness * layer / (np.quantile(layer, 0.999) + 1e-6)
    if not image.any():
        image += filaments(side, rng)
    # Where the brightest points are kept, all else is dim; where they are cut, less so.
    top = np.quantile(image, 1 - rng.choice([0, 1e-5, 1e-4, 5e-4])) + 1e-6
    floor = rng.uniform(0, 0.15)
    values = floor + (1 - floor) * np.clip(image / top, 0, 1)
    grey = np.asarray(np.rint(255 * values), dtype=np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def filaments(side: int, rng: Generator) -> NDArray[np.float32]:
    """Draw curves whose direction changes slowly."""
    image = np.zeros((side, side), dtype=np.float32)
    stiffness = rng.uniform(15, 80)
    for _ in range(int(side * side * rng.uniform(1, 6) / 8000)):
        steps = int(rng.uniform(100, 1200))
        turns = gaussian_filter(rng.normal(size=steps), stiffness, mode="nearest")
        angles = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.uniform(0, 0.2) * turns)
        row = rng.uniform(0, side) + 0.25 * np.cumsum(np.sin(angles))
        column = rng.uniform(0, side) + 0.25 * np.cumsum(np.cos(angles))
        _splat(image, row, column, np.full(steps, 0.25 * rng.uniform(0.3, 1)))
    return _smooth(image, rng.uniform(0.35, 0.9))


def vesicles(side: int, rng: Generator) -> NDArray[np.float32]:
    """Draw small spots of different brightness and about one size."""
    image = np.zeros((side, side), dtype=np.float32)
    count = int(side * side * rng.uniform(0.5, 5) / 1000)
    brightness = rng.gamma(np.exp(rng.uniform(-0.7, 1.5)), size=count)
    rows, columns = rng.uniform(0, side, (2, count))
    _splat(image, rows, columns, brightness)
    return _smooth(image, np.exp(rng.uniform(np.log(0.35), np.log(1.5))))


def beads(side: int, rng: Generator) -> NDArray[np.float32]:
    """Draw points."""
    image = np.zeros((side, side), dtype=np.float32)
    count = int(side * side * rng.uniform(0.2, 2) / 1000)
    rows, columns = rng.uniform(0, side, (2, count))
    _splat(image, rows, columns, rng.uniform(0.5, 1, count))
    return _smooth(image, rng.uniform(0.3, 0.7))


def nuclei(side: int, rng: Generator) -> NDArray[np.float32]:
    """Draw textured ellipses."""
    image = np.zeros((side, side), dtype=np.float32)
    texture = 1 + rng.uniform(0.5, 4) * gaussian_filter(
        rng.normal(size=(side, side)), rng.uniform(1, 4)
    )
    for _ in range(int(rng.integers(3, 20))):
        radius = _ellipse(side, rng, rng.uniform(15, 70))
        sharpness = rng.uniform(10, 60)
        edge = 1 / (1 + np.exp(np.clip((radius - 1) * sharpness, -30, 30)))
        image = np.maximum(image, edge * rng.uniform(0.4, 1))
    return np.asarray(image * np.clip(texture, 0.1, 3), dtype=np.float32)


def membranes(side: int, rng: Generator) -> NDArray[np.float32]:
    """Draw outlines of cells."""
    image = np.zeros((side, side), dtype=np.float32)
    for _ in range(int(rng.integers(3, 25))):
        size = rng.uniform(20, 90)
        radius = _ellipse(side, rng, size)
        image += np.exp(-0.5 * ((radius - 1) * size / rng.uniform(0.4, 1.2)) ** 2)
    return image


STRUCTURES: tuple[Callable[[int, Generator], NDArray[np.float32]], ...] = (
    filaments,
    vesicles,
    beads,
    nuclei,
    membranes,
)


def _smooth(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(gaussian_filter(image, sigma), dtype=np.float32)


def _ellipse(side: int, rng: Generator, size: float) -> NDArray[np.float32]:
    """Return the distance from a centre in units of an ellipse's radius."""
    rows, columns = np.indices((side, side), dtype=np.float32)
    y = rows - np.float32(rng.uniform(0, side))
    x = columns - np.float32(rng.uniform(0, side))
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    return np.asarray(np.hypot(along / size, across / (size * rng.uniform(0.5, 1))), np.float32)


def _splat(
    image: NDArray[np.float32],
    row: NDArray[np.floating],
    column: NDArray[np.floating],
    weight: NDArray[np.floating],
) -> None:
    """Add points between pixels to the four pixels around each, bilinearly."""
    side = len(image)
    inside = (row >= 0) & (row < side - 1) & (column >= 0) & (column < side - 1)
    row, column, weight = row[inside], column[inside], weight[inside]
    top, left = row.astype(int), column.astype(int)
    down, right = row - top, column - left
    np.add.at(image, (top, left), weight * (1 - down) * (1 - right))
    np.add.at(image, (top, left + 1), weight * (1 - down) * right)
    np.add.at(image, (top + 1, left), weight * down * (1 - right))
    np.add.at(image, (top + 1, left + 1), weight * down * right)
