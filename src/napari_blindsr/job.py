"""What a run is about to do: the image as planes, its conditions, and the tools made ready."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from napari_blindsr.arrays import (
    Planes,
    check_axes,
    check_mask,
    find_covered,
    plane_shape,
    to_planes,
    window_of,
)
from napari_blindsr.blur import BlurEstimate, read_planes
from napari_blindsr.engine.device import Compute, choose_compute
from napari_blindsr.engine.kernels import KernelFamily
from napari_blindsr.engine.networks import SMALLEST_SIDE
from napari_blindsr.engine.observation import Observation
from napari_blindsr.engine.solvers.alternating import AlternatingSolver
from napari_blindsr.engine.solvers.closed_form import ClosedFormSolver
from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.field_blur import check_regions, read_field
from napari_blindsr.finish import Finisher, LightNoise, finish_noise, light_noise, load_finisher
from napari_blindsr.kernel_field import KernelField
from napari_blindsr.kernel_source import Source, kernel_source, moved, size_of
from napari_blindsr.methods import METHOD_TABLE, Finish, method_named
from napari_blindsr.noise import estimate_noise
from napari_blindsr.parts import Box, check_region, context_for, field_tile, tile_side
from napari_blindsr.reading import SMALLEST_SIDE as SMALLEST_READ
from napari_blindsr.settings import ONE_BLUR, Border, Settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from napari_blindsr.engine.estimator import BlurReading
    from napari_blindsr.engine.result import Weights
    from napari_blindsr.engine.solve import Solver
    from napari_blindsr.parts import Part

READABLE = 128
"""Pixels of the input that are looked at around a region, if there are so many: for its blur."""

WIDE = 7
"""Reach of the widest blur that is read off an image, in its pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """What makes an optimisation one of a chain: its weights are handed on.

    Attributes
    ----------
    start : Weights or None
        Of the run before, with which it begins; None begins anew.
    """

    start: Weights | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A run, checked and ready.

    Attributes
    ----------
    settings : Settings
    planes : Planes
        What is looked at of the image: all of it, or a region and what surrounds it.
    wanted : Box
        What of that is restored.
    border : {"extend", "circular"}
        What lies beyond the planes' borders.
    source : KernelFamily, ndarray or KernelField
        Where the kernel comes from, or the kernel (K, K), or the kernels of the image's regions.
    compute : Compute
    finisher : Finisher
    noise : float
        Standard deviation of the noise, in the planes' unit.
    light : LightNoise or None
        That in each pixel, if it grows with the light.
    tile : int or None
        Largest side of the parts that the result is made in; None is in one go.
    doubt : float
        Standard deviation of the error of the logarithm of the kernel's variances.
    blur : BlurEstimate or None
        What was read of the blur.
    notes : tuple of str
    link : Link or None
        Of a chain of optimisations.
    """

    settings: Settings
    planes: Planes
    wanted: Box
    border: Border
    source: Source
    compute: Compute
    finisher: Finisher
    noise: float
    light: LightNoise | None
    tile: int | None
    doubt: float = 0.0
    blur: BlurEstimate | None = None
    notes: tuple[str, ...] = ()
    link: Link | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the planes."""
        return self.planes.data.shape[1], self.planes.data.shape[2]

    @property
    def optimises(self) -> bool:
        """Whether the method optimises."""
        return method_named(self.settings.method).optimises

    @property
    def reading(self) -> BlurReading | None:
        """What a network read of the blur, with its uncertainty."""
        return None if self.blur is None else self.blur.reading

    @property
    def reads(self) -> bool:
        """Whether the blur is still to be read off the image."""
        return not self.optimises and isinstance(self.source, KernelFamily)


def prepare(
    image: ArrayLike,
    settings: Settings,
    *,
    axes: str | None,
    known: NDArray[Any] | KernelField | None,
    mask: ArrayLike | None,
    region: Box | None,
) -> Job:
    """Check an image and settings, and make everything ready; parameters as in `iterate`.

    Raises
    ------
    BlindSRError
    """
    array: Any = image if hasattr(image, "shape") else np.asarray(image)
    axes = check_axes(array, axes)
    shape = plane_shape(array, axes)
    source = kernel_source(settings, known, shape)
    reads_field = settings.field != ONE_BLUR and isinstance(source, KernelFamily)
    if reads_field:
        check_regions(settings.field, shape)
    looked, wanted = Box.whole(shape), Box.whole(shape)
    if region is not None:
        check_region(region, shape)
        wanted = region
        # Regions with a blur of their own divide all of the image.
        if settings.border == "extend" and not reads_field:
            size = size_of(source, settings)
            reach = max(context_for(size, settings.scale), WIDE)
            looked = region.grown(reach, shape).at_least(READABLE, shape)
            wanted = region.moved(-looked.top, -looked.left)
            source = moved(source, -looked.top, -looked.left)
    planes = _planes(array, settings, axes=axes, mask=mask, window=looked)
    tile = tile_side(wanted.scaled(settings.scale).shape, settings.tile)
    _check_tiles(settings, settings.used_finish, tile, wanted)
    if reads_field or isinstance(source, KernelField):
        grid = source.shape if isinstance(source, KernelField) else settings.field
        tile = field_tile(shape, grid, scale=settings.scale, tile=settings.tile)
    compute = choose_compute(settings.device, settings.precision)
    finisher, notes = load_finisher(settings, compute)
    # Another one, if its weights are missing.
    _check_tiles(settings, finisher.name, tile, wanted)
    finishes = finisher.name != "none"
    job = Job(
        settings=settings,
        planes=planes,
        wanted=wanted,
        border=settings.border,
        source=source,
        compute=compute,
        finisher=finisher,
        noise=finish_noise(planes, settings) if finishes else _told_noise(planes, settings),
        light=light_noise(planes, settings, compute) if finisher.minds_light else None,
        tile=tile,
        notes=notes,
    )
    if job.reads:
        _check_readable(planes)
    return job


def with_blur(job: Job) -> Job:
    """Return the job with the kernel that is read off its planes."""
    settings, planes = job.settings, job.planes
    assert isinstance(job.source, KernelFamily)
    if settings.field != ONE_BLUR:
        field = read_field(
            planes.data,
            measured=planes.measured,
            shape=settings.field,
            scale=settings.scale,
            family=job.source,
            geometry=settings.geometry,
            seed=settings.seed,
            device=settings.device,
            quality=settings.quality,
            noise=job.noise,
        )
        return replace(job, source=field, doubt=field.doubt)
    blur = read_planes(
        planes.data,
        measured=planes.measured,
        scale=settings.scale,
        family=job.source,
        reader="network",
        geometry=settings.geometry,
        border=settings.border,
        seed=settings.seed,
        device=settings.device,
        quality=settings.quality,
        noise=job.noise,
    )
    return replace(job, source=blur.kernel, blur=blur, doubt=blur.doubt)


def wrapped(job: Job, margin: int) -> Job:
    """Return a periodic job continued by so many pixels on each side, so that parts see them."""
    if job.border == "extend":
        return job
    sides = ((0, 0), (margin, margin), (margin, margin))
    measured, light = job.planes.measured, job.light
    planes = replace(
        job.planes,
        data=np.pad(job.planes.data, sides, mode="wrap"),
        measured=None if measured is None else np.pad(measured, margin, mode="wrap"),
    )
    return replace(
        job,
        planes=planes,
        light=None if light is None else replace(light, levels=_wrap(light.levels, margin)),
        wanted=job.wanted.moved(margin, margin),
        border="extend",
        source=moved(job.source, margin, margin),
    )


def _wrap(planes: Tensor, margin: int) -> Tensor:
    """Return planes (C, h, w) continued periodically, as often as it takes."""
    rows, columns = (
        torch.arange(-margin, side + margin, device=planes.device) % side
        for side in planes.shape[-2:]
    )
    return planes[:, rows[:, None], columns]


def cut(job: Job, seen: Box) -> Job:
    """Return the job for a part of its planes."""
    if seen == Box.whole(job.shape):
        return job
    measured = job.planes.measured
    planes = replace(
        job.planes,
        data=np.ascontiguousarray(job.planes.data[:, *seen.slices]),
        measured=None if measured is None else measured[seen.slices],
    )
    light = job.light
    if light is not None:
        light = replace(light, levels=light.levels[:, *seen.slices])
    return replace(
        job,
        planes=planes,
        light=light,
        wanted=Box.whole(seen.shape),
        source=moved(job.source, -seen.top, -seen.left),
    )


def local(job: Job, part: Part) -> Job:
    """Return the job for what is seen of a part, with the kernel in the middle of what is kept."""
    piece = cut(job, part.seen)
    if not isinstance(job.source, KernelField):
        return piece
    return replace(piece, source=job.source.middle_of(part.kept))


def observe(job: Job) -> Observation:
    """Return what was measured, on the device."""
    settings, planes, device = job.settings, job.planes, job.compute.device
    measured = None if planes.measured is None else torch.from_numpy(planes.measured)
    if measured is not None and bool(measured.all()):
        measured = None
    noise = _told_noise(planes, settings) if job.optimises else job.noise
    observation = Observation(
        data=torch.from_numpy(planes.data).to(device),
        scale=settings.scale,
        kernel_size=size_of(job.source, settings),
        geometry=settings.geometry,
        border=job.border,
        measured=None if measured is None else measured.to(device),
        gain=planes.gain,
        noise=noise,
    )
    check_size(observation, settings)
    if measured is None:
        return observation
    assert planes.measured is not None
    guess = inpaint_biharmonic(planes.data, ~planes.measured, channel_axis=0).astype(np.float32)
    return replace(observation, guess=torch.from_numpy(guess).to(device))


def solver_for(job: Job, observation: Observation, *, held: bool = False) -> Solver[Any]:
    """Return what solves an observation.

    Parameters
    ----------
    job : Job
    observation : Observation
    held : bool
        Take the job's kernel for granted and leave the image to the finish, whatever the method.
    """
    settings = job.settings
    kernel: KernelFamily | torch.Tensor
    if isinstance(job.source, np.ndarray):
        kernel = torch.from_numpy(job.source).to(job.compute.device)
        if held or not job.optimises:
            covered = observation.measured is not None
            return ClosedFormSolver(kernel=kernel, covered=covered, finished=True)
    else:
        assert isinstance(job.source, KernelFamily)
        kernel = job.source
    schedule = settings.schedule
    noise_power = None
    if method_named(settings.method).degradations:
        if observation.gain != 1:
            # The published dark runs have no gradient prior.
            schedule = replace(schedule, prior_weight=0.0)
        if observation.noise > 0:
            noise_power = _noise_power(observation)
    return AlternatingSolver(
        schedule=schedule,
        bounded=settings.is_bounded,
        kernel=kernel,
        seed=settings.seed,
        compute=job.compute,
        noise_power=noise_power,
        start=None if job.link is None else job.link.start,
        keeps_weights=job.link is not None,
    )


def _planes(
    array: Any, settings: Settings, *, axes: str, mask: ArrayLike | None, window: Box
) -> Planes:
    """Read a window of the image, and of the mask, as planes."""
    image = window_of(array, axes, window)
    if not method_named(settings.method).degradations:
        if mask is not None:
            raise SettingsError(
                f"method {settings.method!r} takes no mask; use one of "
                f"{[m.name for m in METHOD_TABLE if m.degradations]}"
            )
        return to_planes(image, axes=axes, geometry=settings.geometry)
    if mask is not None:
        mask = check_mask(mask, plane_shape(array, axes))[window.slices]
    covered = find_covered(image, axes=axes, mask=mask, saturated=settings.mask_saturated)
    return to_planes(
        image, axes=axes, geometry=settings.geometry, covered=covered, gain=settings.gain
    )


def _told_noise(planes: Planes, settings: Settings) -> float:
    """Return the noise that an optimisation is told of, in the planes' unit."""
    if settings.noise == "auto":
        return estimate_noise(planes.data, planes.measured)
    return settings.noise / planes.span


def _check_readable(planes: Planes) -> None:
    """Raise an `InputError` if an image is too small to read a blur off."""
    height, width = planes.data.shape[1:]
    if min(height, width) < SMALLEST_READ:
        raise InputError(
            f"the image is {height} × {width} pixels; expected at least {SMALLEST_READ} on each "
            "side to read a blur off, or a known kernel"
        )


def _check_tiles(settings: Settings, finish: Finish, tile: int | None, wanted: Box) -> None:
    """Raise a `SettingsError` if images are made in one go only, and this one is large."""
    if tile is None or finish != "none":
        return
    height, width = wanted.scaled(settings.scale).shape
    raise SettingsError(
        f"method {settings.method!r} with finish {finish!r} makes its image in one go, and "
        f"{height} × {width} pixels would be made in tiles of {tile}; expected a finish "
        "(finish='prior'), a method that has one "
        f"({[m.name for m in METHOD_TABLE if m.finish != 'none']}), a region, or tile=None"
    )


def check_size(observation: Observation, settings: Settings) -> None:
    """Raise an `InputError` if an image is too small for its kernel, or for the generator."""
    height, width = observation.data.shape[1:]
    size = observation.kernel_size
    least = SMALLEST_SIDE if method_named(settings.method).optimises else 1
    # What a pixel lacks at the border is counted on a periodic grid, which the kernel's reach
    # must not exceed.
    smallest = max(max(least, size) - 2 * observation.margin, size // 2)
    if settings.scale * min(height, width) < smallest:
        raise InputError(
            f"the image is {height} × {width} pixels; at scale {settings.scale} with a kernel of "
            f"{size} × {size} expected at least {-(-smallest // settings.scale)} on each side"
        )


def _noise_power(observation: Observation) -> float:
    """Return the mean squared difference to the data that the noise explains."""
    power = observation.noise**2
    # Covered pixels are 0 in data and prediction.
    return (
        power
        if observation.measured is None
        else power * float(observation.measured.float().mean())
    )
