"""From a result to its verdict: how good it is, what was estimated, and what to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import InputError
from napari_blindsr.plugin.layers.inputs import LayerInput
from napari_blindsr.plugin.layers.read import pixel_nanometres
from napari_blindsr.plugin.widgets.advice import Level, advice_on, gravest
from napari_blindsr.plugin.widgets.texts import (
    ending_text,
    facts_of,
    planes_asked,
    sentence,
    stack_facts,
)
from napari_blindsr.plugin.widgets.verdict import Verdict
from napari_blindsr.stacks.result import StackResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.plugin.layers.inputs import Source
    from napari_blindsr.restoration.result import Result

WORDS: dict[Level, str] = {
    "good": "Good",
    "caution": "Use with caution",
    "doubtful": "Do not trust fine detail",
}
ANALYSED = 1024
"""Largest side, in pixels of the image, of what its resolution is estimated from."""


@dataclass(frozen=True, kw_only=True)
class Resolutions:
    """Resolution by decorrelation analysis, in pixels of the image.

    Attributes
    ----------
    before, after : float
        Of the image, and of the result.
    """

    before: float
    after: float

    def text(self, nanometres: float | None) -> str:
        """Return both, in nm if the size of a pixel is known."""
        if nanometres is None:
            return f"resolution {self.before:.1f} → {self.after:.1f} px"
        before, after = (round(value * nanometres) for value in (self.before, self.after))
        return f"resolution {before} → {after} nm"


def resolutions(result: Result | StackResult, source: Source) -> Resolutions | None:
    """Return the resolution of an image and of its result; None where they cannot be told.

    Takes a moment: call it off the main thread.
    """
    # Not before now: this imports scipy, which takes a while.
    from napari_blindsr.metrics.decorrelation import decorrelation  # noqa: PLC0415

    if isinstance(result, StackResult) or not isinstance(source, LayerInput):
        return None
    scale = result.settings.scale
    box = source.region
    cut = (slice(None), slice(None)) if box is None else box.slices
    try:
        before = decorrelation(_analysed(np.asarray(source.data[cut]), ANALYSED)).resolution
        after = decorrelation(_analysed(result.image, scale * ANALYSED)).resolution
    except InputError:
        return None
    return Resolutions(before=before, after=after / scale)


def _analysed(image: NDArray[Any], side: int) -> NDArray[np.float64]:
    """Return the middle of an image, grey."""
    starts = [max(0, (n - side) // 2) for n in image.shape[:2]]
    part = image[starts[0] : starts[0] + side, starts[1] : starts[1] + side].astype(float)
    # What was filled in, or could not be restored, tells nothing.
    part = np.nan_to_num(part, nan=float(np.nanmean(part)))
    grey: NDArray[np.float64] = part.mean(axis=-1) if part.ndim == 3 else part
    return grey


def judge(
    result: Result | StackResult, source: Source, found: Resolutions | None = None
) -> Verdict:
    """Return the verdict on a result.

    Parameters
    ----------
    result : Result or StackResult
    source : LayerInput or StackInput
    found : Resolutions, optional
    """
    size = pixel_nanometres(source.frame, source.plane)
    if isinstance(result, StackResult):
        return _judge_stack(result, size)
    advice = [advice_on(flag) for flag in result.flags]
    cautions = [
        (entry.finding, entry.action, flag.message)
        for entry, flag in zip(advice, result.flags, strict=True)
    ]
    # What a run could not do as it was asked to.
    cautions += [(f"{sentence(note)}.", "", "") for note in result.notes]
    notes: list[Level] = ["caution"] * len(result.notes)
    level = gravest([*(entry.level for entry in advice), *notes])
    if str(result.reason) == "diverged":
        level = "doubtful"
    parts = [WORDS[level], *([] if found is None else [found.text(size)]), *_counted(len(cautions))]
    facts = [ending_text(result), *facts_of(result, size)]
    return Verdict(
        level=level, line=" · ".join(parts), facts=tuple(facts), cautions=tuple(cautions)
    )


def _judge_stack(result: StackResult, size: float | None) -> Verdict:
    flags = Counter(text for record in result.records for text in record.flags)
    cautions = [(f"{count} planes: {text}", "", "") for text, count in flags.most_common()]
    level: Level = "caution" if flags else "good"
    if result.failures:
        level = "doubtful"
    done = len(result.records) - len(result.failures) + result.kept
    parts = [WORDS[level], f"{done} of {planes_asked(result)} planes", *_counted(len(cautions))]
    if result.failures:
        parts[0] = "Some planes failed"
    return Verdict(
        level=level,
        line=" · ".join(parts),
        facts=(ending_text(result), *stack_facts(result, size)),
        cautions=tuple(cautions),
    )


def _counted(number: int) -> list[str]:
    if number == 0:
        return []
    return ["1 caution" if number == 1 else f"{number} cautions"]
