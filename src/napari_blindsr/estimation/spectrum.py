"""Estimate a Gaussian blur from the power spectrum: no weights, no training.

Pictures have spectra near A/|f|². Blurred by a Gaussian, sampled, and with white noise, the
expected power at LR frequency f is

    S(f) = Σ_m A · |G(f + m)|² / |f + m|² + N,    |G(f)|² = exp(−4π² fᵀ Σ f),

m running over the aliases of the HR grid. Σ, A and N maximise the likelihood of the
periodogram I (Whittle, 1953), the minimum of Σ_f log S(f) + I(f)/S(f).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_blindsr.physics.kernels.moments import covariance_of, log_covariance

if TYPE_CHECKING:
    from torch import Tensor


LOWEST = 0.03
"""Lowest frequency in cycles per LR pixel; those below depend on the picture more than on the
blur."""

ALIASES = 2
"""Aliases on each side; beyond, the power of a picture adds little."""

STARTS = (0.1, 0.4, 1.5)
"""Variances in LR px² at which the search starts."""


def spectral_covariance(planes: Tensor, scale: int, *, taper: bool = True) -> Tensor:
    """Return the covariance (2, 2) in LR px² of the Gaussian blur that fits the spectrum best.

    All channels of the LR image (C, h, w) have the same blur. `taper` multiplies by a Hann window,
    which circular borders do not need.
    """
    periodogram, rows, columns = _periodogram(planes.double(), taper=taper)
    reach = min(ALIASES, scale // 2)
    shifts = torch.arange(-reach, reach + 1, dtype=torch.float64)
    # (f, m): the coordinates of every alias of every frequency.
    y = rows[:, None, None] + shifts[None, :, None]
    x = columns[:, None, None] + shifts[None, None, :]
    # The HR grid has no higher frequencies.
    inside = (y.abs() <= scale / 2) & (x.abs() <= scale / 2)
    natural = inside / (y.square() + x.square())

    def expected(parameters: Tensor) -> Tensor:
        covariance = covariance_of(parameters[:3])
        quadratic = (
            covariance[0, 0] * y.square()
            + covariance[1, 1] * x.square()
            + 2 * covariance[0, 1] * y * x
        )
        passed = torch.exp(-4 * math.pi**2 * quadratic) * natural
        power: Tensor = parameters[3].exp() * passed.sum(dim=(1, 2)) + parameters[4].exp()
        return power

    best, least = None, math.inf
    amplitude = (periodogram * (rows.square() + columns.square())).mean().log()
    floor = periodogram.quantile(0.02).clamp_min(1e-12).log()
    for start in STARTS:
        initial = log_covariance(start * torch.eye(2, dtype=torch.float64))
        parameters = torch.cat((initial, amplitude[None], floor[None])).requires_grad_()
        optimiser = torch.optim.LBFGS([parameters], max_iter=60, line_search_fn="strong_wolfe")

        def closure(
            parameters: Tensor = parameters, optimiser: torch.optim.LBFGS = optimiser
        ) -> Tensor:
            optimiser.zero_grad()
            power = expected(parameters)
            # A weak penalty bounds what the data do not determine.
            penalty = 1e-3 * parameters[:3].square().sum()
            loss = (power.log() + periodogram / power).mean() + penalty
            loss.backward()
            return loss

        optimiser.step(closure)
        loss = float(closure().detach())
        if loss < least:
            best, least = parameters.detach()[:3], loss
    if best is None:
        return torch.full((2,), STARTS[1], dtype=torch.float64).diag()
    return covariance_of(best)


def _periodogram(planes: Tensor, *, taper: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return power, and its frequencies along rows and columns, in cycles per LR pixel."""
    height, width = planes.shape[-2:]
    planes = planes - planes.mean(dim=(1, 2), keepdim=True)
    planes = planes / (planes.std(dim=(1, 2), keepdim=True) + 1e-12)
    if taper:
        # Symmetric about the image's middle, and nowhere zero.
        window = [
            torch.sin(math.pi * (torch.arange(n, dtype=planes.dtype) + 0.5) / n) ** 2
            for n in (height, width)
        ]
        planes = planes * window[0][:, None] * window[1][None, :]
    power = torch.fft.rfft2(planes).abs().square().mean(dim=0) / (height * width)
    rows = torch.fft.fftfreq(height, dtype=planes.dtype)[:, None].expand_as(power)
    columns = torch.fft.rfftfreq(width, dtype=planes.dtype)[None, :].expand_as(power)
    # Jumps at the borders give power on the axes.
    axes = 1.5 / min(height, width)
    used = (rows.abs() > axes) & (columns > axes) & (torch.hypot(rows, columns) > LOWEST)
    return power[used].clamp_min(1e-12), rows[used], columns[used]
