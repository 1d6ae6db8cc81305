"""Whether bright details keep their light and their height, given the true kernel.

    python benchmarks/flux.py [--steps 1000] [--sigma 1.5 3] [--scale 2] [--threads 2]

Discs of radius 3 and filaments 1, 2 and 3 pixels wide, 1000 above a background of 100, blurred
by a Gaussian of σ pixels of the fine grid and sampled every `scale` pixels without noise.
Flux is summed over each object and its surroundings; the height is the mean over the pixels
that the object fills, the peak its largest value.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_blindsr import restore
from napari_blindsr.physics.simulate import Degradation, degrade, gaussian_kernel

SIDE, MARGIN = 128, 24
BACKGROUND, HEIGHT = 100.0, 1000.0
SURROUNDINGS = 10


@dataclass(frozen=True, kw_only=True)
class Detail:
    """An object: its name, how much of each pixel it fills, and the pixels that count."""

    name: str
    cover: NDArray[np.float64]
    around: NDArray[np.bool_]


def grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axis = np.arange(-MARGIN, SIDE + MARGIN, dtype=np.float64)
    return axis[:, None], axis[None, :]


def disc(row: float, column: float, radius: float) -> Detail:
    y, x = grid()
    distance = np.hypot(y - row, x - column)
    return Detail(
        name=f"disc, radius {radius:g}",
        cover=np.clip(radius + 0.5 - distance, 0, 1),
        around=distance < radius + SURROUNDINGS,
    )


def filament(row: float, angle: float, width: float) -> Detail:
    y, x = grid()
    along = (x - SIDE / 2) * math.cos(angle) + (y - row) * math.sin(angle)
    across = np.abs((y - row) * math.cos(angle) - (x - SIDE / 2) * math.sin(angle))
    inside = np.abs(along) < SIDE / 3
    return Detail(
        name=f"filament, width {width:g}",
        cover=np.clip(width / 2 + 0.5 - across, 0, min(width, 1)) * inside,
        around=(across < width + SURROUNDINGS) & (np.abs(along) < SIDE / 3 + SURROUNDINGS),
    )


def details() -> list[Detail]:
    return [
        disc(20, 20, 3),
        disc(20, 64, 3),
        disc(24, 105, 3),
        filament(50, 0.1, 1),
        filament(78, -0.12, 2),
        filament(108, 0.08, 3),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--sigma", type=float, nargs="*", default=[1.5, 3.0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    objects = details()
    scene = BACKGROUND + HEIGHT * np.max([detail.cover for detail in objects], axis=0)
    print("| σ | object | peak of the input | flux | height | peak |\n|---|---|---|---|---|---|")
    for sigma in options.sigma:
        side = 2 * math.ceil(3 * sigma + options.scale / 2) + 1
        kernel = gaussian_kernel(
            (sigma**2, sigma**2), 0.0, scale=options.scale, geometry="camera", size=side
        )
        blurred = degrade(scene, kernel, Degradation(scale=options.scale))
        # The truth is what the scene determines: smaller by the kernel's reach.
        lost = (scene.shape[0] - blurred.truth.shape[0]) // 2
        inner = slice(lost, lost + blurred.truth.shape[0])
        result = restore(
            blurred.image,
            scale=options.scale,
            method="mlmc",
            kernel=kernel,
            steps=options.steps,
            threads=options.threads,
        )
        for detail in objects:
            around = detail.around[inner, inner]
            found, truth = (image - BACKGROUND for image in (result.image, blurred.truth))
            coarse = blurred.image[around[:: options.scale, :: options.scale]] - BACKGROUND
            flux = found[around].sum() / truth[around].sum() - 1
            peak = found[around].max() / truth[around].max() - 1
            full = around & (truth > 0.99 * truth[around].max())
            height = found[full].mean() / truth[full].mean() - 1
            seen = coarse.max() / truth[around].max() - 1
            figures = " | ".join(f"{value:+.1%}" for value in (seen, flux, height, peak))
            print(f"| {sigma:g} | {detail.name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
