"""One kernel for many planes, estimated on those with the most detail above the noise."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_blindsr.errors import BlindSRError
from napari_blindsr.estimation.estimate import estimate_of, estimate_posterior, pool_posteriors
from napari_blindsr.estimation.field import field_of, region_posteriors
from napari_blindsr.images.tiling import Box, detail
from napari_blindsr.methods import method_named
from napari_blindsr.progress import REFINING, one_of, reported
from napari_blindsr.restoration.restore import cpu_threads, translated_errors
from napari_blindsr.restoration.setup import prepare
from napari_blindsr.settings import ONE_BLUR
from napari_blindsr.stacks.result import GroupKernel

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.axes import Index
    from napari_blindsr.progress import Done, Progress
    from napari_blindsr.restoration.problem import Job
    from napari_blindsr.stacks.plan import StackJob


CANDIDATES = 8
"""Number of candidate planes, spread over all, of which the most informative ones are taken."""

INFORMATIVE = 3
"""Number of planes whose blur is estimated."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Informative:
    """A plane whose detail is above the noise."""

    index: Index
    job: Job
    score: float


def find_shared(
    stack: StackJob, indices: Sequence[Index]
) -> Generator[Progress, bool | None, GroupKernel | None]:
    """Estimate the kernel that planes share: yields `Progress` if that takes long.

    Returns None if none of these planes can be restored; their own restoration reports why.
    """
    start = time.perf_counter()
    with translated_errors(), cpu_threads(stack.settings.threads):
        try:
            planes = informative_planes(stack, indices)
        except BlindSRError:
            return None
        if not method_named(stack.settings.method).optimises:
            if stack.settings.field != ONE_BLUR:
                regions = shared_field(planes, stack)
                field, _ = yield from reported(regions, stage=REFINING, start=start)
                return GroupKernel(kernel=field)
            steps = shared_blur(planes, stack)
            blur, _ = yield from reported(steps, stage=REFINING, start=start)
            return GroupKernel(kernel=blur.kernel, blur=blur)
    result = yield from stack.run(planes[0].index, None)
    return GroupKernel(kernel=result.kernel)


def informative_planes(stack: StackJob, indices: Sequence[Index]) -> list[Informative]:
    """Return some planes that share a kernel, those with the most detail above the noise first.

    Planes that cannot be used, such as constant or damaged ones, are left out; their own
    restoration reports why.

    Raises
    ------
    BlindSRError
        If none can be used: the error of the last one.
    """
    usable: list[Informative] = []
    failure: BlindSRError | None = None
    for index in spread(indices):
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
        # In the input's unit, so that bright planes rank above dim ones with equal noise. The
        # differences of pixels have twice the variance of their noise.
        planes = job.planes
        power = detail(planes.data) - 4 * max(job.noise, 0.0) ** 2
        usable.append(Informative(index=index, job=job, score=power * planes.span**2))
    if not usable and failure is not None:
        raise failure
    return sorted(usable, key=lambda plane: -plane.score)[:INFORMATIVE]


def shared_blur(
    planes: Sequence[Informative], stack: StackJob
) -> Generator[Done, bool | None, BlurEstimate]:
    """Return the blur that planes have in common, as estimated by the network."""
    settings = stack.settings
    posteriors = []
    for number, plane in enumerate(planes):
        steps = estimate_posterior(
            plane.job.planes.data,
            settings,
            measured=plane.job.planes.measured,
            noise=plane.job.noise,
        )
        posterior, quality = yield from one_of(steps, number, len(planes))
        settings = replace(settings, quality=quality)
        posteriors.append(posterior)
    return estimate_of(pool_posteriors(posteriors), settings)


def shared_field(
    planes: Sequence[Informative], stack: StackJob
) -> Generator[Done, bool | None, KernelField]:
    """Return the kernels of the regions that planes have in common, as estimated by the network.

    Raises
    ------
    InputError
        If no region has enough detail to estimate its blur.
    """
    settings = stack.settings
    by_plane = []
    for number, plane in enumerate(planes):
        steps = region_posteriors(
            plane.job.planes.data,
            settings,
            measured=plane.job.planes.measured,
            noise=plane.job.noise,
        )
        posteriors, quality = yield from one_of(steps, number, len(planes))
        settings = replace(settings, quality=quality)
        by_plane.append(posteriors)
    regions = [
        [posterior for posterior in region if posterior is not None]
        for region in zip(*by_plane, strict=True)
    ]
    return field_of(
        [pool_posteriors(region) if region else None for region in regions],
        settings,
        extent=Box.whole(planes[0].job.shape),
    )


def spread(indices: Sequence[Index]) -> list[Index]:
    """Return the candidate planes, evenly spread."""
    count = min(len(indices), CANDIDATES)
    return [indices[round(n * (len(indices) - 1) / max(1, count - 1))] for n in range(count)]
