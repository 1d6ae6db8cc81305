"""Neighbouring planes: optimisations that begin where the one before ended; estimates filtered."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_blindsr.estimation.estimate import estimate_of
from napari_blindsr.estimation.smoothing import smoothed
from napari_blindsr.images.axes import follow
from napari_blindsr.stacks.result import GroupKernel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_blindsr.images.axes import Index
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.solvers.loop import Weights
    from napari_blindsr.stacks.plan import StackJob


ALONE = (
    "began anew, with all steps: the planes before it could not be restored, or were by an "
    "earlier run"
)
"""What is said of a plane that has neighbours before it, but none that hands anything on."""


class WarmStarts:
    """What each plane of a stack begins with, and when its turn has come.

    There is a chain for each channel, and each index along all axes but the one that planes follow
    each other along. Where nothing is handed on, every plane is a chain of its own.

    Parameters
    ----------
    job : StackJob
    todo : iterable of tuple of int
        The planes that are to be restored.
    """

    def __init__(self, job: StackJob, todo: Iterable[Index]) -> None:
        self._axis = job.chain_axis if job.hands_on else None
        self._chosen = None if self._axis is None else job.selection[self._axis]
        self._todo = list(todo)
        self._waiting = set(self._todo)
        self._known = frozenset(self._todo)
        self._weights: dict[Index, Weights] = {}

    @property
    def order(self) -> list[Index]:
        """The planes, chain by chain: so few weights are held at a time."""
        if self._axis is None:
            return self._todo
        return [index for chain in follow(self._todo, self._axis) for index in chain]

    def is_next(self, index: Index) -> bool:
        """Tell whether the plane before this one is done with."""
        return self._before(index) not in self._waiting

    def start(self, index: Index) -> Weights | None:
        """Return what a plane begins with; None begins anew.

        What an earlier run has left is gone: planes that follow such a one begin anew.
        """
        before = self._before(index)
        if before is None or before not in self._known:
            return None
        return self._weights.get(self._chain(index))

    def end(self, index: Index, result: Result | None) -> Result | None:
        """Hear what came of a plane; returns that without what is handed on, and with a note."""
        started = self.start(index) is not None
        self._waiting.discard(index)
        if self._axis is None:
            return result
        chain = self._chain(index)
        if not started:
            # Whatever there is belongs to planes before those of an earlier run.
            self._weights.pop(chain, None)
        if result is not None and result.weights is not None:
            self._weights[chain] = result.weights
        if self._is_last(index):
            self._weights.pop(chain, None)
        if result is None:
            return None
        alone = not started and self._before(index) is not None
        notes = (*result.notes, ALONE) if alone else result.notes
        return replace(result, weights=None, notes=notes)

    def _chain(self, index: Index) -> Index:
        assert self._axis is not None
        return (*index[: self._axis], *index[self._axis + 1 :])

    def _before(self, index: Index) -> Index | None:
        """Return the plane before one in its chain, whether or not it is to be restored."""
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


def kalman_smoothed(job: StackJob, found: Mapping[Index, GroupKernel]) -> dict[Index, GroupKernel]:
    """Return the kernels of planes, each told by what its neighbours tell as well.

    Parameters
    ----------
    job : StackJob
        Whose planes have a kernel each, read by a network.
    found : dict of tuple of int to GroupKernel
        What each plane by itself tells; planes that could not be read are missing.
    """
    axis = job.chain_axis
    assert axis is not None
    result = dict(found)
    posteriors = {
        index: shared.blur.posterior
        for index, shared in found.items()
        if shared.blur is not None and shared.blur.posterior is not None
    }
    for chain in follow(list(posteriors), axis):
        places = [index[axis] for index in chain]
        # Where planes could not be read, the blur has had more time to change.
        steps = [after - before for before, after in itertools.pairwise(places)]
        kept = smoothed([posteriors[index] for index in chain], steps=steps)
        for index, posterior in zip(chain, kept, strict=True):
            blur = estimate_of(posterior, job.settings)
            result[index] = GroupKernel(kernel=blur.kernel, blur=blur)
    return result
