"""What the uncertainty of a result is worth: its rank correlation with the error, its calibration.

    BLINDSR_DATA=… python benchmarks/uncertainty.py [--fit] [--threads 1]

With --fit the rule of the package is fitted anew, on pictures and seeds other than those it is
judged by, and printed. Every factor is fitted on those alone as well. Nothing that it is judged by
was trained on; of the pictures that it is fitted on, the image prior has seen some.

For a normal error of standard deviation σ, the mean absolute error is √(2/π)·σ. That is what
"predicted" means here.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from cases import Case, micrograph, published, random_gaussian, table
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from skimage import data

from napari_blindsr.physics.simulate import Degradation, degrade
from napari_blindsr.progress import drained
from napari_blindsr.restoration.reconstruct import restored
from napari_blindsr.restoration.restore import make_settings
from napari_blindsr.restoration.setup import prepare, with_blur
from napari_blindsr.restoration.uncertainty import (
    BLIND,
    Changes,
    Kind,
    Rule,
    alternatives,
    average_neighbours,
    combine,
    local_sd,
    rule_for,
    squared,
)

if TYPE_CHECKING:
    from napari_blindsr.restoration.problem import Problem
    from napari_blindsr.restoration.reconstruct import Restored

NORMAL = math.sqrt(2 / math.pi)
COUNTS = (1, 3, 5)
"""Restorations; the first is the map of errors."""

TRIVIAL = 7
"""Side of the windows of the trivial predictor."""

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "astronaut", "coffee", "chelsea")


@dataclass(kw_only=True)
class Run:
    """A restoration, its error, and the mean squared changes by kind and number."""

    case: Case
    axes: str
    image: NDArray[np.float32]
    error: NDArray[np.float64]
    shot_noise: bool
    changes: dict[tuple[Kind, int], NDArray[np.float32]] = field(default_factory=dict)
    seconds: dict[tuple[Kind, int], float] = field(default_factory=dict)

    def of(self, count: int, kind: Kind) -> NDArray[np.float32]:
        return self.changes[kind, count]

    def trivial(self) -> NDArray[np.float64]:
        return local_sd(self.image, self.axes, TRIVIAL)


def photograph(name: str, seed: int, side: int = 192) -> Case:
    """Return a piece of a picture of scikit-image, degraded ×4 as Set5 is."""
    picture = getattr(data, name)()
    rng = np.random.default_rng(seed)
    top, left = (int(rng.integers(0, length - side)) for length in picture.shape[:2])
    truth = picture[top : top + side, left : left + side]
    kernel = random_gaussian(4, seed=7000 + seed)
    how = Degradation(scale=4, geometry="benchmark", border="circular", quantise=True)
    return Case(
        name=f"{name} {seed}",
        lr=degrade(truth, kernel, how).image,
        truth=truth,
        kernel=kernel,
        scale=4,
        geometry="benchmark",
        border="circular",
    )


def cells(settings: list[tuple[int, float, float]], first: int) -> list[Case]:
    return [
        micrograph(scale=scale, sigma=sigma, photons=photons, seed=first + index)
        for index, (scale, sigma, photons) in enumerate(settings)
    ]


POWERS = ("expected", "kernel", "data", "detail", "typical")


def fitted_on() -> list[Case]:
    conditions = [
        (2, 1.5, 300.0),
        (2, 1.0, 100.0),
        (4, 1.0, 300.0),
        (2, 1.2, 1000.0),
        (4, 0.7, 500.0),
        (2, 1.8, 600.0),
        (2, 0.7, 200.0),
        (4, 1.2, 2000.0),
    ]
    return [photograph(n, i) for i, n in enumerate(PHOTOGRAPHS)] + cells(conditions, 101)


def judged_by() -> dict[str, list[Case]]:
    conditions = [
        (2, 1.5, 300.0),
        (2, 1.0, 100.0),
        (4, 1.0, 300.0),
        (2, 1.5, 1000.0),
        (4, 0.8, 1000.0),
    ]
    return {
        "Set5 ×4": [published(name) for name in ("bird", "butterfly", "head", "woman")],
        "cells": cells(conditions, 1),
    }


def restored_at_once(problem: Problem) -> Restored:
    return drained(restored(problem, None, start=time.perf_counter(), stop=False))


def run(case: Case, counts: tuple[int, ...], *, known: bool = False) -> Run:
    settings, kernel = make_settings(
        scale=case.scale,
        geometry=case.geometry,
        border=case.border,
        kernel=case.kernel if known else "gaussian",
    )
    problem = prepare(case.lr, settings, axes=None, known=kernel, mask=None, region=None)
    if problem.estimates_blur:
        problem = with_blur(problem)
    joined = restored_at_once(problem)
    image = joined.image
    result = Run(
        case=case,
        axes=problem.planes.axes,
        image=image,
        error=np.abs(image - case.truth),
        shot_noise=problem.shot_noise is not None,
    )
    sums: dict[Kind, NDArray[np.float32]] = {}
    numbers: dict[Kind, int] = {}
    spent: dict[Kind, float] = {}
    for index, (kind, other) in enumerate(alternatives(problem, joined, max(counts))):
        began = time.perf_counter()
        square = squared(kind, restored_at_once(other), problem, joined)
        spent[kind] = spent.get(kind, 0.0) + time.perf_counter() - began
        sums[kind] = sums[kind] + square if kind in sums else square
        numbers[kind] = numbers.get(kind, 0) + 1
        if index + 1 in counts:
            for done, total in sums.items():
                result.changes[done, index + 1] = total / np.float32(numbers[done])
                result.seconds[done, index + 1] = spent[done]
    return result


def plain(squares: NDArray[np.float32], one: Run) -> NDArray[np.float64]:
    return np.sqrt(average_neighbours(squares, one.axes, one.case.scale).astype(np.float64))


def variants(one: Run, count: int) -> dict[str, NDArray[np.floating]]:
    """Return predicted standard deviations, each but for a factor, by the name of their kind."""
    if count == 1:
        changes = Changes(expected=one.of(1, "error"), data=None, kernel=None)
        return {
            "map of errors, 1": np.sqrt(one.of(1, "error")),
            "map and detail, 1": combine(
                one.image,
                changes,
                rule_for(changes, shot_noise=one.shot_noise),
                axes=one.axes,
                scale=one.case.scale,
            ),
        }
    changes = Changes(
        expected=one.of(count, "error"), data=one.of(count, "data"), kernel=one.of(count, "kernel")
    )
    learned = rule_for(changes, shot_noise=one.shot_noise)
    assert changes.data is not None
    assert changes.kernel is not None
    each = count // 2

    def by(rule: Rule) -> NDArray[np.float32]:
        return combine(one.image, changes, rule, axes=one.axes, scale=one.case.scale)

    return {
        f"kernel, {each}": plain(changes.kernel, one),
        f"noise, {each}": plain(changes.data, one),
        f"both, {2 * each}": plain(changes.data + changes.kernel, one),
        f"both and detail, {2 * each}": by(BLIND),
        f"map and both, {count}": by(learned),
    }


def seconds(one: Run, name: str, count: int) -> float:
    kinds: tuple[Kind, ...] = ("data", "kernel")
    if name.startswith("map"):
        kinds = ("error",) if count == 1 else ("error", *kinds)
    if name.startswith("kernel"):
        kinds = ("kernel",)
    if name.startswith("noise"):
        kinds = ("data",)
    return sum(one.seconds[kind, count] for kind in kinds)


def deciles(predicted: NDArray[np.floating], error: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return mean absolute error over predicted, in each tenth of the pixels by prediction."""
    order = np.argsort(predicted, kind="stable")
    return np.array(
        [
            error[part].mean() / (NORMAL * predicted[part].mean())
            for part in np.array_split(order, 10)
        ]
    )


def factor(predictions: list[NDArray[np.floating]], runs: list[Run]) -> float:
    """Return what brings the predicted mean error of the usual image to the true one."""
    ratios = [
        one.error.mean() / (NORMAL * p.mean()) for p, one in zip(predictions, runs, strict=True)
    ]
    return float(np.exp(np.mean(np.log(ratios))))


def rank(predicted: NDArray[np.floating], one: Run) -> float:
    return float(spearmanr(predicted.ravel(), one.error.ravel())[0])


def attainable(one: Run, smoothing: float = 1.5) -> float:
    """Return the rank correlation of a perfect prediction with errors drawn from it.

    The true error, squared and smoothed, stands for its variance. It follows single errors to some
    extent, so the number is rather too high.
    """
    sigmas = tuple(smoothing if axis in "YX" else 0.0 for axis in one.axes)
    sd = np.sqrt(gaussian_filter(one.error**2, sigmas, mode="nearest"))
    drawn = np.abs(sd * np.random.default_rng(0).standard_normal(sd.shape))
    return float(spearmanr(sd.ravel(), drawn.ravel())[0])


def judge(name: str, runs: list[Run], fits: list[Run]) -> None:
    trivial = [rank(one.trivial(), one) for one in runs]
    rows = []

    def add(label: str, judged: list[NDArray[np.floating]], c: float, cost: str) -> None:
        ranks = [rank(p, one) for p, one in zip(judged, runs, strict=True)]
        gains = np.subtract(ranks, trivial)
        ratio = deciles(
            np.concatenate([c * p.ravel() for p in judged]),
            np.concatenate([one.error.ravel() for one in runs]),
        )
        rows.append(
            [
                label,
                cost,
                f"{np.mean(ranks):.3f}",
                f"{gains.mean():+.3f} ({gains.min():+.3f}…{gains.max():+.3f})",
                f"{c:.2f}",
                f"{ratio.min():.2f}…{ratio.max():.2f}",
                f"{int((np.abs(ratio - 1) <= 0.25).sum())}",
                " ".join(f"{value:.2f}" for value in ratio),
            ]
        )

    add(
        "local sd 7 × 7",
        [one.trivial() for one in runs],
        factor([one.trivial() for one in fits], fits),
        "0",
    )
    for count in COUNTS:
        judged, fitted = ([variants(one, count) for one in group] for group in (runs, fits))
        for label in judged[0]:
            c = factor([v[label] for v in fitted], fits)
            cost = f"{np.mean([seconds(one, label, count) for one in runs]):.1f}"
            add(label, [v[label] for v in judged], c, cost)
    table(
        name,
        [
            "predictor, restorations",
            "s",
            "ρ",
            "over local sd",
            "factor",
            "range",
            "±25 %",
            "deciles",
        ],
        rows,
    )
    for one, value in zip(runs, trivial, strict=True):
        best = rank(variants(one, COUNTS[-1])[f"map and both, {COUNTS[-1]}"], one)
        print(
            f"{one.case.name}: local sd {value:.3f}, map and both {best:.3f}, "
            f"a perfect one some {attainable(one):.3f}"
        )


def fit(powers: set[str], runs: list[Run], count: int) -> Rule:
    """Fit such powers and the factor of a rule to the likelihood of errors.

    They are taken to be those of a Laplace distribution.
    """
    names = [n for n in ("expected", "kernel", "data", "detail", "typical") if n in powers]
    columns, errors = [], []
    for one in runs:
        contrast = float(one.image.std())
        parts = {
            "detail": local_sd(one.image, one.axes),
        }
        if "typical" in names:
            level = math.sqrt(one.of(count, "data").mean())
            parts["typical"] = np.full(one.image.shape, level)
        if "data" in names:
            parts["data"] = plain(one.of(count, "data"), one)
        if "expected" in names:
            parts["expected"] = np.sqrt(one.of(count, "error"))
        if "kernel" in names:
            parts["kernel"] = plain(one.of(count, "kernel"), one)
        chosen = np.random.default_rng(0).choice(one.error.size, 8000)
        columns.append(
            np.stack([np.log(parts[n].ravel()[chosen] / contrast + 1e-6) for n in names], axis=1)
        )
        errors.append(one.error.ravel()[chosen] / contrast)
    x, e = torch.tensor(np.concatenate(columns)), torch.tensor(np.concatenate(errors))
    theta = torch.zeros(len(names) + 1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=0.05)
    for _ in range(400):
        # What is missing of 1 is the power of the contrast, in whose unit everything is.
        logarithm = theta[0] + x @ theta[1:]
        loss = (logarithm + e / (NORMAL * logarithm.exp())).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = dict(zip(names, theta.detach()[1:].tolist(), strict=True))
    fitted = Rule(
        factor=float(theta[0].detach().exp()),
        contrast=1 - sum(found.values()),
        **{name: found.get(name, 0.0) for name in POWERS},
    )
    print(f"{count} restorations, likelihood {float(loss.detach()):.3f}: {fitted}", flush=True)
    return fitted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--fit", action="store_true", help="fit the rules anew, judge nothing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    fits = [run(case, COUNTS) for case in fitted_on()]
    if options.fit:
        known = [run(case, (1, 5), known=True) for case in fitted_on()]
        for group, kinds in ((fits, {"kernel", "data"}), (known, {"data"})):
            fit({*kinds, "detail", "typical"}, group, 5)
            for shot_noise in (False, True):
                some = [one for one in group if one.shot_noise == shot_noise]
                print("shot noise" if shot_noise else "even noise", len(some))
                fit({"expected", "detail"}, some, 1)
                fit({*kinds, "expected", "detail", "typical"}, some, 5)
        return
    for name, judged in judged_by().items():
        judge(name, [run(case, COUNTS) for case in judged], fits)


if __name__ == "__main__":
    main()
