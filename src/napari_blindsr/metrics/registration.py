"""Bringing two images to the same place, and to the same intensities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import fft2, ifft2
from scipy.ndimage import fourier_shift
from skimage.registration import phase_cross_correlation

from napari_blindsr.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

UPSAMPLING = 100
"""Shifts are found to 1/100 of a pixel."""

ROUNDS = 5
FARTHEST = 0.25
"""Larger shifts, as a part of a side, are no registration but another place."""

RINGING = 2
"""Pixels beyond the shift that are left out at each border."""


@dataclass(frozen=True, kw_only=True)
class Registered:
    """Two stacks of planes (C, H, W) in the same place, without the borders that have no partner.

    `shift` is the rows and columns by which the image was moved.
    """

    image: NDArray[np.float64]
    reference: NDArray[np.float64]
    shift: tuple[float, float]


def find_shift(image: NDArray[np.float64], reference: NDArray[np.float64]) -> tuple[float, float]:
    """Return the rows and columns by which a plane (H, W) has to be moved to lie on another.

    The maximum of the cross-correlation, upsampled (Guizar-Sicairos et al., Optics Letters 33:156,
    2008). Both planes are tapered to their borders. The taper stays while the picture moves, which
    makes the estimate too small; so the plane is moved and compared again until nothing is left.

    Raises
    ------
    InputError
        If they lie more than a quarter of a side apart, or one is constant.
    """
    taper = np.outer(*(np.hanning(side + 2)[1:-1] for side in reference.shape))
    fixed = _tapered(reference, taper)
    total = np.zeros(2)
    for _ in range(ROUNDS):
        moved = image if not total.any() else move(image, (total[0], total[1]))
        found, _, _ = phase_cross_correlation(
            fixed, _tapered(moved, taper), upsample_factor=UPSAMPLING, normalization=None
        )
        total += found
        if (np.abs(total) > FARTHEST * np.array(reference.shape)).any():
            raise InputError(
                f"the images lie {total[0]:.0f} rows and {total[1]:.0f} columns apart; expected "
                "the same place"
            )
        if np.abs(found).max() < 1 / UPSAMPLING:
            break
    return float(total[0]), float(total[1])


def _tapered(plane: NDArray[np.float64], taper: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = plane - np.average(plane, weights=taper)
    if not centred.any():
        raise InputError("one of the images is constant; expected something to register by")
    result: NDArray[np.float64] = centred * taper
    return result


def move(plane: NDArray[np.float64], shift: tuple[float, float]) -> NDArray[np.float64]:
    """Return a plane (H, W) moved by rows and columns, without blurring it.

    In Fourier space, where a shift is exact; mirrored at its borders, so that both ends of the
    period agree.
    """
    height, width = plane.shape
    mirrored = np.pad(plane, ((0, height), (0, width)), mode="symmetric")
    moved = ifft2(fourier_shift(fft2(mirrored), shift)).real
    result: NDArray[np.float64] = moved[:height, :width]
    return result


def register(image: NDArray[np.float64], reference: NDArray[np.float64]) -> Registered:
    """Move planes (C, H, W) to where others lie, by the mean of their channels."""
    shift = find_shift(image.mean(axis=0), reference.mean(axis=0))
    if max(map(abs, shift)) < 1 / UPSAMPLING:
        return Registered(image=image, reference=reference, shift=(0.0, 0.0))
    margins = [math.ceil(abs(distance)) + RINGING for distance in shift]
    inner = (
        slice(None),
        *(slice(m, side - m) for m, side in zip(margins, reference.shape[1:], strict=True)),
    )
    moved = np.stack([move(plane, shift) for plane in image])
    return Registered(image=moved[inner], reference=reference[inner], shift=shift)


def fit_intensity(
    image: NDArray[np.float64], reference: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, float]:
    """Return a·image + b with the a and b that bring it closest to a reference, and both.

    Least squares over all pixels and channels; a constant image has a = 0.
    """
    centred = image - image.mean()
    power = float((centred**2).sum())
    factor = float((centred * reference).sum()) / power if power > 0 else 0.0
    offset = float(reference.mean() - factor * image.mean())
    return factor * image + offset, factor, offset
