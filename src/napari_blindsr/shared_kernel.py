"""One kernel for many planes, from those that tell the most of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_blindsr.blur import estimate_of
from napari_blindsr.errors import BlindSRError
from napari_blindsr.job import prepare
from napari_blindsr.parts import detail
from napari_blindsr.reading import pooled, refines, take_reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_blindsr.blur import BlurEstimate
    from napari_blindsr.job import Job
    from napari_blindsr.layout import Index
    from napari_blindsr.stack_job import StackJob

LOOKED_AT = 8
"""Planes of which the most informative ones are chosen; they are spread over all."""

TAKEN = 3
"""How many of these are read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Informative:
    """A plane that tells something of its blur."""

    index: Index
    job: Job
    score: float


def informative_planes(stack: StackJob, indices: Sequence[Index]) -> list[Informative]:
    """Return some planes that share a kernel, those with the most detail above the noise first.

    Planes that cannot be used, such as constant or damaged ones, are left out; what is wrong with
    them is said when their turn comes.

    Raises
    ------
    BlindSRError
        If none can be used: what is wrong with the last one.
    """
    found: list[Informative] = []
    failure: BlindSRError | None = None
    for index in _spread(indices):
        try:
            job = prepare(
                stack.layout.plane(stack.array, index),
                stack.settings,
                axes=stack.layout.plane_axes,
                known=stack.known,
                mask=stack.mask,
                region=stack.options.region,
            )
        except BlindSRError as error:
            failure = error
            continue
        # In the input's unit, so that bright planes beat dim ones with as much noise. The
        # differences of pixels have twice the variance of their noise.
        planes = job.planes
        power = detail(planes.data) - 4 * max(job.noise, 0.0) ** 2
        found.append(Informative(index=index, job=job, score=power * planes.span**2))
    if not found and failure is not None:
        raise failure
    return sorted(found, key=lambda plane: -plane.score)[:TAKEN]


def read_shared(planes: Sequence[Informative], stack: StackJob) -> BlurEstimate:
    """Return the blur that planes have in common, read by the network."""
    settings = stack.settings
    family = planes[0].job.source
    assert not isinstance(family, np.ndarray)
    readings = [
        take_reading(
            plane.job.planes.data,
            measured=plane.job.planes.measured,
            scale=settings.scale,
            family=family,
            reader="network",
            geometry=settings.geometry,
            border=settings.border,
            device=settings.device,
            quality=settings.quality,
            noise=plane.job.noise,
        )
        for plane in planes
    ]
    return estimate_of(
        pooled(readings),
        scale=settings.scale,
        family=family,
        reader="network",
        geometry=settings.geometry,
        seed=settings.seed,
        refined=refines(family, reader="network", quality=settings.quality),
    )


def _spread(indices: Sequence[Index]) -> list[Index]:
    """Return at most so many of some planes, evenly spread."""
    count = min(len(indices), LOOKED_AT)
    return [indices[round(n * (len(indices) - 1) / max(1, count - 1))] for n in range(count)]
