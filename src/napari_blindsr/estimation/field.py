"""Estimate a kernel for each region of an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_blindsr.errors import InputError
from napari_blindsr.estimation.estimate import (
    estimate_of,
    estimate_posterior,
    family_in,
    planes_of,
)
from napari_blindsr.estimation.kernel_field import GaussianGrid, KernelField
from napari_blindsr.estimation.smoothing import krige
from napari_blindsr.images.planes import check_axes, plane_shape
from napari_blindsr.images.tiling import Box, region_middles
from napari_blindsr.optics import UNKNOWN
from napari_blindsr.physics.kernels import Automatic, Gaussian
from napari_blindsr.settings import Settings, as_family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.estimation.posterior import BlurPosterior
    from napari_blindsr.optics import Optics
    from napari_blindsr.physics.kernels import KernelFamily
    from napari_blindsr.types import Border, Geometry


SMALLEST_REGION = 24
"""Smallest side in LR pixels of a region."""

OVERLAP = 0.25
"""How far a region's window reaches beyond its borders, in units of its side."""

MEASURED = 0.25
"""Smallest fraction of valid pixels of a region whose blur is estimated."""


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
    seed: int = 0,
    device: str = "auto",
    optics: Optics | None = None,
) -> KernelField:
    """Estimate the blur of each region of an image, smoothed over neighbouring regions.

    Parameters
    ----------
    image : array_like
        As in `napari_blindsr.restore`; pixels that are not finite are missing.
    scale : int
        1…8: the kernels are sampled on a grid this many times finer.
    field : tuple of int
        Rows and columns of regions, of at least 24 × 24 pixels each.
    kernel, axes, geometry, border, mask, seed, device, optics
        As in `estimate_kernel`.

    Returns
    -------
    KernelField
        Its `blurs` have the widths of each region with their confidence intervals.

    Raises
    ------
    BlindSRError
        Bad input or settings, before any work.

    Examples
    --------
    >>> from napari_blindsr import estimate_field
    >>> from napari_blindsr.evaluation.samples import fluorescence
    >>> field = estimate_field(fluorescence().image, scale=2, field=(2, 2))
    >>> field.kernels.shape[:2]
    (2, 2)
    """
    settings = Settings(
        scale=scale,
        kernel=as_family(kernel, optics),
        geometry=geometry,
        border=border,
        seed=seed,
        device=device,
        field=field,
        optics=UNKNOWN if optics is None else optics,
    )
    array = np.asarray(image)
    axes = check_axes(array, axes)
    check_regions(field, plane_shape(array, axes))
    planes = planes_of(image, axes=axes, geometry=geometry, mask=mask)
    return field_of_image(planes.data, settings, measured=planes.measured)


def check_regions(field: tuple[int, int], shape: tuple[int, int]) -> None:
    """Raise an `InputError` if the regions of an image (h, w) are too small for an estimate."""
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
        f"{SMALLEST_REGION} to estimate a blur: {advice}"
    )


def field_of_image(
    data: NDArray[np.float32], settings: Settings, *, measured: NDArray[np.bool_] | None
) -> KernelField:
    """Estimate the kernels of the regions of planes (C, h, w).

    Raises
    ------
    InputError
        If no region has enough pixels and contrast.
    """
    posteriors = region_posteriors(data, settings, measured=measured)
    return field_of(posteriors, settings, extent=Box.whole((data.shape[1], data.shape[2])))


def region_posteriors(
    data: NDArray[np.float32], settings: Settings, *, measured: NDArray[np.bool_] | None
) -> list[BlurPosterior | None]:
    """Return the posterior of each region of planes, row by row; None without enough pixels."""
    # A region goes on beyond its borders, whatever the image does.
    settings = replace(settings, kernel=_common(settings), border="extend")
    posteriors: list[BlurPosterior | None] = []
    for window in region_windows(settings.field, (data.shape[1], data.shape[2])):
        seen = None if measured is None else measured[window.slices]
        values = data[(..., *window.slices)]
        if not _is_usable(values, seen):
            posteriors.append(None)
            continue
        usable = None if seen is None or seen.all() else seen
        posteriors.append(
            estimate_posterior(np.ascontiguousarray(values), settings, measured=usable)
        )
    return posteriors


def _common(settings: Settings) -> KernelFamily:
    """Return one family for all regions, since kernels of two families cannot be interpolated."""
    family = family_in(settings)
    return family.chosen({}) if isinstance(family, Automatic) else family


def region_windows(field: tuple[int, int], shape: tuple[int, int]) -> list[Box]:
    """Return the overlapping windows of the regions of an image (h, w), row by row."""
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


def _is_usable(values: NDArray[np.float32], measured: NDArray[np.bool_] | None) -> bool:
    """Return whether a region (C, h, w) has enough valid pixels, and not all of one value."""
    if measured is None:
        return bool(np.ptp(values) > 0)
    return bool(measured.mean() >= MEASURED and np.ptp(values[:, measured]) > 0)


def field_of(
    posteriors: Sequence[BlurPosterior | None], settings: Settings, *, extent: Box
) -> KernelField:
    """Return the kernels of regions from their posteriors, row by row, smoothed over neighbours.

    Raises
    ------
    InputError
        If all posteriors are None.
    """
    shape = settings.field
    if all(posterior is None for posterior in posteriors):
        raise InputError(
            f"none of the {shape[0]} × {shape[1]} regions has enough valid pixels and contrast "
            "to estimate a blur; expected some that are valid and not constant"
        )
    family = _common(settings)
    settings = replace(settings, kernel=family)
    longest = max(extent.shape)
    middles = [
        torch.from_numpy(region_middles(length, count) / longest)
        for length, count in zip(extent.shape, shape, strict=True)
    ]
    # Windows at the border reach beyond their region on one side only.
    seen = [window.middle for window in region_windows(shape, extent.shape)]
    smoothed = krige(
        posteriors,
        torch.tensor(seen, dtype=torch.float64) / longest,
        torch.cartesian_prod(*middles).reshape(-1, 2),
    )
    blurs = [estimate_of(posterior, settings) for posterior in smoothed]
    size = max(len(blur.kernel) for blur in blurs)
    gaussians: GaussianGrid | None = None
    if isinstance(family, Gaussian):
        logarithms = torch.stack([posterior.careful.mean.double() for posterior in smoothed])
        gaussians = GaussianGrid(
            logarithms=logarithms.reshape(*shape, -1).numpy(),
            family=family,
            scale=settings.scale,
            geometry=settings.geometry,
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
