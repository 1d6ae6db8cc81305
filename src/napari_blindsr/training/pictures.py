"""Sharp pictures to train on: dead leaves, photographs of scikit-image, micrographs.

All are grey or RGB uint8. Everything is drawn from an explicit generator, so a seed means the
same pictures everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.transform import rescale

from napari_blindsr.training.micrographs import micrograph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "rocket",
    "stereo_motorcycle",
)
"""What is taken of scikit-image's pictures; the others are kept for tests and samples."""

SIDE = 640
"""Of generated pictures, in pixels."""


def photographs() -> Iterator[NDArray[np.uint8]]:
    """Yield the photographs at their own size and at two smaller, sharper ones."""
    for name in PHOTOGRAPHS:
        loaded = getattr(data, name)()
        # The stereo pair comes with its disparity, which is no picture.
        pictures = loaded[:2] if isinstance(loaded, tuple) else (loaded,)
        for picture in pictures:
            colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
            for factor in (1.0, 0.7, 0.5):
                if min(colour.shape[:2]) * factor >= 200:
                    smaller = rescale(
                        colour, factor, order=1, anti_aliasing=factor < 1, channel_axis=2
                    )
                    yield np.asarray(np.clip(np.rint(255 * smaller), 0, 255), dtype=np.uint8)


def dead_leaves(side: int, rng: Generator) -> NDArray[np.uint8]:
    """Draw a picture of things that hide each other, most of them small.

    Discs, ellipses, rectangles, polygons and strokes with radii distributed as r⁻³, which makes
    the statistics of the picture those of natural ones (Lee, Mumford and Huang, 2001), with flat,
    shaded or textured surfaces.

    Parameters
    ----------
    side : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, uint8, (side, side, 3)
    """
    colours = _palette(rng)
    image = np.empty((side, side, 3), dtype=np.float32)
    image[:] = colours[rng.integers(len(colours))]
    smallest = float(np.exp(rng.uniform(np.log(1.5), np.log(16))))
    largest = side * rng.uniform(0.15, 0.4)
    exponent = rng.uniform(1.4, 2.2)
    count = int(min(side**2 * rng.uniform(0.2, 1.2) / smallest**2, 2500))
    uniform = rng.random(count)
    # Inverse of the cumulative distribution of r^-(exponent + 1).
    low, high = smallest**-exponent, largest**-exponent
    radii = (high + uniform * (low - high)) ** (-1 / exponent)
    if rng.random() < 0.5:
        # Small things in front keep more of what is fine.
        radii = np.sort(radii)[::-1]
    textures = [_texture(rng) for _ in range(6)]
    for radius in radii:
        _draw_leaf(image, float(radius), colours, textures, rng)
    if rng.random() < 0.5:
        # Optics and sensors leave few pictures with steps from one pixel to the next.
        image = gaussian_filter(image, (*[rng.uniform(0.2, 0.7)] * 2, 0))
    return np.asarray(np.clip(np.rint(255 * image), 0, 255), dtype=np.uint8)


def _palette(rng: Generator) -> NDArray[np.float32]:
    """Return colours that go together: brightnesses at random, hues near a few."""
    hues = rng.random((int(rng.integers(2, 6)), 3))
    chosen = hues[rng.integers(len(hues), size=64)]
    brightness = rng.random((64, 1)) ** rng.uniform(0.6, 1.6)
    saturation = rng.beta(1.5, 2.5, size=(64, 1))
    colours = brightness * ((1 - saturation) + saturation * chosen / chosen.max(1, keepdims=True))
    return np.asarray(colours, dtype=np.float32)


def _texture(rng: Generator, side: int = 256) -> NDArray[np.float32]:
    """Return a pattern of mean 0 and standard deviation 1, to be cut from."""
    pattern: NDArray[np.floating]
    kind = rng.integers(4)
    if kind == 0:
        # Noise with a power-law spectrum.
        spectrum = np.fft.rfft2(rng.normal(size=(side, side)))
        rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
        frequency = np.hypot(rows, columns)
        frequency[0, 0] = 1
        pattern = np.fft.irfft2(spectrum * frequency ** -rng.uniform(0.3, 1.5), s=(side, side))
    elif kind == 1:
        # Stripes, straight or wavy.
        angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(3), np.log(30)))
        y, x = np.indices((side, side))
        bend = 4 * gaussian_filter(rng.normal(size=(side, side)), 12) * 12
        phase = (np.cos(angle) * x + np.sin(angle) * y + bend) * 2 * np.pi / period
        pattern = np.sin(phase) if rng.random() < 0.5 else np.sign(np.sin(phase))
    elif kind == 2:
        # Anisotropic grain: hair, wood, grass.
        widths = np.exp(rng.uniform(np.log([0.6, 3]), np.log([1.5, 20])))
        pattern = gaussian_filter(rng.normal(size=(side, side)), widths)
        pattern = pattern if rng.random() < 0.5 else pattern.T
    else:
        # Blobs.
        blobs = gaussian_filter(rng.normal(size=(side, side)), rng.uniform(0.8, 6))
        pattern = np.tanh(3 * _standard(blobs))
    return _standard(pattern)


def _standard(pattern: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray((pattern - pattern.mean()) / (pattern.std() + 1e-9), dtype=np.float32)


def _draw_leaf(
    image: NDArray[np.float32],
    radius: float,
    colours: NDArray[np.float32],
    textures: list[NDArray[np.float32]],
    rng: Generator,
) -> None:
    side = len(image)
    row, column = rng.uniform(-radius, side + radius, size=2)
    reach = 1.5 * radius + 2
    top, left = max(0, int(row - reach)), max(0, int(column - reach))
    bottom, right = min(side, int(row + reach) + 1), min(side, int(column + reach) + 1)
    if top >= bottom or left >= right:
        return
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(row)
    x = np.arange(left, right, dtype=np.float32)[None] - np.float32(column)
    cover = _shape(y, x, radius, rng)[..., None]
    patch = image[top:bottom, left:right]
    colour = np.broadcast_to(colours[rng.integers(len(colours))], patch.shape).copy()
    if rng.random() < 0.5:
        slope = rng.normal(0, 0.25, size=2) / max(radius, 4)
        colour *= np.clip(1 + slope[0] * y + slope[1] * x, 0, 2)[..., None]
    if radius > 4 and rng.random() < 0.6:
        texture = textures[rng.integers(len(textures))]
        rows = (np.arange(top, bottom) + rng.integers(256)) % len(texture)
        columns = (np.arange(left, right) + rng.integers(256)) % len(texture)
        strength = 0.3 * rng.beta(1.2, 3)
        colour += strength * texture[np.ix_(rows, columns)][..., None]
    patch += cover * (np.clip(colour, 0, 1) - patch)


def _shape(
    y: NDArray[np.float32], x: NDArray[np.float32], radius: float, rng: Generator
) -> NDArray[np.float32]:
    """Return how much of each pixel a shape covers: its edges are as sharp as pixels allow."""
    angle = rng.uniform(0, np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = cos * x + sin * y, cos * y - sin * x
    kind = rng.random()
    if kind < 0.35:
        distance = np.hypot(x, y) - radius
    elif kind < 0.55:
        ratio = rng.uniform(0.3, 0.9)
        distance = (np.hypot(along, across / ratio) - radius) * ratio
    elif kind < 0.75:
        ratio = rng.uniform(0.1, 1)
        distance = np.maximum(np.abs(along) - radius, np.abs(across) - ratio * radius)
    elif kind < 0.9:
        # A convex polygon is where all of its edges' half-planes meet.
        edges = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
        sides = [np.cos(e) * x + np.sin(e) * y - radius * rng.uniform(0.4, 0.9) for e in edges]
        distance = np.maximum(np.max(sides, axis=0), np.hypot(x, y) - 1.4 * radius)
    else:
        # A stroke, bent like a parabola.
        width = np.exp(rng.uniform(np.log(0.4), np.log(3)))
        bend = rng.uniform(-0.5, 0.5) / radius
        slope = np.hypot(1, 2 * bend * along)
        distance = np.maximum(
            np.abs(across - bend * along**2) / slope - width, np.abs(along) - radius
        )
    return np.asarray(np.clip(0.5 - distance, 0, 1), dtype=np.float32)


def picture_bank(
    *, leaves: int, micrographs: int, seed: int, side: int = SIDE
) -> list[list[NDArray[np.uint8]]]:
    """Return the pictures to train on.

    Parameters
    ----------
    leaves, micrographs : int
        How many are generated of each, at least 1.
    seed : int
    side : int

    Returns
    -------
    list of list of ndarray, uint8, (H, W, 3)
        Dead leaves, photographs, micrographs.
    """
    drawn = generated(leaves, micrographs, np.random.default_rng(seed), side=side)
    return [drawn[0], list(photographs()), drawn[1]]


def generated(
    leaves: int, micrographs: int, rng: Generator, *, side: int = SIDE
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Return so many pictures of dead leaves, and so many micrographs."""
    return (
        [dead_leaves(side, rng) for _ in range(leaves)],
        [micrograph(side, rng) for _ in range(micrographs)],
    )
