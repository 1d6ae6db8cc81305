"""Blind image super-resolution for napari: estimate the blur and a finer image from one image."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_blindsr.api import iterate, restore
    from napari_blindsr.blur import BlurEstimate, estimate_kernel
    from napari_blindsr.errors import BlindSRError
    from napari_blindsr.result import Result
    from napari_blindsr.settings import Schedule, Settings

_HOMES = {
    "restore": "napari_blindsr.api",
    "iterate": "napari_blindsr.api",
    "estimate_kernel": "napari_blindsr.blur",
    "BlurEstimate": "napari_blindsr.blur",
    "Result": "napari_blindsr.result",
    "Settings": "napari_blindsr.settings",
    "Schedule": "napari_blindsr.settings",
    "BlindSRError": "napari_blindsr.errors",
}

__all__ = [
    "BlindSRError",
    "BlurEstimate",
    "Result",
    "Schedule",
    "Settings",
    "estimate_kernel",
    "iterate",
    "restore",
]


def __getattr__(name: str) -> object:
    # Public names load on first use: napari imports the package to build its menus.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
