"""What images tell of their blur: taken by a network or off the power spectrum, and pooled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from napari_blindsr.candidates import candidate_weights, draw_candidates
from napari_blindsr.engine.device import choose_compute
from napari_blindsr.engine.estimator import FAMILY_ORDER, BlurReading, read_blur
from napari_blindsr.engine.kernels import Automatic, Gaussian
from napari_blindsr.engine.kernels.width import log_covariance
from napari_blindsr.engine.observation import phase
from napari_blindsr.engine.refine import gaussian_candidates, refine
from napari_blindsr.engine.spectral import spectral_covariance
from napari_blindsr.errors import InputError
from napari_blindsr.weights.shipped import load_image_prior, load_kernel_estimator

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_blindsr.engine.kernels import KernelFamily
    from napari_blindsr.engine.refine import Done
    from napari_blindsr.settings import Border, Geometry, Quality

ReadingSteps: TypeAlias = "Generator[Done, bool | None, tuple[BlurReading, Quality]]"

Reader = Literal["network", "spectrum"]
READERS: tuple[Reader, ...] = get_args(Reader)

SMALLEST_SIDE = 16
"""Of an image that tells of its blur, in LR pixels."""


def probabilities_of(reading: BlurReading) -> dict[str, float]:
    """Return how probable each kernel family is; empty where nothing is known of it."""
    values = reading.families.tolist()
    return dict(zip(FAMILY_ORDER, values, strict=True)) if values else {}


def family_of(family: KernelFamily, reading: BlurReading) -> KernelFamily:
    """Return the family that was asked for, or that a reading tells of."""
    if isinstance(family, Automatic):
        return family.chosen(probabilities_of(reading))
    return family


def refines(family: KernelFamily, *, reader: Reader, quality: Quality) -> bool:
    """Tell whether a reading is refined by how well it explains the data."""
    return reader == "network" and quality == "refined" and family.told_by_widths


def take_reading(
    data: NDArray[np.float32],
    *,
    measured: NDArray[np.bool_] | None,
    scale: int,
    family: KernelFamily,
    reader: Reader,
    geometry: Geometry,
    border: Border,
    device: str,
    quality: Quality,
    noise: float,
    seed: int,
) -> ReadingSteps:
    """Return what planes (C, h, w) tell of their blur, and in which quality it was taken.

    Parameters as in `read_planes`. Says how far a refinement is; told to stop, it leaves the blur
    as it was read, which is quality "fast".
    """
    height, width = data.shape[-2:]
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(
            f"the image is {height} × {width} pixels; expected at least {SMALLEST_SIDE} on each "
            "side to read a blur off"
        )
    # A device that does not exist shows before the work.
    compute = choose_compute(device, "auto")
    whole = data
    if measured is not None:
        # Smooth fillings have no detail, and so little weight.
        whole = inpaint_biharmonic(data, ~measured, channel_axis=0).astype(np.float32)
    if reader == "spectrum":
        covariance = spectral_covariance(torch.from_numpy(whole), scale, taper=border == "extend")
        unknown = torch.full((3,), math.nan)
        reading = BlurReading(
            mean=log_covariance(covariance).float(), deviation=unknown, families=torch.empty(0)
        )
        return reading, quality
    network, calibration = load_kernel_estimator()
    with compute.autocast:
        reading = read_blur(
            torch.from_numpy(whole).to(compute.device),
            scale,
            network.to(compute.device),
            calibration=calibration,
        )
    family = family_of(family, reading)
    if not refines(family, reader=reader, quality=quality):
        return reading, quality
    plane = torch.from_numpy(whole).mean(dim=0).to(compute.device)
    prior = load_image_prior().to(compute.device)
    if isinstance(family, Gaussian):
        center_offset = phase(scale, geometry)
        candidates = gaussian_candidates(
            reading, scale=scale, center_offset=center_offset, seed=seed
        )
        weights = torch.full((len(candidates),), 1 / len(candidates))
    else:
        candidates = draw_candidates(family, scale=scale, geometry=geometry, seed=seed)
        weights = candidate_weights(candidates, reading, scale)
    refined = yield from refine(
        plane,
        reading,
        prior,
        candidates=candidates,
        weights=weights,
        scale=scale,
        periodic=border == "circular",
        # The mean of channels with noise of their own has less of it.
        noise=noise / math.sqrt(len(whole)),
        autocast=compute.autocast,
    )
    return (reading, "fast") if refined is None else (refined, quality)


def pooled(readings: Sequence[BlurReading]) -> BlurReading:
    """Return what several images with one blur tell together.

    The more certain ones count for more; what makes the network err is common to them, so their
    number is no gain in certainty.
    """
    precisions = torch.stack([1 / reading.deviation.square() for reading in readings])
    means = torch.stack([reading.mean for reading in readings])
    variances = torch.stack([reading.deviation.square() for reading in readings])
    return BlurReading(
        mean=(precisions * means).sum(dim=0) / precisions.sum(dim=0),
        deviation=variances.mean(dim=0).sqrt(),
        families=torch.stack([reading.families for reading in readings]).mean(dim=0),
    )
