"""Measuring an image: values, plots and maps."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_blindsr.errors import InputError
from napari_blindsr.metrics.catalogue import LENGTH_UNIT, METRICS
from napari_blindsr.metrics.curves import CURVES, MAPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_blindsr.metrics.catalogue import Metric
    from napari_blindsr.metrics.curves import Curve, Kind, Map, Shown
    from napari_blindsr.metrics.inputs import MetricInputs


COLUMNS = (
    "name",
    "label",
    "value",
    "unit",
    "value_nm",
    "better",
    "reason",
    "definition",
    "source",
    "caveat",
)
"""Of a CSV file."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The value of a metric.

    Attributes
    ----------
    metric : Metric
    value : float or None
        In the metric's unit; None if the inputs do not allow it.
    physical : float or None
        In nm, of a length whose pixel size is known.
    reason : str
        Why there is no value; empty if there is one.
    """

    metric: Metric
    value: float | None
    physical: float | None = None
    reason: str = ""

    def record(self) -> dict[str, Any]:
        """Return value, unit and reason as plain JSON types, for a layer's metadata."""
        record: dict[str, Any] = {"value": self.value, "unit": self.metric.unit}
        if self.physical is not None:
            record["value_nm"] = self.physical
        if self.reason:
            record["reason"] = self.reason
        return record


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot with its name, or the reason why there is none."""

    kind: Kind[Curve]
    curve: Curve | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A map with its name, or the reason why there is none."""

    kind: Kind[Map]
    map: Map | None
    reason: str = ""


def measure(
    inputs: MetricInputs, *, metrics: Sequence[Metric] = METRICS
) -> tuple[Measurement, ...]:
    """Compute all metrics that the inputs allow.

    Parameters
    ----------
    inputs : MetricInputs
    metrics : sequence of Metric
        Those that lack an input are left out.

    Returns
    -------
    tuple of Measurement
        In the order of `metrics`. A metric whose inputs do not allow it, such as too small an
        image, has no value but a reason.
    """
    return tuple(iterate_measurements(inputs, metrics=metrics))


def iterate_measurements(
    inputs: MetricInputs, *, metrics: Sequence[Metric] = METRICS
) -> Iterator[Measurement]:
    """Measure metric by metric, so that progress can be shown; parameters as in `measure`."""
    for metric in metrics:
        if not inputs.allows(metric.needs):
            continue
        try:
            value = metric(inputs)
        except InputError as error:
            yield Measurement(metric=metric, value=None, reason=str(error))
            continue
        physical = None
        if metric.unit == LENGTH_UNIT and inputs.pixel_size is not None:
            physical = value * inputs.pixel_size
        yield Measurement(metric=metric, value=value, physical=physical)


def plots(inputs: MetricInputs) -> tuple[Plot, ...]:
    """Return the plots that the inputs allow."""
    return tuple(
        Plot(kind=kind, curve=curve, reason=reason)
        for kind, curve, reason in _attempts(CURVES, inputs)
    )


def maps(inputs: MetricInputs) -> tuple[Layer, ...]:
    """Return the maps that the inputs allow."""
    return tuple(
        Layer(kind=kind, map=found, reason=reason)
        for kind, found, reason in _attempts(MAPS, inputs)
    )


def _attempts(
    kinds: Sequence[Kind[Shown]], inputs: MetricInputs
) -> Iterator[tuple[Kind[Shown], Shown | None, str]]:
    """Yield each plot or map with an empty text, or None with the reason."""
    for kind in kinds:
        if inputs.allows(kind.needs):
            try:
                yield kind, kind(inputs), ""
            except InputError as error:
                yield kind, None, str(error)


def to_csv(measurements: Sequence[Measurement]) -> str:
    """Return measurements as CSV (RFC 4180), a row each, with definition, source and caveat."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for found in measurements:
        metric = found.metric
        writer.writerow(
            (
                metric.name,
                metric.label,
                "" if found.value is None else repr(float(found.value)),
                metric.unit,
                "" if found.physical is None else repr(float(found.physical)),
                metric.better,
                found.reason,
                metric.definition,
                metric.source,
                metric.caveat,
            )
        )
    return stream.getvalue()


def to_metadata(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return measurements by name, as plain JSON types, for a layer's metadata."""
    return {found.metric.name: found.record() for found in measurements}
