"""Whether the suggested scale is right: what a finer grid brings beyond it, and up to it.

    python benchmarks/finer.py

Pictures are blurred by 0.35 to 2 pixels of the image and coarsened ×4; the image is restored ×1 to
×4 by *fast*, interpolated to the grid of the truth, and compared there.
"""

from __future__ import annotations

import itertools

import numpy as np
from cases import table
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from skimage import data

from napari_blindsr import restore
from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.physics.simulate import Degradation, degrade, gaussian_kernel
from napari_blindsr.restoration.evidence import suggested_scale

SCALE, SIDE = 4, 72
PLACES = {
    "camera": (60, 130),
    "coins": (10, 60),
    "moon": (100, 100),
    "retina": (500, 500),
    "immunohistochemistry": (130, 130),
}
WIDTHS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Standard deviations of the blur in pixels of the image."""
NOISES = (0.002, 0.01, 0.04)
"""Standard deviations of the noise, white being 1."""
NOTICEABLE = 0.3
"""A gain in dB that may be seen."""


def pictures() -> dict[str, NDArray[np.float64]]:
    """Return sharp pictures, SIDE · SCALE wide, within [0, 1]."""
    side, found = SIDE * SCALE, {}
    for name, (top, left) in PLACES.items():
        image = getattr(data, name)()[top : top + side, left : left + side].astype(float)
        found[name] = (image.mean(axis=-1) if image.ndim == 3 else image) / 255
    cells = fluorescent_cells((side, side), seed=4)
    found["cells"] = cells / cells.max()
    return found


def psnr(image: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Return the PSNR of an image, interpolated to the grid of the truth, without borders."""
    factor = truth.shape[0] / image.shape[0]
    inner = (np.arange(4 * SCALE, truth.shape[0] - 4 * SCALE) + 0.5) / factor - 0.5
    grid = np.meshgrid(inner, inner, indexing="ij")
    fine = map_coordinates(image.astype(float), grid, order=3, mode="nearest")
    error = fine - truth[4 * SCALE : -4 * SCALE, 4 * SCALE : -4 * SCALE]
    return float(-10 * np.log10(np.mean(error**2)))


def summary(suggested: int, scores: NDArray[np.float64]) -> list[str]:
    """Return a row of the table: what the next scale brings, and what the last one brought."""
    rows: list[str] = [f"×{suggested}", str(len(scores))]
    for low, high in ((suggested - 1, suggested), (suggested, 4)):
        if low < 1 or low == high:
            rows.append("–")
            continue
        gain = scores[:, high - 1] - scores[:, low - 1]
        some = (gain > NOTICEABLE).mean()
        rows.append(f"×{low} → ×{high}: {np.median(gain):+.2f}, {gain.max():+.2f}, {some:.0%}")
    return rows


def main() -> None:
    """Restore each case at each scale, and print a table by the suggested scale."""
    found: dict[int, list[list[float]]] = {}
    for sharp, width, noise in itertools.product(pictures().values(), WIDTHS, NOISES):
        kernel = gaussian_kernel(((width * SCALE) ** 2,) * 2, 0.0, scale=SCALE, size=53)
        made = degrade(sharp, kernel, Degradation(scale=SCALE, noise=noise, seed=1))
        scores = [
            psnr(restore(made.image, scale=scale, device="cpu").image, made.truth)
            for scale in range(1, SCALE + 1)
        ]
        found.setdefault(suggested_scale(made.image), []).append(scores)
    rows = [summary(suggested, np.array(found[suggested])) for suggested in sorted(found)]
    head = ["suggested", "cases", "brought: median, most, over 0.3 dB in", "would bring"]
    table("Gains in dB", head, rows)


if __name__ == "__main__":
    main()
