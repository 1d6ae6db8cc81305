"""Plots and maps of the measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_blindsr.metrics.frc import RingCorrelation
    from napari_blindsr.metrics.inputs import MetricInputs
    from napari_blindsr.metrics.kernel import Profile


FREQUENCY = "spatial frequency [cycles / px of the image]"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a plot: x and y (n,), and whether it is a threshold rather than a finding."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    is_threshold: bool = False


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A plot.

    Attributes
    ----------
    x_label, y_label : str
        With their units.
    lines : tuple of Line
    mark : float or None
        The place of a metric on the x axis.
    y_axis : {"share", "linear", "logarithmic"}
        A share is shown from 0 to about 1; the others as far as the values go. A logarithmic axis
        shows positive values only.
    """

    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    mark: float | None = None
    y_axis: Literal["share", "linear", "logarithmic"] = "share"


@dataclass(frozen=True, kw_only=True)
class Map:
    """An image of what was measured.

    Attributes
    ----------
    values : ndarray, float32, (H, W) or (h, w)
        NaN where there is no value.
    grid : {"image", "source"}
        Whose pixels it has.
    unit : str
    diverging : bool
        Whether its values lie on both sides of 0.
    """

    values: NDArray[np.float32]
    grid: Literal["image", "source"]
    unit: str
    diverging: bool


Shown = TypeVar("Shown", Curve, Map)


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[Shown]):
    """A plot or a map that can be made; it needs attributes of `MetricInputs`, as a metric does."""

    name: str
    label: str
    needs: tuple[str, ...]
    function: Callable[[MetricInputs], Shown]

    def __call__(self, inputs: MetricInputs) -> Shown:
        """Return the plot or map; an `InputError` if the inputs do not allow it."""
        return self.function(inputs)


def _rings(found: RingCorrelation, pixel: int) -> Curve:
    """Return the plot of a ring correlation of pixels that span `pixel` of the image's."""
    x = found.frequency / pixel
    return Curve(
        x_label=FREQUENCY,
        y_label="correlation",
        lines=(
            Line(label="Fourier ring correlation", x=x, y=found.correlation),
            Line(label=found.criterion, x=x, y=found.threshold, is_threshold=True),
        ),
        mark=None if found.cutoff is None else found.cutoff / pixel,
    )


def _decorrelations(inputs: MetricInputs) -> Curve:
    """Return the plot of the image's curves and, if there is one, of its source's."""
    lines = []
    parts = [("image", inputs.decorrelation, 1)]
    if inputs.source is not None:
        parts.append(("source", inputs.source_decorrelation, inputs.scale))
    for name, found, pixel in parts:
        sharpest = int(np.argmax(found.peaks[:, 0]))
        lines += [
            Line(label=label, x=found.frequency / pixel, y=found.curves[index])
            for label, index in ((name, 0), (f"{name}, high-passed", sharpest))
        ]
    return Curve(
        x_label=FREQUENCY,
        y_label="correlation",
        lines=tuple(lines),
        mark=inputs.decorrelation.cutoff,
    )


def _profiles(inputs: MetricInputs) -> Curve:
    shape = inputs.kernel_shape
    unit, pixel = ("px", 1.0) if inputs.pixel_size is None else ("nm", inputs.pixel_size)

    def line(label: str, profile: Profile) -> Line:
        width = f"{label}, FWHM {pixel * profile.fwhm:.3g} {unit}"
        return Line(label=width, x=pixel * profile.position, y=profile.value)

    return Curve(
        x_label=f"distance from the centre [{unit}]",
        y_label="kernel, peak = 1",
        lines=(line("longer axis", shape.longer), line("shorter axis", shape.shorter)),
    )


CURVES: tuple[Kind[Curve], ...] = (
    Kind(
        name="frc",
        label="Fourier ring correlation",
        needs=("second",),
        function=lambda e: _rings(e.ring_correlation, 1),
    ),
    Kind(
        name="frc_source",
        label="Fourier ring correlation of the source",
        needs=("source", "second_source"),
        function=lambda e: _rings(e.source_ring_correlation, e.scale),
    ),
    Kind(
        name="frc_halves_source",
        label="Fourier ring correlation of the source's halves",
        needs=("source",),
        function=lambda e: _rings(e.half_image_correlation, e.scale),
    ),
    Kind(
        name="decorrelation",
        label="Decorrelation analysis",
        needs=(),
        function=_decorrelations,
    ),
    Kind(
        name="kernel_profile",
        label="Profile of the kernel",
        needs=("kernel",),
        function=_profiles,
    ),
)
"""Every plot; what is appended appears in the dock and in the tests."""


def _map(values: NDArray[Any], **options: Any) -> Map:
    return Map(values=np.asarray(values, dtype=np.float32), **options)


MAPS: tuple[Kind[Map], ...] = (
    Kind(
        name="residual",
        label="re-blur residual",
        needs=("source", "kernel"),
        function=lambda e: _map(
            e.residual.values.mean(axis=0), grid="source", unit="noise", diverging=True
        ),
    ),
    Kind(
        name="error_map",
        label="resolution-scaled error",
        needs=("source",),
        function=lambda e: _map(
            e.error_map.error, grid="source", unit="intensity", diverging=False
        ),
    ),
)
"""Every map; what is appended appears in the dock and in the tests."""
