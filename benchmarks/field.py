"""What a blur of its own for each region brings, where the blur varies over the field.

Simulated cells are blurred by Gaussians whose width grows from the left border to the right one,
sampled, and disturbed by noise. They are restored with one kernel that is estimated from the image,
with those of regions, and with the true ones.

Run with ``python -m benchmarks.field [--side 192] [--seeds 3] [--field 2x4]``.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_blindsr import KernelField, restore
from napari_blindsr.cli.options import parse_field
from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.images.tiling import region_middles
from napari_blindsr.physics.simulate import (
    Degradation,
    DegradedField,
    degrade_field,
    gaussian_kernel,
)

SCALE = 2
SIZE = 25
TRUE = 9
"""Columns of the grid of true kernels."""

NARROW, WIDE = 0.6, 1.6
"""Standard deviations, in pixels of the image, of the first and the last of them."""

NOISE = 0.02
"""Standard deviation of the noise, in units of that of the sharp image."""

BORDER = 16
"""Pixels of the result that are left out at its border."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of one image: PSNR in dB, widths as ratios."""

    one: float
    field: float
    true: float
    one_error: float
    field_error: float
    covered: float


def simulate(side: int, seed: int) -> tuple[DegradedField, NDArray[np.float64]]:
    """Return cells (side, side), and the widths (TRUE,) of their blur from left to right."""
    length = SCALE * side + SIZE - 1
    sharp = fluorescent_cells((length, length), seed=seed).astype(np.float64)
    sharp /= sharp.max()
    widths = np.geomspace(NARROW, WIDE, TRUE)
    kernels = [
        gaussian_kernel(((SCALE * w) ** 2,) * 2, 0.0, scale=SCALE, size=SIZE) for w in widths
    ]
    noise = NOISE * float(sharp.std())
    return (
        degrade_field(
            sharp, np.stack(kernels)[None], Degradation(scale=SCALE, noise=noise, seed=seed)
        ),
        widths,
    )


def score(side: int, seed: int, grid: tuple[int, int]) -> Scores:
    """Restore one image in three ways, and compare with the truth."""
    made, widths = simulate(side, seed)
    one = restore(made.image, scale=SCALE)
    varied = restore(made.image, scale=SCALE, field=grid)
    true = restore(made.image, scale=SCALE, kernel=made.kernels)
    assert one.blur is not None
    assert varied.field is not None
    wanted = np.interp(region_middles(side, grid[1]), region_middles(side, TRUE), np.log(widths))
    single = math.log(math.sqrt(math.prod(one.blur.widths)) / SCALE)
    found, inside = read_widths(varied.field, wanted)
    return Scores(
        one=psnr(one.image, made.truth),
        field=psnr(varied.image, made.truth),
        true=psnr(true.image, made.truth),
        one_error=float(np.exp(np.abs(single - wanted).mean())),
        field_error=float(np.exp(np.abs(found - wanted).mean())),
        covered=inside,
    )


def read_widths(
    field: KernelField, wanted: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return logarithms of the widths (R, C), and in which part the intervals hold the truth."""
    found = np.empty(field.shape)
    inside = []
    for row, column in field.places:
        blur = field.blurs[row][column]
        found[row, column] = math.log(math.sqrt(math.prod(blur.widths)) / SCALE)
        truth = SCALE * math.exp(wanted[column])
        inside += [low <= truth <= high for low, high in blur.intervals]
    return found, float(np.mean(inside))


def psnr(image: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Return the PSNR in dB within the border, in units of the truth's range."""
    inner = (slice(BORDER, -BORDER),) * 2
    error = np.mean((image[inner].astype(float) - truth[inner]) ** 2)
    return float(10 * np.log10(np.ptp(truth[inner].astype(float)) ** 2 / error))


def main() -> None:
    """Print a row for each seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--field", default="2x4")
    given = parser.parse_args()
    grid = parse_field(given.field)
    print(f"{given.side}² → ×{SCALE}, {given.field} regions; widths {NARROW}–{WIDE} px")
    print("seed  one dB  field dB  true dB  width error one  field  inside 90 %")
    rows: list[Scores] = []
    for seed in range(given.seeds):
        rows.append(score(given.side, seed, grid))
        print_row(str(seed), rows[-1])
    print_row("mean", Scores(**{name: mean_of(rows, name) for name in Scores.__annotations__}))


def mean_of(rows: list[Scores], name: str) -> float:
    """Return the mean of one of the scores."""
    values: list[Any] = [getattr(row, name) for row in rows]
    return float(np.mean(values))


def print_row(label: str, row: Scores) -> None:
    """Print the scores of an image."""
    print(
        f"{label:>4}  {row.one:6.2f}  {row.field:8.2f}  {row.true:7.2f}  "
        f"{row.one_error - 1:14.1%}  {row.field_error - 1:6.1%}  {row.covered:6.0%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
