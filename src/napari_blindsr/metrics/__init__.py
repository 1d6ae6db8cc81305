"""Scores of an image or a kernel against a known truth.

A metric is a function of (estimate, truth) that returns a float; one that is appended to
`METRICS` is inherited by the demo, by the tables and by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_blindsr.metrics.image import luma, psnr_y, ssim_y, to_8bit
from napari_blindsr.metrics.kernel import kernel_error, kernel_psnr

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "METRICS",
    "Metric",
    "kernel_error",
    "kernel_psnr",
    "luma",
    "psnr_y",
    "ssim_y",
    "to_8bit",
]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric, as tables and tests see it.

    Attributes
    ----------
    name : str
        A valid identifier.
    label : str
        What a table shows.
    unit : str
        Empty for a pure number.
    subject : {"image", "kernel"}
        What is compared. An image metric is called as ``function(estimate, truth, crop=s)``,
        a kernel metric as ``function(estimate, truth)``.
    higher_is_better : bool
    function : callable
    """

    name: str
    label: str
    unit: str
    subject: Literal["image", "kernel"]
    higher_is_better: bool
    function: Callable[..., float]

    def __call__(self, estimate: Any, truth: Any, *, crop: int = 0) -> float:
        """Return the score; `crop` is the border in pixels that an image metric leaves out."""
        if self.subject == "image":
            return self.function(estimate, truth, crop=crop)
        return self.function(estimate, truth)


METRICS: tuple[Metric, ...] = (
    Metric(
        name="psnr_y",
        label="Y-PSNR",
        unit="dB",
        subject="image",
        higher_is_better=True,
        function=psnr_y,
    ),
    Metric(
        name="ssim_y",
        label="SSIM",
        unit="",
        subject="image",
        higher_is_better=True,
        function=ssim_y,
    ),
    Metric(
        name="kernel_psnr",
        label="kernel PSNR",
        unit="dB",
        subject="kernel",
        higher_is_better=True,
        function=kernel_psnr,
    ),
    Metric(
        name="kernel_error",
        label="e_k",
        unit="",
        subject="kernel",
        higher_is_better=False,
        function=kernel_error,
    ),
)
