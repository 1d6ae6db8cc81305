"""Batches of blurred, coarse and noisy crops, with their truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from napari_blindsr.estimation.network import FAMILY_ORDER, NARROWEST_BLUR, WIDEST_BLUR
from napari_blindsr.physics.kernels import Airy, Disk, Line, Motion, render_gaussian, side_for
from napari_blindsr.physics.kernels.moments import (
    core_covariance,
    covariance_of,
    log_covariance,
    principal_axes,
)
from napari_blindsr.physics.noise import noise_map
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.solvers.nonblind.data_step import DataModule

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_blindsr.physics.kernels import KernelFamily

WIDEST = WIDEST_BLUR
"""Largest variance of a blur in LR px²."""

SHARES = (0.28, 0.36, 0.36)
"""Probability of dead leaves, photographs and micrographs."""

MICROGRAPHS = 2
"""Index of the micrographs among them."""

GAUSSIAN = 0.6
"""Probability of a Gaussian blur."""

MISJUDGED = 0.3
"""Probability that the image prior gets a slightly wrong kernel, as estimates are."""

MISJUDGEMENT = (0.05, 0.5)
"""Limits of the standard deviation of the error of its log variances."""

MISTAKEN = 0.5
"""Probability that another blur is then replaced by a Gaussian."""

SOFTENED, SHARPENED = 0.3, 0.08
"""Probabilities that a picture is softened, or sharpened as cameras and editors do."""

ROUNDING_NOISE = 1.5 / 255
"""Noise below this is that of rounding, which the prior assumes anyway."""

READ_NOISE = 1.5
"""Read noise of the simulated cameras, in photons."""


@dataclass(frozen=True, kw_only=True)
class Blur:
    """A kernel (K, K) of a scale, its family and the covariance of its core in px²."""

    kernel: Tensor
    family: int
    covariance: Tensor


def random_blur(scale: int, rng: Generator, *, microscope: bool = False) -> Blur:
    """Draw a blur, most often a Gaussian.

    Widths cover the test data of the field and microscopes, whose blurs are wider and rounder.
    """
    index = 0
    if rng.random() >= GAUSSIAN:
        index = int(rng.integers(1, len(FAMILY_ORDER)))
    if index == 0:
        return _random_gaussian(scale, rng, microscope=microscope)
    family = _random_family(FAMILY_ORDER[index], scale, rng)
    size = family.size(scale)
    kernel = family.sample(
        1,
        scale=scale,
        size=size,
        center=kernel_center(size, scale, "camera"),
        generator=torch.Generator().manual_seed(int(rng.integers(2**62))),
    )
    return Blur(kernel=kernel[0], family=index, covariance=core_covariance(kernel)[0])


def _random_gaussian(scale: int, rng: Generator, *, microscope: bool) -> Blur:
    if not microscope and rng.random() < 0.5:
        # As in the published test data, a little wider.
        variances = rng.uniform(NARROWEST_BLUR * scale, min(3.0 * scale, 12), size=2)
    else:
        low, high = math.log(NARROWEST_BLUR * scale), math.log(WIDEST * scale**2)
        first = rng.uniform(low, high)
        near = rng.random() < (0.9 if microscope else 0.6)
        second = first + rng.normal(0, 0.35) if near else rng.uniform(low, high)
        variances = np.exp(np.clip([first, second], low, high))
    size = side_for(3.2 * math.sqrt(variances.max()), scale)
    kernel = render_gaussian(
        torch.tensor(variances[None]),
        torch.tensor([rng.uniform(0, math.pi)]).double(),
        size=size,
        center=kernel_center(size, scale, "camera"),
    ).float()
    return Blur(kernel=kernel[0], family=0, covariance=core_covariance(kernel)[0])


def _random_family(name: str, scale: int, rng: Generator) -> KernelFamily:
    """Return a family that draws kernels of one width."""
    if name == "disk":
        # Half a pixel of the HR grid to two LR pixels.
        radius = math.exp(rng.uniform(math.log(0.6), math.log(2.2 * scale + 1)))
        return Disk(radius=(radius, radius))
    if name == "line":
        length = rng.uniform(0.5, 1.6 * scale + 1.5)
        return Line(half_length=(length, length))
    if name == "motion":
        extent = rng.uniform(0.4 * scale, 1.6 * scale + 0.5)
        return Motion(extent=(extent, extent), persistence=math.exp(rng.uniform(-3, 0)))
    # The core of an Airy pattern has a width of about 0.21 λ/NA.
    aperture = rng.uniform(0.3, 0.9)
    wavelength = 520.0
    core = math.exp(rng.uniform(math.log(0.25), math.log(1.2)))
    pixel_size = 0.21 * wavelength / aperture / core
    depth = wavelength / aperture**2
    defocus = depth * rng.uniform(0, 1.2)
    return Airy(
        numerical_aperture=aperture,
        wavelength=wavelength,
        pixel_size=pixel_size,
        refractive_index=1.0,
        defocus=(defocus, defocus),
    )


def random_kind(bank: list[list[NDArray[np.uint8]]], rng: Generator) -> int:
    """Draw a kind of picture."""
    shares = np.array(SHARES[: len(bank)])
    return int(rng.choice(len(bank), p=shares / shares.sum()))


def random_crop(
    pictures: list[NDArray[np.uint8]], kind: int, side: int, rng: Generator
) -> NDArray[np.float32]:
    """Return a grey crop (side, side) in [0, 1] of a kind of pictures, padded by reflection."""
    picture = pictures[int(rng.integers(len(pictures)))]
    starts = [int(rng.integers(max(1, n - side + 1))) for n in picture.shape[:2]]
    crop = picture[starts[0] : starts[0] + side, starts[1] : starts[1] + side]
    missing = [side - n for n in crop.shape[:2]]
    if max(missing) > 0:
        crop = np.pad(crop, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    crop = crop.astype(np.float32)
    mixture = rng.dirichlet([0.5, 0.5, 0.5]) if rng.random() < 0.7 else np.array([0.3, 0.59, 0.11])
    grey = np.asarray(crop @ mixture.astype(np.float32) / 255, dtype=np.float32)
    if kind != MICROGRAPHS:
        grey = _refocus(grey, rng)
        grey = grey ** np.float32(np.exp(rng.uniform(-0.5, 0.5)))
        if rng.random() < 0.3:
            grey = 1 - grey
        if rng.random() < 0.3:
            contrast = rng.uniform(0.3, 1)
            grey = grey * contrast + rng.uniform(0, 1 - contrast)
    if rng.random() < 0.5:
        grey = grey.T
    grey = grey[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]
    return np.ascontiguousarray(grey, dtype=np.float32)


def _refocus(grey: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    """Soften or sharpen some pictures, since pictures differ in sharpness."""
    choice = rng.random()
    if choice < SOFTENED:
        return np.asarray(gaussian_filter(grey, rng.uniform(0.25, 0.9)), dtype=np.float32)
    if choice < SOFTENED + SHARPENED:
        detail = grey - gaussian_filter(grey, rng.uniform(0.7, 1.5))
        return np.asarray(np.clip(grey + rng.uniform(0.2, 0.8) * detail, 0, 1), dtype=np.float32)
    return grey


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A recorded plane (h, w), and its noise: variance = shot · level + base."""

    plane: NDArray[np.float32]
    shot: float
    base: float


def observe(blurred: NDArray[np.float32], kind: int, rng: Generator) -> Observed:
    """Add shot noise, read noise and rounding, as a camera or a file format does."""
    if kind == MICROGRAPHS and rng.random() < 0.85:
        peak = math.exp(rng.uniform(math.log(25), math.log(3000)))
        arrived = rng.poisson(np.maximum(blurred, 0) * peak) + rng.normal(
            0, READ_NOISE, blurred.shape
        )
        return Observed(
            plane=np.asarray(arrived / peak, dtype=np.float32),
            shot=1 / peak,
            base=(READ_NOISE / peak) ** 2,
        )
    noise = 0.0
    if rng.random() < 0.4:
        noise = math.exp(rng.uniform(math.log(0.002), math.log(0.04)))
        blurred = blurred + rng.normal(0, noise, blurred.shape).astype(np.float32)
    if rng.random() < 0.7:
        blurred = np.floor(255 * np.clip(blurred, 0, 1)).astype(np.float32) / np.float32(255)
    # Errors of rounding are those that the prior reckons with anyway.
    base = noise**2 if noise > ROUNDING_NOISE else 0.0
    return Observed(plane=np.asarray(blurred, dtype=np.float32), shot=0.0, base=base)


@dataclass(frozen=True, kw_only=True)
class KernelBatch:
    """LR crops (n, h, w) with the covariance (n, 2, 2) in LR px² and the family (n,) of each."""

    planes: Tensor
    scale: int
    covariance: Tensor
    family: Tensor


SIZES = ((32, 24), (48, 16), (64, 12), (96, 6), (128, 4))
"""Sides of LR crops and their number in a batch."""


def kernel_batch(bank: list[list[NDArray[np.uint8]]], rng: Generator) -> KernelBatch:
    """Make a batch for the kernel estimator: one scale and size, a blur for each crop."""
    scale = int(rng.choice([1, 2, 3, 4, 6, 8], p=[0.15, 0.25, 0.2, 0.25, 0.05, 0.1]))
    side, count = SIZES[int(rng.choice(len(SIZES), p=[0.15, 0.25, 0.4, 0.1, 0.1]))]
    if side * scale > 512:
        side, count = SIZES[2]
    planes, covariances, families = [], [], []
    for _ in range(count):
        kind = random_kind(bank, rng)
        blur = random_blur(scale, rng, microscope=kind == MICROGRAPHS)
        reach = len(blur.kernel) - 1
        sharp = random_crop(bank[kind], kind, scale * side + reach, rng)
        blurred = F.conv2d(
            torch.from_numpy(sharp)[None, None], blur.kernel[None, None], stride=scale
        )[0, 0, :side, :side]
        planes.append(torch.from_numpy(observe(blurred.numpy(), kind, rng).plane))
        covariances.append(blur.covariance / scale**2)
        families.append(blur.family)
    return KernelBatch(
        planes=torch.stack(planes),
        scale=scale,
        covariance=torch.stack(covariances),
        family=torch.tensor(families),
    )


@dataclass(frozen=True, kw_only=True)
class ImageBatch:
    """Sharp crops (n, H, W), their recordings (n, h, w), the kernels, the noise.

    The noise is a standard deviation for each recorded pixel (n, h, w); `log_variance_sd` (n,) is
    that of the error of the kernels' log variances; `light` (n,) marks shot noise.
    """

    sharp: Tensor
    data: Tensor
    kernels: Tensor
    scale: int
    noise: Tensor
    log_variance_sd: Tensor
    light: Tensor


def image_batch(
    bank: list[list[NDArray[np.uint8]]],
    rng: Generator,
    *,
    side: int,
    count: int,
    misjudged_share: float = MISJUDGED,
) -> ImageBatch:
    """Make a batch for the image prior: one scale, a blur for each crop, periodic borders."""
    scale = int(rng.choice([1, 2, 3, 4, 6, 8], p=[0.1, 0.25, 0.2, 0.35, 0.03, 0.07]))
    side = side // scale * scale
    kinds = [random_kind(bank, rng) for _ in range(count)]
    blurs = [random_blur(scale, rng, microscope=kind == MICROGRAPHS) for kind in kinds]
    kernels = stack([blur.kernel for blur in blurs])
    crops = [random_crop(bank[kind], kind, side, rng) for kind in kinds]
    sharp = torch.from_numpy(np.stack(crops))
    blurred = DataModule(sharp[..., ::scale, ::scale], kernels, scale).predict(sharp)
    data, noises, lights = [], [], []
    for plane, kind in zip(blurred.numpy(), kinds, strict=True):
        observed = observe(plane, kind, rng)
        data.append(torch.from_numpy(observed.plane))
        lights.append(observed.shot > 0)
        # The noise is an estimate, too.
        level = noise_map(observed.plane, shot=observed.shot, base=observed.base)
        noises.append(torch.from_numpy(level * np.float32(math.exp(rng.normal(0, 0.15)))))
    errors = [rng.uniform(*MISJUDGEMENT) if rng.random() < misjudged_share else 0.0 for _ in blurs]
    given = [misjudged(blur, d, scale, rng) for blur, d in zip(blurs, errors, strict=True)]
    return ImageBatch(
        sharp=sharp,
        data=torch.stack(data),
        kernels=stack(given),
        scale=scale,
        noise=torch.stack(noises),
        log_variance_sd=torch.tensor(errors, dtype=torch.float32),
        light=torch.tensor(lights),
    )


def misjudged(blur: Blur, log_variance_sd: float, scale: int, rng: Generator) -> Tensor:
    """Return a Gaussian kernel with an error of its log covariance; without an error the true one.

    Half of the error is common to all directions.
    """
    if log_variance_sd == 0 or (blur.family != 0 and rng.random() >= MISTAKEN):
        return blur.kernel
    common, *apart = rng.normal(0, log_variance_sd / math.sqrt(2), 4)
    error = torch.tensor([common + apart[0], common + apart[1], apart[2]])
    found = covariance_of(log_covariance(blur.covariance.double()) + error)
    variances, angle = principal_axes(found)
    size = len(blur.kernel)
    return render_gaussian(
        variances[None], angle[None], size=size, center=kernel_center(size, scale, "camera")
    ).float()[0]


def stack(kernels: list[Tensor]) -> Tensor:
    """Pad kernels to one size, equally on all sides, and stack them."""
    size = max(len(kernel) for kernel in kernels)
    padded = []
    for kernel in kernels:
        reach = (size - len(kernel)) // 2
        padded.append(F.pad(kernel, (reach, reach, reach, reach)))
    return torch.stack(padded)
