"""From the kernel to the image that is delivered: which restorer, and in what unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_blindsr.errors import WeightsError
from napari_blindsr.methods import method_named
from napari_blindsr.physics.centring import recentre
from napari_blindsr.physics.kernels.base import CORE
from napari_blindsr.physics.kernels.moments import core_covariance
from napari_blindsr.progress import Progress
from napari_blindsr.solvers.nonblind.image_prior import unfolded
from napari_blindsr.solvers.nonblind.sparse import sparse
from napari_blindsr.solvers.nonblind.unfolded import load_image_prior
from napari_blindsr.solvers.nonblind.usrnet import USRNet, load_usrnet, usrnet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_blindsr.physics.noise import LightNoise
    from napari_blindsr.physics.observation import Observation
    from napari_blindsr.settings import Settings
    from napari_blindsr.solvers.device import Compute
    from napari_blindsr.solvers.loop import Outcome
    from napari_blindsr.solvers.nonblind.error_map import ErrorMap
    from napari_blindsr.solvers.nonblind.unfolded import UnfoldedPrior
    from napari_blindsr.types import Finish


FINISH_NAMES: dict[Finish, str] = {
    "none": "as the optimisation left it",
    "prior": "image prior (trained)",
    "usrnet": "USRNet (trained)",
    "measurement": "measurement only (no learned prior)",
}
"""What is said of each finish."""


@dataclass(frozen=True, kw_only=True)
class Finisher:
    """What makes the image once the kernel is known, loaded and ready.

    Attributes
    ----------
    name : {"none", "prior", "usrnet", "measurement"}
    usrnet : USRNet or None
    unexplained : float
        What a kernel that is not known leaves unexplained: USRNet is told of it as of noise of this
        standard deviation.
    prior : UnfoldedPrior or None
    errors : ErrorMap or None
        Make, instead of the image, what this tells of the standard deviation of its error; with
        the image prior only.
    doubt : float
        Told to `errors`: the standard deviation of the error of the logarithm of the kernel's
        variances.
    compute : Compute
    """

    name: Finish
    usrnet: USRNet | None = None
    unexplained: float = 0.0
    prior: UnfoldedPrior | None = None
    errors: ErrorMap | None = None
    doubt: float = 0.0
    compute: Compute

    @property
    def minds_light(self) -> bool:
        """Whether it makes a difference that noise grows with the light."""
        return self.name in ("prior", "measurement")

    def __call__(
        self,
        observation: Observation,
        kernel: Tensor,
        *,
        noise: float,
        measured: Tensor | None,
        light: LightNoise | None = None,
        trusted: bool = False,
        colour: bool = False,
    ) -> Tensor:
        """Return the image (C, s·h, s·w) of an observation at normal brightness.

        Noise that grows with the light, and few bright pixels among dark ones, is what
        fluorescence is recognised by: what is small there may be far brighter than the blurred
        image (`peak_unit`). Only the image prior makes use of the noise in each pixel, treats
        `colour` pictures as such, and restores thoroughly where kernel and noise are `trusted`:
        noise that grows with the light is not.
        """
        if self.usrnet is not None:
            told = noise if trusted else math.hypot(noise, self.unexplained)
            return usrnet(observation, kernel, self.usrnet, noise=told, measured=measured)
        if light is None:
            return self._restored(
                observation,
                kernel,
                noise=noise,
                measured=measured,
                thorough=trusted,
                colour=colour,
            )
        units = (peak_unit(kernel) / light.brightest) ** light.sparse
        scaled = units[:, None, None]
        image = self._restored(
            replace(observation, data=scaled * observation.data),
            kernel,
            noise=noise * units,
            measured=measured,
            light=light.times(units),
            colour=colour,
        )
        return image.div_(scaled)

    def _restored(
        self,
        observation: Observation,
        kernel: Tensor,
        *,
        noise: float | Tensor,
        measured: Tensor | None,
        light: LightNoise | None = None,
        thorough: bool = False,
        colour: bool = False,
    ) -> Tensor:
        if self.prior is None:
            return sparse(observation, kernel, noise=noise, measured=measured)
        return unfolded(
            observation,
            kernel,
            self.prior,
            noise=noise if light is None else light.levels,
            typical=None if light is None else light.typical,
            measured=measured,
            thorough=thorough,
            colour=colour,
            autocast=self.compute.autocast,
            errors=self.errors,
            doubt=self.doubt,
        )


def load_finisher(settings: Settings, compute: Compute) -> tuple[Finisher, tuple[str, ...]]:
    """Return the finish, or another with the reason why, before any long work."""
    name = settings.used_finish
    if name == "prior":
        layout = compute.layout(gradients=False)
        prior = load_image_prior().to(compute.device, memory_format=layout)  # type: ignore[call-overload]
        return Finisher(name=name, prior=prior, compute=compute), ()
    if name != "usrnet":
        return Finisher(name=name, compute=compute), ()
    try:
        network = load_usrnet(settings.usrnet_weights)
    except WeightsError as error:
        if settings.usrnet_weights is not None:
            raise
        # A method without an optimisation has no image of its own to deliver.
        instead: Finish = "none" if method_named(settings.method).optimises else "prior"
        other = replace(settings, finish=instead)
        finisher, notes = load_finisher(other, compute)
        return finisher, (f"not finished with USRNet: {error}", *notes)
    # What the estimator reads is near enough to the truth.
    optimises = method_named(settings.method).optimises
    return Finisher(
        name=name,
        usrnet=network.to(compute.device),
        unexplained=settings.schedule.unexplained if optimises else 0.0,
        compute=compute,
    ), ()


def finishing(name: Finish, total: int, seconds: float) -> Progress:
    """Return the report that the finish is under way, after so many image steps."""
    return Progress(
        step=total,
        total=total,
        stage=f"finishing: {FINISH_NAMES[name]}",
        loss=None,
        seconds=seconds,
        remaining=None,
    )


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Image planes (C, s·h, s·w), kernel (K, K) and support (s·h, s·w), in their place."""

    image: NDArray[np.float32]
    kernel: NDArray[np.float32]
    support: NDArray[np.float32]


def finish(
    outcome: Outcome,
    observation: Observation,
    settings: Settings,
    finisher: Finisher,
    *,
    noise: float,
    light: LightNoise | None = None,
    trusted: bool = False,
    colour: bool = False,
) -> Pixels:
    """Put kernel and image in their place, and finish the image.

    Parameters
    ----------
    outcome : Outcome
        Of the solver.
    observation : Observation
    settings : Settings
    finisher : Finisher
    noise : float
        Standard deviation of the noise in the observation's data.
    light : LightNoise, optional
        That in each pixel, where it is known to grow with the light.
    trusted : bool
        Whether the kernel is known, not found.
    colour : bool
        Whether the channels are red, green and blue that share their detail.
    """
    canvas, kernel = outcome.estimate.image.float(), outcome.estimate.kernel.float()
    if settings.recentres:
        canvas, kernel = recentre(canvas, kernel, center=observation.center, border=settings.border)
    image = observation.crop(canvas)
    if finisher.name != "none":
        bright = replace(observation, data=observation.completed(canvas, kernel), gain=1.0)
        image = finisher(
            bright,
            kernel,
            noise=noise / observation.gain,
            measured=observation.measured,
            light=None if light is None else light.times(1 / observation.gain),
            trusted=trusted,
            colour=colour,
        )
    support = observation.support(kernel > CORE * kernel.max())
    return Pixels(
        image=image.cpu().numpy(), kernel=kernel.cpu().numpy(), support=support.cpu().numpy()
    )


FAINT = 0.75
"""The brightest pixel of a micrograph whose sharp peaks are 1, times the σ of its blur in HR px."""


def peak_unit(kernel: Tensor) -> Tensor:
    """Return what brings a micrograph whose brightest pixel is 1 to the unit of its sharp peaks.

    The network knows sharp pictures that reach 1. Blur takes down what is small and bright, and
    wide blur more so: told that a blurred micrograph reaches 1, the network holds its peaks, which
    are far above, for too bright to be true. That the brightest pixel falls like 1/σ is a
    compromise between points (1/σ²) and surfaces; it was fitted to the micrographs that the network
    was trained with.

    Parameters
    ----------
    kernel : Tensor, (..., K, K)

    Returns
    -------
    Tensor, (...)
        At most 1.
    """
    shape = kernel.shape[:-2]
    covariance = core_covariance(kernel.reshape(-1, *kernel.shape[-2:]))
    sigma = torch.linalg.det(covariance).clamp(min=FAINT**4) ** 0.25
    unit: Tensor = (FAINT / sigma).to(kernel.dtype).reshape(shape)
    return unit
