"""What planes share: one kernel for many, and warm starts and filtered kernels of neighbours."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_blindsr.errors import BlindSRError
from napari_blindsr.estimation.estimate import estimate_of, estimate_posterior, pool_posteriors
from napari_blindsr.estimation.field import field_of, region_posteriors
from napari_blindsr.estimation.smoothing import smoothed
from napari_blindsr.images.axes import follow
from napari_blindsr.images.tiling import Box, detail
from napari_blindsr.methods import method_named
from napari_blindsr.restoration.restore import cpu_threads, translated_errors
from napari_blindsr.settings import ONE_BLUR
from napari_blindsr.stacks.result import GroupKernel

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.axes import Index
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.problem import Problem
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.solvers.loop import Weights
    from napari_blindsr.stacks.plan import StackProblem


CANDIDATES = 8
"""Number of candidate planes, spread over all, of which the most informative ones are taken."""

INFORMATIVE = 3
"""Number of planes whose blur is estimated."""


def find_shared(
    stack: StackProblem, indices: Sequence[Index]
) -> Generator[Progress, bool | None, GroupKernel | None]:
    """Estimate the kernel that planes share: yields the `Progress` of an optimisation.

    Returns None if none of these planes can be restored; their own restoration reports why.
    """
    with translated_errors(), cpu_threads(stack.settings.threads):
        try:
            planes = informative_planes(stack, indices)
        except BlindSRError:
            return None
        if not method_named(stack.settings.method).optimises:
            if stack.settings.field != ONE_BLUR:
                return GroupKernel(kernel=shared_field(planes, stack.settings))
            blur = shared_blur(planes, stack.settings)
            return GroupKernel(kernel=blur.kernel, blur=blur)
    result = yield from stack.run(planes[0][0], None)
    return GroupKernel(kernel=result.kernel)


def informative_planes(
    stack: StackProblem, indices: Sequence[Index]
) -> list[tuple[Index, Problem]]:
    """Return some planes that share a kernel, those with the most detail above the noise first.

    Planes that cannot be used, such as constant or damaged ones, are left out; their own
    restoration reports why. If none can be used, the error of the last one is raised.
    """
    usable: list[tuple[float, Index, Problem]] = []
    failure: BlindSRError | None = None
    for index in spread(indices):
        try:
            problem = stack.prepared(index, None)
        except BlindSRError as error:
            failure = error
            continue
        # In the input's unit, so that bright planes rank above dim ones with equal noise. The
        # differences of pixels have twice the variance of their noise.
        planes = problem.planes
        power = detail(planes.data) - 4 * max(problem.noise, 0.0) ** 2
        usable.append((-power * planes.span**2, index, problem))
    if not usable and failure is not None:
        raise failure
    best = sorted(usable, key=lambda plane: plane[0])[:INFORMATIVE]
    return [(index, problem) for _, index, problem in best]


def shared_blur(planes: Sequence[tuple[Index, Problem]], settings: Settings) -> BlurEstimate:
    """Return the blur that planes have in common, as estimated by the network."""
    found = [
        estimate_posterior(problem.planes.data, settings, measured=problem.planes.measured)
        for _, problem in planes
    ]
    return estimate_of(pool_posteriors(found), settings)


def shared_field(planes: Sequence[tuple[Index, Problem]], settings: Settings) -> KernelField:
    """Return the kernels of the regions that planes have in common, as estimated by the network.

    An `InputError` if no region has enough detail to estimate its blur.
    """
    by_plane = [
        region_posteriors(problem.planes.data, settings, measured=problem.planes.measured)
        for _, problem in planes
    ]
    regions = [
        [posterior for posterior in region if posterior is not None]
        for region in zip(*by_plane, strict=True)
    ]
    return field_of(
        [pool_posteriors(region) if region else None for region in regions],
        settings,
        extent=Box.whole(planes[0][1].shape),
    )


def spread(indices: Sequence[Index]) -> list[Index]:
    """Return the candidate planes, evenly spread."""
    count = min(len(indices), CANDIDATES)
    return [indices[round(n * (len(indices) - 1) / max(1, count - 1))] for n in range(count)]


COLD_START = (
    "started anew, with all steps: the planes before it could not be restored, or were by an "
    "earlier run"
)
"""Note on a plane that has a previous plane, but no warm start from it."""


class WarmStarts:
    """The weights that each plane of a stack starts with, and the order of the planes.

    The planes form one sequence per channel and per index along all axes but the one along which
    planes are neighbours. Without warm starts, every plane is a sequence of its own.
    """

    def __init__(self, problem: StackProblem, todo: Iterable[Index]) -> None:
        self._axis = problem.chain_axis if problem.passes_weights else None
        self._chosen = None if self._axis is None else problem.selection[self._axis]
        self._todo = list(todo)
        self._waiting = set(self._todo)
        self._known = frozenset(self._todo)
        self._weights: dict[Index, Weights] = {}

    @property
    def order(self) -> list[Index]:
        """The planes, sequence by sequence, so that few weights are held at a time."""
        if self._axis is None:
            return self._todo
        return [index for sequence in follow(self._todo, self._axis) for index in sequence]

    def is_next(self, index: Index) -> bool:
        """Return whether the plane before this one is done."""
        return self._before(index) not in self._waiting

    def start(self, index: Index) -> Weights | None:
        """Return the weights that a plane starts with; None starts anew.

        The weights of an earlier run are not kept: planes after one of its planes start anew.
        """
        before = self._before(index)
        if before is None or before not in self._known:
            return None
        return self._weights.get(self._sequence(index))

    def end(self, index: Index, result: Result | None) -> Result | None:
        """Take the result of a plane; returns it without its weights, and notes a cold start."""
        started = self.start(index) is not None
        self._waiting.discard(index)
        if self._axis is None:
            return result
        sequence = self._sequence(index)
        if not started:
            # Weights that are left belong to planes before those of an earlier run.
            self._weights.pop(sequence, None)
        if result is not None and result.weights is not None:
            self._weights[sequence] = result.weights
        if self._is_last(index):
            self._weights.pop(sequence, None)
        if result is None:
            return None
        alone = not started and self._before(index) is not None
        notes = (*result.notes, COLD_START) if alone else result.notes
        return replace(result, weights=None, notes=notes)

    def _sequence(self, index: Index) -> Index:
        assert self._axis is not None
        return (*index[: self._axis], *index[self._axis + 1 :])

    def _before(self, index: Index) -> Index | None:
        """Return the plane before one in its sequence, whether or not it is restored now."""
        return self._beside(index, -1)

    def _is_last(self, index: Index) -> bool:
        return self._beside(index, 1) is None

    def _beside(self, index: Index, step: int) -> Index | None:
        if self._axis is None or self._chosen is None:
            return None
        at = self._chosen.index(index[self._axis]) + step
        if not 0 <= at < len(self._chosen):
            return None
        return (*index[: self._axis], self._chosen[at], *index[self._axis + 1 :])


def kalman_smoothed(
    problem: StackProblem, estimated: Mapping[Index, GroupKernel]
) -> dict[Index, GroupKernel]:
    """Return the kernels of planes, each filtered with the estimates of its neighbours."""
    axis = problem.chain_axis
    assert axis is not None
    result = dict(estimated)
    posteriors = {
        index: shared.blur.posterior
        for index, shared in estimated.items()
        if shared.blur is not None and shared.blur.posterior is not None
    }
    for sequence in follow(list(posteriors), axis):
        places = [index[axis] for index in sequence]
        # Across planes without an estimate, the blur has had more time to change.
        steps = [after - before for before, after in itertools.pairwise(places)]
        kept = smoothed([posteriors[index] for index in sequence], steps=steps)
        for index, posterior in zip(sequence, kept, strict=True):
            blur = estimate_of(posterior, problem.settings)
            result[index] = GroupKernel(kernel=blur.kernel, blur=blur)
    return result
