"""A blur that varies across the image: a grid of kernels, and interpolation between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_blindsr.images.tiling import region_middles, region_weights
from napari_blindsr.physics.kernels.gaussian import gaussian_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.images.tiling import Box
    from napari_blindsr.physics.kernels import Gaussian
    from napari_blindsr.types import Geometry


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianGrid:
    """Gaussian kernels on a grid, interpolated by the logarithm of their covariance.

    Attributes
    ----------
    logarithms : ndarray, (R, C, 3)
        Of the covariances in LR px², as `moments.log_covariance` writes them.
    family : Gaussian
        Its range of variances limits the kernels.
    scale : int
    geometry : {"camera", "benchmark"}
    size : int
        K of all of them.
    """

    logarithms: NDArray[np.float64]
    family: Gaussian
    scale: int
    geometry: Geometry
    size: int

    def mixed(self, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the Gaussian (K, K) of the mean logarithm with weights (R, C) of sum 1."""
        mean = np.einsum("rc,rcn->n", weights, self.logarithms)
        return gaussian_of(
            self.family,
            torch.from_numpy(mean),
            scale=self.scale,
            geometry=self.geometry,
            size=self.size,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelField:
    """Kernels of the regions of an image.

    The image is divided into R × C regions of one size; each kernel is that of the middle of
    its region. Between the middles, kernels are interpolated bilinearly: estimated Gaussians by the
    logarithm of their covariance, so that they stay Gaussians, all others value by value. Beyond
    the outermost middles the kernel is constant.

    Attributes
    ----------
    kernels : ndarray, float32, (R, C, K, K)
        Correlation kernels in HR pixels, with a common centre, each of sum 1.
    extent : Box
        What is divided, in pixels of the input; it may exceed the input region.
    blurs : tuple of tuple of BlurEstimate
        The estimate of each region's blur; empty if the kernels were given.
    gaussians : GaussianGrid or None
        The same kernels by their covariances.
    """

    kernels: NDArray[np.float32]
    extent: Box
    blurs: tuple[tuple[BlurEstimate, ...], ...] = ()
    gaussians: GaussianGrid | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C)."""
        return self.kernels.shape[0], self.kernels.shape[1]

    @property
    def size(self) -> int:
        """K."""
        return int(self.kernels.shape[-1])

    @property
    def places(self) -> Iterator[tuple[int, int]]:
        """Row and column in the grid of each region."""
        return iter(np.ndindex(*self.shape))

    @property
    def middles(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows and columns of the input at which the regions' middles lie."""
        corner = self.extent.top, self.extent.left
        rows, columns = (
            start + region_middles(length, count)
            for start, length, count in zip(corner, self.extent.shape, self.shape, strict=True)
        )
        return rows, columns

    def at(self, row: float, column: float) -> NDArray[np.float32]:
        """Return the kernel (K, K) at a position of the input; (0, 0) is its first pixel's middle.

        Parameters
        ----------
        row, column : float
            Counted as the extent is.
        """
        (height, width), (rows, columns) = self.extent.shape, self.shape
        down = region_weights(np.array([row - self.extent.top]), height, rows)[0]
        across = region_weights(np.array([column - self.extent.left]), width, columns)[0]
        weights = down[:, None] * across[None, :]
        if self.gaussians is not None:
            return self.gaussians.mixed(weights)
        mixed = np.einsum("rc,rcij->ij", weights, self.kernels.astype(np.float64))
        return np.asarray(mixed / mixed.sum(), dtype=np.float32)

    def middle_of(self, box: Box) -> NDArray[np.float32]:
        """Return the kernel (K, K) in the middle of a box, in the coordinates of the extent."""
        return self.at(*box.middle)

    def moved(self, rows: int, columns: int) -> KernelField:
        """Return the field for an image that begins so many pixels further up and left."""
        return replace(self, extent=self.extent.moved(rows, columns))

    def report(self) -> dict[str, Any]:
        """Return everything but the kernels, as plain JSON types; lengths in HR pixels."""
        rows, columns = self.middles
        return {
            "shape": list(self.shape),
            "extent": self.extent.to_json(),
            "kernel_size": self.size,
            "middles": [rows.tolist(), columns.tolist()],
            "regions": [[blur.report() for blur in line] for line in self.blurs] or None,
        }
