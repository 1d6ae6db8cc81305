"""Blind image super-resolution for napari: estimate the blur and a finer image from one image."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_blindsr.errors import BlindSRError
    from napari_blindsr.estimation.estimate import BlurEstimate, estimate_kernel
    from napari_blindsr.estimation.field import estimate_field
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.tiling import Box
    from napari_blindsr.methods import Schedule
    from napari_blindsr.optics import Optics
    from napari_blindsr.restoration.restore import iterate, restore
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.options import StackOptions
    from napari_blindsr.stacks.restore_stack import iterate_stack, restore_stack
    from napari_blindsr.stacks.result import StackResult

_HOMES = {
    "restore": "napari_blindsr.restoration.restore",
    "iterate": "napari_blindsr.restoration.restore",
    "estimate_kernel": "napari_blindsr.estimation.estimate",
    "BlurEstimate": "napari_blindsr.estimation.estimate",
    "estimate_field": "napari_blindsr.estimation.field",
    "KernelField": "napari_blindsr.estimation.kernel_field",
    "Result": "napari_blindsr.restoration.result",
    "restore_stack": "napari_blindsr.stacks.restore_stack",
    "iterate_stack": "napari_blindsr.stacks.restore_stack",
    "StackOptions": "napari_blindsr.stacks.options",
    "StackResult": "napari_blindsr.stacks.result",
    "Box": "napari_blindsr.images.tiling",
    "Settings": "napari_blindsr.settings",
    "Schedule": "napari_blindsr.methods",
    "Optics": "napari_blindsr.optics",
    "BlindSRError": "napari_blindsr.errors",
}

__all__ = [
    "BlindSRError",
    "BlurEstimate",
    "Box",
    "KernelField",
    "Optics",
    "Result",
    "Schedule",
    "Settings",
    "StackOptions",
    "StackResult",
    "estimate_field",
    "estimate_kernel",
    "iterate",
    "iterate_stack",
    "restore",
    "restore_stack",
]


def __getattr__(name: str) -> object:
    # Public names load on first use: napari imports the package to build its menus.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
