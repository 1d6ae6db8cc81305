"""The blur of an image's regions, read off the image: a kernel for each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_blindsr.errors import InputError
from napari_blindsr.estimation.estimate import estimate_of, estimate_posterior, planes_of
from napari_blindsr.estimation.kernel_field import GaussianGrid, KernelField
from napari_blindsr.estimation.smoothing import krige
from napari_blindsr.images.planes import check_axes, plane_shape
from napari_blindsr.images.tiling import Box, region_middles
from napari_blindsr.optics import UNKNOWN
from napari_blindsr.physics.kernels import Automatic, Gaussian, KernelFamily
from napari_blindsr.physics.noise import estimate_noise
from napari_blindsr.progress import drained, one_of
from napari_blindsr.settings import Settings, as_family

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.estimation.posterior import BlurPosterior
    from napari_blindsr.optics import Optics
    from napari_blindsr.progress import Done
    from napari_blindsr.types import Border, Geometry, Quality


SMALLEST_REGION = 24
"""Side in pixels of the input of a region whose blur can be told from its neighbours'."""

OVERLAP = 0.25
"""How far beyond its borders a region is looked at, in units of its side."""

MEASURED = 0.25
"""Part of a region that must be measured for it to be read."""


def estimate_field(
    image: ArrayLike,
    *,
    scale: int,
    field: tuple[int, int],
    kernel: str | KernelFamily = "auto",
    axes: str | None = None,
    geometry: Geometry = "camera",
    border: Border = "extend",
    mask: ArrayLike | None = None,
    quality: Quality = "fast",
    seed: int = 0,
    device: str = "auto",
    optics: Optics | None = None,
) -> KernelField:
    """Read the blur of an image's regions off it, and steady each by its neighbours'.

    Parameters
    ----------
    image : array_like
        As in `napari_blindsr.restore`; what is not finite is left out.
    scale : int
        1…8: the kernels are wanted on a grid so many times finer.
    field : tuple of int
        Rows and columns of regions, of at least 24 × 24 pixels each.
    kernel, axes, geometry, border, mask, quality, seed, device, optics
        As in `estimate_kernel`.

    Returns
    -------
    KernelField
        Its `blurs` have the widths of each region with their intervals.

    Raises
    ------
    BlindSRError
        Bad input or settings, before any work.
    """
    family = as_family(kernel)
    # Settings check the rest.
    Settings(
        scale=scale,
        kernel=family,
        geometry=geometry,
        border=border,
        seed=seed,
        quality=quality,
        field=field,
    )
    array = np.asarray(image)
    axes = check_axes(array, axes)
    check_regions(field, plane_shape(array, axes))
    planes = planes_of(image, axes=axes, geometry=geometry, mask=mask)
    steps = field_of_image(
        planes.data,
        measured=planes.measured,
        shape=field,
        scale=scale,
        family=family,
        geometry=geometry,
        seed=seed,
        device=device,
        quality=quality,
        noise=estimate_noise(planes.data, planes.measured) if geometry == "camera" else 0.0,
        optics=UNKNOWN if optics is None else optics,
    )
    return drained(steps)


def check_regions(field: tuple[int, int], shape: tuple[int, int]) -> None:
    """Raise an `InputError` if the regions of an image (h, w) are too small to be read."""
    sides = [length // count for length, count in zip(shape, field, strict=True)]
    if min(sides) >= SMALLEST_REGION:
        return
    most = [length // SMALLEST_REGION for length in shape]
    advice = f"at most {most[0]} × {most[1]} of them, or a grid of known kernels"
    if min(most) < 1:
        advice = "a larger image, or a known kernel"
    raise InputError(
        f"field is {field[0]} × {field[1]}, regions of {sides[0]} × {sides[1]} pixels in an image "
        f"of {shape[0]} × {shape[1]}; expected regions of at least {SMALLEST_REGION} × "
        f"{SMALLEST_REGION} to read a blur off: {advice}"
    )


def field_of_image(
    data: NDArray[np.float32],
    *,
    measured: NDArray[np.bool_] | None,
    shape: tuple[int, int],
    scale: int,
    family: KernelFamily,
    geometry: Geometry,
    seed: int,
    device: str,
    quality: Quality,
    noise: float,
    optics: Optics = UNKNOWN,
) -> Generator[Done, bool | None, KernelField]:
    """Read the blur of the regions of planes (C, h, w); parameters as in `estimate.estimate_blur`.

    Raises
    ------
    InputError
        If there is nothing to be read in any region.
    """
    posteriors, quality = yield from region_posteriors(
        data,
        measured=measured,
        shape=shape,
        scale=scale,
        family=family,
        geometry=geometry,
        device=device,
        quality=quality,
        noise=noise,
        seed=seed,
        optics=optics,
    )
    return field_of(
        posteriors,
        shape=shape,
        extent=Box.whole((data.shape[1], data.shape[2])),
        scale=scale,
        family=family,
        geometry=geometry,
        seed=seed,
        quality=quality,
    )


def region_posteriors(
    data: NDArray[np.float32],
    *,
    measured: NDArray[np.bool_] | None,
    shape: tuple[int, int],
    scale: int,
    family: KernelFamily,
    geometry: Geometry,
    device: str,
    quality: Quality,
    noise: float,
    seed: int,
    optics: Optics = UNKNOWN,
) -> Generator[Done, bool | None, tuple[list[BlurPosterior | None], Quality]]:
    """Return what each region of planes tells of its blur, row by row; None where nothing does.

    Says how far a refinement is; told to stop, it leaves the blur of the other regions as it was
    read, and says so by the quality.
    """
    family = _common(family)
    posteriors: list[BlurPosterior | None] = []
    windows = region_windows(shape, (data.shape[1], data.shape[2]))
    for number, window in enumerate(windows):
        seen = None if measured is None else measured[window.slices]
        values = data[(..., *window.slices)]
        if not _tells(values, seen):
            posteriors.append(None)
            continue
        steps = estimate_posterior(
            np.ascontiguousarray(values),
            measured=None if seen is None or seen.all() else seen,
            scale=scale,
            family=family,
            reader="network",
            geometry=geometry,
            # A region goes on beyond its borders, whatever the image does.
            border="extend",
            device=device,
            quality=quality,
            noise=noise,
            seed=seed,
            optics=optics,
        )
        posterior, quality = yield from one_of(steps, number, len(windows))
        posteriors.append(posterior)
    return posteriors, quality


def _common(family: KernelFamily) -> KernelFamily:
    """Return one family for all regions: between kernels of two there would be neither."""
    return family.chosen({}) if isinstance(family, Automatic) else family


def region_windows(field: tuple[int, int], shape: tuple[int, int]) -> list[Box]:
    """Return what is looked at of each region of an image (h, w), row by row: they overlap."""
    edges = [
        [
            (
                max(0, round((index - OVERLAP) * length / count)),
                min(length, round((index + 1 + OVERLAP) * length / count)),
            )
            for index in range(count)
        ]
        for count, length in zip(field, shape, strict=True)
    ]
    return [
        Box(top=top, left=left, bottom=bottom, right=right)
        for top, bottom in edges[0]
        for left, right in edges[1]
    ]


def _tells(values: NDArray[np.float32], measured: NDArray[np.bool_] | None) -> bool:
    """Tell whether a region (C, h, w) has enough pixels, and not all of one value."""
    if measured is None:
        return bool(np.ptp(values) > 0)
    return bool(measured.mean() >= MEASURED and np.ptp(values[:, measured]) > 0)


def field_of(
    posteriors: Sequence[BlurPosterior | None],
    *,
    shape: tuple[int, int],
    extent: Box,
    scale: int,
    family: KernelFamily,
    geometry: Geometry,
    seed: int,
    quality: Quality,
) -> KernelField:
    """Return the kernels of regions that agree with their posteriors, and with each other.

    Parameters
    ----------
    posteriors : sequence of BlurPosterior or None
        Of the regions, row by row.
    shape : tuple of int
        Rows and columns of regions.
    extent : Box
        What is divided into them.
    scale, family, geometry, seed, quality
        As in `estimate.estimate_blur`.

    Raises
    ------
    InputError
        If not one region was read.
    """
    if all(posterior is None for posterior in posteriors):
        raise InputError(
            f"none of the {shape[0]} × {shape[1]} regions has anything to read a blur off; "
            "expected some that are measured and not constant"
        )
    family = _common(family)
    longest = max(extent.shape)
    middles = [
        torch.from_numpy(region_middles(length, count) / longest)
        for length, count in zip(extent.shape, shape, strict=True)
    ]
    # Regions at the border are looked at beyond their middle only on one side.
    seen = [window.middle for window in region_windows(shape, extent.shape)]
    steady = krige(
        posteriors,
        torch.tensor(seen, dtype=torch.float64) / longest,
        torch.cartesian_prod(*middles).reshape(-1, 2),
    )
    blurs = [
        estimate_of(
            posterior,
            scale=scale,
            family=family,
            reader="network",
            geometry=geometry,
            seed=seed,
            quality=quality,
        )
        for posterior in steady
    ]
    size = max(len(blur.kernel) for blur in blurs)
    gaussians: GaussianGrid | None = None
    if isinstance(family, Gaussian):
        logarithms = torch.stack([posterior.careful.mean.double() for posterior in steady])
        gaussians = GaussianGrid(
            logarithms=logarithms.reshape(*shape, -1).numpy(),
            family=family,
            scale=scale,
            geometry=geometry,
            size=size,
        )
        chosen = np.eye(len(blurs)).reshape(-1, *shape)
        blurs = [
            replace(blur, kernel=gaussians.mixed(weights))
            for blur, weights in zip(blurs, chosen, strict=True)
        ]
    columns = shape[1]
    return KernelField(
        kernels=np.stack([blur.kernel for blur in blurs]).reshape(*shape, size, size),
        extent=extent,
        blurs=tuple(
            tuple(blurs[start : start + columns]) for start in range(0, len(blurs), columns)
        ),
        gaussians=gaussians,
    )
