"""How strong the noise of an image is: what the optimisation, and the finish, are told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_blindsr.noise import estimate_noise, shot_noise

if TYPE_CHECKING:
    from torch import Tensor

    from napari_blindsr.arrays import Planes
    from napari_blindsr.engine.device import Compute
    from napari_blindsr.settings import Settings

MIDDLE = (0.2, 0.4)
"""Heights of the median pixel, between the darkest and the brightest, that make an image sparse,
and not."""

LEAST_BRIGHT = 1e-3
"""What the brightest pixel of an image is taken for at least, in units of its range."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LightNoise:
    """Noise that grows with the light.

    Attributes
    ----------
    levels : Tensor, (C, h, w)
        Its standard deviation in each pixel of an image, or of a part of one.
    typical : Tensor, (C,)
        The root mean square of that over the whole image.
    brightest : Tensor, (C,)
        The largest value of the whole image.
    sparse : Tensor, (C,)
        From 0 to 1: whether few pixels are bright and most are dark, as in fluorescence.
    """

    levels: Tensor
    typical: Tensor
    brightest: Tensor
    sparse: Tensor

    def times(self, factor: float | Tensor) -> LightNoise:
        """Return the noise of an image that is so many times as bright: all, or each channel."""
        factors = torch.as_tensor(factor, dtype=self.levels.dtype, device=self.levels.device)
        return LightNoise(
            levels=factors.reshape(-1, 1, 1) * self.levels,
            typical=factors * self.typical,
            brightest=factors * self.brightest,
            sparse=self.sparse,
        )

    def to(self, device: torch.device) -> LightNoise:
        """Return the same on a device."""
        return LightNoise(
            levels=self.levels.to(device),
            typical=self.typical.to(device),
            brightest=self.brightest.to(device),
            sparse=self.sparse.to(device),
        )


def told_noise(planes: Planes, settings: Settings) -> float:
    """Return the noise that an optimisation is told of, in the planes' unit."""
    if settings.noise == "auto":
        return estimate_noise(planes.data, planes.measured)
    return settings.noise / planes.span


def finish_noise(planes: Planes, settings: Settings) -> float:
    """Return the noise that the finish is told of, in the planes' unit."""
    if settings.estimates_noise:
        return estimate_noise(planes.data, planes.measured)
    assert settings.noise != "auto"
    return settings.noise / planes.span


def light_noise(planes: Planes, settings: Settings, compute: Compute) -> LightNoise | None:
    """Return the noise in each pixel of an image whose noise grows with the light.

    Noise that is told is taken for what it is in every pixel; without any, nothing grows.
    """
    told = None if settings.estimates_noise else settings.noise
    found = None if told == 0 else shot_noise(planes.data, planes.measured)
    if found is None:
        return None
    if told is not None:
        assert told != "auto"
        found = np.full_like(found, told / planes.span)
    levels = torch.from_numpy(found).to(compute.device)
    measured = ... if planes.measured is None else planes.measured
    values = planes.data[:, measured].reshape(len(planes.data), -1)
    dark, middle, bright = np.quantile(values, (0.01, 0.5, 1), axis=1).astype(np.float32)
    # Nothing is darker than zero, but for noise.
    bright = np.maximum(bright, LEAST_BRIGHT)
    height = (middle - dark) / np.maximum(bright - dark, LEAST_BRIGHT)
    low, high = MIDDLE
    return LightNoise(
        levels=levels,
        typical=levels.square().mean(dim=(1, 2)).sqrt(),
        brightest=torch.from_numpy(bright).to(compute.device),
        sparse=torch.from_numpy(np.clip((high - height) / (high - low), 0, 1)).to(compute.device),
    )
