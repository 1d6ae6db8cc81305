"""In what unit micrographs are restored: that of the peaks that blur has taken down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_blindsr.engine.kernels.width import core_covariance

if TYPE_CHECKING:
    from torch import Tensor

FAINT = 0.75
"""The brightest pixel of a micrograph whose sharp peaks are 1, times the σ of its blur in HR px."""


def peak_unit(kernel: Tensor) -> Tensor:
    """Return what brings a micrograph whose brightest pixel is 1 to the unit of its sharp peaks.

    The network knows sharp pictures that reach 1. Blur takes down what is small and bright, and
    wide blur more so: told that a blurred micrograph reaches 1, the network holds its peaks, which
    are far above, for too bright to be true. That the brightest pixel falls like 1/σ is a
    compromise between points (1/σ²) and surfaces; it was fitted to the micrographs that the network
    was trained with.

    Parameters
    ----------
    kernel : Tensor, (..., K, K)

    Returns
    -------
    Tensor, (...)
        At most 1.
    """
    shape = kernel.shape[:-2]
    covariance = core_covariance(kernel.reshape(-1, *kernel.shape[-2:]))
    sigma = torch.linalg.det(covariance).clamp(min=FAINT**4) ** 0.25
    unit: Tensor = (FAINT / sigma).to(kernel.dtype).reshape(shape)
    return unit
