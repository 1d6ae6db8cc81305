"""Result files of an evaluation, written one by one, so that an interrupted one is resumed.

Each set of settings has its own folder with ``NAME.tif`` (float32, in the intensities of the LR
image), ``NAME.npy`` (the kernel) and, written last, ``NAME.json``, which also has the peak memory.
"""

from __future__ import annotations

import hashlib
import json
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_blindsr.errors import BlindSRError
from napari_blindsr.evaluation.dataset import images_in
from napari_blindsr.images.files import read_image
from napari_blindsr.images.plain import write_image, write_report
from napari_blindsr.physics.kernel_files import read_kernel, write_kernel
from napari_blindsr.restoration.restore import versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_blindsr.evaluation.dataset import Case
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one image.

    Attributes
    ----------
    image : ndarray
        uint8, or floats in [0, 1], clipped.
    kernel : ndarray, (K, K), or None
    seconds : float or None
    peak_memory : int or None
        In bytes.
    reason : str
        Why the run ended; empty if unknown.
    """

    image: NDArray[Any]
    kernel: NDArray[np.float32] | None
    seconds: float | None = None
    peak_memory: int | None = None
    reason: str = ""


def settings_digest(settings: Settings) -> str:
    """Return eight characters that differ between settings whose results may differ."""
    record = settings.to_json()
    # These change results by no more than rounding; the weights have a checksum.
    for name in ("device", "threads", "usrnet_weights"):
        del record[name]
    record["version"] = versions()["napari-blindsr"]
    text = json.dumps(record, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_folder(root: Path, settings: Settings) -> Path:
    """Return the folder, below a root, of the results with these settings."""
    return root / f"{settings.method}-{settings_digest(settings)}"


def save_outcome(
    folder: Path, case: Case, result: Result, *, peak_memory: int | None, scores: dict[str, float]
) -> None:
    """Write a result and its scores."""
    write_image(folder / f"{case.name}.tif", result.image, dtype=np.float32, force=True)
    write_kernel(folder / f"{case.name}.npy", result.kernel, force=True)
    record = {
        "image": case.name,
        "input_sha256": case.digest,
        "scores": scores,
        "peak_memory": peak_memory,
        **result.report(),
    }
    write_report(folder / f"{case.name}.json", record, force=True)


def outcome_of(result: Result, case: Case, *, peak_memory: int | None) -> Outcome:
    """Return a result in the form that is scored."""
    return Outcome(
        image=np.clip(result.image / case.white, 0, 1),
        kernel=result.kernel,
        seconds=result.seconds,
        peak_memory=peak_memory,
        reason=str(result.reason),
    )


def load_outcome(folder: Path, case: Case) -> Outcome | None:
    """Return the saved result of an image; None if it is missing or of another input."""
    try:
        record = json.loads((folder / f"{case.name}.json").read_text(encoding="utf-8"))
        if record["input_sha256"] != case.digest:
            return None
        return Outcome(
            image=np.clip(read_image(folder / f"{case.name}.tif").array / case.white, 0, 1),
            kernel=read_kernel(folder / f"{case.name}.npy"),
            seconds=record["seconds"],
            peak_memory=record["peak_memory"],
            reason=record["reason"],
        )
    except (OSError, ValueError, KeyError, TypeError, BlindSRError):
        return None


def others_results(folder: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the images of which a folder has results, from any program."""
    there = images_in(folder) if folder.is_dir() else {}
    return tuple(name for name in names if name in there)


def load_others_outcome(folder: Path, case: Case) -> Outcome:
    """Read a result of any program: an image, and a kernel (.mat or .npy) if there is one.

    Integers span the range of their type. Floats up to 1.5 are in [0, 1]; otherwise they are in
    the intensities of the LR image, as this program writes them.

    Raises
    ------
    FileError, InputError
    """
    ours = load_outcome(folder, case)
    if ours is not None:
        return ours
    image = read_image(images_in(folder)[case.name]).array
    if image.dtype.kind in "ui":
        white = float(np.iinfo(image.dtype).max)
    else:
        white = 1.0 if image.max() <= 1.5 else case.white
    kernels = (folder / f"{case.name}{suffix}" for suffix in (".mat", ".npy"))
    return Outcome(
        image=image if image.dtype == np.uint8 else np.clip(image / white, 0, 1),
        kernel=next((read_kernel(file) for file in kernels if file.exists()), None),
    )


_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class PeakMemory:
    """The result of `peak_memory`, complete once its block has ended.

    Attributes
    ----------
    bytes : int or None
        None if it cannot be measured.
    """

    bytes: int | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[PeakMemory]:
    """Measure the peak memory of a block.

    On a CUDA device: the memory that torch allocated. Otherwise the memory of the whole process,
    Python and libraries included: on Linux within the block, on macOS since the process began, on
    Windows None.
    """
    peak = PeakMemory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device)
        return
    # Not every system lets a process reset its own high-water mark.
    with suppress(OSError):
        _RESET.write_text("5", encoding="ascii")
    yield peak
    peak.bytes = _high_water_mark()


def _high_water_mark() -> int | None:
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415  (not on Windows)

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
