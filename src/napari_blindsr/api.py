"""Restore an array: what scripts, the command line and the dock call."""

from __future__ import annotations

import os
import platform
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from napari_blindsr.arrays import Planes, check_kernel, from_planes, to_planes
from napari_blindsr.engine.device import Compute, choose_compute
from napari_blindsr.engine.kernels import FAMILIES, KernelFamily, kernel_size
from napari_blindsr.engine.networks import SMALLEST_SIDE
from napari_blindsr.engine.observation import Observation
from napari_blindsr.engine.recentre import recentre
from napari_blindsr.engine.solve import solve
from napari_blindsr.engine.solvers.alternating import AlternatingSolver
from napari_blindsr.errors import EngineError, InputError, OutOfMemoryError
from napari_blindsr.io import read_kernel
from napari_blindsr.result import Result
from napari_blindsr.settings import (
    Border,
    Geometry,
    Precision,
    Schedule,
    ScheduleName,
    Settings,
    kernel_family,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.engine.result import Outcome, Progress

FAMILY_NAMES = tuple(family.name for family in FAMILIES)


def restore(
    image: ArrayLike,
    *,
    scale: int,
    method: str = "mlmc",
    kernel: str | os.PathLike[str] | KernelFamily | NDArray[Any] = "gaussian",
    axes: str | None = None,
    geometry: Geometry = "camera",
    border: Border = "extend",
    bounded: bool | None = None,
    schedule: Schedule | ScheduleName = "published",
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    progress: Callable[[Progress], bool | None] | None = None,
) -> Result:
    """Estimate the blur of an image and an image that is `scale` times finer.

    Parameters
    ----------
    image : array_like
        Grey (h, w) or RGB (h, w, 3); with `axes` also (C, h, w). uint8, uint16 or float,
        finite.
    scale : int
        2…8.
    method : str
        One of `napari_blindsr.settings.METHODS`.
    kernel : str, path, KernelFamily or ndarray
        Name of a kernel family, or a family with its parameters; the blur is then
        estimated. An array (K, K), or the path of a file with one, is a known
        correlation kernel in HR pixels, which is held.
    axes : str, optional
        "YX", "YXC" or "CYX"; guessed from the shape if left out.
    geometry : {"camera", "benchmark"}
        "camera": the outer pixel edges of input and result coincide. "benchmark": the
        geometry of the published test data.
    border : {"extend", "circular"}
        "extend" assumes nothing about what lies outside; "circular" wraps around.
    bounded : bool, optional
        Whether the result is kept within the input's range of intensities, which a
        blurred input understates. By default for ``benchmark`` geometry alone.
    schedule : Schedule or {"published", "reference"}
    steps : int, optional
        Image steps; the phases of the schedule scale with it.
    seed : int
    device : str
        "auto", "cpu", "cuda" or "mps".
    precision : {"auto", "float32", "bfloat16"}
    threads : int, optional
        CPU threads to compute with.
    progress : callable, optional
        Called with a `Progress` after each step; a true return value stops the run,
        which then returns the best state so far.

    Returns
    -------
    Result

    Raises
    ------
    BlindSRError
        Bad input or settings (before any work starts), a missing device, or a failure of
        the computation.
    """
    settings, known = make_settings(
        scale=scale,
        method=method,
        kernel=kernel,
        geometry=geometry,
        border=border,
        bounded=bounded,
        schedule=schedule,
        steps=steps,
        seed=seed,
        device=device,
        precision=precision,
        threads=threads,
    )
    run = iterate(image, settings, axes=axes, known_kernel=known)
    stop: bool | None = None
    while True:
        try:
            report = run.send(stop) if stop is not None else next(run)
        except StopIteration as end:
            result: Result = end.value
            return result
        stop = bool(progress(report)) if progress is not None else False


def make_settings(
    *,
    scale: int,
    method: str = "mlmc",
    kernel: str | os.PathLike[str] | KernelFamily | NDArray[Any] = "gaussian",
    geometry: Geometry = "camera",
    border: Border = "extend",
    bounded: bool | None = None,
    schedule: Schedule | ScheduleName = "published",
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
) -> tuple[Settings, NDArray[np.float32] | None]:
    """Check the options of `restore`; return its settings and the known kernel, if one is given."""
    known: NDArray[np.float32] | None = None
    family: KernelFamily | Literal["known"]
    if isinstance(kernel, KernelFamily):
        family = kernel
    elif isinstance(kernel, str) and kernel in FAMILY_NAMES:
        family = kernel_family(kernel)
    elif isinstance(kernel, str | os.PathLike):
        family, known = "known", check_kernel(_read_kernel(kernel))
    else:
        family, known = "known", check_kernel(kernel)
    if not isinstance(schedule, Schedule):
        schedule = Schedule.named(schedule)
    if steps is not None:
        schedule = schedule.scaled(steps)
    settings = Settings(
        scale=scale,
        method=method,
        kernel=family,
        geometry=geometry,
        border=border,
        bounded=bounded,
        schedule=schedule,
        seed=seed,
        device=device,
        precision=precision,
        threads=threads,
    )
    return settings, known


def _read_kernel(path: str | os.PathLike[str]) -> NDArray[Any]:
    if not Path(path).exists():
        raise InputError(
            f"kernel is {os.fspath(path)!r}; expected one of {list(FAMILY_NAMES)} "
            "or the path of a file with a kernel"
        )
    return read_kernel(path)


def iterate(
    image: ArrayLike,
    settings: Settings,
    *,
    axes: str | None = None,
    known_kernel: NDArray[Any] | None = None,
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
    """
    start = time.perf_counter()
    with _translated_errors():
        planes = to_planes(image, axes=axes, geometry=settings.geometry)
        source = _kernel_source(settings, known_kernel)
        compute = choose_compute(settings.device, settings.precision)
        observation = _observe(planes, settings, source, compute)
        with _threads(settings.threads):
            outcome = yield from solve(_solver(settings, source, compute), observation)
            image_tensor, kernel = _finish(outcome, observation, settings)
    return Result(
        image=from_planes(image_tensor, planes),
        kernel=kernel,
        kernel_center=(observation.center, observation.center),
        axes=planes.axes,
        offset=observation.offset,
        trace=outcome.losses.numpy(),
        settings=settings,
        seconds=time.perf_counter() - start,
        device=str(compute.device),
        dtype=str(compute.dtype).removeprefix("torch."),
        versions=versions(),
        reason=outcome.reason,
    )


def _kernel_source(
    settings: Settings, known_kernel: NDArray[Any] | None
) -> KernelFamily | NDArray[np.float32]:
    """Return where the kernel comes from: a family, or the array of a known one."""
    if settings.kernel == "known":
        if known_kernel is not None:
            return check_kernel(known_kernel)
    elif known_kernel is None:
        return settings.kernel
    raise InputError(
        f"kernel is {settings.kernel!r} and known_kernel is "
        f"{'missing' if known_kernel is None else 'given'}; "
        "a known kernel goes with kernel='known', and only with it"
    )


def _observe(
    planes: Planes,
    settings: Settings,
    source: KernelFamily | NDArray[np.float32],
    compute: Compute,
) -> Observation:
    size = source.shape[0] if isinstance(source, np.ndarray) else kernel_size(settings.scale)
    observation = Observation(
        data=torch.from_numpy(planes.data).to(compute.device),
        scale=settings.scale,
        kernel_size=size,
        geometry=settings.geometry,
        border=settings.border,
    )
    height, width = planes.data.shape[1:]
    smallest = max(SMALLEST_SIDE, size) - 2 * observation.margin
    if settings.scale * min(height, width) < smallest:
        raise InputError(
            f"the image is {height} × {width} pixels; at scale {settings.scale} with a kernel of "
            f"{size} × {size} expected at least {-(-smallest // settings.scale)} on each side"
        )
    return observation


def _solver(
    settings: Settings, source: KernelFamily | NDArray[np.float32], compute: Compute
) -> AlternatingSolver:
    if isinstance(source, np.ndarray):
        kernel: KernelFamily | torch.Tensor = torch.from_numpy(source).to(compute.device)
    else:
        kernel = source
    return AlternatingSolver(
        schedule=settings.schedule,
        bounded=settings.is_bounded,
        kernel=kernel,
        seed=settings.seed,
        compute=compute,
    )


def _finish(
    outcome: Outcome, observation: Observation, settings: Settings
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the result's image planes and kernel, in their place, as arrays."""
    image, kernel = outcome.estimate.image.float(), outcome.estimate.kernel.float()
    if settings.schedule.recentre:
        image, kernel = recentre(image, kernel, center=observation.center, border=settings.border)
    return observation.crop(image).cpu().numpy(), kernel.cpu().numpy()


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
