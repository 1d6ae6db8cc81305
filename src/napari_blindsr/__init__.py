"""Blind image super-resolution for napari: estimate the blur and a finer image from one image."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_blindsr.api import iterate, restore
    from napari_blindsr.blur import BlurEstimate, estimate_kernel
    from napari_blindsr.errors import BlindSRError
    from napari_blindsr.field_blur import estimate_field
    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.parts import Box
    from napari_blindsr.result import Result
    from napari_blindsr.schedule import Schedule
    from napari_blindsr.settings import Settings
    from napari_blindsr.stack import iterate_stack, restore_stack
    from napari_blindsr.stack_result import StackOptions, StackResult

_HOMES = {
    "restore": "napari_blindsr.api",
    "iterate": "napari_blindsr.api",
    "estimate_kernel": "napari_blindsr.blur",
    "BlurEstimate": "napari_blindsr.blur",
    "estimate_field": "napari_blindsr.field_blur",
    "KernelField": "napari_blindsr.kernel_field",
    "Result": "napari_blindsr.result",
    "restore_stack": "napari_blindsr.stack",
    "iterate_stack": "napari_blindsr.stack",
    "StackOptions": "napari_blindsr.stack_result",
    "StackResult": "napari_blindsr.stack_result",
    "Box": "napari_blindsr.parts",
    "Settings": "napari_blindsr.settings",
    "Schedule": "napari_blindsr.settings",
    "BlindSRError": "napari_blindsr.errors",
}

__all__ = [
    "BlindSRError",
    "BlurEstimate",
    "Box",
    "KernelField",
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
