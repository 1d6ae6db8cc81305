"""Measuring images and kernels, with a truth and without one.

A metric is a function of the `Evidence`, an image and all that is known of it. One that is
appended to `METRICS` appears in docks, command line, documentation and tests; plots and maps stand
in `CURVES` and `MAPS`.
"""

from __future__ import annotations

from napari_blindsr.metrics.catalogue import METRICS, SCORES, Metric
from napari_blindsr.metrics.curves import CURVES, MAPS, Curve, Kind, Line, Map
from napari_blindsr.metrics.fidelity import luma, psnr_y, ssim_y, to_8bit
from napari_blindsr.metrics.inputs import Evidence
from napari_blindsr.metrics.kernel import kernel_error, kernel_psnr

__all__ = [
    "CURVES",
    "MAPS",
    "METRICS",
    "SCORES",
    "Curve",
    "Evidence",
    "Kind",
    "Line",
    "Map",
    "Metric",
    "kernel_error",
    "kernel_psnr",
    "luma",
    "psnr_y",
    "ssim_y",
    "to_8bit",
]
