"""What the uncertainty of a result is worth: its rank correlation with the error, its calibration.

    BLINDSR_DATA=… python benchmarks/uncertainty.py [--fit] [--threads 1]

With --fit the rules for reconstructions without the image prior are fitted anew, on pictures and
seeds other than those they are judged by, and printed. Nothing that is judged by was trained on.

For a normal error of standard deviation σ, the mean absolute error is √(2/π)·σ. That is what
"predicted" means here.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from cases import Case, micrograph, published, random_gaussian, table
from numpy.typing import NDArray
from real import PHOTOGRAPHS as JUDGED
from real import Real, compressed, micrographs, soft_objects
from scipy.stats import spearmanr
from skimage import data

from napari_blindsr.physics.simulate import Degradation, degrade
from napari_blindsr.progress import drained
from napari_blindsr.restoration.reconstruct import restored
from napari_blindsr.restoration.restore import make_settings
from napari_blindsr.restoration.setup import prepare, with_blur
from napari_blindsr.restoration.uncertainty import (
    Changes,
    Rule,
    average_neighbours,
    find_changes,
    find_uncertainty,
    local_sd,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_blindsr.types import Finish

NORMAL = math.sqrt(2 / math.pi)
COUNTS: dict[Finish, int] = {"prior": 1, "measurement": 5}
"""Restorations for each reconstruction."""

TRIVIAL = 7
"""Side of the windows of the trivial predictor."""

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "astronaut", "coffee", "chelsea")


@dataclass(kw_only=True)
class Run:
    """A restoration, its error, and what its uncertainty is or is made of."""

    case: Case
    axes: str
    image: NDArray[np.float32]
    error: NDArray[np.float64]
    predicted: NDArray[np.float32] | None = None
    changes: Changes | None = None


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
    trained = micrographs(validation=False)
    return [
        *(photograph(name, seed) for seed, name in enumerate(PHOTOGRAPHS)),
        *cells(conditions, 101),
        *map(as_case, islice(trained, 0, None, 9)),
        *jpegs(PHOTOGRAPHS[:4], each=4),
        *map(as_case, islice(soft_objects(100), 0, None, 5)),
    ]


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
        "micrographs": [as_case(one) for one in islice(micrographs(), 0, None, 4)],
        "JPEG": jpegs(JUDGED, each=4),
        "soft objects": [as_case(one) for one in islice(soft_objects(), 0, None, 3)],
    }


def jpegs(names: Sequence[str], *, each: int) -> list[Case]:
    """Return one of so many parts of photographs, at three qualities."""
    kinds = ((2, 90), (2, 60), (4, 75))
    return [
        as_case(one)
        for scale, quality in kinds
        for one in islice(compressed(scale, quality, names), 0, None, each)
    ]


def as_case(one: Real) -> Case:
    return Case(
        name=one.name,
        lr=one.image,
        truth=one.truth,
        kernel=one.kernel.astype(np.float64),
        scale=one.scale,
        geometry="camera",
        border="extend",
    )


def run(case: Case, finish: Finish, *, known: bool = False, fits: bool = False) -> Run:
    """Restore a case, and find its uncertainty; to fit rules, the changes that it is made of."""
    settings, kernel = make_settings(
        scale=case.scale,
        geometry=case.geometry,
        border=case.border,
        kernel=case.kernel if known else "gaussian",
        finish=finish,
        uncertainty=COUNTS[finish],
    )
    problem = prepare(case.lr, settings, axes=None, known=kernel, mask=None, region=None)
    if problem.estimates_blur:
        problem = with_blur(problem)
    start = time.perf_counter()
    joined = drained(restored(problem, None, start=start, stop=False))
    made = Run(
        case=case,
        axes=problem.planes.axes,
        image=joined.image,
        error=np.abs(joined.image - case.truth),
    )
    if fits:
        made.changes = drained(find_changes(problem, joined, start=start))
    else:
        made.predicted, _ = drained(find_uncertainty(problem, joined, start=start))
    return made


def deciles(predicted: NDArray[np.floating], error: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return mean absolute error over predicted, in each tenth of the pixels by prediction."""
    order = np.argsort(predicted, kind="stable")
    return np.array(
        [
            error[part].mean() / (NORMAL * predicted[part].mean())
            for part in np.array_split(order, 10)
        ]
    )


def rank(predicted: NDArray[np.floating], one: Run) -> float:
    return float(spearmanr(predicted.ravel(), one.error.ravel())[0])


def judge(name: str, finish: Finish, runs: list[Run]) -> list[str]:
    """Return a row of figures."""
    predicted = [one.predicted for one in runs if one.predicted is not None]
    ranks = [rank(p, one) for p, one in zip(predicted, runs, strict=True)]
    trivial = [rank(local_sd(one.image, one.axes, TRIVIAL), one) for one in runs]
    whole = [one.error.mean() / (NORMAL * p.mean()) for p, one in zip(predicted, runs, strict=True)]
    ratios = deciles(
        np.concatenate([p.ravel() for p in predicted]),
        np.concatenate([one.error.ravel() for one in runs]),
    )
    return [
        name,
        finish,
        str(COUNTS[finish]),
        f"{np.mean(ranks):.3f}",
        f"{np.mean(ranks) - np.mean(trivial):+.3f}",
        f"{min(whole):.2f}…{max(whole):.2f}",
        f"{ratios.min():.2f}…{ratios.max():.2f}",
        " ".join(f"{value:.2f}" for value in ratios),
    ]


def fit(names: Sequence[str], runs: list[Run]) -> Rule:
    """Fit such powers and the factor of a rule to the likelihood of errors.

    They are taken to be those of a Laplace distribution.
    """
    columns, errors = [], []
    for one in runs:
        changes = one.changes
        assert changes is not None
        contrast = float(one.image.std())
        parts = {
            "data": np.sqrt(average_neighbours(changes.data, one.axes, one.case.scale)),
            "detail": local_sd(one.image, one.axes),
            "typical": np.full(one.image.shape, math.sqrt(changes.data.mean())),
        }
        if changes.kernel is not None:
            parts["kernel"] = np.sqrt(average_neighbours(changes.kernel, one.axes, one.case.scale))
        chosen = np.random.default_rng(0).choice(one.error.size, 8000)
        columns.append(
            np.stack([np.log(parts[n].ravel()[chosen] / contrast + 1e-6) for n in names], axis=1)
        )
        errors.append(one.error.ravel()[chosen] / contrast)
    x, e = torch.tensor(np.concatenate(columns)).double(), torch.tensor(np.concatenate(errors))
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
    factor = float(theta[0].detach().exp())
    fitted = Rule(factor=factor, contrast=1 - sum(found.values()), **found)
    print(f"likelihood {float(loss.detach()):.3f}: {fitted}", flush=True)
    return fitted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--fit", action="store_true", help="fit the rules anew, judge nothing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.fit:
        powers = ("data", "detail", "typical")
        for known in (False, True):
            runs = [run(case, "measurement", known=known, fits=True) for case in fitted_on()]
            fit(powers if known else (*powers, "kernel"), runs)
        return
    rows = [
        judge(name, finish, [run(case, finish) for case in cases])
        for name, cases in judged_by().items()
        for finish in COUNTS
    ]
    heads = "images|finish|restorations|ρ|over local sd|image by image|tenths|each tenth"
    table("Error over predicted", heads.split("|"), rows)


if __name__ == "__main__":
    main()
