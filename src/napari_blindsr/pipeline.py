"""From the user's array to the result, step by step."""

from __future__ import annotations

import math
import platform
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic

from napari_blindsr.arrays import (
    Planes,
    check_kernel,
    find_covered,
    from_planes,
    to_planes,
)
from napari_blindsr.blur import SMALLEST_SIDE as SMALLEST_READ
from napari_blindsr.blur import BlurEstimate, read_planes
from napari_blindsr.engine.device import Compute, choose_compute
from napari_blindsr.engine.networks import SMALLEST_SIDE
from napari_blindsr.engine.observation import Observation, kernel_center
from napari_blindsr.engine.recentre import NEGLIGIBLE, locate
from napari_blindsr.engine.result import Outcome, Progress, StopReason
from napari_blindsr.engine.solve import Solver, solve
from napari_blindsr.engine.solvers.alternating import AlternatingSolver
from napari_blindsr.engine.solvers.closed_form import ClosedFormSolver
from napari_blindsr.errors import (
    EngineError,
    InputError,
    OutOfMemoryError,
    SettingsError,
)
from napari_blindsr.facts import run_flags
from napari_blindsr.finish import finish, finish_noise, finishing, light_noise, load_finisher
from napari_blindsr.noise import estimate_noise
from napari_blindsr.result import Result
from napari_blindsr.settings import METHOD_TABLE, Settings, method_named

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.engine.kernels import KernelFamily


def iterate(
    image: ArrayLike,
    settings: Settings,
    *,
    axes: str | None = None,
    known_kernel: NDArray[Any] | None = None,
    mask: ArrayLike | None = None,
) -> Generator[Progress, bool | None, Result]:
    """Run step by step: yields `Progress`, returns a `Result`.

    Sending a true value ends the run within one step; it then returns the best state so far. The
    image and settings are checked when the first value is asked for, before any work.
    Every failure comes as a `BlindSRError`, never as a `RuntimeError`.

    Parameters
    ----------
    image : array_like
        As in `restore`.
    settings : Settings
    axes : str, optional
    known_kernel : ndarray, (K, K), optional
        Needed if, and only if, ``settings.kernel`` is "known".
    mask : array_like, (h, w), optional
        As in `restore`.
    """
    start = time.perf_counter()
    optimises = method_named(settings.method).optimises
    blur: BlurEstimate | None = None
    stop: bool | None = None
    with _translated_errors():
        planes = _planes(image, settings, axes=axes, mask=mask)
        source = _kernel_source(settings, known_kernel)
        compute = choose_compute(settings.device, settings.precision)
        finisher, notes = load_finisher(settings, compute)
        finishes = finisher.name != "none"
        noise = finish_noise(planes, settings) if finishes else 0.0
        with _threads(settings.threads):
            if not optimises and not isinstance(source, np.ndarray):
                _check_readable(planes)
                stop = yield _reading(time.perf_counter() - start)
                blur = _read(planes, settings, source, noise)
                source = blur.kernel
            observation = _observe(planes, settings, source, compute)
            if not finishes:
                noise = observation.noise
            shot = light_noise(planes, settings, compute) if finisher.prior is not None else None
            if not optimises:
                observation = replace(observation, noise=noise)
            # What is solved is at normal brightness, unless the published way is asked for.
            solved = observation.brightened() if settings.schedule.brighten else observation
            solver = _solver(settings, source, solved, compute)
            if stop:
                outcome = _at_once(solver, solved)
            else:
                outcome = yield from solve(solver, solved)
            if finishes:
                yield finishing(finisher.name, solver.total, time.perf_counter() - start)
            pixels = finish(outcome, observation, settings, finisher, noise=noise, shot=shot)
            flags = run_flags(
                planes,
                pixels,
                settings,
                blur=blur,
                guess=observation.guess,
                device=compute.device,
            )
    return Result(
        image=from_planes(pixels.image, planes),
        kernel=pixels.kernel,
        support=pixels.support,
        covered=None if planes.measured is None else pixels.support == 0,
        kernel_center=(observation.center, observation.center),
        axes=planes.axes,
        offset=observation.offset,
        trace=outcome.losses.numpy(),
        settings=settings,
        gain=planes.gain,
        noise=noise * planes.span,
        finish=finisher.name,
        blur=blur,
        notes=notes,
        flags=flags,
        seconds=time.perf_counter() - start,
        device=str(compute.device),
        dtype=str(compute.dtype).removeprefix("torch."),
        versions=versions(),
        reason=outcome.reason,
    )


def _check_readable(planes: Planes) -> None:
    """Raise an `InputError` if an image is too small to read a blur off."""
    height, width = planes.data.shape[1:]
    if min(height, width) < SMALLEST_READ:
        raise InputError(
            f"the image is {height} × {width} pixels; expected at least {SMALLEST_READ} on each "
            "side to read a blur off, or a known kernel"
        )


def _reading(seconds: float) -> Progress:
    """Return the report that the blur is being read."""
    return Progress(
        step=0, total=1, stage="reading the blur", loss=None, seconds=seconds, remaining=None
    )


def _read(planes: Planes, settings: Settings, family: KernelFamily, noise: float) -> BlurEstimate:
    """Read the kernel off the image, whose noise is given in the planes' unit."""
    return read_planes(
        planes.data,
        measured=planes.measured,
        scale=settings.scale,
        family=family,
        reader="network",
        geometry=settings.geometry,
        border=settings.border,
        seed=settings.seed,
        device=settings.device,
        quality=settings.quality,
        noise=noise,
    )


def _at_once(solver: Solver[Any], observation: Observation) -> Outcome:
    """Return what there is before the first step, for a run that is stopped by then."""
    estimate = solver.estimate(solver.init(observation))
    return Outcome(estimate=estimate, losses=torch.empty(0), reason=StopReason.STOPPED)


def _planes(
    image: ArrayLike, settings: Settings, *, axes: str | None, mask: ArrayLike | None
) -> Planes:
    if not method_named(settings.method).degradations:
        if mask is not None:
            raise SettingsError(
                f"method {settings.method!r} takes no mask; use one of "
                f"{[m.name for m in METHOD_TABLE if m.degradations]}"
            )
        return to_planes(image, axes=axes, geometry=settings.geometry)
    covered = find_covered(image, axes=axes, mask=mask, saturated=settings.mask_saturated)
    return to_planes(
        image, axes=axes, geometry=settings.geometry, covered=covered, gain=settings.gain
    )


def _kernel_source(
    settings: Settings, known_kernel: NDArray[Any] | None
) -> KernelFamily | NDArray[np.float32]:
    """Return where the kernel comes from: a family, or the array of a known one."""
    if settings.kernel == "known":
        if known_kernel is not None:
            known = check_kernel(known_kernel)
            return _with_room(known, settings) if settings.recentres else known
    elif known_kernel is None:
        return settings.kernel
    raise InputError(
        f"kernel is {settings.kernel!r} and known_kernel is "
        f"{'missing' if known_kernel is None else 'given'}; "
        "a known kernel goes with kernel='known', and only with it"
    )


def _with_room(kernel: NDArray[np.float32], settings: Settings) -> NDArray[np.float32]:
    """Pad a known kernel so that moving its centre to its place does not cut it."""
    center = kernel_center(len(kernel), settings.scale, settings.geometry)
    distance = max(abs(found - center) for found in locate(torch.from_numpy(kernel)))
    # Equal padding on all sides leaves K//2, and so the geometry, as it is.
    return kernel if distance < NEGLIGIBLE else np.pad(kernel, math.ceil(distance))


def _observe(
    planes: Planes,
    settings: Settings,
    source: KernelFamily | NDArray[np.float32],
    compute: Compute,
) -> Observation:
    size = source.shape[0] if isinstance(source, np.ndarray) else source.size(settings.scale)
    measured = None if planes.measured is None else torch.from_numpy(planes.measured)
    observation = Observation(
        data=torch.from_numpy(planes.data).to(compute.device),
        scale=settings.scale,
        kernel_size=size,
        geometry=settings.geometry,
        border=settings.border,
        measured=None if measured is None else measured.to(compute.device),
        gain=planes.gain,
        noise=estimate_noise(planes.data, planes.measured)
        if settings.noise == "auto"
        else settings.noise / planes.span,
    )
    _check_size(observation, settings)
    if planes.measured is None:
        return observation
    guess = inpaint_biharmonic(planes.data, ~planes.measured, channel_axis=0).astype(np.float32)
    return replace(observation, guess=torch.from_numpy(guess).to(compute.device))


def _check_size(observation: Observation, settings: Settings) -> None:
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


def _solver(
    settings: Settings,
    source: KernelFamily | NDArray[np.float32],
    observation: Observation,
    compute: Compute,
) -> Solver[Any]:
    kernel: KernelFamily | torch.Tensor
    if isinstance(source, np.ndarray):
        kernel = torch.from_numpy(source).to(compute.device)
        if not method_named(settings.method).optimises:
            covered = observation.measured is not None
            return ClosedFormSolver(kernel=kernel, covered=covered)
    else:
        kernel = source
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
        compute=compute,
        noise_power=noise_power,
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


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turn torch's errors into ours; napari would swallow a RuntimeError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"the device ran out of memory ({_first_line(error)}); "
            "try a smaller image or scale, or device 'cpu'"
        ) from error
    except RuntimeError as error:
        raise EngineError(f"the computation failed: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with so many CPU threads, and put the number back afterwards."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {
        "napari-blindsr": version("napari-blindsr"),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
