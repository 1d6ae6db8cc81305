"""The width of a kernel of any family: the covariance of its core."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


NARROWEST = 0.1
"""Smallest variance of a kernel in px²: that of a pixel, a uniform square, is 1/12."""


def core_covariance(kernels: Tensor) -> Tensor:
    """Return the covariance (n, 2, 2) in px² of the Gaussians that are most like kernels (n, K, K).

    Twice the covariance of the squared kernel. It is the covariance itself for a Gaussian, and
    finite for an Airy pattern, whose own variance is not. Rows before columns; at least `NARROWEST`
    along every direction.
    """
    axis = torch.arange(kernels.shape[-1], device=kernels.device, dtype=kernels.dtype)
    weights = kernels.square()
    weights = weights / weights.sum(dim=(1, 2), keepdim=True)
    marginals = weights.sum(dim=2), weights.sum(dim=1)
    means = [m @ axis for m in marginals]
    rows, columns = (axis - mean[:, None] for mean in means)
    variances = [
        2 * (m * d.square()).sum(dim=1) for m, d in zip(marginals, (rows, columns), strict=True)
    ]
    mixed = 2 * torch.einsum("nij,ni,nj->n", weights, rows, columns)
    covariance = torch.stack((variances[0], mixed, mixed, variances[1]), dim=1).reshape(-1, 2, 2)
    values, vectors = torch.linalg.eigh(covariance)
    widened: Tensor = vectors @ torch.diag_embed(values.clamp_min(NARROWEST)) @ vectors.mT
    return widened


def log_covariance(covariance: Tensor) -> Tensor:
    """Return the matrix logarithm of covariances (..., 2, 2) as three independent numbers (..., 3).

    They are rows, columns, and √2 times the mixed element, so that distances are those of the
    matrices.
    """
    values, vectors = torch.linalg.eigh(covariance)
    logarithm = vectors @ torch.diag_embed(values.log()) @ vectors.mT
    mixed = 2**0.5 * logarithm[..., 0, 1]
    return torch.stack((logarithm[..., 0, 0], logarithm[..., 1, 1], mixed), dim=-1)


def covariance_of(logarithm: Tensor) -> Tensor:
    """Invert `log_covariance`: (..., 3) to (..., 2, 2)."""
    rows, columns, mixed = logarithm.unbind(-1)
    mixed = mixed / 2**0.5
    matrix = torch.stack((rows, mixed, mixed, columns), dim=-1).unflatten(-1, (2, 2))
    # Unlike an eigendecomposition, differentiable where both axes are equal.
    covariance: Tensor = torch.linalg.matrix_exp(matrix)
    return covariance


def principal_axes(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return variances (..., 2), the larger first, and the angle of the first axis.

    The angle θ ∈ [0, π) is from the column axis towards the row axis, as in `render_gaussian`.
    """
    values, vectors = torch.linalg.eigh(covariance)
    # Elements of an eigenvector are row, column.
    angle = torch.atan2(vectors[..., 0, 1], vectors[..., 1, 1]) % torch.pi
    # The remainder of a tiny negative angle is rounded to π itself, which is the angle 0.
    return values.flip(-1), torch.where(angle < torch.pi, angle, torch.zeros_like(angle))
