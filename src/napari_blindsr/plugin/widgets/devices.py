"""The devices of this machine and their memory, as texts; the command line uses them without Qt."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """The devices that torch can use, best first, and a line of advice or an empty one."""

    names: tuple[str, ...]
    hint: str


def free_memory(device: str, found: Sequence[str]) -> int:
    """Return the free memory of a device in bytes; `found` is empty until devices are known."""
    used = found[0] if device == "auto" and found else device
    torch = sys.modules.get("torch")
    if used.startswith("cuda") and torch is not None and found:
        free: int = torch.cuda.mem_get_info(used)[0]
        return free
    return int(psutil.virtual_memory().available)


def computes_in_half(device: str, precision: str, found: Sequence[str]) -> bool:
    """Tell whether networks compute in bfloat16; False before the devices are known."""
    if precision == "bfloat16":
        return True
    if precision == "float32" or not found or "torch" not in sys.modules:
        return False
    from napari_blindsr.solvers.device import choose_compute  # noqa: PLC0415

    name = device if device in found else "auto"
    return str(choose_compute(name, precision).dtype) == "torch.bfloat16"


def torch_build() -> str:
    """Return torch's version from the package metadata, without importing it."""
    try:
        return f"torch {version('torch')}"
    except PackageNotFoundError:
        return "torch is not installed"


def probe_devices() -> DeviceReport:
    """Return torch's devices. The first call takes seconds: it imports torch."""
    try:
        import torch  # noqa: PLC0415

        from napari_blindsr.solvers.device import available_devices  # noqa: PLC0415
    except Exception as error:  # noqa: BLE001
        # A broken installation fails in many ways; none may leave the dock waiting.
        return DeviceReport(names=("cpu",), hint=f"torch cannot be loaded: {error}")
    names = tuple(available_devices())
    return DeviceReport(
        names=names,
        hint=missing_gpu_hint(
            names=names,
            build=torch.__version__,
            built_for_cuda=torch.version.cuda is not None,
            has_nvidia=has_nvidia_gpu(),
        ),
    )


def keep_triton_out() -> None:
    """Let torch do without triton where loading it would end the process.

    Mesa may draw napari's canvas with LLVM. triton, which torch loads with its first optimiser,
    brings an LLVM of its own, and crashes if it comes second.
    """
    maps = Path("/proc/self/maps")
    if "triton" not in sys.modules and maps.exists() and "libLLVM" in maps.read_text("utf-8"):
        # Whoever imports it gets an ImportError, as where it is not installed.
        sys.modules["triton"] = None  # type: ignore[assignment]


def missing_gpu_hint(
    *, names: tuple[str, ...], build: str, built_for_cuda: bool, has_nvidia: bool
) -> str:
    """Return advice for a machine whose NVIDIA GPU torch does not use, or an empty text."""
    if not has_nvidia or any(name.startswith("cuda") for name in names):
        return ""
    if built_for_cuda:
        return (
            f"This machine has an NVIDIA GPU, but torch {build} cannot use it; "
            "its driver may be too old for this build."
        )
    return (
        f"This machine has an NVIDIA GPU, but torch {build} is a CPU-only build. "
        "Runs would be many times faster with a CUDA build: see pytorch.org/get-started."
    )


def has_nvidia_gpu() -> bool:
    """Tell whether the machine has the driver of an NVIDIA GPU, without torch."""
    if sys.platform == "darwin":
        return False
    return (
        Path("/proc/driver/nvidia/version").exists()
        or Path("C:/Windows/System32/nvcuda.dll").exists()
        or shutil.which("nvidia-smi") is not None
    )


def device_label(name: str) -> str:
    """Return the name of a device for the user."""
    kind, _, index = name.partition(":")
    labels = {"auto": "Automatic", "cpu": "CPU", "cuda": "NVIDIA GPU", "mps": "Apple GPU"}
    return f"{labels.get(kind, name)} {index}".strip()


def free_threads() -> int | None:
    """Return how many threads leave one core to the GUI; None, torch's choice, if there is one."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return cores - 1 if cores > 1 else None
