"""Real micrographs for training and validation, and soft objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter
from skimage.transform import downscale_local_mean

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray

VALIDATION = (
    "NEUBIAS_xyc_16bit_cell_dna_mts_actin",
    "NEUBIAS_xy_8bit_em_mitochondria_er",
    "NEUBIAS_xyc_8bit_dapi_tublin",
    "NEUBIAS_xy_16bit_rat_hippocampal_neuron",
    "NEUBIAS_xyz_nuclear_envelope_drosophila",
    "NEUBIAS_xy_8bit_nuclei_PLK1",
    "NEUBIAS_xyc_16bit_nuclei_golgi",
    "CellProfiler_DrosophilaEmbryo",
    "CellProfiler_101210Orane",
    "CellProfiler_WT_orig",
    "CellProfiler_fat_orig",
    "stardist_histo",
    "bnsreenu_Alloy",
    "bnsreenu_Sandstone",
    "bnsreenu_Yeast",
    "bnsreenu_leaf",
)
"""Prefixes of the micrographs that are never trained on: whole sources."""

ALIVE = 0.03
"""Power near the edge of the spectrum, over that at low frequencies, of a sharp picture."""

SMALLEST = 96
"""Smallest side in pixels of a reduced micrograph."""


def is_validation(name: str) -> bool:
    """Return whether a micrograph is kept for validation."""
    return name.startswith(VALIDATION)


def read_micrograph(path: Path) -> NDArray[np.float32]:
    """Return a micrograph of 8 or 16 bit as (H, W) in [0, 1]."""
    image = tifffile.imread(path)
    return np.asarray(image / np.iinfo(image.dtype).max, dtype=np.float32)


def reduced(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return means over squares of pixels; rows and columns left over are dropped."""
    height, width = (side // factor * factor for side in image.shape)
    return np.asarray(
        downscale_local_mean(image[:height, :width], (factor, factor)), dtype=np.float32
    )


def edge_power(image: NDArray[np.float32]) -> float:
    """Return the power near the edge of a picture's spectrum, over that at low frequencies."""
    taper = np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1]))
    power = np.abs(np.fft.fft2((image - image.mean()) * taper)) ** 2
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, image.shape), indexing="ij"))
    high = power[(frequency > 0.35) & (frequency < 0.5)].mean()
    return float(high / power[(frequency > 0.1) & (frequency < 0.2)].mean())


def training_micrographs(folder: Path) -> list[list[NDArray[np.float32]]]:
    """Return each micrograph to train on in the sizes in which it is sharp enough.

    Micrographs are blurred and noisy: each is reduced at least by half, and further until its
    spectrum has power up to the edge, or as far as its size allows.
    """
    pictures = []
    for path in sorted(folder.glob("*.tif")):
        if is_validation(path.name):
            continue
        image = read_micrograph(path)
        sizes = [
            reduced(image, factor)
            for factor in (2, 3, 4, 5)
            if factor == 2 or min(image.shape) // factor >= SMALLEST
        ]
        sharp = [size for size in sizes if edge_power(size) > ALIVE]
        pictures.append(sharp or sizes[-1:])
    return pictures


def soft_object(side: int, rng: Generator) -> NDArray[np.float32]:
    """Draw filtered noise, or soft nuclei, without any sharp structure; in [0, 1]."""
    width = np.exp(rng.uniform(np.log(1.5), np.log(10)))
    if rng.random() < 0.5:
        image = gaussian_filter(rng.normal(size=(side, side)), width)
    else:
        image = np.zeros((side, side))
        for _ in range(int(rng.integers(2, 40))):
            y, x = np.ogrid[:side, :side]
            row, column = rng.uniform(0, side, 2)
            axes = rng.uniform(4, max(6, side / 8), 2)
            angle = rng.uniform(0, np.pi)
            along = np.cos(angle) * (x - column) + np.sin(angle) * (y - row)
            across = np.cos(angle) * (y - row) - np.sin(angle) * (x - column)
            inside = (along / axes[0]) ** 2 + (across / axes[1]) ** 2 < 1
            image += rng.uniform(0.3, 1) * inside
        image = gaussian_filter(image, width)
    image = (image - image.min()) / (np.ptp(image) + 1e-9)
    return np.asarray(image ** rng.uniform(0.7, 1.6), dtype=np.float32)
