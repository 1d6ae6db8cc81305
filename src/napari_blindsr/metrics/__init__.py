"""Measuring images and kernels, with a truth and without one.

A metric is a function of `MetricInputs`, an image and all that is known of it. One that is
appended to `METRICS` appears in docks, command line, documentation and tests; plots and maps stand
in `CURVES` and `MAPS`.
"""

from __future__ import annotations

from napari_blindsr.metrics.catalogue import METRICS, SCORES, Metric
from napari_blindsr.metrics.curves import CURVES, MAPS, Curve, Kind, Line, Map
from napari_blindsr.metrics.fidelity import luma, psnr_y, ssim_y, to_8bit
from napari_blindsr.metrics.inputs import MetricInputs
from napari_blindsr.metrics.kernel import kernel_error, kernel_psnr

__all__ = [
    "CURVES",
    "MAPS",
    "METRICS",
    "SCORES",
    "Curve",
    "Kind",
    "Line",
    "Map",
    "Metric",
    "MetricInputs",
    "kernel_error",
    "kernel_psnr",
    "luma",
    "psnr_y",
    "ssim_y",
    "to_8bit",
]
