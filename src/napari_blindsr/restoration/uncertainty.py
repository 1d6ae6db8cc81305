"""The standard deviation of each pixel of a result, from further restorations.

With the image prior, one restoration returns a small network's map of its usual errors
(`solvers.nonblind.error_map`). Without it, half of the restorations are of the data with other
kernels that fit them. The other half are a parametric bootstrap (Efron, 1979): the result is
blurred again, gets fresh noise, and is restored. No repetition shows the errors that a
reconstruction makes every time; they are larger where there is detail. `combine` takes all
together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from napari_blindsr.estimation.estimate import family_of
from napari_blindsr.estimation.posterior import draw_kernels
from napari_blindsr.images.tiling import Box
from napari_blindsr.methods import METHODS
from napari_blindsr.metrics.residual import border_margin, predict
from napari_blindsr.physics.kernels import KernelFamily
from napari_blindsr.progress import ProgressCounter, StopReason
from napari_blindsr.restoration.reconstruct import restored
from napari_blindsr.restoration.setup import estimate_shot_noise
from napari_blindsr.solvers.nonblind.data_step import ROUNDING
from napari_blindsr.solvers.nonblind.error_map import load_error_map

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.problem import Problem
    from napari_blindsr.restoration.reconstruct import Restored


Kind = Literal["data", "kernel"]
STOPPED = "stopped before the uncertainty was estimated"


def find_uncertainty(
    problem: Problem, joined: Restored, *, start: float
) -> Generator[Progress, bool | None, tuple[NDArray[np.float32] | None, tuple[str, ...]]]:
    """Return the standard deviation of a result in its shape and unit, and notes; None on stop."""
    if joined.reason == StopReason.STOPPED or not np.isfinite(joined.image).all():
        return None, (STOPPED,)
    if problem.restorer.prior is not None:
        deviation = yield from _read_error_map(problem, joined, start=start)
        return (None, (STOPPED,)) if deviation is None else (deviation, ())
    changes = yield from find_changes(problem, joined, start=start)
    if changes is None:
        return None, (STOPPED,)
    rule = KNOWN if changes.kernel is None else BLIND
    axes, scale = problem.planes.axes, problem.settings.scale
    return combine(joined.image, changes, rule, axes=axes, scale=scale), ()


def _read_error_map(
    problem: Problem, joined: Restored, *, start: float
) -> Generator[Progress, bool | None, NDArray[np.float32] | None]:
    """Return the image prior's error map of a result."""
    log_variance_sd = 0.0 if problem.posterior is None else problem.posterior.log_variance_sd
    restorer = replace(
        problem.restorer,
        errors=load_error_map().to(problem.compute.device),
        log_variance_sd=log_variance_sd,
    )
    mapped = replace(_nonblind(problem, joined), restorer=restorer)
    counter = ProgressCounter(start=start, unit="restoration", total=1)
    found = yield from _restored_again(mapped, counter, start=start)
    if found is None:
        return None
    # It was shifted to the unit of the image, like an image.
    deviation: NDArray[np.float32] = np.abs(found.image - np.float32(problem.planes.low))
    return deviation


def find_changes(
    problem: Problem, joined: Restored, *, start: float
) -> Generator[Progress, bool | None, Changes | None]:
    """Restore the alternatives one after the other, in constant memory; None on stop."""
    count = problem.settings.uncertainty
    sums: dict[Kind, NDArray[np.float32]] = {}
    numbers: dict[Kind, int] = {}
    counter = ProgressCounter(start=start, unit="restoration", total=count)
    for index, (kind, other) in enumerate(_alternatives(problem, joined, count)):
        counter.done = index
        found = yield from _restored_again(other, counter, start=start)
        if found is None:
            return None
        square: NDArray[np.float32] = np.square(found.image - joined.image)
        sums[kind] = sums[kind] + square if kind in sums else square
        numbers[kind] = numbers.get(kind, 0) + 1
    means = {kind: total / np.float32(numbers[kind]) for kind, total in sums.items()}
    return Changes(data=means["data"], kernel=means.get("kernel"))


def _restored_again(
    problem: Problem, counter: ProgressCounter, *, start: float
) -> Generator[Progress, bool | None, Restored | None]:
    """Return one more restoration; None on stop, which takes effect between tiles."""
    stage = f"uncertainty: restoration {counter.done + 1} of {counter.total}"
    steps = restored(problem, None, start=start, stop=False)
    while not (yield counter.progress(stage)):
        try:
            next(steps)
        except StopIteration as end:
            found: Restored = end.value
            return found
    return None


def _nonblind(problem: Problem, joined: Restored) -> Problem:
    """Return the problem of only the reconstruction, with the kernel of the result."""
    settings = replace(
        problem.settings,
        method=METHODS[0],
        finish=problem.restorer.name,
        bounded=None,
        uncertainty=0,
    )
    return replace(problem, settings=settings, source=joined.kernel)


def _alternatives(problem: Problem, joined: Restored, count: int) -> Iterator[tuple[Kind, Problem]]:
    """Yield the problems of so many restorations.

    Other data and other kernels take turns, or other data alone if the kernel is known. A larger
    number begins alike.
    """
    plain = _nonblind(problem, joined)
    kernels = iter(_kernels(problem, count // 2))
    rng = np.random.default_rng([problem.settings.seed, 1])
    again, levels = _blurred_again(plain, joined), _noise_levels(plain)
    for index in range(count):
        kernel = next(kernels, None) if index % 2 else None
        if kernel is not None:
            yield "kernel", replace(plain, source=kernel)
            continue
        noisy = again + levels * rng.standard_normal(again.shape, dtype=np.float32)
        if problem.planes.measured is not None:
            noisy = np.where(problem.planes.measured, noisy, 0)
        yield "data", replace(plain, planes=replace(problem.planes, data=noisy.astype(np.float32)))


def _kernels(problem: Problem, count: int) -> list[NDArray[np.float32]]:
    """Return so many other kernels that fit the image; none if the kernel is known."""
    family = problem.settings.kernel
    posterior = problem.posterior
    if not count or posterior is None or not isinstance(family, KernelFamily):
        return []
    # A restorer accepts kernels up to the size of the result.
    side = problem.settings.scale * min(problem.shape)
    return draw_kernels(
        family_of(family, posterior),
        posterior,
        count,
        scale=problem.settings.scale,
        geometry=problem.settings.geometry,
        largest=side - 1 + side % 2,
        seed=problem.settings.seed,
    )


def _blurred_again(problem: Problem, joined: Restored) -> NDArray[np.float32]:
    """Return the planes as the result predicts them, where it determines them.

    Elsewhere, near a border beyond which nothing was restored, they are the data themselves, which
    have noise already.
    """
    planes, scale = problem.planes, problem.settings.scale
    axes = planes.axes
    image = joined.image.astype(np.float64)
    image = image[None] if axes == "YX" else np.moveaxis(image, axes.index("C"), 0)
    whole = problem.output == Box.whole(problem.shape)
    border = problem.border if whole else "extend"
    predicted = predict(
        (image - planes.low) / planes.span,
        joined.kernel,
        scale=scale,
        geometry=problem.settings.geometry,
        border=border,
        gain=planes.gain,
    )
    margin = border_margin(joined.kernel, scale) if border == "extend" else 0
    again = planes.data.copy()
    height, width = problem.output.shape
    if 2 * margin < min(height, width):
        inner = slice(margin, height - margin), slice(margin, width - margin)
        again[(..., *problem.output.slices)][(..., *inner)] = predicted[(..., *inner)]
    return again


def _noise_levels(problem: Problem) -> NDArray[np.float32]:
    """Return the standard deviation of fresh noise: in each pixel, if it is shot noise."""
    shot_noise = problem.shot_noise
    if not problem.restorer.uses_shot_noise:
        shot_noise = estimate_shot_noise(problem.planes, problem.settings, problem.compute)
    level = np.float32(problem.noise) if shot_noise is None else shot_noise.levels.cpu().numpy()
    return np.sqrt(np.square(level) + np.float32(ROUNDING) ** 2).astype(np.float32)


WINDOW = 3
"""Side of the windows of the local standard deviation, in pixels of the result."""

POOLED = 0.25
"""Standard deviation, in pixels of the input, of the Gaussian that averages squared changes."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How changes become a standard deviation: a product of powers that sum to 1.

    So it has the unit of the image. Fitted by ``benchmarks/uncertainty.py --fit``.

    The factors are the change with the kernel and with the data, the local standard deviation of
    the result (`detail`), the root mean square change with the data over the whole image
    (`typical`), and the standard deviation of the whole image (`contrast`).
    """

    factor: float
    kernel: float = 0.0
    data: float
    detail: float
    typical: float
    contrast: float


BLIND = Rule(factor=19.8, kernel=0.169, data=0.552, detail=0.173, typical=0.432, contrast=-0.326)
"""For an estimated kernel."""

KNOWN = Rule(factor=14.2, data=0.748, detail=0.201, typical=0.357, contrast=-0.306)
"""For a known kernel."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Changes:
    """Mean squared differences to the result, in the result's axes and squared unit.

    `data` is of restorations of the result, blurred again, with fresh noise; `kernel` of
    restorations of the data with other kernels, if the kernel was estimated.
    """

    data: NDArray[np.float32]
    kernel: NDArray[np.float32] | None


def combine(
    image: NDArray[np.float32], changes: Changes, rule: Rule, *, axes: str, scale: int
) -> NDArray[np.float32]:
    """Return the standard deviation of an image, of the image's shape and unit."""
    contrast = float(image.std())
    if contrast == 0:
        return np.zeros_like(image)
    logarithm = np.full(image.shape, np.log(rule.factor) + rule.contrast * np.log(contrast))
    factors: list[tuple[float, NDArray[np.floating]]] = [
        (rule.detail, local_sd(image, axes)),
        (rule.typical, np.sqrt(np.mean(changes.data, keepdims=True))),
        (rule.data, np.sqrt(average_neighbours(changes.data, axes, scale))),
    ]
    if changes.kernel is not None:
        factors.append((rule.kernel, np.sqrt(average_neighbours(changes.kernel, axes, scale))))
    for power, values in factors:
        # The bound is negligible, and keeps the logarithm finite.
        logarithm += power * np.log(np.maximum(values, 1e-6 * contrast))
    deviation: NDArray[np.float32] = np.exp(logarithm).astype(np.float32)
    return deviation


def local_sd(image: NDArray[np.floating], axes: str, window: int = WINDOW) -> NDArray[np.float64]:
    """Return the standard deviation in square windows around each pixel of each channel."""
    sides = tuple(window if axis in "YX" else 1 for axis in axes)
    # Subtracting the mean keeps the digits of the difference of squares.
    values = image.astype(np.float64) - float(image.mean())
    mean = uniform_filter(values, sides, mode="nearest")
    square = uniform_filter(values**2, sides, mode="nearest")
    deviation: NDArray[np.float64] = np.sqrt(np.maximum(square - mean**2, 0))
    return deviation


def average_neighbours(squares: NDArray[np.float32], axes: str, scale: int) -> NDArray[np.float32]:
    """Return squared changes averaged with their neighbours', channel by channel."""
    sigmas = tuple(POOLED * scale if axis in "YX" else 0.0 for axis in axes)
    averaged: NDArray[np.float32] = gaussian_filter(squares, sigmas, mode="nearest")
    return averaged
