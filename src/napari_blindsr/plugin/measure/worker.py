"""One measurement on a thread of its own."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_blindsr.errors import BlindSRError, EngineError
from napari_blindsr.plugin.measure.case import Case

if TYPE_CHECKING:
    from napari_blindsr.metrics.measure import Layer, Measurement, Plot


@dataclass(frozen=True, kw_only=True)
class Step:
    """How far a measurement is, and what comes next."""

    done: int
    total: int
    next: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What was measured."""

    measurements: tuple[Measurement, ...]
    plots: tuple[Plot, ...]
    maps: tuple[Layer, ...]


class MeasureRun:
    """A measurement, and all that it holds in memory.

    napari keeps every worker, and with it a suspended generator, until its window goes. What
    is large is therefore held here, where `close` can let go of it.

    Parameters
    ----------
    case : Case
    """

    def __init__(self, case: Case) -> None:
        self.case: Case | None = case
        self._name = case.name
        self._steps: Generator[Step, None, Findings] | None = None

    def __repr__(self) -> str:
        # napari shows this when it is closed meanwhile.
        return f"measurement of '{self._name}'"

    def steps(self) -> Generator[Step, None, Findings]:
        """Measure one number after the other.

        For a generator worker. Every failure comes as a `BlindSRError`: a worker swallows
        RuntimeErrors, and then never ends.
        """
        try:
            if self.case is None:
                raise EngineError(f"the {self!r} was closed before it began")
            self._steps = _measure(self.case)
            while True:
                try:
                    step = next(self._steps)
                except StopIteration as end:
                    findings: Findings = end.value
                    return findings
                yield step
        except BlindSRError:
            raise
        except Exception as error:
            text = " ".join(str(error).split()) or "no message"
            raise EngineError(f"the {self!r} failed with {type(error).__name__}: {text}") from error
        finally:
            self._steps = None

    def close(self) -> None:
        """Let go of everything. Only while no number is being measured."""
        steps, self._steps, self.case = self._steps, None, None
        if steps is not None:
            steps.close()


def _measure(case: Case) -> Generator[Step, None, Findings]:
    from napari_blindsr.metrics import METRICS  # noqa: PLC0415
    from napari_blindsr.metrics.measure import iterate_measurements, maps, plots  # noqa: PLC0415

    evidence = case.evidence
    wanted = [metric for metric in METRICS if evidence.allows(metric.needs)]
    # Curves and maps show what the numbers were read off; they are one stage more.
    stages = [*(metric.label for metric in wanted), "curves and maps"]
    yield Step(done=0, total=len(stages), next=stages[0])
    measured = []
    for found in iterate_measurements(evidence, metrics=wanted):
        measured.append(found)
        done = len(measured)
        yield Step(done=done, total=len(stages), next=stages[done])
    return Findings(measurements=tuple(measured), plots=plots(evidence), maps=maps(evidence))
