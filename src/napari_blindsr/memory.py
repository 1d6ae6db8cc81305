"""How much memory a computation took at most."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class PeakMemory:
    """The result of `peak_memory`, complete once its block has ended.

    Attributes
    ----------
    bytes : int or None
        None where it cannot be told.
    """

    bytes: int | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[PeakMemory]:
    """Measure the most memory that was in use during a block.

    On a CUDA device what torch allocated there. Otherwise the memory of the whole process,
    Python and libraries included: on Linux within the block, on macOS since the process
    began, on Windows nothing.
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
