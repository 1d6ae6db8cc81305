"""Sentences about stacks: how they ended, and which planes did not."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from napari_blindsr._napari.devices import device_label
from napari_blindsr._napari.texts import (
    ENDINGS,
    blur_text,
    duration_text,
    field_text,
    result_text,
    sentence,
)
from napari_blindsr.stack_result import StackResult

if TYPE_CHECKING:
    from napari_blindsr.result import Result

NAMED = 5
"""How many planes, kernels or reasons are named one by one."""


def text_of(result: Result | StackResult) -> str:
    """Return how any run ended, and what the user should know, in one line."""
    return stack_text(result) if isinstance(result, StackResult) else result_text(result)


def is_dubious(result: Result | StackResult) -> bool:
    """Tell whether what there is to know of a result deserves a warning."""
    if isinstance(result, StackResult):
        flagged = any(record.flags for record in result.records)
        return bool(result.failures) or flagged
    return bool(result.notes or result.flags) or str(result.reason) == "diverged"


def stack_text(result: StackResult) -> str:
    """Return how a stack ended: how many planes, with which kernels, and which failed."""
    total = 1
    for chosen in result.selection:
        total *= len(chosen)
    done = len(result.records) - len(result.failures) + result.kept
    device = "" if result.example is None else f" on {device_label(result.example.device)}"
    ending, duration = ENDINGS[str(result.reason)], duration_text(result.seconds)
    parts = [f"{ending}: {done} of {total} planes in {duration}{device}."]
    if result.failures:
        parts.append(f"Not restored: {_failures(result)}.")
    blurs = [entry for entry in result.kernels if entry.blur is not None]
    for entry in blurs[:NAMED]:
        assert entry.blur is not None
        text = blur_text(entry.blur)
        parts.append(text if len(blurs) == 1 else f"{plane_name(result, entry.indices[0])}: {text}")
    fields = [entry.field for entry in result.kernels if entry.field is not None]
    if fields:
        parts.append(field_text(fields[0]))
    if len(blurs) > NAMED:
        parts.append(f"And {len(blurs) - NAMED} more kernels.")
    if result.learned_priors:
        parts.append(f"Trained networks that took part: {', '.join(result.learned_priors)}.")
    notes = [*result.notes, *_counted(result)]
    return " ".join([*parts, *(f"{sentence(note)}." for note in notes)])


def plane_name(result: StackResult, index: tuple[int, ...]) -> str:
    """Return what a plane is called, such as "T=3, C=1"."""
    named = zip(result.loop_axes, index, strict=True)
    return ", ".join(f"{axis}={at}" for axis, at in named) or "the plane"


def _failures(result: StackResult) -> str:
    named = [
        f"{plane_name(result, record.index)} ({record.error})" for record in result.failures[:NAMED]
    ]
    more = len(result.failures) - NAMED
    return "; ".join([*named, f"{more} more"] if more > 0 else named)


def _counted(result: StackResult) -> list[str]:
    """Return what is said of planes, with how many of them it is said."""
    flags = Counter(text for record in result.records for text in record.flags)
    notes = Counter(text for record in result.records for text in record.notes)
    return [
        *[f"caution, {count} planes: {text}" for text, count in flags.most_common(NAMED)],
        *[f"{count} planes: {text}" for text, count in notes.most_common(NAMED)],
    ]
