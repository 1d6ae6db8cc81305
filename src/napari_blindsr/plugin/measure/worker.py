"""One measurement as work for a worker."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_blindsr.errors import EngineError
from napari_blindsr.plugin.measure.case import Case
from napari_blindsr.plugin.widgets.run import Run
from napari_blindsr.progress import Progress

if TYPE_CHECKING:
    from napari_blindsr.metrics.measure import Layer, Measurement, Plot


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """The values, curves and maps of a measurement."""

    measurements: tuple[Measurement, ...]
    plots: tuple[Plot, ...]
    maps: tuple[Layer, ...]


class MeasureRun(Run[Findings]):
    """One measurement; `case` is None once it is closed."""

    kind = "measurement"

    def __init__(self, case: Case) -> None:
        super().__init__(case.name)
        self.case: Case | None = case

    def _work(self) -> Generator[Progress, bool | None, Findings]:
        from napari_blindsr.metrics import METRICS  # noqa: PLC0415
        from napari_blindsr.metrics.measure import (  # noqa: PLC0415
            iterate_measurements,
            maps,
            plots,
        )

        if self.case is None:
            raise EngineError(f"the {self!r} was closed before it began")
        evidence, began = self.case.evidence, time.perf_counter()
        wanted = [metric for metric in METRICS if evidence.allows(metric.needs)]
        measured: list[Measurement] = []
        # Curves and maps show how the values were obtained; they are one stage more.
        for done, label in enumerate([*(metric.label for metric in wanted), "curves and maps"]):
            yield Progress(
                step=done,
                total=len(wanted) + 1,
                stage=f"measuring {label}",
                loss=None,
                seconds=time.perf_counter() - began,
                remaining=None,
                unit="metric",
            )
            measured += iterate_measurements(evidence, metrics=wanted[done : done + 1])
        return Findings(measurements=tuple(measured), plots=plots(evidence), maps=maps(evidence))

    def close(self) -> None:
        """Free all memory. Only while no value is being measured."""
        self.case = None
        super().close()
