"""Sharp pictures to train on: dead leaves, pages, photographs of scikit-image, micrographs.

All are grey or RGB uint8, drawn from explicit random generators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage import data, io
from skimage.transform import downscale_local_mean, rescale

from training.micrographs import micrograph
from training.pages import page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
"""Pictures of scikit-image to train on; the others are kept for tests and samples."""

SIDE = 640
"""Side of generated pictures, in pixels."""

SIZES = 4
"""Number of smaller sizes of each photograph, besides its own."""

SMALLEST_FACTOR = 0.35
SMALLEST_SIDE = 160

LONGEST_SIDE = 700
"""Approximate side of a photograph from a folder, in pixels: those of cameras are soft."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")

PAGES = 0.12
"""Fraction of printed pages among the dead leaves."""


def photographs(seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Yield the photographs at their own size and at some smaller ones, sharp or soft."""
    rng = np.random.default_rng([seed, 2])
    for name in PHOTOGRAPHS:
        loaded = getattr(data, name)()
        # The stereo pair comes with its disparity, which is no picture.
        pictures = loaded[:2] if isinstance(loaded, tuple) else (loaded,)
        for picture in pictures:
            grey = picture.ndim == 2
            colour = np.repeat(picture[..., None], 3, axis=2) if grey else picture
            yield colour
            yield from _smaller(colour, rng)


def photographs_of(folder: Path, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Yield the photographs of a folder at some smaller sizes, sharp or soft.

    Parameters
    ----------
    folder : Path
        With 8-bit grey or colour pictures in files with one of the `SUFFIXES`, best much larger
        than `LONGEST_SIDE`.
    seed : int

    Raises
    ------
    ValueError
        If a picture is not 8-bit grey, RGB or RGBA, or there is none.
    """
    rng = np.random.default_rng([seed, 3])
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} holds no picture ({', '.join(SUFFIXES)})")
    for path in paths:
        picture = io.imread(path)
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
            raise ValueError(f"{path}: {picture.dtype} of shape {picture.shape}, expected 8 bit")
        if picture.ndim == 2:
            picture = picture[..., None]
        colours = picture[..., :3] if picture.shape[2] > 2 else np.repeat(picture[..., :1], 3, 2)
        excess = max(1, max(colours.shape[:2]) // LONGEST_SIDE)
        reduced = downscale_local_mean(colours, (excess, excess, 1))
        yield from _smaller(np.asarray(np.rint(reduced), dtype=np.uint8), rng)


def _smaller(colour: NDArray[np.uint8], rng: Generator) -> Iterator[NDArray[np.uint8]]:
    """Yield a photograph in smaller sizes."""
    least = min(1.0, max(SMALLEST_FACTOR, SMALLEST_SIDE / min(colour.shape[:2])))
    for factor in np.exp(rng.uniform(math.log(least), 0, SIZES)):
        # How much is smoothed beforehand says how soft a smaller picture is.
        smoothing = (1 / factor - 1) * rng.uniform(0.2, 0.6)
        smoothed = gaussian_filter(colour / 255.0, (smoothing, smoothing, 0))
        smaller = rescale(smoothed, factor, order=1, anti_aliasing=False, channel_axis=2)
        yield np.asarray(np.clip(np.rint(255 * smaller), 0, 255), dtype=np.uint8)


def dead_leaves(side: int, rng: Generator) -> NDArray[np.uint8]:
    """Draw shapes that cover each other, most of them small: uint8, (side, side, 3).

    Discs, ellipses, rectangles, polygons and strokes with radii distributed as r⁻³, which gives the
    picture the statistics of natural ones (Lee, Mumford and Huang, 2001), with flat, shaded or
    textured surfaces, some with outlines. Some edges are soft, as those of shadows and out-of-focus
    objects are, and the light may change over the picture.
    """
    colours = _palette(rng)
    image = np.empty((side, side, 3), dtype=np.float32)
    image[:] = colours[rng.integers(len(colours))]
    style = _Style.random(rng)
    smallest = math.exp(rng.uniform(math.log(1.5), math.log(40 if style.textured < 0.2 else 16)))
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
        _draw_leaf(image, float(radius), colours, textures, rng, style=style)
    if rng.random() < 0.4:
        image *= _light(side, rng)[..., None]
    if rng.random() < 0.5:
        # Optics and sensors leave few pictures with steps from one pixel to the next.
        image = gaussian_filter(image, (*[rng.uniform(0.2, 0.7)] * 2, 0))
    return np.asarray(np.clip(np.rint(255 * image), 0, 255), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class _Style:
    """The look of a picture's shapes.

    Attributes
    ----------
    soft, textured, outlined : float
        Fractions of the shapes with soft edges, a texture, and an outline.
    ink : float
        Brightness of the outlines.
    """

    soft: float
    textured: float
    outlined: float
    ink: float

    @classmethod
    def random(cls, rng: Generator) -> _Style:
        """Draw a style: from flat drawings with sharp lines to blurred, textured shapes."""
        return cls(
            soft=rng.uniform(0, 0.7) if rng.random() < 0.6 else 0.0,
            textured=0.6 if rng.random() < 0.6 else rng.uniform(0, 0.2),
            outlined=rng.uniform(0.1, 0.9) if rng.random() < 0.4 else 0.0,
            ink=rng.uniform(0, 0.25) if rng.random() < 0.8 else rng.uniform(0.7, 1),
        )

    def softness(self, radius: float, rng: Generator) -> float:
        """Return the width of a shape's edge in pixels."""
        if rng.random() >= self.soft:
            return 1.0
        return min(math.exp(rng.uniform(0, math.log(6))), max(1.0, radius))


def _palette(rng: Generator) -> NDArray[np.float32]:
    """Return colours: random brightnesses, hues near a few."""
    hues = rng.random((int(rng.integers(2, 6)), 3))
    chosen = hues[rng.integers(len(hues), size=64)]
    brightness = rng.random((64, 1)) ** rng.uniform(0.6, 1.6)
    saturation = rng.beta(1.5, 2.5, size=(64, 1))
    colours = brightness * ((1 - saturation) + saturation * chosen / chosen.max(1, keepdims=True))
    return np.asarray(colours, dtype=np.float32)


def _texture(rng: Generator, side: int = 256) -> NDArray[np.float32]:
    """Return a pattern of mean 0 and standard deviation 1, to be cropped."""
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
    *,
    style: _Style,
) -> None:
    """Draw a shape of about a radius."""
    side, softness = len(image), style.softness(radius, rng)
    row, column = rng.uniform(-radius, side + radius, size=2)
    reach = 1.5 * radius + 1 + softness
    top, left = max(0, int(row - reach)), max(0, int(column - reach))
    bottom, right = min(side, int(row + reach) + 1), min(side, int(column + reach) + 1)
    if top >= bottom or left >= right:
        return
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(row)
    x = np.arange(left, right, dtype=np.float32)[None] - np.float32(column)
    distance = _distance(y, x, radius, rng)
    cover = _cover(distance, softness)[..., None]
    patch = image[top:bottom, left:right]
    colour = np.broadcast_to(colours[rng.integers(len(colours))], patch.shape).copy()
    if rng.random() < 0.5:
        slope = rng.normal(0, 0.25, size=2) / max(radius, 4)
        colour *= np.clip(1 + slope[0] * y + slope[1] * x, 0, 2)[..., None]
    if radius > 4 and rng.random() < style.textured:
        texture = textures[rng.integers(len(textures))]
        rows = (np.arange(top, bottom) + rng.integers(256)) % len(texture)
        columns = (np.arange(left, right) + rng.integers(256)) % len(texture)
        strength = 0.3 * rng.beta(1.2, 3)
        colour += strength * texture[np.ix_(rows, columns)][..., None]
    if rng.random() < style.outlined:
        width = min(math.exp(rng.uniform(math.log(0.7), math.log(6))), radius)
        inner = _cover(distance + np.float32(width), softness)[..., None]
        colour = inner * colour + (1 - inner) * np.float32(style.ink)
    patch += cover * (np.clip(colour, 0, 1) - patch)


def _distance(
    y: NDArray[np.float32], x: NDArray[np.float32], radius: float, rng: Generator
) -> NDArray[np.float32]:
    """Return the distance of each pixel from a shape: negative inside."""
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
    return np.asarray(distance, dtype=np.float32)


def _cover(distance: NDArray[np.float32], softness: float) -> NDArray[np.float32]:
    """Return the fraction of each pixel that a shape covers; softness 1 is sharp."""
    cover = np.clip(0.5 - distance / np.float32(softness), 0, 1)
    # A soft edge bends smoothly into what lies on both of its sides.
    return np.asarray(cover if softness == 1 else cover**2 * (3 - 2 * cover), dtype=np.float32)


def _light(side: int, rng: Generator) -> NDArray[np.float32]:
    """Return smooth illumination of a picture, about 1."""
    y, x = np.indices((side, side), dtype=np.float32) / side
    tilt = rng.normal(0, 0.4, 2)
    waves = gaussian_filter(rng.normal(size=(64, 64)), rng.uniform(4, 12))
    waves = rescale(_standard(waves), side / 64, order=1)
    light = 1 + tilt[0] * (y - 0.5) + tilt[1] * (x - 0.5) + 0.15 * waves
    return np.asarray(np.clip(light, 0.2, 1.8), dtype=np.float32)


def picture_bank(
    *,
    leaves: int,
    micrographs: int,
    seed: int,
    side: int = SIDE,
    folder: Path | None = None,
) -> list[list[NDArray[np.uint8]]]:
    """Return pictures to train on, uint8, (H, W, 3): leaves and pages, photographs, micrographs.

    Parameters
    ----------
    leaves, micrographs : int
        How many are generated of each, at least 1.
    seed : int
    side : int
    folder : Path, optional
        With photographs that are used besides those of scikit-image.
    """
    drawn = generated(leaves, micrographs, np.random.default_rng(seed), side=side)
    more = [] if folder is None else photographs_of(folder, seed)
    return [drawn[0], [*photographs(seed), *more], drawn[1]]


def generated(
    leaves: int, micrographs: int, rng: Generator, *, side: int = SIDE
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Return so many pictures of dead leaves or pages, and so many micrographs."""
    return (
        [
            page(side, rng) if rng.random() < PAGES else dead_leaves(side, rng)
            for _ in range(leaves)
        ],
        [micrograph(side, rng) for _ in range(micrographs)],
    )
