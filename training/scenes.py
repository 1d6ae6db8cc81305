"""Scenes to train on: sharp crops of all kinds, their blur, and their recording."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from napari_blindsr.physics.acquisition import (
    Acquisition,
    haze,
    random_camera,
    random_microscope,
)
from napari_blindsr.physics.kernels import render_gaussian, side_for
from napari_blindsr.physics.kernels.moments import core_covariance
from napari_blindsr.physics.observation import kernel_center
from training.batches import Blur, random_blur, random_crop
from training.real import soft_object

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

KINDS = ("leaves", "photographs", "cells", "micrographs", "soft")
SHARES = (0.14, 0.34, 0.06, 0.37, 0.09)
"""Probability of each kind."""

MICROSCOPY = (2, 3, 4)
"""Kinds that a microscope records."""

SOFTENED = 0.25
"""Probability that a microscope's scene is softened: objects may be soft."""

OPTICS = 0.35
"""Probability that the optics of a microscope are given."""

EXCESS = (0.12, 0.22)
"""Mean and standard deviation of the logarithm of a real blur's width over diffraction's."""

EMPTY = 0.01
"""Smallest standard deviation of a crop."""

Bank = list[list["NDArray[np.uint8]"]]


class Scenes:
    """Sharp crops of all kinds."""

    def __init__(self, bank: Bank, micrographs: list[list[NDArray[np.float32]]]) -> None:
        self._bank = bank
        self._micrographs = micrographs

    def crop(self, side: int, rng: Generator) -> tuple[NDArray[np.float32], int]:
        """Return a grey crop (side, side) in [0, 1] and its kind."""
        for _ in range(4):
            sharp, kind = self._crop(side, rng)
            # Where there is nothing, nothing can be learnt.
            if sharp.std() > EMPTY:
                break
        return sharp, kind

    def _crop(self, side: int, rng: Generator) -> tuple[NDArray[np.float32], int]:
        kind = int(rng.choice(len(KINDS), p=SHARES))
        if kind == 4:
            return soft_object(side, rng), kind
        if kind != 3 or not self._micrographs:
            sharp = random_crop(self._bank[min(kind, 2)], min(kind, 2), side, rng)
        else:
            sharp = self._micrograph(side, rng)
        if kind in MICROSCOPY:
            if rng.random() < 0.3:
                sharp = sharp ** np.float32(math.exp(rng.uniform(-0.4, 0.4)))
            if rng.random() < 0.1:
                sharp = sharp.max() - sharp
            if rng.random() < SOFTENED:
                width = math.exp(rng.uniform(math.log(0.7), math.log(7)))
                sharp = gaussian_filter(sharp, width)
            if rng.random() < 0.3:
                light, more = haze(sharp.shape, rng)
                sharp = (sharp * light + more) / 1.5
        return np.ascontiguousarray(sharp, dtype=np.float32), kind

    def _micrograph(self, side: int, rng: Generator) -> NDArray[np.float32]:
        sizes = self._micrographs[int(rng.integers(len(self._micrographs)))]
        picture = sizes[int(rng.integers(len(sizes)))]
        starts = [int(rng.integers(max(1, n - side + 1))) for n in picture.shape]
        crop = picture[starts[0] : starts[0] + side, starts[1] : starts[1] + side]
        while min(crop.shape) < side:
            missing = [min(n, side - n) for n in crop.shape]
            crop = np.pad(crop, [(0, max(0, m)) for m in missing], mode="symmetric")
        if rng.random() < 0.6:
            # Parts of a picture are pictures, too.
            crop = (crop - crop.min()) / (np.ptp(crop) + 1e-3)
            crop = crop * rng.uniform(0.3, 1) + rng.choice([0, rng.uniform(0, 0.3)])
        if rng.random() < 0.5:
            crop = crop.T
        return crop[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]


def blur_of(kind: int, scale: int, rng: Generator) -> Blur:
    """Draw a blur; for micrographs more often a narrow Gaussian, as optics have."""
    if kind in MICROSCOPY and rng.random() < 0.5:
        sigma = scale * math.exp(rng.uniform(math.log(0.35), math.log(1.4)))
        ratio = math.exp(rng.normal(0, 0.08))
        return gaussian_blur(sigma * ratio, sigma / ratio, rng.uniform(0, math.pi), scale)
    return random_blur(scale, rng, microscope=kind in MICROSCOPY)


def gaussian_blur(first: float, second: float, angle: float, scale: int) -> Blur:
    """Return a Gaussian blur of standard deviations in HR px."""
    size = side_for(3.2 * max(first, second), scale)
    kernel = render_gaussian(
        torch.tensor([[first**2, second**2]]).double(),
        torch.tensor([angle]).double(),
        size=size,
        center=kernel_center(size, scale, "camera"),
    ).float()
    return Blur(kernel=kernel[0], family=0, covariance=core_covariance(kernel)[0])


def optics_of(blur: Blur, scale: int, rng: Generator) -> float:
    """Return the logarithm of the variance of diffraction alone, in LR px²."""
    excess = float(np.clip(math.exp(rng.normal(*EXCESS)), 0.8, 2.0))
    mean = 0.5 * float(torch.logdet(blur.covariance.double() / scale**2))
    return mean - 2 * math.log(excess)


def recording_of(kind: int, rng: Generator) -> Acquisition:
    """Draw the acquisition of a kind of scene."""
    microscope = kind in MICROSCOPY and rng.random() < 0.8
    return random_microscope(rng) if microscope else random_camera(rng)


def given_optics(kind: int, blur: Blur, scale: int, rng: Generator) -> float:
    """Return the logarithm of the variance of diffraction if the optics are given, else NaN."""
    given = kind in MICROSCOPY and rng.random() < OPTICS
    return optics_of(blur, scale, rng) if given else math.nan
