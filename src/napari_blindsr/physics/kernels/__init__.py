"""Kernel families: distributions of blur kernels.

A family is a frozen dataclass of parameters that draws kernels; adding one to
`FAMILIES` adds it to the dock, the command line and the tests. torch is imported on
first use, so that listing the families is fast.
"""

from __future__ import annotations

from napari_blindsr.physics.kernels.airy import Airy
from napari_blindsr.physics.kernels.automatic import Automatic
from napari_blindsr.physics.kernels.base import KernelFamily, kernel_size, side_for
from napari_blindsr.physics.kernels.disk import Disk, render_disk
from napari_blindsr.physics.kernels.gaussian import Gaussian, render_gaussian
from napari_blindsr.physics.kernels.line import Line, render_line
from napari_blindsr.physics.kernels.motion import Motion

FAMILIES: tuple[type[KernelFamily], ...] = (Automatic, Gaussian, Disk, Line, Motion, Airy)

FAMILY_NAMES = tuple(family.name for family in FAMILIES)

__all__ = [
    "FAMILIES",
    "FAMILY_NAMES",
    "Airy",
    "Automatic",
    "Disk",
    "Gaussian",
    "KernelFamily",
    "Line",
    "Motion",
    "kernel_size",
    "render_disk",
    "render_gaussian",
    "render_line",
    "side_for",
]
