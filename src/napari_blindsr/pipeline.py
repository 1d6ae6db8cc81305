"""From the user's array to the result, step by step."""

from __future__ import annotations

import platform
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_blindsr.engine.result import Progress
from napari_blindsr.errors import EngineError, OutOfMemoryError, SettingsError
from napari_blindsr.facts import run_flags
from napari_blindsr.job_setup import prepare, with_blur
from napari_blindsr.kernel_field import KernelField
from napari_blindsr.parts import Box
from napari_blindsr.restoration import is_lack_of_memory, restored
from napari_blindsr.result import Result
from napari_blindsr.uncertainty import find_uncertainty

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.job import Job, Link
    from napari_blindsr.mosaic import Target
    from napari_blindsr.restoration import Restored
    from napari_blindsr.settings import Settings


def iterate(
    image: ArrayLike,
    settings: Settings,
    *,
    axes: str | None = None,
    known_kernel: NDArray[Any] | KernelField | None = None,
    found: bool = False,
    mask: ArrayLike | None = None,
    region: Box | None = None,
    target: Target | None = None,
    link: Link | None = None,
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
    known_kernel : ndarray, (K, K) or (R, C, K, K), or KernelField, optional
        A kernel, or a grid of the kernels of the image's regions. Needed if, and only if,
        ``settings.kernel`` is "known".
    found : bool
        Whether that kernel was itself found by a method, on other planes, and is less sure.
    mask : array_like, (h, w), optional
        As in `restore`.
    region : Box, optional
        What of the image is restored; what surrounds it is looked at, nothing else.
    target : Target, optional
        Takes the restored pixels as they are complete, float32: rows × columns, × 3 for RGB,
        × C for "CYX". The `image` of the result is then empty.
    link : Link, optional
        What an optimisation begins with; the result then has the `weights` to hand on.
    """
    start = time.perf_counter()
    with translated_errors():
        if settings.uncertainty and target is not None:
            raise SettingsError(
                f"uncertainty is {settings.uncertainty}, which needs the result in memory, but a "
                "target takes its pixels; expected 0"
            )
        job = prepare(
            image,
            settings,
            axes=axes,
            mask=mask,
            region=region,
            known=known_kernel,
            found=found,
        )
        job = replace(job, link=link)
        stop: bool | None = None
        with cpu_threads(settings.threads):
            if job.reads:
                stop = yield _reading(time.perf_counter() - start)
                job, stop = yield from with_blur(job, start=start, stop=bool(stop))
            joined = yield from restored(job, target, start=start, stop=bool(stop))
            uncertainty: NDArray[np.float32] | None = None
            doubts: tuple[str, ...] = ()
            if settings.uncertainty:
                uncertainty, doubts = yield from find_uncertainty(job, joined, start=start)
            result = conclude(job, joined, seconds=time.perf_counter() - start)
    return replace(
        result,
        uncertainty=uncertainty,
        region=region,
        notes=(*result.notes, *doubts),
        seconds=time.perf_counter() - start,
    )


def conclude(job: Job, joined: Restored, *, seconds: float) -> Result:
    """Return the result of a job, with what speaks against it.

    Parameters
    ----------
    job : Job
    joined : Restored
        What came of it.
    seconds : float
        That it took.
    """
    planes, settings = job.planes, job.settings
    field = job.source if isinstance(job.source, KernelField) else None
    flags = run_flags(
        planes,
        joined.kernel,
        settings,
        blur=job.blur,
        field=field,
        guess=joined.guess,
        residual=joined.residual,
        device=job.compute.device,
    )
    return Result(
        image=joined.image,
        kernel=joined.kernel,
        support=joined.support,
        covered=None if planes.measured is None else joined.support == 0,
        kernel_center=(joined.center, joined.center),
        axes=planes.axes,
        offset=joined.offset,
        tiles=joined.tiles,
        trace=joined.losses,
        settings=settings,
        gain=planes.gain,
        noise=job.noise * planes.span,
        finish=job.finisher.name,
        blur=job.blur,
        # Its regions divide the image, whatever part of it was looked at.
        field=None if field is None else replace(field, extent=Box.whole(field.extent.shape)),
        notes=(*job.notes, *joined.notes),
        flags=flags,
        seconds=seconds,
        device=str(job.compute.device),
        dtype=str(job.compute.dtype).removeprefix("torch."),
        versions=versions(),
        reason=joined.reason,
        weights=joined.weights,
    )


def _reading(seconds: float) -> Progress:
    """Return the report that the blur is being read."""
    return Progress(
        step=0, total=1, stage="reading the blur", loss=None, seconds=seconds, remaining=None
    )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn torch's errors into ours; napari would swallow a RuntimeError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise EngineError(f"the computation failed: {_first_line(error)}") from error
        raise OutOfMemoryError(
            f"the device ran out of memory ({_first_line(error)}); "
            "try a smaller image or scale, or device 'cpu'"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
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
