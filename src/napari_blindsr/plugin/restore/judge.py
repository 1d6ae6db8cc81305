"""The verdict on a result: how good it is, what was estimated, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import InputError
from napari_blindsr.plugin.layers.inputs import LayerInput
from napari_blindsr.plugin.layers.read import nanometres
from napari_blindsr.plugin.widgets.texts import details_of, ending_text, planes_text, sentence
from napari_blindsr.plugin.widgets.verdict import (
    Caution,
    Level,
    Verdict,
    cautions_of,
    gravest,
    level_of,
)
from napari_blindsr.stacks.result import StackResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    """Resolution of an image and its result by decorrelation analysis, in pixels of the image."""

    before: float
    after: float

    def text(self, nanometres: float | None) -> str:
        """Return both as text, in nm if the size of a pixel is known."""
        if nanometres is None:
            return f"resolution {self.before:.1f} → {self.after:.1f} px"
        before, after = (round(value * nanometres) for value in (self.before, self.after))
        return f"resolution {before} → {after} nm"


def resolutions(result: Result | StackResult, source: LayerInput) -> Resolutions | None:
    """Return both resolutions, or None where the analysis fails. Slow: not for the main thread."""
    # Not before now: this imports scipy, which takes a while.
    from napari_blindsr.metrics.decorrelation import decorrelation  # noqa: PLC0415

    if isinstance(result, StackResult):
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
    # Pixels that were filled in or not restored carry no information.
    part = np.nan_to_num(part, nan=float(np.nanmean(part)))
    grey: NDArray[np.float64] = part.mean(axis=-1) if part.ndim == 3 else part
    return grey


def judge(
    result: Result | StackResult, source: LayerInput, found: Resolutions | None = None
) -> Verdict:
    """Return the verdict on a result; `found` are the resolutions of the image and the result."""
    size = nanometres(source.frame, source.plane)
    details = (ending_text(result), *details_of(result, size))
    if isinstance(result, StackResult):
        cautions = [*cautions_of(result.flags)]
        level: Level = "doubtful" if result.failures else level_of(result.flags)
        parts = ["Some planes failed" if result.failures else WORDS[level], planes_text(result)]
    else:
        # Notes say which settings the run could not apply.
        notes = [Caution(message=f"{sentence(note)}.") for note in result.notes]
        cautions = [*cautions_of(result.flags), *notes]
        level = gravest([level_of(result.flags), "caution" if notes else "good"])
        if str(result.reason) == "diverged":
            level = "doubtful"
        parts = [WORDS[level], *([] if found is None else [found.text(size)])]
    if cautions:
        parts.append("1 caution" if len(cautions) == 1 else f"{len(cautions)} cautions")
    return Verdict(level=level, line=" · ".join(parts), details=details, cautions=tuple(cautions))
