"""Makes a run ready: all checks of the input before any work, and the blur read if it is to be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_blindsr.arrays import (
    Planes,
    check_axes,
    check_mask,
    find_covered,
    plane_shape,
    to_planes,
    window_of,
)
from napari_blindsr.blur import read_planes
from napari_blindsr.engine.device import choose_compute
from napari_blindsr.engine.kernels import KernelFamily
from napari_blindsr.engine.nonblind.colour import CHANNELS, shares_detail
from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.field_blur import check_regions, read_field
from napari_blindsr.finish import load_finisher
from napari_blindsr.job import Job
from napari_blindsr.kernel_field import KernelField
from napari_blindsr.kernel_source import kernel_source, moved, size_of
from napari_blindsr.methods import METHOD_TABLE, Finish, method_named
from napari_blindsr.noise_levels import finish_noise, light_noise, told_noise
from napari_blindsr.parts import Box, check_region, context_for, field_tile, tile_side
from napari_blindsr.reading import SMALLEST_SIDE as SMALLEST_READ
from napari_blindsr.settings import ONE_BLUR, Quality, Settings
from napari_blindsr.steps import REFINING, reported

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.engine.result import Progress
    from napari_blindsr.noise_levels import LightNoise

READABLE = 128
"""Pixels of the input that are looked at around a region, if there are so many: for its blur."""

WIDE = 7
"""Reach of the widest blur that is read off an image, in its pixels."""


def prepare(
    image: ArrayLike,
    settings: Settings,
    *,
    axes: str | None,
    known: NDArray[Any] | KernelField | None,
    mask: ArrayLike | None,
    region: Box | None,
    found: bool = False,
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
    noise = finish_noise(planes, settings) if finishes else told_noise(planes, settings)
    light = light_noise(planes, settings, compute) if finisher.minds_light else None
    job = Job(
        settings=settings,
        planes=planes,
        wanted=wanted,
        border=settings.border,
        source=source,
        compute=compute,
        finisher=finisher,
        noise=noise,
        light=light,
        tile=tile,
        trusted=known is not None and not (found or _was_read(known)),
        colour=finisher.prior is not None and _is_colour(planes, noise, light),
        notes=notes,
    )
    if job.reads:
        _check_readable(planes)
    return job


def with_blur(
    job: Job, *, start: float, stop: bool = False
) -> Generator[Progress, bool | None, tuple[Job, bool]]:
    """Return the job with the kernel that is read off its planes, and whether it shall stop.

    Parameters
    ----------
    job : Job
    start : float
        When the run began.
    stop : bool
        Leave the blur as it is read.
    """
    settings, planes = job.settings, job.planes
    quality: Quality = "fast" if stop else settings.quality
    assert isinstance(job.source, KernelFamily)
    if settings.field != ONE_BLUR:
        regions = read_field(
            planes.data,
            measured=planes.measured,
            shape=settings.field,
            scale=settings.scale,
            family=job.source,
            geometry=settings.geometry,
            seed=settings.seed,
            device=settings.device,
            quality=quality,
            noise=job.noise,
        )
        field, asked = yield from reported(regions, stage=REFINING, start=start)
        return replace(job, source=field), stop or asked
    steps = read_planes(
        planes.data,
        measured=planes.measured,
        scale=settings.scale,
        family=job.source,
        reader="network",
        geometry=settings.geometry,
        border=settings.border,
        seed=settings.seed,
        device=settings.device,
        quality=quality,
        noise=job.noise,
    )
    blur, asked = yield from reported(steps, stage=REFINING, start=start)
    return replace(job, source=blur.kernel, blur=blur), stop or asked


def _was_read(known: NDArray[Any] | KernelField) -> bool:
    """Tell whether the kernels of a field were read off an image."""
    return isinstance(known, KernelField) and bool(known.blurs)


def _is_colour(planes: Planes, noise: float, light: LightNoise | None) -> bool:
    """Tell whether planes are red, green and blue of one picture, not of several stains."""
    if planes.axes != "YXC" or len(planes.data) != CHANNELS:
        return False
    # Each channel of fluorescence has a unit of its own.
    if light is not None and bool(light.sparse.any()):
        return False
    levels = torch.full((CHANNELS,), noise) if light is None else light.typical.cpu()
    measured = None if planes.measured is None else torch.from_numpy(planes.measured)
    return shares_detail(torch.from_numpy(planes.data), levels, measured=measured)


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
