"""Non-blind reconstruction: the restorer of a run, and its use on an observation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_blindsr.errors import WeightsError
from napari_blindsr.images.planes import canonical
from napari_blindsr.methods import method_named
from napari_blindsr.progress import Progress
from napari_blindsr.solvers.nonblind.image_prior import unfolded
from napari_blindsr.solvers.nonblind.photometry import mean_correction, predicted, turned_kernel
from napari_blindsr.solvers.nonblind.sparse import sparse
from napari_blindsr.solvers.nonblind.unfolded import load_image_prior
from napari_blindsr.solvers.nonblind.usrnet import USRNet, load_usrnet, usrnet

if TYPE_CHECKING:
    from torch import Tensor

    from napari_blindsr.physics.noise import ShotNoise
    from napari_blindsr.physics.observation import Observation
    from napari_blindsr.settings import Settings
    from napari_blindsr.solvers.device import Compute
    from napari_blindsr.solvers.nonblind.conditions import Conditions
    from napari_blindsr.solvers.nonblind.error_map import ErrorMap
    from napari_blindsr.solvers.nonblind.unfolded import UnfoldedPrior
    from napari_blindsr.types import Finish


FINISH_NAMES: dict[Finish, str] = {
    "prior": "image prior",
    "usrnet": "USRNet",
    "measurement": "classical (no neural network)",
}
"""Names of the reconstructions for people."""


@dataclass(frozen=True, kw_only=True)
class NonblindRestorer:
    """Restores an image with a given kernel.

    Attributes
    ----------
    name : {"none", "prior", "usrnet", "measurement"}
    usrnet : USRNet or None
    unexplained : float
        Standard deviation of the residual of an estimated kernel, added to the noise for USRNet.
    prior : UnfoldedPrior or None
    rotated : bool
        Whether the image prior's result is the mean over the four rotations of the image.
    errors : ErrorMap or None
        If given, the result is the standard deviation of the image prior's error instead of the
        image.
    log_variance_sd : float
        For `errors`: standard deviation of the error of the kernel's log variances.
    compute : Compute
    """

    name: Finish
    usrnet: USRNet | None = None
    unexplained: float = 0.0
    prior: UnfoldedPrior | None = None
    rotated: bool = False
    errors: ErrorMap | None = None
    log_variance_sd: float = 0.0
    compute: Compute

    @property
    def uses_shot_noise(self) -> bool:
        """Whether shot noise is taken into account."""
        return self.name in ("prior", "measurement")

    def __call__(
        self,
        observation: Observation,
        kernel: Tensor,
        *,
        noise: float,
        measured: Tensor | None,
        shot_noise: ShotNoise | None = None,
        conditions: Conditions | None = None,
        kernel_is_known: bool = False,
        colour: bool = False,
    ) -> Tensor:
        """Return the image (C, s·h, s·w) of an observation at normal brightness.

        Only the image prior uses the noise in each pixel and `colour`; its result has the mean
        brightness of the data in each region.
        """
        if self.usrnet is not None:
            level = noise if kernel_is_known else math.hypot(noise, self.unexplained)
            return usrnet(observation, kernel, self.usrnet, noise=level, measured=measured)
        if self.prior is None:
            return sparse(observation, kernel, noise=noise, measured=measured)
        assert conditions is not None
        return self._by_prior(
            observation,
            kernel,
            noise=noise,
            measured=measured,
            shot_noise=shot_noise,
            conditions=conditions,
            colour=colour,
        )

    def _by_prior(
        self,
        observation: Observation,
        kernel: Tensor,
        *,
        noise: float,
        measured: Tensor | None,
        shot_noise: ShotNoise | None,
        conditions: Conditions,
        colour: bool,
    ) -> Tensor:
        assert self.prior is not None
        data, scale = observation.data, observation.scale
        low, span = conditions.low[:, None, None], conditions.span[:, None, None]
        levels = data.new_full((len(data),), noise) if shot_noise is None else shot_noise.levels
        given = conditions.noise(levels) / (span if shot_noise is not None else conditions.span)
        typical = None
        if shot_noise is not None:
            typical = conditions.noise(shot_noise.typical) / conditions.span
        turn = canonical(data.cpu().numpy())
        turns = turn.rotations() if self.rotated and self.errors is None else (turn,)
        image = torch.zeros_like(low)
        for turn in turns:
            restored = unfolded(
                replace(observation, data=turn.apply((data - low) / span)),
                turned_kernel(kernel, turn, scale),
                self.prior,
                noise=turn.apply(given) if given.ndim == 3 else given,
                typical=typical,
                measured=None if measured is None else turn.apply(measured),
                colour=colour,
                autocast=self.compute.autocast,
                errors=self.errors,
                log_variance_sd=self.log_variance_sd,
            )
            image = image + turn.undo(restored) * (span / len(turns))
        if self.errors is not None:
            return image
        image += low
        residual = data - predicted(image, kernel, scale, circular=observation.border != "extend")
        brightness = data - low
        image += mean_correction(
            residual,
            scale,
            noise=float(levels.square().mean().sqrt()),
            signal=float(brightness.mean() if measured is None else brightness[:, measured].mean()),
            measured=measured,
            origin=conditions.origin,
        )
        return image


def load_restorer(settings: Settings, compute: Compute) -> tuple[NonblindRestorer, tuple[str, ...]]:
    """Return the restorer of a run, or a substitute with the reason, before any long work."""
    name = settings.used_finish
    if name == "prior":
        layout = compute.layout(gradients=False)
        prior = load_image_prior().to(compute.device, memory_format=layout)  # type: ignore[call-overload]
        rotated = settings.quality == "refined"
        return NonblindRestorer(name=name, prior=prior, rotated=rotated, compute=compute), ()
    if name != "usrnet":
        return NonblindRestorer(name=name, compute=compute), ()
    try:
        network = load_usrnet(settings.usrnet_weights)
    except WeightsError as error:
        if settings.usrnet_weights is not None:
            raise
        # A method without an optimisation has no image without a reconstruction.
        instead: Finish = "none" if method_named(settings.method).optimises else "prior"
        other = replace(settings, finish=instead)
        restorer, notes = load_restorer(other, compute)
        return restorer, (f"not finished with USRNet: {error}", *notes)
    # Kernels of the estimator leave no such residual.
    optimises = method_named(settings.method).optimises
    return NonblindRestorer(
        name=name,
        usrnet=network.to(compute.device),
        unexplained=settings.schedule.unexplained if optimises else 0.0,
        compute=compute,
    ), ()


def finishing(name: Finish, total: int, seconds: float) -> Progress:
    """Return the report that the reconstruction has begun, after so many image steps."""
    return Progress(
        step=total,
        total=total,
        stage=f"reconstructing: {FINISH_NAMES[name]}",
        loss=None,
        seconds=seconds,
        remaining=None,
    )
