"""Training of kernel estimator and image prior together, for the error of the restored image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from skimage import data as pictures
from skimage.transform import resize
from torch import nn

from napari_blindsr.estimation.network import KernelEstimator, Votes
from napari_blindsr.physics.acquisition import Acquisition
from napari_blindsr.physics.kernels.moments import covariance_of, log_covariance
from napari_blindsr.physics.noise import (
    estimate_noise,
    noise_map,
    noise_statistics,
    shot_noise,
    smooth_range,
)
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.solvers.nonblind.conditions import NOISE_RANGE, UNEXPLAINED_RANGE
from napari_blindsr.solvers.nonblind.data_step import DataModule, Round
from napari_blindsr.solvers.nonblind.unfolded import UnfoldedPrior
from napari_blindsr.weights.tensors import read_tensors, shipped_file
from training.batches import Blur, misjudged, stack
from training.real import is_validation, read_micrograph, reduced, soft_object
from training.scenes import (
    Scenes,
    blur_of,
    gaussian_blur,
    given_optics,
    recording_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_blindsr.solvers.device import Compute

FAMILY_WEIGHT = 0.1
LIKELIHOOD_WEIGHT = 0.15
"""Weight of the family's cross entropy in the likelihood, and of the likelihood in the loss."""

EARLIER = 0.1
"""Weight of the earlier rounds in the loss."""

TINY = 1e-6
"""Added to mean squared errors: a PSNR of 60 dB is perfect."""

BLIND, MISJUDGED = 0.62, 0.12
"""Fractions of the crops that are restored with the estimated kernel, and with a wrong one."""

UNIT = (-0.2, 0.8)
"""Limits of the logarithm of the range of a whole image, over that of a crop."""

SCALES = (0.08, 0.36, 0.16, 0.33, 0.03, 0.04)
SHAPES = {1: (112, 5), 2: (112, 5), 3: (144, 3), 4: (176, 2), 6: (192, 2), 8: (256, 1)}
"""Probability of each scale; side of its sharp crops and their number in a batch."""


class Both(nn.Module):
    """Both networks."""

    def __init__(self) -> None:
        super().__init__()
        self.estimator = KernelEstimator()
        self.prior = UnfoldedPrior()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Sharp crops (n, H, W) and their recordings (n, h, w), in the unit of the prior.

    The estimated noise (n, h, w); its statistics (n, S); optics (n,) or NaN; the true kernels, the
    covariances in LR px², the families, and whether each is restored with the estimated kernel.
    """

    sharp: Tensor
    data: Tensor
    planes: Tensor
    noise: Tensor
    statistics: Tensor
    slope: Tensor
    optics: Tensor
    kernels: Tensor
    covariance: Tensor
    family: Tensor
    blind: Tensor
    scale: int


def observed(
    sharp: NDArray[np.float32],
    blur: Blur,
    record: Acquisition,
    rng: Generator,
    *,
    scale: int,
    optics: float = math.nan,
    given: Tensor | None = None,
) -> Batch:
    """Return a batch of one crop (H, W), blurred with periodic borders and recorded.

    It is restored with the `given` kernel, or with the estimated one.
    """
    truth = torch.from_numpy(sharp)[None]
    blurred = DataModule(truth[..., ::scale, ::scale], blur.kernel, scale).predict(truth)[0].numpy()
    plane = record.record(blurred, rng)
    noise = estimate_noise(plane[None])
    levels = shot_noise(plane[None])
    level = noise_map(plane, shot=0.0, base=noise**2) if levels is None else levels[0]
    low, high = smooth_range(plane)
    unit = (high - low) * math.exp(rng.uniform(*UNIT))

    def one(value: NDArray[np.floating] | float) -> Tensor:
        return torch.from_numpy(np.asarray(value, dtype=np.float32))[None]

    return Batch(
        # The offset of all pixels is no part of the object.
        sharp=one((sharp + record.offset - low) / unit),
        data=one((plane - low) / unit),
        planes=one(plane),
        noise=one(level * math.exp(rng.normal(0, 0.1)) / unit),
        statistics=one(noise_statistics(plane, noise)),
        slope=one(slope_of(plane) / unit),
        optics=one(optics),
        kernels=(blur.kernel if given is None else given)[None],
        covariance=blur.covariance[None] / scale**2,
        family=torch.tensor([blur.family]),
        blind=torch.tensor([given is None]),
        scale=scale,
    )


def together(parts: list[Batch]) -> Batch:
    """Return one batch of several with a common scale and size."""

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    return Batch(
        sharp=joined("sharp"),
        data=joined("data"),
        planes=joined("planes"),
        noise=joined("noise"),
        statistics=joined("statistics"),
        slope=joined("slope"),
        optics=joined("optics"),
        kernels=stack([part.kernels[0] for part in parts]),
        covariance=joined("covariance"),
        family=joined("family"),
        blind=joined("blind"),
        scale=parts[0].scale,
    )


def joint_batch(
    scenes: Scenes, rng: Generator, *, scale: int | None = None, blind: float = BLIND
) -> Batch:
    """Make a batch: one scale, a blur for each crop, periodic borders."""
    if scale is None:
        scale = int(rng.choice(list(SHAPES), p=SCALES))
    side, count = SHAPES[scale]
    side = (side + int(rng.integers(-2, 3)) * 8) // scale * scale
    parts = []
    for _ in range(count):
        sharp, kind = scenes.crop(side, rng)
        blur = blur_of(kind, scale, rng)
        given, mode = blur.kernel, rng.random()
        if mode > max(blind, 1 - MISJUDGED):
            given = misjudged(blur, rng.uniform(0.05, 0.5), scale, rng)
        parts.append(
            observed(
                sharp,
                blur,
                recording_of(kind, rng),
                rng,
                scale=scale,
                optics=given_optics(kind, blur, scale, rng),
                given=None if mode < blind else given,
            )
        )
    return together(parts)


def slope_of(plane: NDArray[np.float32]) -> float:
    """Return the root mean square of the differences between neighbours."""
    return float(
        np.sqrt(np.mean([np.mean(np.square(np.diff(plane, axis=axis))) for axis in (0, 1)]))
    )


@dataclass(frozen=True, kw_only=True)
class BlurBatch:
    """Recorded crops (n, h, w) for the estimator alone."""

    planes: Tensor
    optics: Tensor
    covariance: Tensor
    family: Tensor
    scale: int


def blur_batch(scenes: Scenes, rng: Generator) -> BlurBatch:
    """Make a batch of crops of one size for the estimator; borders as cameras have them."""
    scale = int(rng.choice([1, 2, 3, 4, 6, 8], p=[0.12, 0.32, 0.16, 0.3, 0.04, 0.06]))
    side = round(math.exp(rng.uniform(math.log(24), math.log(144))))
    side = min(side, 440 // scale)
    count = int(np.clip(40_000 // side**2, 2, 12))
    planes, optics, covariances, families = [], [], [], []
    for _ in range(count):
        crop_side = scale * side
        sharp, kind = scenes.crop(crop_side + 8 * scale, rng)
        blur = blur_of(kind, scale, rng)
        # Enough beyond the border for all but the widest blur.
        whole = torch.from_numpy(sharp)[None]
        seen = DataModule(whole[..., ::scale, ::scale], blur.kernel, scale).predict(whole)[0]
        blurred = seen[4 : 4 + side, 4 : 4 + side].numpy()
        planes.append(torch.from_numpy(recording_of(kind, rng).record(blurred, rng)))
        optics.append(given_optics(kind, blur, scale, rng))
        covariances.append(blur.covariance / scale**2)
        families.append(blur.family)
    return BlurBatch(
        planes=torch.stack(planes),
        optics=torch.tensor(optics),
        covariance=torch.stack(covariances),
        family=torch.tensor(families),
        scale=scale,
    )


def render(logarithm: Tensor, size: int, scale: int) -> Tensor:
    """Return Gaussian kernels (n, size, size) of log covariances in LR px²; differentiable."""
    inverse = covariance_of(-logarithm) / scale**2
    axis = torch.arange(size, dtype=logarithm.dtype) - kernel_center(size, scale, "camera")
    y, x = axis[None, :, None], axis[None, None, :]
    a, b, c = (inverse[:, i, j, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))
    distance = a * y * y + 2 * b * y * x + c * x * x
    return torch.softmax(-0.5 * distance.flatten(1), dim=1).reshape(-1, size, size)


def both_of(folder: Path | None) -> Both:
    """Return both networks with the weights in a folder, or with those that ship."""
    both = Both()
    names = ("kernel", "image")
    for name, part in zip(names, (both.estimator, both.prior), strict=True):
        file = (
            shipped_file(f"{name}.safetensors")
            if folder is None
            else folder / f"{name}.safetensors"
        )
        tensors, _ = read_tensors(file)
        part.load_state_dict(tensors)
    return both


class JointTask:
    """The error of the restored image in decibels, and the likelihood of the true blur."""

    name = "joint"
    trained: tuple[str, ...] = ("",)
    """Beginnings of the names of the parameters that are trained; the others are held."""

    def __init__(self, scenes: Scenes, network: Both, judge: Judge, *, compute: Compute) -> None:
        layout = compute.layout(gradients=True)
        # torch's annotations leave this overload out.
        self.network: Both = network.to(memory_format=layout)  # type: ignore[call-overload]
        for part, value in self.network.named_parameters():
            value.requires_grad_(part.startswith(self.trained))
        self._scenes = scenes
        self._judge = judge
        self._compute = compute

    def resume(self, generators: Iterable[Generator]) -> None:
        """Do nothing: a step depends on those before it by the weights alone."""

    @staticmethod
    def likelihood(votes: Votes, covariance: Tensor, family: Tensor) -> Tensor:
        """Return the negative log likelihood of the true blur."""
        target = log_covariance(covariance)
        error = (votes.mean - target).square()
        surprise = 0.5 * (votes.log_variance + error * (-votes.log_variance).exp())
        return (
            surprise.mean()
            + 0.25 * error.clamp(max=4).mean()
            + FAMILY_WEIGHT * F.cross_entropy(votes.families, family)
        )

    def loss(self, rng: Generator, progress: float) -> Tensor:
        """Return the loss of a batch."""
        del progress
        batch = joint_batch(self._scenes, rng)
        rounds, votes = restore(self.network, batch, self._compute)
        total = error_of(rounds, batch)
        total = total + LIKELIHOOD_WEIGHT * self.likelihood(votes, batch.covariance, batch.family)
        # The estimator sees crops of all sizes, whose borders are as cameras have them.
        more = blur_batch(self._scenes, rng)
        with self._compute.autocast:
            seen = self.network.estimator(more.planes, more.scale, more.optics)
        unlikely: Tensor = self.likelihood(seen, more.covariance, more.family)
        return total + 2 * LIKELIHOOD_WEIGHT * unlikely

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return gains over cubic interpolation."""
        assert isinstance(network, Both)
        return self._judge(network, self._compute)


@dataclass(frozen=True, kw_only=True)
class Given:
    """The kernels (n, K, K) and the noise (n, h, w) with which a batch is restored."""

    kernels: Tensor
    noise: Tensor
    votes: Votes


def given_for(network: Both, batch: Batch, compute: Compute) -> Given:
    """Return with what a batch is restored, by the estimator's votes and decision."""
    scale = batch.scale
    with compute.autocast:
        votes = network.estimator(batch.planes, scale, batch.optics)
    # The image must not pull at the posterior.
    fixed = replace(
        votes,
        mean=votes.mean.detach(),
        log_variance=votes.log_variance.detach(),
        families=votes.families.detach(),
    )
    decided = network.estimator.decide(
        fixed,
        batch.statistics,
        scale=scale,
        area=batch.planes[0].numel(),
        optics=batch.optics,
    )
    logarithm = fixed.mean + decided[:, :3]
    size = batch.kernels.shape[-1]
    guessed = render(logarithm.clamp(-6, 4), size, scale)
    kernels = torch.where(batch.blind[:, None, None], guessed, batch.kernels)
    factor = decided[:, 3].clamp(*NOISE_RANGE).exp()[:, None, None]
    extra = (batch.slope * decided[:, 4].clamp(*UNEXPLAINED_RANGE).exp())[:, None, None]
    # The root of nothing has no gradient.
    noise = ((factor * batch.noise).square() + extra.square() + 1e-8).sqrt()
    return Given(kernels=kernels, noise=noise, votes=votes)


def restore(network: Both, batch: Batch, compute: Compute) -> tuple[list[Round], Votes]:
    """Restore a batch; return its rounds, and the estimator's votes."""
    given = given_for(network, batch, compute)
    return restored(network, batch, given, compute), given.votes


def restored(network: Both, batch: Batch, given: Given, compute: Compute) -> list[Round]:
    """Return the rounds of the restoration of a batch."""
    with compute.autocast:
        rounds = network.prior.rounds(
            batch.data, given.kernels, scale=batch.scale, noise=given.noise
        )
        return list(rounds)


def log_error(image: Tensor, batch: Batch) -> Tensor:
    """Return the logarithms (n,) of the mean squared errors of images."""
    return ((image - batch.sharp).square().mean(dim=(1, 2)) + TINY).log()


def error_of(rounds: list[Round], batch: Batch) -> Tensor:
    """Return the mean of `log_error`, and a little of that of earlier rounds."""
    *earlier, last = (log_error(one.image, batch).mean() for one in rounds)
    return last + EARLIER * torch.stack(earlier).sum()


def interpolated(batch: Batch) -> Tensor:
    """Return the data by cubic interpolation."""
    data = batch.data[:, None]
    return F.interpolate(data, scale_factor=batch.scale, mode="bicubic", align_corners=False)[:, 0]


class Judge:
    """Gains over cubic interpolation on batches that are never trained on."""

    def __init__(self, batches: dict[str, list[Batch]]) -> None:
        self._batches = batches

    @torch.no_grad()
    def __call__(self, network: Both, compute: Compute) -> dict[str, float]:
        """Return the mean gain, the worst, and the fraction below 0, of each kind."""
        scores: dict[str, float] = {}
        for name, batches in self._batches.items():
            gains, misses = [], []
            for batch in batches:
                rounds, votes = restore(network, batch, compute)
                cubic = interpolated(batch)
                power = [
                    (x - batch.sharp).square().mean(dim=(1, 2)) for x in (cubic, rounds[-1].image)
                ]
                gains.append(10 * (power[0] / power[1]).log10())
                miss = (votes.mean - log_covariance(batch.covariance))[:, :2].mean(dim=1) / 2
                misses.append(miss)
            gain, miss = torch.cat(gains), torch.cat(misses)
            scores[name] = float(gain.mean())
            scores[f"{name}_worst"] = float(gain.min())
            scores[f"{name}_below"] = float((gain < 0).float().mean())
            scores[f"{name}_bias"] = float(miss.mean())
            scores[f"{name}_rms"] = float(miss.square().mean().sqrt())
        return scores


PHOTOGRAPHS = ("camera", "coins", "moon", "page", "text", "horse", "clock", "immunohistochemistry")
"""Photographs of scikit-image that are never trained on."""

JUDGED_SIDE = 192


def judge_of(folder: Path | None, seed: int = 7) -> Judge:
    """Return the validation on micrographs, photographs and soft objects."""
    rng = np.random.default_rng(seed)
    batches: dict[str, list[Batch]] = {}
    paths = [] if folder is None else sorted(folder.glob("*.tif"))
    for number, path in enumerate(path for path in paths if is_validation(path.name)):
        image = reduced(read_micrograph(path), 2)
        scale = 2 if number % 2 else 4
        side = min(JUDGED_SIDE, *image.shape) // 8 * 8
        top, left = ((n - side) // 2 for n in image.shape)
        crop = np.ascontiguousarray(image[top : top + side, left : left + side])
        sigma = scale * rng.uniform(0.45, 1.1)
        record = Acquisition(photons=(100, 1000)[number // 2 % 2], offset=0.05)
        blur = gaussian_blur(sigma, sigma, 0.0, scale)
        batches.setdefault("real", []).append(observed(crop, blur, record, rng, scale=scale))
        photons = math.exp(rng.uniform(math.log(50), math.log(2000)))
        record = Acquisition(photons=photons, offset=0.02)
        soft = soft_object(160, rng)
        batches.setdefault("soft", []).append(observed(soft, blur, record, rng, scale=scale))
    for name in PHOTOGRAPHS:
        loaded = np.asarray(getattr(pictures, name)())
        grey = loaded[..., :3] @ [0.299, 0.587, 0.114] if loaded.ndim == 3 else loaded
        grey = grey / (255 if grey.max() > 1 else 1)
        shape = [int(n * 256 / min(grey.shape)) for n in grey.shape]
        crop = resize(grey, shape, anti_aliasing=True)[:JUDGED_SIDE, :JUDGED_SIDE]
        crop = np.ascontiguousarray(crop, dtype=np.float32)
        for scale, quality in ((2, 90), (2, 60), (4, 75)):
            first, second = scale * rng.uniform(0.4, 0.8, 2)
            blur = gaussian_blur(first, second, rng.uniform(0, 3), scale)
            for kind, jpeg in (("jpeg", (quality,)), ("photographs", ())):
                record = Acquisition(levels=256, jpeg=jpeg)
                batches.setdefault(kind, []).append(observed(crop, blur, record, rng, scale=scale))
    return Judge(batches)
