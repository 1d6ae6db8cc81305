"""Sentences for people: how long, how far, how it ended; of stacks, which planes failed."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from napari_blindsr.methods import method_named
from napari_blindsr.plugin.widgets.devices import device_label
from napari_blindsr.stacks.result import StackResult

if TYPE_CHECKING:
    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.result import Result


NO_BREAK = "\N{NO-BREAK SPACE}"

ENDINGS = {
    "completed": "Done",
    "converged": "Done, converged",
    "stopped": "Stopped and kept",
    "diverged": "Ended early, because it diverged; the best state is kept",
}


def duration_text(seconds: float) -> str:
    """Return a duration in the two largest units that matter."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes} min {rest} s"
    if minutes < 60:
        return f"{round(seconds / 60)} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def progress_text(progress: Progress) -> str:
    """Return step, loss and time left in one line."""
    parts = [f"Step {progress.step} of {progress.total}"]
    if (
        progress.unit != "step"
        or progress.step == 0
        or (progress.step == progress.total and progress.remaining is None)
    ):
        # Something else than image steps is going on: a warm-up, a finish, planes or tiles.
        parts = [sentence(progress.stage)]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4g}")
    if progress.remaining is not None:
        parts.append(f"{duration_text(progress.remaining)} left")
    # Lines break between the parts only.
    return " · ".join(part.replace(" ", NO_BREAK) for part in parts)


def result_text(result: Result) -> str:
    """Return how a run ended, and what the user should know, in one line."""
    ending = ENDINGS[str(result.reason)]
    steps = ""
    if method_named(result.settings.method).optimises:
        steps = f"{result.trace.size} of {result.settings.schedule.image_steps} steps "
    summary = (
        f"{ending}: {steps}in {duration_text(result.seconds)} "
        f"on {device_label(result.device)} ({result.dtype})."
    )
    if result.blur is not None:
        summary = f"{summary} {blur_text(result.blur)}"
    if result.field is not None:
        summary = f"{summary} {field_text(result.field)}"
    if result.learned_priors:
        summary = f"{summary} Trained networks that took part: {', '.join(result.learned_priors)}."
    estimated = [
        f"{name} {value:.3g} (estimated)."
        for name, value, asked in (
            ("Gain", result.gain, result.settings.gain),
            ("Noise", result.noise, result.settings.noise),
        )
        # A finish estimates the noise if nothing is said of it.
        if asked == "auto" or (asked == 0 and value > 0)
    ]
    cautions = [f"Caution: {flag.message}. {flag.meaning}" for flag in result.flags]
    return " ".join([summary, *estimated, *map(sentence, result.notes), *cautions])


def blur_text(blur: BlurEstimate) -> str:
    """Return the widths of a blur with their 90 % intervals, in pixels of the input."""
    widths = " and ".join(
        f"{width / blur.scale:.2f} ({low / blur.scale:.2f}–{high / blur.scale:.2f})"
        for width, (low, high) in zip(blur.widths, blur.intervals, strict=True)
    )
    return f"Blur: standard deviations {widths} pixels of the image."


def field_text(field: KernelField) -> str:
    """Return how the widths of a blur vary over the field, in pixels of the input."""
    rows, columns = field.shape
    text = f"Blur of {rows} × {columns} regions"
    blurs = [blur for line in field.blurs for blur in line]
    if not blurs:
        return f"{text}: as given."
    widths = [math.prod(blur.widths) ** 0.5 / blur.scale for blur in blurs]
    return f"{text}: standard deviations from {min(widths):.2f} to {max(widths):.2f} pixels."


def sentence(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


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
