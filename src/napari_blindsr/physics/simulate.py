"""Degrade a sharp image with a known truth; and interpolate, as a baseline.

The forward model is that of `observation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.images.tiling import region_weights
from napari_blindsr.physics.kernels import kernel_size, render_gaussian
from napari_blindsr.physics.observation import Observation, kernel_center, phase
from napari_blindsr.types import BORDERS, GEOMETRIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from napari_blindsr.types import Border, Geometry


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How a sharp image becomes the low-resolution one: y = g·(x ⋆ k)↓s + n.

    Attributes
    ----------
    scale : int
        s, pixels of the sharp image that a pixel of the low-resolution one spans.
    geometry : {"camera", "benchmark"}
    border : {"extend", "circular"}
        "extend" keeps only what the sharp image determines, so the truth is smaller than
        the sharp image by the kernel's reach; "circular" wraps around.
    gain : float
        g, below 1 for a dark image.
    noise : float
        Standard deviation of the Gaussian noise, in the image's unit.
    quantise : bool
        Round down to 8 bit, floor(255·y), as the published test data are.
    seed : int
        Of the noise.
    """

    scale: int
    geometry: Geometry = "camera"
    border: Border = "extend"
    gain: float = 1.0
    noise: float = 0.0
    quantise: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.scale, int) or self.scale < 1:
            raise SettingsError(f"scale is {self.scale!r}; expected a whole number from 1 on")
        if self.geometry not in GEOMETRIES:
            raise SettingsError(
                f"geometry is {self.geometry!r}; expected one of {list(GEOMETRIES)}"
            )
        if self.border not in BORDERS:
            raise SettingsError(f"border is {self.border!r}; expected one of {list(BORDERS)}")
        if not self.gain > 0:
            raise SettingsError(f"gain is {self.gain}; it must be positive")
        if not self.noise >= 0:
            raise SettingsError(f"noise is {self.noise}; it must not be negative")


@dataclass(frozen=True, kw_only=True)
class Degraded:
    """A degraded image with its truth.

    Attributes
    ----------
    image : ndarray, (h, w) or (h, w, C)
        The low-resolution image: uint8 if quantised, else float32.
    truth : ndarray, float32, (s·h, s·w) or (s·h, s·w, C)
        The part of the sharp image that it shows.
    kernel : ndarray, float32, (K, K)
        Correlation kernel of sum 1.
    offset : float
        δ: low-resolution pixel i lies at pixel s·i + δ of the truth, on both axes.
    degradation : Degradation
    """

    image: NDArray[Any]
    truth: NDArray[np.float32]
    kernel: NDArray[np.float32]
    offset: float
    degradation: Degradation


@dataclass(frozen=True, kw_only=True)
class DegradedField:
    """An image degraded by a blur that varies, with its truth.

    Attributes
    ----------
    image : ndarray, (h, w) or (h, w, C)
    truth : ndarray, float32, (s·h, s·w) or (s·h, s·w, C)
    kernels : ndarray, float32, (R, C, K, K)
        Correlation kernels of sum 1, of the regions of the image.
    offset : float
    degradation : Degradation
        The others are as in `Degraded`.
    """

    image: NDArray[Any]
    truth: NDArray[np.float32]
    kernels: NDArray[np.float32]
    offset: float
    degradation: Degradation


def degrade(sharp: ArrayLike, kernel: ArrayLike, degradation: Degradation) -> Degraded:
    """Blur, sample and disturb a sharp image.

    Parameters
    ----------
    sharp : array_like, (H, W) or (H, W, C)
        uint8, scaled to [0, 1], or floats.
    kernel : array_like, (K, K)
        Correlation kernel, K odd; it is normalised. Its centre determines the place of the
        low-resolution pixels; for a geometry it is at
        `napari_blindsr.physics.observation.kernel_center`.
    degradation : Degradation

    Returns
    -------
    Degraded
    """
    weights = _check_kernel(kernel)
    tensor, observation = _canvas(_to_planes(sharp), len(weights), degradation)
    blurred = observation.predict(tensor, torch.from_numpy(weights)[None])[0].numpy()
    truth = observation.crop(tensor).numpy()
    grey = np.ndim(sharp) == 2
    return Degraded(
        image=_from_planes(_disturb(blurred, degradation), grey=grey),
        truth=_from_planes(truth, grey=grey),
        kernel=weights,
        offset=observation.offset,
        degradation=degradation,
    )


def degrade_field(sharp: ArrayLike, kernels: ArrayLike, degradation: Degradation) -> DegradedField:
    """Blur, sample and disturb a sharp image by a blur that varies across it.

    Each kernel is that of the middle of its region; between the middles they are interpolated
    linearly: y = g·(Σᵢ (wᵢ·x) ⋆ kᵢ)↓s + n with bilinear weights wᵢ of sum 1. So every point
    of the sharp image is spread by the kernel of its own place.

    Parameters
    ----------
    sharp : array_like, (H, W) or (H, W, C)
        As in `degrade`.
    kernels : array_like, (R, C, K, K)
        Those of the R × C regions of the low-resolution image, each as in `degrade`.
    degradation : Degradation

    Returns
    -------
    DegradedField
    """
    grid = np.asarray(kernels, dtype=np.float64)
    if grid.ndim != 4 or 0 in grid.shape:
        raise InputError(f"kernels have shape {grid.shape}; expected (R, C, K, K) with K odd")
    weights = np.stack([_check_kernel(kernel) for line in grid for kernel in line])
    canvas, observation = _canvas(_to_planes(sharp), weights.shape[-1], degradation)
    blurred = torch.zeros_like(observation.data)
    shares = _shares(observation, (grid.shape[0], grid.shape[1]))
    for share, kernel in zip(shares, torch.from_numpy(weights), strict=True):
        blurred += observation.predict(canvas * share, kernel[None])[0]
    grey = np.ndim(sharp) == 2
    return DegradedField(
        image=_from_planes(_disturb(blurred.numpy(), degradation), grey=grey),
        truth=_from_planes(observation.crop(canvas).numpy(), grey=grey),
        kernels=weights.reshape(grid.shape),
        offset=observation.offset,
        degradation=degradation,
    )


def _shares(observation: Observation, grid: tuple[int, int]) -> Iterator[Tensor]:
    """Yield the weight of each region's kernel at the pixels of a canvas (H, W), row by row."""
    height, width = observation.data.shape[1:]
    axes = []
    for length, side, count in zip(
        (height, width), observation.canvas_shape[1:], grid, strict=True
    ):
        position = (np.arange(side) - observation.margin - observation.offset) / observation.scale
        axes.append(torch.from_numpy(region_weights(position, length, count)).float())
    for row, column in np.ndindex(*grid):
        yield axes[0][:, row, None] * axes[1][None, :, column]


def _canvas(
    planes: NDArray[np.float32], size: int, degradation: Degradation
) -> tuple[Tensor, Observation]:
    """Return what kernels of a size need of a sharp image (C, H, W), and its observation."""
    scale, reach = degradation.scale, size // 2
    margin = reach if degradation.border == "extend" else 0
    shape = [(length - 2 * margin) // scale for length in planes.shape[1:]]
    # A circular border needs an image at least as large as what it is padded by.
    if min(shape) < 1 or min(planes.shape[1:]) <= reach:
        raise InputError(
            f"sharp image has {planes.shape[1]}×{planes.shape[2]} pixels; too small for a kernel "
            f"of {size} pixels and scale {scale}"
        )
    canvas = planes[:, : scale * shape[0] + 2 * margin, : scale * shape[1] + 2 * margin]
    observation = Observation(
        data=torch.zeros(len(canvas), *shape),
        scale=scale,
        kernel_size=size,
        geometry=degradation.geometry,
        border=degradation.border,
    )
    return torch.from_numpy(np.ascontiguousarray(canvas)), observation


def _disturb(blurred: NDArray[np.float32], degradation: Degradation) -> NDArray[Any]:
    """Apply gain, noise and rounding to (C, h, w)."""
    result = degradation.gain * blurred
    if degradation.noise > 0:
        rng = np.random.default_rng(degradation.seed)
        result = result + rng.normal(0, degradation.noise, result.shape)
    if degradation.quantise:
        return np.asarray(np.floor(255 * np.clip(result, 0, 1)), dtype=np.uint8)
    return np.asarray(result, dtype=np.float32)


def _to_planes(image: ArrayLike) -> NDArray[np.float32]:
    array = np.asarray(image)
    if array.ndim not in (2, 3):
        raise InputError(f"sharp image has shape {array.shape}; expected (H, W) or (H, W, C)")
    if array.dtype == np.uint8:
        array = array / np.float32(255)
    elif not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"sharp image is {array.dtype}; expected uint8 or floats")
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    return planes.astype(np.float32)


def _from_planes(planes: NDArray[Any], *, grey: bool) -> NDArray[Any]:
    return np.ascontiguousarray(planes[0] if grey else np.moveaxis(planes, 0, 2))


def _check_kernel(kernel: ArrayLike) -> NDArray[np.float32]:
    weights = np.asarray(kernel, dtype=np.float64)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or weights.shape[0] % 2 == 0:
        raise InputError(f"kernel has shape {weights.shape}; expected (K, K) with K odd")
    if not np.isfinite(weights).all() or not weights.sum() > 0:
        raise InputError("kernel has NaN, infinite or no positive values; its sum must be positive")
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def gaussian_kernel(
    variances: tuple[float, float],
    angle: float,
    *,
    scale: int,
    geometry: Geometry = "camera",
    size: int | None = None,
) -> NDArray[np.float32]:
    """Return an anisotropic Gaussian kernel, centred as the geometry requires.

    Parameters
    ----------
    variances : tuple of float
        λ1, λ2 along the principal axes, in px² of the sharp image.
    angle : float
        θ in radians, from the column axis towards the row axis.
    scale : int
    geometry : {"camera", "benchmark"}
    size : int, optional
        K; the published side for the scale if left out.

    Returns
    -------
    ndarray, (K, K)
        Of sum 1.
    """
    side = kernel_size(scale) if size is None else size
    kernels = render_gaussian(
        torch.tensor([variances], dtype=torch.float64),
        torch.tensor([angle], dtype=torch.float64),
        size=side,
        center=kernel_center(side, scale, geometry),
    )
    return np.asarray(kernels[0].numpy(), dtype=np.float32)


def interpolate(
    image: ArrayLike, scale: int, *, geometry: Geometry = "camera", border: Border = "extend"
) -> NDArray[np.float32]:
    """Enlarge an image by cubic splines, in the right place: the baseline of all scores.

    Pixel j of the result is taken at position (j − δ)/s of the image.

    Parameters
    ----------
    image : array_like, (h, w) or (h, w, C)
        Of any real type; integers keep their unit.
    scale : int
    geometry : {"camera", "benchmark"}
        Determines δ.
    border : {"extend", "circular"}
        Beyond the borders: the nearest pixel, or the other side.

    Returns
    -------
    ndarray, float32, (s·h, s·w) or (s·h, s·w, C)
        Not clipped.
    """
    array = np.asarray(image, dtype=np.float64)
    if array.ndim not in (2, 3):
        raise InputError(f"image has shape {array.shape}; expected (h, w) or (h, w, C)")
    delta = phase(scale, geometry)
    positions = [(np.arange(scale * length) - delta) / scale for length in array.shape[:2]]
    grid = np.meshgrid(*positions, indexing="ij")
    mode = "grid-wrap" if border == "circular" else "nearest"
    channels = array[..., None] if array.ndim == 2 else array
    planes = [
        map_coordinates(channels[..., c], grid, order=3, mode=mode)
        for c in range(channels.shape[2])
    ]
    result = np.stack(planes, axis=-1).astype(np.float32)
    return result[..., 0] if array.ndim == 2 else result
