"""Printed pages: letters and lines, dark on bright or the other way round."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

ALPHABET = string.ascii_letters + string.digits + string.punctuation
SPACING = 1.4
"""Of lines of text, in heights of a letter."""


def page(side: int, rng: Generator) -> NDArray[np.uint8]:
    """Draw random words in different sizes and directions, and lines: uint8, (side, side, 3)."""
    ink = np.zeros((side, side), dtype=np.float32)
    for _ in range(int(rng.integers(4, 20))):
        block = _text(side, rng) if rng.random() < 0.9 else _rules(side, rng)
        ink = np.maximum(ink, block * np.float32(rng.uniform(0.4, 1)))
    if rng.random() < 0.5:
        ink = gaussian_filter(ink, rng.uniform(0.3, 1.0))
    paper = rng.uniform(0.6, 1) + 0.02 * gaussian_filter(rng.normal(size=(side, side)), 1)
    colour = rng.uniform(0, 0.4, size=3)
    grey = paper[..., None] * (1 - ink[..., None]) + colour * ink[..., None]
    if rng.random() < 0.2:
        grey = 1 - grey
    return np.asarray(np.clip(np.rint(255 * grey), 0, 255), dtype=np.uint8)


def _text(side: int, rng: Generator) -> NDArray[np.float32]:
    """Return a block of text: 1 where there is ink."""
    height = float(np.exp(rng.uniform(np.log(7), np.log(60))))
    font = ImageFont.load_default(height)
    columns, rows = int(rng.integers(4, 30)), int(rng.integers(1, 9))
    lines = ["".join(rng.choice([*ALPHABET, *" " * 15], size=columns)) for _ in range(rows)]
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    top, left = (int(v) for v in rng.integers(-side // 8, 3 * side // 4, size=2))
    for index, line in enumerate(lines):
        draw.text((left, top + index * SPACING * height), line, fill=255, font=font)
    if rng.random() < 0.4:
        canvas = canvas.rotate(float(rng.uniform(-90, 90)), resample=Image.Resampling.BICUBIC)
    return np.asarray(canvas, dtype=np.float32) / np.float32(255)


def _rules(side: int, rng: Generator) -> NDArray[np.float32]:
    """Return parallel lines, as those of a table or a plot."""
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    width, distance = int(rng.integers(1, 5)), int(rng.integers(8, 80))
    for place in range(int(rng.integers(0, distance)), side, distance):
        draw.line([(place, 0), (place, side)], fill=255, width=width)
    angle = float(rng.choice([0, 90, rng.uniform(0, 180)]))
    canvas = canvas.rotate(angle, resample=Image.Resampling.BICUBIC)
    return np.asarray(canvas, dtype=np.float32) / np.float32(255)
