"""The device of a run, its precision and its memory layout."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from napari_blindsr.errors import DeviceError


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and how the networks are evaluated.

    Attributes
    ----------
    device : torch.device
    dtype : torch.dtype
        float32, or bfloat16 for autocast; weights and losses stay in float32.
    channels_last : bool
        Layout of images and weights where no gradients are taken.
    channels_last_gradients : bool
        The same where they are.
    """

    device: torch.device
    dtype: torch.dtype
    channels_last: bool
    channels_last_gradients: bool

    @property
    def autocast(self) -> torch.autocast:
        """The context in which the networks are evaluated."""
        return torch.autocast(
            self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32
        )

    def layout(self, *, gradients: bool) -> torch.memory_format:
        """Return the layout of images and weights, with gradients or without."""
        channels_last = self.channels_last_gradients if gradients else self.channels_last
        return torch.channels_last if channels_last else torch.contiguous_format


def available_devices() -> list[str]:
    """Return the devices of this machine, best first; the last is always "cpu"."""
    names: list[str] = []
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        names += ["cuda"] if count == 1 else [f"cuda:{index}" for index in range(count)]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(name: str) -> torch.device:
    """Return the device of this name; "auto" is the best there is.

    Raises
    ------
    DeviceError
        If this machine has no such device.
    """
    names = available_devices()
    if name == "auto":
        return torch.device(names[0])
    known = {*names, *(n.split(":")[0] for n in names)}
    if name == "cuda:0" and "cuda" in names:
        return torch.device(name)
    if name not in known:
        raise DeviceError(
            f"device is {name!r}, but torch {torch.__version__} finds only "
            f"{', '.join(names)} on this machine; expected one of these or 'auto'"
        )
    return torch.device(name)


def _cpu_has(name: str) -> bool:
    """Return whether this CPU has some instructions, as far as this torch knows."""
    if hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get(name))
    # Before torch 2.10 there is a function for each, and before 2.6 for none but this.
    if name == "avx512_f":
        return torch.backends.cpu.get_cpu_capability() == "AVX512"
    supports = getattr(torch.cpu, f"_is_{name}_supported", None)
    return supports is not None and bool(supports())


def _differentiates_channels_last(device: torch.device) -> bool:
    # With AVX2 alone, the gradient of weights takes oneDNN three times as long in that layout.
    if device.type == "cpu":
        return _cpu_has("avx512_f")
    return device.type == "cuda"


def _computes_bfloat16(device: torch.device) -> bool:
    # Elsewhere bfloat16 is emulated and slower than float32.
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return _cpu_has("avx512_bf16") or _cpu_has("amx_bf16")
    return False


def choose_compute(device: str, precision: str) -> Compute:
    """Choose the precision and layout that are fastest on a device.

    Parameters
    ----------
    device : str
        As in `resolve_device`.
    precision : {"auto", "float32", "bfloat16"}
    """
    resolved = resolve_device(device)
    bfloat16 = precision == "bfloat16" or (precision == "auto" and _computes_bfloat16(resolved))
    return Compute(
        device=resolved,
        dtype=torch.bfloat16 if bfloat16 else torch.float32,
        channels_last=resolved.type in ("cpu", "cuda"),
        channels_last_gradients=_differentiates_channels_last(resolved),
    )
