"""Measuring images and kernels, with a truth and without one.

A metric is a function of the `Evidence`, all that is known to measure an image by. One that is
appended to `METRICS` is inherited by whatever measures, by the documentation and by the tests;
what can be plotted or shown as a layer stands in `CURVES` and `MAPS`.
"""

from __future__ import annotations

from napari_blindsr.metrics.catalogue import METRICS, SCORES, Metric
from napari_blindsr.metrics.curves import CURVES, MAPS, Curve, CurveKind, Line, Map, MapKind
from napari_blindsr.metrics.fidelity import luma, psnr_y, ssim_y, to_8bit
from napari_blindsr.metrics.inputs import Evidence
from napari_blindsr.metrics.kernel import kernel_error, kernel_psnr

__all__ = [
    "CURVES",
    "MAPS",
    "METRICS",
    "SCORES",
    "Curve",
    "CurveKind",
    "Evidence",
    "Line",
    "Map",
    "MapKind",
    "Metric",
    "kernel_error",
    "kernel_psnr",
    "luma",
    "psnr_y",
    "ssim_y",
    "to_8bit",
]
