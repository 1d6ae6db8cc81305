"""The residual of an image and its kernel, and whether it is noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_blindsr.errors import InputError
from napari_blindsr.physics.noise import estimate_noise, shot_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 2
"""Largest distance of pixels whose residuals are compared, along each axis."""

LAGS = tuple(
    (row, column)
    for row in range(REACH + 1)
    for column in range(-REACH, REACH + 1)
    if row > 0 or column > 0
)
"""Distances that are compared; their opposites add nothing."""

BORDER_MASS = 0.01
"""Pixels count whose kernel has less than this part of its weight beyond the border."""

STRIP = 2**20
"""Values that are laid out at once where a prediction is made in strips."""


@dataclass(frozen=True, kw_only=True)
class Residual:
    """Observation minus the forward model of the result, in units of the noise.

    Attributes
    ----------
    values : ndarray, (C, h, w)
        NaN where pixels are missing, or the kernel reaches beyond the border.
    noise : float
        Standard deviation of the noise in the source's intensities; the root mean square of shot
        noise.
    level : float
        Root mean square of the values; about 1 if image and kernel explain all but the noise,
        less if the image follows the noise.
    whiteness : float
        Root mean square autocorrelation at the 12 shortest distances, in units of white noise's.
        Its square times 12 then follows a χ² distribution with 12 degrees of
        freedom for one channel: 1 on the average, below 1.5 in 99 of 100 cases.
    correlation : float
        Root mean square autocorrelation at these distances, less the mean of white noise:
        the strength of the pattern, however large the image.
    """

    values: NDArray[np.float64]
    noise: float
    level: float
    whiteness: float
    correlation: float


def predict(
    image: NDArray[np.float64],
    kernel: NDArray[np.floating],
    *,
    scale: int,
    geometry: Literal["camera", "benchmark"],
    border: Literal["extend", "circular"],
    gain: float = 1.0,
) -> NDArray[np.float64]:
    """Return the prediction (C, h, w) of an image (C, s·h, s·w): g·(x ⋆ k)↓s.

    An extended border repeats the nearest pixels; the options are those of
    `napari_blindsr.restore`.
    """
    # torch takes seconds to import.
    import torch  # noqa: PLC0415

    from napari_blindsr.physics.observation import Observation  # noqa: PLC0415

    size = [side // scale for side in image.shape[1:]]
    observation = Observation(
        data=torch.empty(len(image), *size),
        scale=scale,
        kernel_size=len(kernel),
        geometry=geometry,
        gain=gain,
    )
    reach = len(kernel) // 2
    if border == "circular" and min(image.shape[1:]) <= reach:
        raise InputError(
            f"an image of {image.shape[1]} × {image.shape[2]} pixels is smaller than the reach of "
            f"its kernel of {len(kernel)} × {len(kernel)}"
        )
    sides = ((0, 0), (reach, reach), (reach, reach))
    canvas = np.pad(image, sides, mode="edge" if border == "extend" else "wrap")
    # Doubles: intensities of 16 bit leave little room for a residual in single precision.
    planes = torch.from_numpy(np.ascontiguousarray(canvas, dtype=np.float64))
    weights = torch.from_numpy(np.ascontiguousarray(kernel, dtype=np.float64))[None]
    # For doubles torch lays out the input of each pixel, which takes K² times the memory.
    rows = max(1, STRIP // (len(image) * size[1] * kernel.size))
    predicted = np.empty((len(image), *size))
    for top in range(0, size[0], rows):
        bottom = min(top + rows, size[0])
        seen = planes[:, scale * top : scale * (bottom - 1) + len(kernel)]
        predicted[:, top:bottom] = observation.predict(seen, weights)[0].numpy()
    return predicted


def residual(
    source: NDArray[np.float64],
    predicted: NDArray[np.float64],
    kernel: NDArray[np.floating],
    *,
    scale: int,
    border: Literal["extend", "circular"],
    measured: NDArray[np.bool_] | None = None,
    noise: float | None = None,
    least: float = 0.0,
) -> Residual:
    """Return the residual of a source (C, h, w) and its prediction, and its statistics.

    Parameters
    ----------
    kernel : ndarray, (K, K)
        In pixels of the result; says how far the border reaches.
    measured : ndarray, bool, (h, w), optional
        Valid pixels.
    noise : float, optional
        Standard deviation; if left out, it is estimated, in each pixel where there is shot noise.
    least : float
        The least noise that there is, of rounding for instance.

    Raises
    ------
    InputError
        If there is no noise, or too few pixels are left.
    """
    if source.shape != predicted.shape:
        raise InputError(
            f"the source has shape {source.shape[1:]} and the result over the scale "
            f"{predicted.shape[1:]}; expected the same"
        )
    counts = np.ones(source.shape[1:], dtype=bool) if measured is None else measured.copy()
    if border == "extend" and (margin := border_margin(kernel, scale)):
        inner = np.zeros_like(counts)
        inner[margin:-margin, margin:-margin] = True
        counts &= inner
    if counts.sum() < 64:
        raise InputError(
            f"only {counts.sum()} pixels of the source lie farther from the border than the "
            "kernel reaches; expected at least 64"
        )
    levels = np.maximum(_noise_levels(source, measured, noise), least)
    if not (levels > 0).all():
        raise InputError("no noise is found in the source, and so there is no unit for a residual")
    values = np.where(counts, (source - predicted) / levels, np.nan)
    power, pairs = _autocorrelations(values, counts)
    white = float(np.mean(pairs * power))
    return Residual(
        values=values,
        noise=float(np.sqrt(np.mean(np.broadcast_to(levels, source.shape) ** 2))),
        level=float(np.sqrt(np.nanmean(values**2))),
        whiteness=float(np.sqrt(white)),
        correlation=math.sqrt(max(float(np.mean(power) - np.mean(1 / pairs)), 0.0)),
    )


def border_margin(kernel: NDArray[np.floating], scale: int) -> int:
    """Return how many pixels of the source at each border depend on pixels beyond it."""
    weights = np.asarray(kernel, dtype=np.float64)
    middle = (np.arange(len(weights)) - len(weights) // 2)[:, None]
    distance = np.maximum(np.abs(middle), np.abs(middle).T)
    total = weights.sum()
    for margin in range(len(weights) // 2 + 1):
        if weights[distance > margin].sum() < BORDER_MASS * total:
            return -(-margin // scale)
    return -(-(len(weights) // 2) // scale)


def _noise_levels(
    source: NDArray[np.float64], measured: NDArray[np.bool_] | None, noise: float | None
) -> NDArray[np.float64]:
    if noise is not None:
        return np.full((1, 1, 1), noise, dtype=np.float64)
    planes = source.astype(np.float32)
    levels = shot_noise(planes, measured)
    if levels is not None:
        return levels.astype(np.float64)
    return np.full((1, 1, 1), estimate_noise(planes, measured), dtype=np.float64)


def _autocorrelations(
    values: NDArray[np.float64], counts: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean square autocorrelation over channels for each lag, and the pairs of pixels.

    A pattern that all channels share is no more evidence than in one, so channels are averaged.
    """
    filled = np.where(counts, values, 0.0)
    number = counts.sum()
    filled -= np.where(counts, filled.sum(axis=(1, 2), keepdims=True) / number, 0.0)
    variance = (filled**2).sum(axis=(1, 2)) / number
    powers, pairs = [], []
    height, width = counts.shape
    for row, column in LAGS:
        here = (slice(0, height - row), slice(max(-column, 0), width - max(column, 0)))
        there = (slice(row, height), slice(max(column, 0), width - max(-column, 0)))
        both = float((counts[here] & counts[there]).sum())
        shared = (filled[(..., *here)] * filled[(..., *there)]).sum(axis=(1, 2)) / max(both, 1.0)
        safe = np.maximum(variance, np.finfo(float).tiny)
        powers.append(float(np.mean((shared / safe) ** 2)))
        pairs.append(max(both, 1.0))
    return np.array(powers), np.array(pairs)
