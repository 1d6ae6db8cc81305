"""From the kernel that was found to the image that is delivered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_blindsr.engine.kernels.base import CORE
from napari_blindsr.engine.nonblind.usrnet import USRNet, usrnet
from napari_blindsr.engine.recentre import recentre
from napari_blindsr.engine.result import Progress
from napari_blindsr.errors import WeightsError
from napari_blindsr.noise import estimate_noise
from napari_blindsr.weights.usrnet import load_usrnet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_blindsr.arrays import Planes
    from napari_blindsr.engine.device import Compute
    from napari_blindsr.engine.observation import Observation
    from napari_blindsr.engine.result import Outcome
    from napari_blindsr.settings import Settings


def load_network(settings: Settings, compute: Compute) -> tuple[USRNet | None, tuple[str, ...]]:
    """Return the network of the finish, or why there is none, before any long work."""
    if settings.used_finish == "none":
        return None, ()
    try:
        network = load_usrnet(settings.usrnet_weights)
    except WeightsError as error:
        if settings.usrnet_weights is not None:
            raise
        return None, (f"not finished with USRNet: {error}",)
    return network.to(compute.device), ()


def finish_noise(planes: Planes, settings: Settings, observation: Observation) -> float:
    """Return the noise that the finish is told of.

    Every camera has some, and a finish that is told of none takes it for detail; the published
    test data have none.
    """
    if settings.noise != 0 or settings.geometry == "benchmark":
        return observation.noise
    return estimate_noise(planes.data, planes.measured)


def finishing(settings: Settings, seconds: float) -> Progress:
    """Return the report that the finish is under way."""
    total = settings.schedule.image_steps
    return Progress(
        step=total,
        total=total,
        stage="finishing with USRNet",
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
    network: USRNet | None,
    noise: float,
) -> Pixels:
    """Put kernel and image in their place, and finish the image if there is a network.

    Parameters
    ----------
    outcome : Outcome
        Of the solver.
    observation : Observation
    settings : Settings
    network : USRNet or None
    noise : float
        Standard deviation of the noise in the observation's data.
    """
    canvas, kernel = outcome.estimate.image.float(), outcome.estimate.kernel.float()
    if settings.schedule.recentre:
        canvas, kernel = recentre(canvas, kernel, center=observation.center, border=settings.border)
    image = observation.crop(canvas)
    if network is not None:
        bright = replace(observation, data=observation.completed(canvas, kernel), gain=1.0)
        image = usrnet(
            bright,
            kernel,
            network,
            noise=noise / observation.gain,
            measured=observation.measured,
        )
    support = observation.support(kernel > CORE * kernel.max())
    return Pixels(
        image=image.cpu().numpy(), kernel=kernel.cpu().numpy(), support=support.cpu().numpy()
    )
