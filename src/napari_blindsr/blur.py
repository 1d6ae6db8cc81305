"""The blur of an image, read off the image: the kernel, its widths, and how sure they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_blindsr.arrays import find_covered, to_planes
from napari_blindsr.candidates import candidate_weights, draw_candidates, mean_candidate
from napari_blindsr.engine.estimator import NARROWEST_BLUR, BlurReading
from napari_blindsr.engine.kernels import Gaussian, KernelFamily, render_gaussian, side_for
from napari_blindsr.engine.kernels.width import covariance_of, principal_axes
from napari_blindsr.engine.observation import kernel_center
from napari_blindsr.errors import SettingsError
from napari_blindsr.noise import estimate_noise
from napari_blindsr.reading import (
    READERS,
    Reader,
    family_of,
    probabilities_of,
    refines,
    take_reading,
)
from napari_blindsr.settings import Border, Geometry, Quality, Settings, as_family
from napari_blindsr.steps import drained

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from napari_blindsr.engine.refine import Done

INTERVAL = 1.6449
"""Half-width of a normal distribution's 90 % interval, in standard deviations."""

FOUND = 2.0
"""Variances below this many times that of the narrowest blur known are no blur."""


@dataclass(frozen=True, kw_only=True)
class BlurEstimate:
    """What an image tells of its blur.

    Attributes
    ----------
    kernel : ndarray, float32, (K, K)
        Correlation kernel in HR pixels, non-negative, sum 1, centred as the geometry asks.
    family : str
        Name of the kernel family.
    widths : tuple of float
        Standard deviations along the two principal axes of the Gaussian that resembles the
        kernel's core, the larger first, in HR pixels.
    intervals : tuple of tuple of float
        90 % intervals of both widths; NaN where the way of reading knows none.
    angle : float
        Of the first axis, in radians from the column axis towards the row axis.
    families : dict of str to float
        How probable each kernel family is; empty where the way of reading knows nothing of it.
    found : bool
        False if the image is as sharp as one that was never blurred.
    scale : int
    reader : {"network", "spectrum"}
        How the image was read.
    refined : bool
        Whether what was read was moved to where the image prior's image explains the data better.
    reading : BlurReading or None
        The logarithm of the blur's covariance and its uncertainty, as they were read.
    """

    kernel: NDArray[np.float32]
    family: str
    widths: tuple[float, float]
    intervals: tuple[tuple[float, float], tuple[float, float]]
    angle: float
    families: dict[str, float]
    found: bool
    scale: int
    reader: Reader
    refined: bool = False
    reading: BlurReading | None = None

    def report(self) -> dict[str, Any]:
        """Return everything but the kernel, as plain JSON types; lengths in HR pixels."""
        known = not any(math.isnan(v) for pair in self.intervals for v in pair)
        return {
            "family": self.family,
            "widths": list(self.widths),
            "intervals": [list(pair) for pair in self.intervals] if known else None,
            "angle": self.angle,
            "families": dict(self.families),
            "found": self.found,
            "scale": self.scale,
            "reader": self.reader,
            "refined": self.refined,
        }


def estimate_kernel(
    image: ArrayLike,
    *,
    scale: int,
    kernel: str | KernelFamily = "auto",
    reader: Reader = "network",
    axes: str | None = None,
    geometry: Geometry = "camera",
    border: Border = "extend",
    mask: ArrayLike | None = None,
    quality: Quality = "fast",
    seed: int = 0,
    device: str = "auto",
) -> BlurEstimate:
    """Read the blur off an image, in a second or a few.

    Parameters
    ----------
    image : array_like
        As in `napari_blindsr.restore`; what is not finite is left out.
    scale : int
        1…8: the kernel is wanted on a grid so many times finer.
    kernel : str or KernelFamily
        Family that the blur is from, by default with the widths that it usually has. A
        Gaussian may have any width. "auto" is one, unless the image clearly tells of another
        family.
    reader : {"network", "spectrum"}
        The network that ships with the package, or the power spectrum alone, which needs no
        weights, knows no uncertainty, and errs more.
    axes : str, optional
    geometry : {"camera", "benchmark"}
    border : {"extend", "circular"}
    mask : array_like, (h, w), optional
        Nonzero where the image is covered.
    quality : {"fast", "refined"}
        "refined" refines what was read by how well the image that the image prior restores
        explains the data, which takes some seconds to half a minute; camera shake stays as it was
        read.
    seed : int
        Of the kernels that are drawn: from a family other than Gaussians, and to refine.
    device : str

    Returns
    -------
    BlurEstimate

    Raises
    ------
    BlindSRError
        Bad input or settings, before any work.
    """
    family = as_family(kernel)
    # Settings check the rest.
    Settings(
        scale=scale, kernel=family, geometry=geometry, border=border, seed=seed, quality=quality
    )
    if reader not in READERS:
        raise SettingsError(f"reader is {reader!r}; expected one of {list(READERS)}")
    covered = find_covered(image, axes=axes, mask=mask, saturated=False)
    planes = to_planes(image, axes=axes, geometry=geometry, covered=covered)
    steps = read_planes(
        planes.data,
        measured=planes.measured,
        scale=scale,
        family=family,
        reader=reader,
        geometry=geometry,
        border=border,
        seed=seed,
        device=device,
        quality=quality,
        noise=estimate_noise(planes.data, planes.measured) if geometry == "camera" else 0.0,
    )
    return drained(steps)


def read_planes(
    data: NDArray[np.float32],
    *,
    measured: NDArray[np.bool_] | None,
    scale: int,
    family: KernelFamily,
    reader: Reader,
    geometry: Geometry,
    border: Border,
    seed: int,
    device: str,
    quality: Quality,
    noise: float,
) -> Generator[Done, bool | None, BlurEstimate]:
    """Read the blur off planes (C, h, w) with noise of a standard deviation.

    The other parameters are as in `estimate_kernel`. Says how far a refinement is; told to stop, it
    leaves the blur as it was read.
    """
    reading, quality = yield from take_reading(
        data,
        measured=measured,
        scale=scale,
        family=family,
        reader=reader,
        geometry=geometry,
        border=border,
        device=device,
        quality=quality,
        noise=noise,
        seed=seed,
    )
    return estimate_of(
        reading,
        scale=scale,
        family=family,
        reader=reader,
        geometry=geometry,
        seed=seed,
        quality=quality,
    )


def estimate_of(
    reading: BlurReading,
    *,
    scale: int,
    family: KernelFamily,
    reader: Reader,
    geometry: Geometry,
    seed: int,
    quality: Quality,
) -> BlurEstimate:
    """Return the kernel of a family, and its widths, that agree with a reading."""
    known = reader == "network"
    probabilities = probabilities_of(reading)
    family = family_of(family, reading)
    kernel = _kernel_of(family, reading, scale=scale, geometry=geometry, seed=seed)
    widths, intervals, angle = _widths(reading, scale)
    limit = math.sqrt(FOUND * NARROWEST_BLUR * scale)
    upper = widths[0] if math.isnan(intervals[0][1]) else intervals[0][1]
    return BlurEstimate(
        kernel=kernel,
        family=family.name,
        widths=widths,
        intervals=intervals,
        angle=angle,
        families=probabilities,
        found=upper > limit,
        scale=scale,
        reader=reader,
        refined=refines(family, reader=reader, quality=quality),
        reading=reading if known else None,
    )


def _widths(
    reading: BlurReading, scale: int
) -> tuple[tuple[float, float], tuple[tuple[float, float], tuple[float, float]], float]:
    """Return both widths in HR pixels, their intervals, and the angle of the first axis."""
    mean, deviation = reading.mean.double().cpu(), reading.deviation.double().cpu()
    variances, angle = principal_axes(covariance_of(mean))
    widths, intervals = [], []
    for variance, turn in zip(variances.tolist(), (0.0, math.pi / 2), strict=True):
        width = scale * math.sqrt(variance)
        # Along a direction v the logarithm of the variance is vᵀ L v, linear in L.
        y, x = math.sin(float(angle) + turn), math.cos(float(angle) + turn)
        weights = torch.tensor([y * y, x * x, math.sqrt(2) * x * y], dtype=torch.float64)
        spread = 0.5 * INTERVAL * float((weights * deviation).square().sum().sqrt())
        widths.append(width)
        intervals.append((width * math.exp(-spread), width * math.exp(spread)))
    return (widths[0], widths[1]), (intervals[0], intervals[1]), float(angle)


def _kernel_of(
    family: KernelFamily, reading: BlurReading, *, scale: int, geometry: Geometry, seed: int
) -> NDArray[np.float32]:
    """Return the kernel of a family that agrees with a reading."""
    if isinstance(family, Gaussian):
        return gaussian_of(family, reading.mean.double().cpu(), scale=scale, geometry=geometry)
    candidates = draw_candidates(family, scale=scale, geometry=geometry, seed=seed)
    weights = candidate_weights(candidates, reading, scale)
    return np.asarray(mean_candidate(candidates, weights).numpy(), dtype=np.float32)


def gaussian_of(
    family: Gaussian,
    logarithm: Tensor,
    *,
    scale: int,
    geometry: Geometry,
    largest: int | None = None,
    size: int | None = None,
) -> NDArray[np.float32]:
    """Return the Gaussian kernel whose covariance in LR px² has a logarithm (3,).

    Parameters
    ----------
    family : Gaussian
        Whose widths it has at most, and at least.
    logarithm : Tensor, (3,)
        As `width.log_covariance` writes it.
    scale : int
    geometry : {"camera", "benchmark"}
    largest : int, optional
        Largest side, odd: what lies outside is cut off.
    size : int, optional
        Side; what the family and the reach of the kernel ask for if left out.
    """
    variances, angle = principal_axes(scale**2 * covariance_of(logarithm))
    if family.variance is not None:
        variances = variances.clamp(*family.variance)
    if size is None:
        reach = 3 * math.sqrt(float(variances.max()))
        size = max(family.size(scale), side_for(reach, scale))
    if largest is not None:
        size = min(size, largest)
    kernel = render_gaussian(
        variances[None], angle[None], size=size, center=kernel_center(size, scale, geometry)
    )[0]
    return np.asarray(kernel.numpy(), dtype=np.float32)
