"""From a job to what the engine solves: the observation, and its solver."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from napari_blindsr.engine.kernels import KernelFamily
from napari_blindsr.engine.networks import SMALLEST_SIDE
from napari_blindsr.engine.observation import Observation
from napari_blindsr.engine.solvers.alternating import AlternatingSolver
from napari_blindsr.engine.solvers.closed_form import ClosedFormSolver
from napari_blindsr.errors import InputError
from napari_blindsr.kernel_source import size_of
from napari_blindsr.methods import method_named
from napari_blindsr.noise_levels import told_noise

if TYPE_CHECKING:
    from napari_blindsr.engine.solve import Solver
    from napari_blindsr.job import Job
    from napari_blindsr.settings import Settings


def observe(job: Job) -> Observation:
    """Return what was measured, on the device."""
    settings, planes, device = job.settings, job.planes, job.compute.device
    measured = None if planes.measured is None else torch.from_numpy(planes.measured)
    if measured is not None and bool(measured.all()):
        measured = None
    noise = told_noise(planes, settings) if job.optimises else job.noise
    observation = Observation(
        data=torch.from_numpy(planes.data).to(device),
        scale=settings.scale,
        kernel_size=size_of(job.source, settings),
        geometry=settings.geometry,
        border=job.border,
        measured=None if measured is None else measured.to(device),
        gain=planes.gain,
        noise=noise,
    )
    check_size(observation, settings)
    if measured is None:
        return observation
    assert planes.measured is not None
    guess = inpaint_biharmonic(planes.data, ~planes.measured, channel_axis=0).astype(np.float32)
    return replace(observation, guess=torch.from_numpy(guess).to(device))


def solver_for(job: Job, observation: Observation, *, held: bool = False) -> Solver[Any]:
    """Return what solves an observation.

    Parameters
    ----------
    job : Job
    observation : Observation
    held : bool
        Take the job's kernel for granted and leave the image to the finish, whatever the method.
    """
    settings = job.settings
    kernel: KernelFamily | torch.Tensor
    if isinstance(job.source, np.ndarray):
        kernel = torch.from_numpy(job.source).to(job.compute.device)
        if held or not job.optimises:
            covered = observation.measured is not None
            return ClosedFormSolver(kernel=kernel, covered=covered, finished=True)
    else:
        assert isinstance(job.source, KernelFamily)
        kernel = job.source
    schedule = settings.schedule
    noise_power = None
    if method_named(settings.method).degradations:
        if observation.gain != 1:
            # The published dark runs have no gradient prior.
            schedule = replace(schedule, prior_weight=0.0)
        if observation.noise > 0:
            noise_power = _noise_power(observation)
    return AlternatingSolver(
        schedule=schedule,
        bounded=settings.is_bounded,
        kernel=kernel,
        seed=settings.seed,
        compute=job.compute,
        noise_power=noise_power,
        start=None if job.link is None else job.link.start,
        keeps_weights=job.link is not None,
    )


def check_size(observation: Observation, settings: Settings) -> None:
    """Raise an `InputError` if an image is too small for its kernel, or for the generator."""
    height, width = observation.data.shape[1:]
    size = observation.kernel_size
    least = SMALLEST_SIDE if method_named(settings.method).optimises else 1
    # What a pixel lacks at the border is counted on a periodic grid, which the kernel's reach
    # must not exceed.
    smallest = max(max(least, size) - 2 * observation.margin, size // 2)
    if settings.scale * min(height, width) < smallest:
        raise InputError(
            f"the image is {height} × {width} pixels; at scale {settings.scale} with a kernel of "
            f"{size} × {size} expected at least {-(-smallest // settings.scale)} on each side"
        )


def _noise_power(observation: Observation) -> float:
    """Return the mean squared difference to the data that the noise explains."""
    power = observation.noise**2
    # Covered pixels are 0 in data and prediction.
    return (
        power
        if observation.measured is None
        else power * float(observation.measured.float().mean())
    )
