"""Restore one image: the entry point of scripts, the command line and the dock."""

from __future__ import annotations

import os
import platform
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from napari_blindsr.errors import EngineError, InputError, OutOfMemoryError, SettingsError
from napari_blindsr.estimation.kernel_field import KernelField
from napari_blindsr.images.planes import check_axes, plane_shape
from napari_blindsr.images.tiling import Box, as_box
from napari_blindsr.methods import METHODS, Schedule, ScheduleName, plan_schedule
from napari_blindsr.optics import Optics
from napari_blindsr.physics.kernel_files import check_kernels, read_kernel
from napari_blindsr.physics.kernels import FAMILIES, KernelFamily
from napari_blindsr.progress import Progress
from napari_blindsr.restoration.evidence import run_flags
from napari_blindsr.restoration.reconstruct import is_lack_of_memory, restored
from napari_blindsr.restoration.result import Result
from napari_blindsr.restoration.setup import prepare, with_blur
from napari_blindsr.restoration.uncertainty import find_uncertainty
from napari_blindsr.settings import ONE_BLUR, Settings, kernel_family

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.images.tiling import Target
    from napari_blindsr.restoration.problem import Job, Link
    from napari_blindsr.restoration.reconstruct import Restored
    from napari_blindsr.types import Border, Finish, Geometry, Precision, Quality


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
    """Restore step by step: yields `Progress`, returns a `Result`.

    Send a true value to stop within one step; the best state so far is then returned. Image and
    settings are checked before any work, when the first value is requested. All failures are
    `BlindSRError`, never `RuntimeError`.

    Parameters
    ----------
    image : array_like
        As in `restore`.
    settings : Settings
    axes : str, optional
    known_kernel : ndarray, (K, K) or (R, C, K, K), or KernelField, optional
        A kernel, or a grid of the kernels of the image's regions. Required if, and only if,
        ``settings.kernel`` is "known".
    found : bool
        Whether that kernel was estimated, from other planes, and so is uncertain.
    mask : array_like, (h, w), optional
        As in `restore`.
    region : Box, optional
        The output region; the input region extends around it as far as needed.
    target : Target, optional
        Receives the restored pixels as they are computed, float32: rows × columns, × 3 for RGB,
        × C for "CYX". The `image` of the result is then empty.
    link : Link, optional
        Weights to start from; the result then has its `weights` for the next plane.
    """
    start = time.perf_counter()
    with translated_errors():
        if settings.uncertainty and target is not None:
            raise SettingsError(
                f"uncertainty is {settings.uncertainty}, which needs the result in memory, but a "
                "target receives its pixels; expected 0"
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
    """Return the result of a problem, with its flags.

    Parameters
    ----------
    job : Job
    joined : Restored
        The reconstruction.
    seconds : float
        Wall time of the run.
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
        finish=job.restorer.name,
        blur=job.blur,
        # The regions divide the whole image, whatever its input region was.
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
    """Return the report that the blur is being estimated."""
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
    """Compute with so many CPU threads, and restore the number afterwards."""
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
    """Return the versions of the packages that a result depends on."""
    return {
        "napari-blindsr": version("napari-blindsr"),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


__all__ = ["iterate", "make_settings", "restore", "versions"]

FAMILY_NAMES = tuple(family.name for family in FAMILIES)


def restore(
    image: ArrayLike,
    *,
    scale: int,
    method: str = METHODS[0],
    kernel: str | os.PathLike[str] | KernelFamily | KernelField | NDArray[Any] = "auto",
    axes: str | None = None,
    geometry: Geometry = "camera",
    border: Border = "extend",
    bounded: bool | None = None,
    mask: ArrayLike | None = None,
    gain: float | Literal["auto"] = 1.0,
    noise: float | Literal["auto"] = 0.0,
    mask_saturated: bool = False,
    finish: Finish | None = None,
    usrnet_weights: str | os.PathLike[str] | None = None,
    quality: Quality = "fast",
    schedule: Schedule | ScheduleName = "published",
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    tile: int | Literal["auto"] | None = "auto",
    region: Box | tuple[slice, slice] | None = None,
    uncertainty: int = 0,
    field: tuple[int, int] = ONE_BLUR,
    optics: Optics | None = None,
    progress: Callable[[Progress], bool | None] | None = None,
) -> Result:
    """Estimate the blur of an image, and restore the image on a grid `scale` times finer.

    Parameters
    ----------
    image : array_like
        Grey (h, w) or RGB (h, w, 3); with `axes` also (C, h, w). uint8, uint16 or float,
        finite.
    scale : int
        1…8; 1 removes blur alone.
    method : str
        One of `napari_blindsr.methods.METHODS`. "fast", the default, estimates the blur and
        restores the image with pretrained networks; the others optimise and learn from this image
        alone, unless USRNet reconstructs it.
    kernel : str, path, KernelFamily, KernelField or ndarray
        Name of a kernel family, or a family with its parameters, to estimate the kernel from. An
        array (K, K), or the path of a file with one, is a known correlation kernel in HR pixels;
        one of (R, C, K, K) holds the kernels of R × C regions that divide the image, as does the
        field of an earlier result.
    axes : str, optional
        "YX", "YXC" or "CYX"; guessed from the shape if left out.
    geometry : {"camera", "benchmark"}
        "camera": the outer pixel edges of input and result coincide. "benchmark": the
        geometry of the published test data.
    border : {"extend", "circular"}
        "extend" assumes nothing about what lies outside; "circular" wraps around.
    bounded : bool, optional
        Whether the result is limited to the input's range of intensities, although blurring lowers
        peaks. By default for ``benchmark`` geometry alone. Applies to the image generator; an error
        with method "fast".
    mask : array_like (h, w), optional
        Nonzero where pixels are missing; they are filled in. Not for MLMC; the other methods also
        treat pixels that are not finite as missing.
    gain : float or "auto"
        Brightness of the image relative to the result; below 1 for dark inputs. Not for MLMC.
    noise : float or "auto"
        Standard deviation of the noise in the image's intensity unit, which DDSR does not fit and
        the reconstruction removes; "auto" estimates it. If left out, the reconstruction estimates
        it for ``camera`` geometry.
    mask_saturated : bool
        Treat pixels at the largest value of an integer type as missing. Not for MLMC.
    finish : {"none", "prior", "usrnet", "measurement"}, optional
        How the image is reconstructed once the kernel is estimated: "none" keeps the image of the
        optimisation, "prior" uses the image prior that ships, "usrnet" USRNet, "measurement" the
        classical reconstruction without a neural network. By default that of the method.
    usrnet_weights : path, optional
        File with the published weights of USRNet.
    quality : {"fast", "refined"}
        Whether "fast" also refines the network's blur estimate.
    schedule : Schedule or {"published", "reference"}
        Of the optimisation; "fast" has none.
    steps : int, optional
        Image steps; the phases of the schedule scale with them. An error with "fast".
    seed : int
    device : str
        "auto", "cpu", "cuda" or "mps".
    precision : {"auto", "float32", "bfloat16"}
    threads : int, optional
        CPU threads to compute with.
    tile : int, "auto" or None
        Largest side of a tile in pixels of the result; tiles overlap. "auto" uses tiles beyond
        2048 × 2048 pixels, None never. MLMC and DDSR without a reconstruction solve the whole image
        at once.
    region : Box or tuple of slice, optional
        Rows and columns to restore, instead of all; pixels around them are used as far as they
        have an influence. The result covers the region alone.
    uncertainty : int
        Number of further restorations from which the standard deviation of each pixel is
        estimated; 0 for none. With the image prior the first one predicts the error, and 1 is
        enough. The others use other kernels that fit the image, or fresh noise. Not where an
        optimisation would have to be repeated.
    field : tuple of int
        Rows and columns of regions with a kernel each; kernels are interpolated between the
        regions' middles. (1, 1) is one kernel for all. Not with methods that optimise, unless a
        grid of kernels is given.
    optics : Optics, optional
        Numerical aperture, emission wavelength and pixel size of a microscope, as far as they are
        known; they are combined with the blur estimate.
    progress : callable, optional
        Called with a `Progress` after each step; a true return value stops the run, which then
        returns the best state so far.

    Returns
    -------
    Result

    Raises
    ------
    BlindSRError
        Bad input or settings (before any work starts), a missing device, or a failed computation.
    """
    settings, known = make_settings(
        scale=scale,
        method=method,
        kernel=kernel,
        geometry=geometry,
        border=border,
        bounded=bounded,
        gain=gain,
        noise=noise,
        mask_saturated=mask_saturated,
        finish=finish,
        usrnet_weights=usrnet_weights,
        quality=quality,
        schedule=schedule,
        steps=steps,
        seed=seed,
        device=device,
        precision=precision,
        threads=threads,
        tile=tile,
        uncertainty=uncertainty,
        field=field,
        optics=optics,
    )
    array: Any = image if hasattr(image, "shape") else np.asarray(image)
    box = as_box(region, plane_shape(array, check_axes(array, axes)))
    run = iterate(array, settings, axes=axes, known_kernel=known, mask=mask, region=box)
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
    method: str = METHODS[0],
    kernel: str | os.PathLike[str] | KernelFamily | KernelField | NDArray[Any] = "auto",
    geometry: Geometry = "camera",
    border: Border = "extend",
    bounded: bool | None = None,
    gain: float | Literal["auto"] = 1.0,
    noise: float | Literal["auto"] = 0.0,
    mask_saturated: bool = False,
    finish: Finish | None = None,
    usrnet_weights: str | os.PathLike[str] | None = None,
    quality: Quality = "fast",
    schedule: Schedule | ScheduleName = "published",
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    tile: int | Literal["auto"] | None = "auto",
    uncertainty: int = 0,
    field: tuple[int, int] = ONE_BLUR,
    optics: Optics | None = None,
) -> tuple[Settings, NDArray[np.float32] | KernelField | None]:
    """Return the checked settings of `restore`, and the known kernel if one is given."""
    known: NDArray[np.float32] | KernelField | None = None
    family: KernelFamily | Literal["known"]
    if isinstance(kernel, KernelFamily):
        family = kernel
    elif isinstance(kernel, KernelField):
        family, known = "known", kernel
    elif isinstance(kernel, str) and kernel in FAMILY_NAMES:
        family = kernel_family(kernel)
    elif isinstance(kernel, str | os.PathLike):
        family, known = "known", check_kernels(_read_kernel(kernel))
    else:
        family, known = "known", check_kernels(kernel)
    settings = Settings(
        scale=scale,
        method=method,
        kernel=family,
        geometry=geometry,
        border=border,
        bounded=bounded,
        gain=gain,
        noise=noise,
        mask_saturated=mask_saturated,
        finish=finish,
        usrnet_weights=None if usrnet_weights is None else os.fspath(usrnet_weights),
        quality=quality,
        schedule=plan_schedule(
            schedule,
            method=method,
            kernel=family.name if isinstance(family, KernelFamily) else family,
            steps=steps,
        ),
        seed=seed,
        device=device,
        precision=precision,
        threads=threads,
        tile=tile,
        uncertainty=uncertainty,
        field=field,
        optics=Optics() if optics is None else optics,
    )
    return settings, known


def _read_kernel(path: str | os.PathLike[str]) -> NDArray[Any]:
    if not Path(path).exists():
        raise InputError(
            f"kernel is {os.fspath(path)!r}; expected one of {list(FAMILY_NAMES)} "
            "or the path of a file with a kernel"
        )
    return read_kernel(path)
