"""Collects what the checks of a run need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_blindsr.errors import InputError
from napari_blindsr.estimation.consistency import quadrant_consistency
from napari_blindsr.estimation.estimate import estimate_blur, planes_of
from napari_blindsr.methods import method_named
from napari_blindsr.metrics.residual import Residual, predict
from napari_blindsr.metrics.residual import residual as residual_of
from napari_blindsr.physics.kernels.moments import core_covariance, principal_axes
from napari_blindsr.physics.noise import blocking, estimate_noise
from napari_blindsr.restoration.diagnostics import (
    Flag,
    RunEvidence,
    finest_scale,
    run_checks,
    run_field_checks,
)
from napari_blindsr.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.planes import Planes
    from napari_blindsr.solvers.nonblind.conditions import Decision
    from napari_blindsr.types import Border


LEVELS = 256
"""Levels of the range: rounding to 8 bits."""

LEAST_NOISE = 0.5 / LEVELS
"""Fraction of the range; smaller differences are rounding errors, whatever the noise estimate."""


def suggested_scale(image: ArrayLike, *, axes: str | None = None) -> int:
    """Return the scale beyond which an image's blur and noise leave no detail; takes about 0.1 s.

    Raises an `InputError` if its blur cannot be estimated.
    """
    planes = planes_of(image, axes=axes, geometry="camera", mask=None)
    settings = Settings(scale=2, device="cpu")
    blur = estimate_blur(planes.data, settings, measured=planes.measured)
    return finest_scale(blur.widths[1] / settings.scale, relative_noise(planes))


def relative_noise(planes: Planes) -> float:
    """Return the standard deviation of the noise relative to that of the image."""
    data, measured = planes.data, planes.measured
    values = data if measured is None else data[:, measured]
    return estimate_noise(data, measured) / float(values.std())


def run_flags(
    planes: Planes,
    kernel: NDArray[np.float32],
    settings: Settings,
    *,
    blur: BlurEstimate | None,
    field: KernelField | None = None,
    guess: Tensor | None,
    residual: Residual | None,
    decision: Decision | None = None,
    device: torch.device,
) -> tuple[Flag, ...]:
    """Return the flags of a result from its planes and its kernel (K, K), or kernels.

    `guess` (C, h, w) is the image with missing pixels filled in, if it has any; `residual` that of
    the image or of one tile; `decision` the correction of its noise.
    """
    data, measured = planes.data, planes.measured
    complete = data if guess is None else guess.cpu().numpy()
    values = data if measured is None else data[:, measured]
    gaps = measured is not None and guess is None
    # A kernel estimated from other planes is checked on those; a field allows each part of the
    # image its own blur.
    own = blur is not None or settings.kernel == "known" or method_named(settings.method).optimises
    evidence = RunEvidence(
        scale=settings.scale,
        kernel=kernel,
        widths=kernel_widths(kernel),
        known=settings.kernel == "known",
        blur=blur,
        consistency=quadrant_consistency(complete, settings.scale, device=device)
        if own and field is None and not gaps
        else None,
        residual=residual,
        saturated=piled_up(values),
        covered=0.0 if measured is None else 1 - float(measured.mean()),
        noise=relative_noise(planes),
        blocking=0.0 if gaps else blocking(complete.mean(axis=0)),
        further_noise=0.0 if decision is None else decision.unexplained,
    )
    if field is None:
        return run_checks(evidence)
    return run_field_checks(
        {
            place: replace(
                evidence,
                kernel=field.kernels[place],
                widths=kernel_widths(field.kernels[place]),
                blur=field.blurs[place[0]][place[1]] if field.blurs else None,
            )
            for place in field.places
        }
    )


ESTIMATED = ("blur_not_identifiable", "no_blur", "kernel_at_bound", "another_family")
"""Flags that the blur estimate alone raises."""


def blur_flags(kernel: NDArray[np.float32], blur: BlurEstimate) -> tuple[Flag, ...]:
    """Return the flags of a kernel (K, K) that was estimated for several images together."""
    evidence = RunEvidence(scale=blur.scale, kernel=kernel, widths=kernel_widths(kernel), blur=blur)
    return tuple(flag for flag in run_checks(evidence) if flag.name in ESTIMATED)


def kernel_widths(kernel: NDArray[np.float32]) -> tuple[float, float]:
    """Return the standard deviations along the axes of a kernel's core, the larger first."""
    weights = torch.from_numpy(np.ascontiguousarray(kernel, dtype=np.float64))
    variances, _ = principal_axes(core_covariance(weights[None])[0])
    wide, narrow = variances.sqrt().tolist()
    return wide, narrow


def find_residual(
    planes: Planes,
    image: NDArray[np.float32],
    kernel: NDArray[np.float32],
    settings: Settings,
    *,
    border: Border,
    noise: float = 0.0,
) -> Residual | None:
    """Return the residual of an image (C, s·h, s·w), or None if the planes are too small.

    `noise` is a lower bound on the noise, such as that of JPEG blocks.
    """
    try:
        predicted = predict(
            image.astype(np.float64),
            kernel,
            scale=settings.scale,
            geometry=settings.geometry,
            border=border,
            gain=planes.gain,
        )
        return residual_of(
            planes.data.astype(np.float64),
            predicted,
            kernel,
            scale=settings.scale,
            border=border,
            measured=planes.measured,
            least=max(LEAST_NOISE * float(np.ptp(planes.data)), noise),
        )
    except InputError:
        # All pixels of so small an image depend on what lies beyond the border.
        return None


def piled_up(values: NDArray[np.float32]) -> float:
    """Return the fraction of pixels at the largest value, or 0 if the range is not cut off.

    Values of a range that is not cut off become rarer towards the largest; values of one that is
    cut off pile up there. The channel of values (C, ...) with the most such pixels decides.
    """
    most = 0.0
    for channel in values.reshape(len(values), -1):
        top, low = float(channel.max()), float(channel.min())
        at_top = channel >= top - 1e-6 * (top - low)
        below = channel[~at_top]
        if not below.size:
            continue
        step = max((top - low) / LEVELS, top - float(below.max()))
        near = int((below >= top - 1.5 * step).sum())
        count = int(at_top.sum())
        if count > max(2 * near, 3):
            most = max(most, count / channel.size)
    return most
