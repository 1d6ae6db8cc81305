"""Sample images that need no download: degraded images whose truth and kernel are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage import data

from napari_blindsr.fluorescence import Camera, fluorescent_cells
from napari_blindsr.simulate import Degradation, degrade, gaussian_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_blindsr.settings import Geometry

SCALE = 4


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A degraded image and the truth about it.

    Attributes
    ----------
    name : str
    label : str
        What a menu shows.
    image : ndarray, (h, w) or (h, w, 3)
        The low-resolution image.
    truth : ndarray, (s·h, s·w) or (s·h, s·w, 3)
        In the same unit.
    kernel : ndarray, float32, (K, K)
        Correlation kernel of sum 1.
    scale : int
        s.
    geometry : {"camera", "benchmark"}
    offset : float
        δ: low-resolution pixel i lies at pixel s·i + δ of the truth.
    pixel_size : float or None
        Side of a low-resolution pixel in µm, or None if it has no known size.
    origin : str
        Where the sharp image comes from.
    """

    name: str
    label: str
    image: NDArray[Any]
    truth: NDArray[Any]
    kernel: NDArray[np.float32]
    scale: int
    geometry: Geometry
    offset: float
    pixel_size: float | None
    origin: str


def fluorescence() -> Sample:
    """Return simulated cells, as a cooled camera would show them; 16 bit, 64×64 pixels."""
    kernel = gaussian_kernel((7.0, 5.0), 0.5, scale=SCALE)
    margin = kernel.shape[0] // 2
    side = 64 * SCALE + 2 * margin
    degraded = degrade(fluorescent_cells((side, side), seed=5), kernel, Degradation(scale=SCALE))
    camera = Camera()
    return Sample(
        name="fluorescence",
        label="Fluorescence, simulated (grey, 16 bit)",
        image=camera.expose(degraded.image, seed=6),
        truth=camera.counts(degraded.truth),
        kernel=degraded.kernel,
        scale=SCALE,
        geometry="camera",
        offset=degraded.offset,
        pixel_size=0.26,
        origin="simulated",
    )


def micrograph() -> Sample:
    """Return stained tissue under a bright-field microscope; RGB, 64×64 pixels.

    The source does not state the size of its pixels; 0.5 µm, that of a slide scanner with a
    20× objective, is an assumption.
    """
    return degraded_piece(
        name="micrograph",
        label="Micrograph, stained tissue (RGB)",
        sharp=data.immunohistochemistry(),
        corner=(200, 150),
        variances=(6.0, 4.0),
        angle=1.2,
        pixel_size=0.5 * SCALE,
        origin="skimage.data.immunohistochemistry",
    )


def photograph() -> Sample:
    """Return a photograph of a man with a camera; grey, 64×64 pixels.

    The networks that ship were not trained on it, as they were on scikit-image's colour
    photographs.
    """
    return degraded_piece(
        name="photograph",
        label="Photograph (grey)",
        sharp=data.camera(),
        corner=(40, 120),
        variances=(8.0, 4.0),
        angle=2.2,
        pixel_size=None,
        origin="skimage.data.camera",
    )


def degraded_piece(
    *,
    name: str,
    label: str,
    sharp: NDArray[np.uint8],
    corner: tuple[int, int],
    variances: tuple[float, float],
    angle: float,
    pixel_size: float | None,
    origin: str,
    side: int = 64,
) -> Sample:
    """Cut a piece out of a sharp 8-bit image and degrade it by a Gaussian, ×4, to 8 bit.

    Parameters
    ----------
    name, label, origin : str
        As in `Sample`.
    sharp : ndarray, uint8, (H, W) or (H, W, 3)
    corner : tuple of int
        Row and column of the piece; it needs 4·side + 18 pixels from there.
    variances : tuple of float
        λ1, λ2 of the blur, in px² of the sharp image.
    angle : float
        θ of the blur, in radians.
    pixel_size : float or None
        As in `Sample`.
    side : int
        Pixels of the degraded image, both ways.
    """
    kernel = gaussian_kernel(variances, angle, scale=SCALE)
    length = side * SCALE + 2 * (kernel.shape[0] // 2)
    rows, columns = (slice(start, start + length) for start in corner)
    degraded = degrade(sharp[rows, columns], kernel, Degradation(scale=SCALE, quantise=True))
    return Sample(
        name=name,
        label=label,
        image=degraded.image,
        truth=np.rint(255 * degraded.truth).astype(np.uint8),
        kernel=degraded.kernel,
        scale=SCALE,
        geometry="camera",
        offset=degraded.offset,
        pixel_size=pixel_size,
        origin=origin,
    )


SAMPLES: tuple[Callable[[], Sample], ...] = (fluorescence, micrograph, photograph)
"""Each makes one sample; what is appended here is inherited by the tests."""
