"""The standard deviation of each pixel of a result, from further restorations.

With the image prior, the first one is a small network's map of its usual errors
(`solvers.nonblind.error_map`). Half of the others restore the data with other kernels that fit
them. The other half are a parametric bootstrap (Efron, 1979): the result is blurred again, gets
fresh noise, and is restored. No repetition shows the errors that a reconstruction makes every time;
these are in the network's map, and are larger where there is detail. `combine` takes all together.
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


Kind = Literal["error", "data", "kernel"]


def find_uncertainty(
    problem: Problem, joined: Restored, *, start: float
) -> Generator[Progress, bool | None, tuple[NDArray[np.float32] | None, tuple[str, ...]]]:
    """Return the standard deviation of a result in its shape and unit, and notes; None on stop."""
    if joined.reason == StopReason.STOPPED or not np.isfinite(joined.image).all():
        return None, ("stopped before the uncertainty was estimated",)
    changes = yield from find_changes(problem, joined, start=start)
    if changes is None:
        return None, ("stopped before the uncertainty was estimated",)
    axes, scale = problem.planes.axes, problem.settings.scale
    rule = rule_for(changes, shot_noise=problem.shot_noise is not None)
    return combine(joined.image, changes, rule, axes=axes, scale=scale), ()


def find_changes(
    problem: Problem, joined: Restored, *, start: float
) -> Generator[Progress, bool | None, Changes | None]:
    """Restore the alternatives one after the other, in constant memory; None on stop."""
    count = problem.settings.uncertainty
    sums: dict[Kind, NDArray[np.float32]] = {}
    numbers: dict[Kind, int] = {}
    counter = ProgressCounter(start=start, unit="restoration", total=count)
    for index, (kind, other) in enumerate(alternatives(problem, joined, count)):
        counter.done, stage = index, f"uncertainty: restoration {index + 1} of {count}"
        if (yield counter.progress(stage)):
            return None
        steps = restored(other, None, start=start, stop=False)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: Restored = end.value
                break
            # Tiles may take long, so a stop takes effect between them.
            if (yield counter.progress(stage)):
                return None
        square = squared(kind, found, problem, joined)
        sums[kind] = sums[kind] + square if kind in sums else square
        numbers[kind] = numbers.get(kind, 0) + 1
    means = {kind: total / np.float32(numbers[kind]) for kind, total in sums.items()}
    return Changes(expected=means.get("error"), data=means.get("data"), kernel=means.get("kernel"))


def squared(kind: Kind, found: Restored, problem: Problem, joined: Restored) -> NDArray[np.float32]:
    """Return the squared error map, or the squared differences to the result."""
    # Error maps were shifted to the unit of the image, like images.
    middle = np.float32(problem.planes.low) if kind == "error" else joined.image
    square: NDArray[np.float32] = np.square(found.image - middle)
    return square


def alternatives(problem: Problem, joined: Restored, count: int) -> Iterator[tuple[Kind, Problem]]:
    """Yield the problems of so many restorations.

    The first is the error map, if the image prior made the result; then other data and other
    kernels take turns, or other data alone if the kernel is known. A larger number begins alike.
    """
    plain = replace(
        problem,
        # With a known kernel only the non-blind step runs.
        settings=replace(
            problem.settings,
            method=METHODS[0],
            finish=problem.restorer.name,
            bounded=None,
            uncertainty=0,
        ),
        source=joined.kernel,
    )
    if problem.restorer.prior is not None:
        errors = load_error_map().to(problem.compute.device)
        log_variance_sd = 0.0 if problem.posterior is None else problem.posterior.log_variance_sd
        restorer = replace(problem.restorer, errors=errors, log_variance_sd=log_variance_sd)
        yield "error", replace(plain, restorer=restorer)
        count -= 1
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

    The factors are the error map (`expected`), the change with the kernel and with the data, the
    local standard deviation of the result (`detail`), the root mean square change with the data
    over the whole image (`typical`), and the standard deviation of the whole image (`contrast`).
    """

    factor: float
    expected: float = 0.0
    kernel: float = 0.0
    data: float = 0.0
    detail: float
    typical: float = 0.0
    contrast: float


LEARNED_BLIND = Rule(
    factor=0.92,
    expected=0.84,
    kernel=0.07,
    data=0.075,
    detail=-0.007,
    typical=-0.06,
    contrast=0.082,
)
"""For the image prior with an estimated kernel."""

LEARNED_KNOWN = Rule(
    factor=1.93, expected=0.85, data=0.17, detail=-0.005, typical=0.092, contrast=-0.107
)
"""For the image prior with a known kernel."""

LEARNED_ALONE = Rule(factor=0.88, expected=0.925, detail=0.02, contrast=0.055)
"""For the image prior, with its error map alone."""

SHOT_BLIND = Rule(
    factor=0.99, expected=0.69, kernel=0.01, data=0.25, detail=0.07, typical=0.08, contrast=-0.1
)
SHOT_KNOWN = Rule(
    factor=0.89, expected=0.71, data=0.285, detail=0.052, typical=-0.029, contrast=-0.018
)
SHOT_ALONE = Rule(factor=0.727, expected=0.886, detail=0.104, contrast=0.01)
"""The same three with shot noise."""

BLIND = Rule(factor=1.23, kernel=0.2, data=0.49, detail=0.29, typical=-0.335, contrast=0.355)
"""For other reconstructions with an estimated kernel."""

KNOWN = Rule(factor=0.96, data=0.685, detail=0.325, typical=-0.435, contrast=0.425)
"""For other reconstructions with a known kernel."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Changes:
    """Mean squared differences to the result, in the result's axes and squared unit.

    `expected` is the square of the error map; `data` is of restorations of the result, blurred
    again, with fresh noise; `kernel` of restorations of the data with other kernels.
    """

    expected: NDArray[np.float32] | None = None
    data: NDArray[np.float32] | None
    kernel: NDArray[np.float32] | None


def rule_for(changes: Changes, *, shot_noise: bool) -> Rule:
    """Return the rule that was fitted for these changes."""
    if changes.expected is None:
        return KNOWN if changes.kernel is None else BLIND
    if changes.data is None:
        return SHOT_ALONE if shot_noise else LEARNED_ALONE
    if changes.kernel is None:
        return SHOT_KNOWN if shot_noise else LEARNED_KNOWN
    return SHOT_BLIND if shot_noise else LEARNED_BLIND


def combine(
    image: NDArray[np.float32], changes: Changes, rule: Rule, *, axes: str, scale: int
) -> NDArray[np.float32]:
    """Return the standard deviation of an image, of the image's shape and unit."""
    contrast = float(image.std())
    if contrast == 0:
        return np.zeros_like(image)
    logarithm = np.full(image.shape, np.log(rule.factor) + rule.contrast * np.log(contrast))
    factors: list[tuple[float, NDArray[np.floating]]] = [(rule.detail, local_sd(image, axes))]
    if rule.expected:
        assert changes.expected is not None
        factors.append((rule.expected, np.sqrt(changes.expected)))
    for power, squares in ((rule.data, changes.data), (rule.kernel, changes.kernel)):
        if power:
            assert squares is not None
            factors.append((power, np.sqrt(average_neighbours(squares, axes, scale))))
    if rule.typical:
        assert changes.data is not None
        factors.append((rule.typical, np.sqrt(np.mean(changes.data, keepdims=True))))
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
