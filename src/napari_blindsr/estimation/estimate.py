"""Estimate the blur of an image: a kernel, its widths, and their confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.estimation.network import (
    FAMILY_ORDER,
    NARROWEST_BLUR,
    blur_posterior,
    load_kernel_estimator,
)
from napari_blindsr.estimation.posterior import (
    BlurPosterior,
    calibrated,
    candidate_weights,
    draw_candidates,
    informed,
    mean_candidate,
)
from napari_blindsr.estimation.spectrum import spectral_covariance
from napari_blindsr.images.planes import Planes, check_axes, find_covered, to_planes
from napari_blindsr.optics import UNKNOWN, Optics
from napari_blindsr.physics.defects import without_defects
from napari_blindsr.physics.kernels import Automatic, Gaussian, KernelFamily
from napari_blindsr.physics.kernels.gaussian import gaussian_of
from napari_blindsr.physics.kernels.moments import covariance_of, log_covariance, principal_axes
from napari_blindsr.physics.noise import (
    estimate_noise,
    noise_over_range,
    noise_statistics,
    shot_noise,
)
from napari_blindsr.settings import Settings, as_family
from napari_blindsr.solvers.device import choose_compute
from napari_blindsr.solvers.nonblind.conditions import Decision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.solvers.device import Compute
    from napari_blindsr.types import Border, Geometry


INTERVAL = 1.6449
"""Half-width of a normal distribution's 90 % interval, in standard deviations."""

FOUND = 2.0
"""Variances below this many times `NARROWEST_BLUR` cannot be distinguished from no blur."""


@dataclass(frozen=True, kw_only=True)
class BlurEstimate:
    """The blur of an image, as it was estimated.

    Attributes
    ----------
    kernel : ndarray, float32, (K, K)
        Correlation kernel in HR pixels, non-negative, sum 1, centred as the geometry requires.
    family : str
        Name of the kernel family.
    widths : tuple of float
        Standard deviations along the two principal axes of the Gaussian that is most like the
        kernel's core, the larger first, in HR pixels.
    intervals : tuple of tuple of float
        90 % confidence intervals of both widths; NaN if the estimator gives none.
    angle : float
        Of the first axis, in radians from the column axis towards the row axis.
    families : dict of str to float
        Probability of each kernel family; empty if the estimator gives none.
    found : bool
        False if the image is as sharp as one that was never blurred.
    scale : int
    reader : {"network", "spectrum"}
        The estimator.
    posterior : BlurPosterior or None
        Logarithm of the blur's covariance, with its uncertainty; None without an uncertainty.
    """

    kernel: NDArray[np.float32] = field(repr=False)
    family: str
    widths: tuple[float, float]
    intervals: tuple[tuple[float, float], tuple[float, float]]
    angle: float
    families: dict[str, float]
    found: bool
    scale: int
    reader: Reader
    posterior: BlurPosterior | None = field(default=None, repr=False)

    @property
    def careful_widths(self) -> tuple[float, float]:
        """Widths in HR pixels of the Gaussian that the image is restored with."""
        if self.posterior is None:
            return self.widths
        variances, _ = principal_axes(covariance_of(self.posterior.careful.mean.double().cpu()))
        wide, narrow = (self.scale * variances.sqrt()).tolist()
        return wide, narrow

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
    seed: int = 0,
    device: str = "auto",
    optics: Optics | None = None,
) -> BlurEstimate:
    """Estimate the blur of an image, in some seconds.

    Parameters
    ----------
    image : array_like
        As in `napari_blindsr.restore`; pixels that are not finite are missing.
    scale : int
        1…8: the kernel is sampled on a grid this many times finer.
    kernel : str or KernelFamily
        Family of the kernel, by default with the usual widths. A Gaussian may have any width.
        "auto" is a Gaussian, unless another family is at least 60 % probable.
    reader : {"network", "spectrum"}
        The pretrained network, or the power spectrum alone, which needs no weights, gives no
        confidence intervals, and errs more.
    axes : str, optional
    geometry : {"camera", "benchmark"}
    border : {"extend", "circular"}
    mask : array_like, (h, w), optional
        Nonzero where pixels are missing.
    seed : int
        Of the kernels that are drawn from families other than Gaussians.
    device : str
    optics : Optics, optional
        As in `napari_blindsr.restore`; not used by "spectrum".

    Returns
    -------
    BlurEstimate

    Raises
    ------
    BlindSRError
        Bad input or settings, before any work.

    Examples
    --------
    >>> from napari_blindsr import estimate_kernel
    >>> from napari_blindsr.evaluation.samples import fluorescence
    >>> blur = estimate_kernel(fluorescence().image, scale=4)
    >>> low, high = blur.intervals[0]
    >>> low < blur.widths[0] < high
    True
    """
    settings = Settings(
        scale=scale,
        kernel=as_family(kernel, optics),
        geometry=geometry,
        border=border,
        seed=seed,
        device=device,
        optics=UNKNOWN if optics is None else optics,
    )
    if reader not in READERS:
        raise SettingsError(f"reader is {reader!r}; expected one of {list(READERS)}")
    planes = planes_of(image, axes=axes, geometry=geometry, mask=mask)
    return estimate_blur(planes.data, settings, measured=planes.measured, reader=reader)


def estimate_blur(
    data: NDArray[np.float32],
    settings: Settings,
    *,
    measured: NDArray[np.bool_] | None,
    reader: Reader = "network",
) -> BlurEstimate:
    """Estimate the blur of planes (C, h, w)."""
    posterior = estimate_posterior(data, settings, measured=measured, reader=reader)
    return estimate_of(posterior, settings, reader=reader)


def estimate_of(
    posterior: BlurPosterior, settings: Settings, *, reader: Reader = "network"
) -> BlurEstimate:
    """Return the kernel of the settings' family, and its widths, that agree with a posterior."""
    scale = settings.scale
    probabilities = probabilities_of(posterior)
    family = family_of(family_in(settings), posterior)
    kernel = _kernel_of(family, posterior, settings)
    widths, intervals, angle = _widths(posterior, scale)
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
        posterior=posterior if reader == "network" else None,
    )


def _widths(
    posterior: BlurPosterior, scale: int
) -> tuple[tuple[float, float], tuple[tuple[float, float], tuple[float, float]], float]:
    """Return both widths in HR pixels, their intervals, and the angle of the first axis."""
    mean, deviation = posterior.mean.double().cpu(), posterior.deviation.double().cpu()
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
    family: KernelFamily, posterior: BlurPosterior, settings: Settings
) -> NDArray[np.float32]:
    """Return the kernel of a family that agrees with a posterior."""
    scale, geometry = settings.scale, settings.geometry
    if isinstance(family, Gaussian):
        return gaussian_of(
            family, posterior.careful.mean.double().cpu(), scale=scale, geometry=geometry
        )
    candidates = draw_candidates(family, scale=scale, geometry=geometry, seed=settings.seed)
    weights = candidate_weights(candidates, posterior, scale)
    return np.asarray(mean_candidate(candidates, weights).numpy(), dtype=np.float32)


Reader = Literal["network", "spectrum"]
READERS: tuple[Reader, ...] = get_args(Reader)

SMALLEST_SIDE = 16
"""Smallest side in LR pixels of an image whose blur can be estimated."""


def probabilities_of(posterior: BlurPosterior) -> dict[str, float]:
    """Return the probability of each kernel family; empty if the estimator gives none."""
    values = posterior.families.tolist()
    return dict(zip(FAMILY_ORDER, values, strict=True)) if values else {}


def family_in(settings: Settings) -> KernelFamily:
    """Return the kernel family of settings without a known kernel."""
    assert isinstance(settings.kernel, KernelFamily)
    return settings.kernel


def family_of(family: KernelFamily, posterior: BlurPosterior) -> KernelFamily:
    """Return a family; if it is automatic, the one that a posterior makes probable."""
    if isinstance(family, Automatic):
        return family.chosen(probabilities_of(posterior))
    return family


def planes_of(
    image: ArrayLike, *, axes: str | None, geometry: Geometry, mask: ArrayLike | None
) -> Planes:
    """Return an image as planes, with defective pixels missing."""
    array = np.asarray(image)
    axes = check_axes(array, axes)
    covered = find_covered(image, axes=axes, mask=mask, saturated=False)
    covered, _ = without_defects(array, axes, covered, saturation=geometry == "camera")
    return to_planes(image, axes=axes, geometry=geometry, covered=covered)


def estimate_posterior(
    data: NDArray[np.float32],
    settings: Settings,
    *,
    measured: NDArray[np.bool_] | None,
    reader: Reader = "network",
) -> BlurPosterior:
    """Return the posterior of the blur of planes (C, h, w)."""
    height, width = data.shape[-2:]
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"the image is {height} × {width} pixels; expected at least {SMALLEST_SIDE} on each "
            "side to estimate a blur"
        )
    scale, periodic = settings.scale, settings.border == "circular"
    # Raises an error before any work if there is no such device.
    compute = choose_compute(settings.device, settings.precision)
    whole = filled_in(data, measured)
    if reader == "spectrum":
        covariance = spectral_covariance(torch.from_numpy(whole), scale, taper=not periodic)
        unknown = torch.full((3,), math.nan)
        return BlurPosterior(
            mean=log_covariance(covariance).float(), deviation=unknown, families=torch.empty(0)
        )
    posterior = _by_network(whole, scale, compute, settings.optics)
    posterior = calibrated(
        posterior,
        shot_noise=shot_noise(data, measured) is not None,
        noise=noise_over_range(data, measured),
    )
    return informed(posterior, settings.optics.log_variance)


def decide(
    data: NDArray[np.float32],
    settings: Settings,
    *,
    measured: NDArray[np.bool_] | None,
    compute: Compute,
) -> Decision | None:
    """Return the network's correction of the noise of planes; None if they are too small."""
    if min(data.shape[-2:]) < SMALLEST_SIDE:
        return None
    planes = filled_in(data, measured)
    return _by_network(planes, settings.scale, compute, settings.optics).decision


def filled_in(data: NDArray[np.float32], measured: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Return planes with missing pixels filled in smoothly, which gives them little weight."""
    if measured is None:
        return data
    return np.asarray(inpaint_biharmonic(data, ~measured, channel_axis=0), dtype=np.float32)


def _by_network(
    planes: NDArray[np.float32], scale: int, compute: Compute, optics: Optics
) -> BlurPosterior:
    """Return the kernel estimator's posterior of planes (C, h, w) without missing pixels."""
    network, calibration = load_kernel_estimator()
    statistics = [noise_statistics(plane, estimate_noise(plane[None])) for plane in planes]
    with compute.autocast:
        return blur_posterior(
            torch.from_numpy(planes).to(compute.device),
            scale,
            network.to(compute.device),
            calibration=calibration,
            statistics=np.mean(statistics, axis=0).tolist(),
            optics=optics.log_variance,
        )


def pool_posteriors(posteriors: Sequence[BlurPosterior]) -> BlurPosterior:
    """Return the posterior of images with the same blur, weighted by their certainty.

    The network's error is common to all images, so their number does not reduce the deviation.
    """
    precisions = torch.stack([1 / posterior.deviation.square() for posterior in posteriors])
    means = torch.stack([posterior.mean for posterior in posteriors])
    variances = torch.stack([posterior.deviation.square() for posterior in posteriors])
    decisions = [posterior.decision for posterior in posteriors if posterior.decision is not None]
    return BlurPosterior(
        mean=(precisions * means).sum(dim=0) / precisions.sum(dim=0),
        deviation=variances.mean(dim=0).sqrt(),
        families=torch.stack([posterior.families for posterior in posteriors]).mean(dim=0),
        decision=Decision.mean(decisions) if decisions else None,
    )
