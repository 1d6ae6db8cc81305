"""Set up a run: check the input, estimate blur and noise, build observation and solver."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.estimation.estimate import SMALLEST_SIDE as SMALLEST_IMAGE
from napari_blindsr.estimation.estimate import decide, estimate_blur, filled_in
from napari_blindsr.estimation.field import check_regions, field_of_image
from napari_blindsr.estimation.kernel_field import KernelField
from napari_blindsr.images.planes import (
    Planes,
    check_axes,
    check_mask,
    count_invalid,
    find_covered,
    plane_shape,
    to_planes,
    window_of,
)
from napari_blindsr.images.tiling import Box, check_region, context_for, field_tile, tile_side
from napari_blindsr.methods import METHOD_TABLE, method_named
from napari_blindsr.physics.defects import without_defects
from napari_blindsr.physics.kernels import KernelFamily
from napari_blindsr.physics.noise import ShotNoise, estimate_noise, shot_noise
from napari_blindsr.physics.observation import Observation
from napari_blindsr.restoration.problem import Problem, kernel_source, moved, size_of
from napari_blindsr.settings import ONE_BLUR, Settings
from napari_blindsr.solvers.blind.alternating import AlternatingSolver
from napari_blindsr.solvers.blind.generators import SMALLEST_SIDE
from napari_blindsr.solvers.device import choose_compute
from napari_blindsr.solvers.nonblind.closed_form import KnownKernelSolver
from napari_blindsr.solvers.nonblind.conditions import Conditions, conditions_of
from napari_blindsr.solvers.nonblind.image_prior import CHANNELS, shares_detail
from napari_blindsr.solvers.nonblind.restorers import load_restorer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.restoration.problem import Source
    from napari_blindsr.solvers.device import Compute
    from napari_blindsr.solvers.loop import Solver
    from napari_blindsr.types import Finish


SMALLEST_WINDOW = 128
"""Least number of input pixels around a region, to estimate its blur from."""

WIDE = 7
"""Reach of the widest blur that can be estimated, in pixels of the image."""


def prepare(
    image: ArrayLike,
    settings: Settings,
    *,
    axes: str | None,
    known: NDArray[Any] | KernelField | None,
    mask: ArrayLike | None,
    region: Box | None,
    found: bool = False,
) -> Problem:
    """Check image and settings, and return the problem; parameters as in `iterate`."""
    array: Any = image if hasattr(image, "shape") else np.asarray(image)
    axes = check_axes(array, axes)
    shape = plane_shape(array, axes)
    source = kernel_source(settings, known, shape)
    estimates_field = settings.field != ONE_BLUR and isinstance(source, KernelFamily)
    if estimates_field:
        check_regions(settings.field, shape)
    seen, output, source = _input_region(region, shape, source, settings)
    planes, defects = _planes(array, settings, axes=axes, mask=mask, window=seen)
    tile = tile_side(output.scaled(settings.scale).shape, settings.tile)
    if estimates_field or isinstance(source, KernelField):
        grid = source.shape if isinstance(source, KernelField) else settings.field
        tile = field_tile(shape, grid, scale=settings.scale, tile=settings.tile)
    # Those of a field may have been estimated from an image.
    found = found or (isinstance(known, KernelField) and bool(known.blurs))
    compute = choose_compute(settings.device, settings.precision)
    restorer, notes = load_restorer(settings, compute)
    _check_tiles(settings, restorer.name, tile, output)
    noise = noise_level(planes, settings, finishes=restorer.name != "none")
    shot_noise = (
        estimate_shot_noise(planes, settings, compute) if restorer.uses_shot_noise else None
    )
    colour = restorer.prior is not None and _is_colour(planes, noise, shot_noise)
    conditions: Conditions | None = None
    if restorer.prior is not None:
        # The network that estimates one kernel also corrects the noise estimate.
        decides = known is not None or estimates_field or method_named(settings.method).optimises
        conditions = _conditions(planes, settings, compute, colour=colour, decides=decides)
    problem = Problem(
        settings=settings,
        planes=planes,
        output=output,
        border=settings.border,
        source=source,
        compute=compute,
        restorer=restorer,
        noise=noise,
        shot_noise=shot_noise,
        tile=tile,
        kernel_is_known=known is not None and not found,
        colour=colour,
        conditions=conditions,
        notes=(*notes, *defects),
    )
    if problem.estimates_blur:
        _check_estimable(planes)
    return problem


def _input_region(
    region: Box | None, shape: tuple[int, int], source: Source, settings: Settings
) -> tuple[Box, Box, Source]:
    """Return what is read of an image (h, w), the output region within it, and its kernel."""
    seen = Box.whole(shape)
    if region is None:
        return seen, seen, source
    check_region(region, shape)
    # The regions of a field divide the whole image.
    whole = settings.field != ONE_BLUR and isinstance(source, KernelFamily)
    if settings.border == "extend" and not whole:
        reach = max(context_for(size_of(source, settings), settings.scale), WIDE)
        seen = region.grown(reach, shape).at_least(SMALLEST_WINDOW, shape)
    place = -seen.top, -seen.left
    return seen, region.moved(*place), moved(source, *place)


def _conditions(
    planes: Planes, settings: Settings, compute: Compute, *, colour: bool, decides: bool
) -> Conditions:
    """Return unit and noise for the image prior, if `decides` with the correction of the noise."""
    data, measured = planes.data, planes.measured
    conditions = conditions_of(data, measured=measured, together=colour, device=compute.device)
    if not decides:
        return conditions
    decision = decide(data, settings, measured=measured, compute=compute)
    return replace(conditions, decision=decision)


def with_blur(problem: Problem) -> Problem:
    """Return the problem with its estimated kernel."""
    settings, planes = problem.settings, problem.planes
    if settings.field != ONE_BLUR:
        field = field_of_image(planes.data, settings, measured=planes.measured)
        return replace(problem, source=field)
    blur = estimate_blur(planes.data, settings, measured=planes.measured)
    if problem.conditions is not None and blur.posterior is not None:
        # The network corrects the noise, too.
        problem = replace(
            problem, conditions=replace(problem.conditions, decision=blur.posterior.decision)
        )
    return replace(problem, source=blur.kernel, blur=blur)


def _is_colour(planes: Planes, noise: float, shot_noise: ShotNoise | None) -> bool:
    """Return whether planes are red, green and blue of one picture, not separate stains."""
    if planes.axes != "YXC" or len(planes.data) != CHANNELS:
        return False
    # Channels of fluorescence have separate units.
    if shot_noise is not None and (median_height(planes) < SPARSE).any():
        return False
    levels = torch.full((CHANNELS,), noise) if shot_noise is None else shot_noise.typical.cpu()
    measured = None if planes.measured is None else torch.from_numpy(planes.measured)
    return shares_detail(torch.from_numpy(planes.data), levels, measured=measured)


def _planes(
    array: Any, settings: Settings, *, axes: str, mask: ArrayLike | None, window: Box
) -> tuple[Planes, tuple[str, ...]]:
    """Read a window of the image and the mask as planes; also return notes on defects."""
    image = window_of(array, axes, window)
    if not method_named(settings.method).degradations:
        if mask is not None or np.ma.is_masked(image):
            given = "masked pixels" if mask is None else "mask"
            raise SettingsError(
                f"method {settings.method!r} takes no {given}; use one of "
                f"{[m.name for m in METHOD_TABLE if m.degradations]}"
            )
        return to_planes(image, axes=axes, geometry=settings.geometry), ()
    if mask is not None:
        mask = check_mask(mask, plane_shape(array, axes))[window.slices]
    covered = find_covered(image, axes=axes, mask=mask, saturated=settings.mask_saturated)
    camera = settings.geometry == "camera"
    covered, notes = without_defects(image, axes, covered, saturation=camera)
    lost = count_invalid(image, axes)
    if lost:
        pixels = (
            "1 pixel without a finite value was"
            if lost == 1
            else (f"{lost} pixels without a finite value were")
        )
        notes = (f"{pixels} filled in", *notes)
    planes = to_planes(
        image, axes=axes, geometry=settings.geometry, covered=covered, gain=settings.gain
    )
    return planes, notes


def _check_estimable(planes: Planes) -> None:
    """Raise an `InputError` if an image is too small for a blur estimate."""
    height, width = planes.data.shape[1:]
    if min(height, width) < SMALLEST_IMAGE:
        raise InputError(
            f"the image is {height} × {width} pixels; expected at least {SMALLEST_IMAGE} on each "
            "side to estimate a blur, or a known kernel"
        )


def _check_tiles(settings: Settings, finish: Finish, tile: int | None, output: Box) -> None:
    """Raise a `SettingsError` if the method cannot use tiles and the image is too large."""
    if tile is None or finish != "none":
        return
    height, width = output.scaled(settings.scale).shape
    raise SettingsError(
        f"method {settings.method!r} with finish {finish!r} solves the whole image at once, and "
        f"{height} × {width} pixels would need tiles of {tile}; expected a reconstruction "
        "(finish='prior'), a method that has one "
        f"({[m.name for m in METHOD_TABLE if m.finish != 'none']}), a region, or tile=None"
    )


SPARSE = 0.4
"""Median height below which an image has few bright pixels, as in fluorescence."""

LEAST_BRIGHT = 1e-3
"""Least brightness of the brightest pixel, and least range, in units of the image's range."""


def noise_level(planes: Planes, settings: Settings, *, finishes: bool) -> float:
    """Return the standard deviation of the noise in the planes' unit: estimated, or as set.

    `finishes` says whether a reconstruction uses it, or the optimisation.
    """
    given = settings.noise
    if given == "auto" or (finishes and settings.estimates_noise):
        return estimate_noise(planes.data, planes.measured)
    return given / planes.span


def estimate_shot_noise(planes: Planes, settings: Settings, compute: Compute) -> ShotNoise | None:
    """Return the shot noise in each pixel; None if there is none.

    A noise level that the user set holds in every pixel.
    """
    given = None if settings.estimates_noise else settings.noise
    estimated = None if given == 0 else shot_noise(planes.data, planes.measured)
    if estimated is None:
        return None
    if given is not None:
        assert given != "auto"
        estimated = np.full_like(estimated, given / planes.span)
    levels = torch.from_numpy(estimated).to(compute.device)
    return ShotNoise(levels=levels, typical=levels.square().mean(dim=(1, 2)).sqrt())


def median_height(planes: Planes) -> NDArray[np.float32]:
    """Return the position of each channel's median between its darkest and brightest pixel."""
    measured = ... if planes.measured is None else planes.measured
    values = planes.data[:, measured].reshape(len(planes.data), -1)
    dark, middle, bright = np.quantile(values, (0.01, 0.5, 1), axis=1).astype(np.float32)
    # Without noise nothing would be darker than zero.
    bright = np.maximum(bright, LEAST_BRIGHT)
    return np.asarray((middle - dark) / np.maximum(bright - dark, LEAST_BRIGHT))


def observe(problem: Problem) -> Observation:
    """Return the observation on the device."""
    settings, planes, device = problem.settings, problem.planes, problem.compute.device
    measured = None if planes.measured is None else torch.from_numpy(planes.measured)
    if measured is not None and bool(measured.all()):
        measured = None
    noise = problem.noise
    if problem.optimises:
        noise = noise_level(planes, settings, finishes=False)
    observation = Observation(
        data=torch.from_numpy(planes.data).to(device),
        scale=settings.scale,
        kernel_size=size_of(problem.source, settings),
        geometry=settings.geometry,
        border=problem.border,
        measured=None if measured is None else measured.to(device),
        gain=planes.gain,
        noise=noise,
    )
    check_size(observation, settings)
    if measured is None:
        return observation
    guess = torch.from_numpy(filled_in(planes.data, planes.measured))
    return replace(observation, guess=guess.to(device))


def solver_for(problem: Problem, observation: Observation, *, held: bool = False) -> Solver[Any]:
    """Return the solver of an observation.

    If the kernel is `held`, the solver keeps the problem's kernel, whatever the method.
    """
    settings = problem.settings
    kernel: KernelFamily | torch.Tensor
    if isinstance(problem.source, np.ndarray):
        kernel = torch.from_numpy(problem.source).to(problem.compute.device)
        if held or not problem.optimises:
            covered = observation.measured is not None
            return KnownKernelSolver(kernel=kernel, covered=covered, finished=True)
    else:
        assert isinstance(problem.source, KernelFamily)
        kernel = problem.source
    schedule = settings.schedule
    noise_power = None
    if method_named(settings.method).degradations:
        if observation.gain != 1:
            # The published runs on dark images have no gradient prior.
            schedule = replace(schedule, prior_weight=0.0)
        if observation.noise > 0:
            # The mean squared error that the noise explains: missing pixels are 0 in data and
            # prediction.
            noise_power = observation.noise**2
            if observation.measured is not None:
                noise_power *= float(observation.measured.float().mean())
    return AlternatingSolver(
        schedule=schedule,
        bounded=settings.is_bounded,
        kernel=kernel,
        seed=settings.seed,
        compute=problem.compute,
        noise_power=noise_power,
        start=None if problem.link is None else problem.link.start,
        keeps_weights=problem.link is not None and problem.link.checkpoint is None,
    )


def check_size(observation: Observation, settings: Settings) -> None:
    """Raise an `InputError` if an image is too small for its kernel, or for the generator."""
    height, width = observation.data.shape[1:]
    size = observation.kernel_size
    least = SMALLEST_SIDE if method_named(settings.method).optimises else 1
    # The border's support is computed on a periodic grid, which must be larger than the kernel's
    # reach.
    smallest = max(max(least, size) - 2 * observation.margin, size // 2)
    if settings.scale * min(height, width) < smallest:
        raise InputError(
            f"the image is {height} × {width} pixels; at scale {settings.scale} with a kernel of "
            f"{size} × {size} expected at least {-(-smallest // settings.scale)} on each side"
        )
