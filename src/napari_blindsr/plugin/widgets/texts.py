"""Sentences for people: how long, how far, how it ended; of stacks, which planes failed."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from napari_blindsr.methods import method_named
from napari_blindsr.plugin.widgets.devices import device_label
from napari_blindsr.stacks.result import StackKernel, StackResult

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
    "diverged": "Ended early because the optimisation diverged; the best state was kept",
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


FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian, in standard deviations."""
NAMED = 5
"""How many planes, kernels or reasons are named one by one."""


def sentence(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def progress_text(progress: Progress) -> str:
    """Return step or stage, loss and time left in one line, which breaks between them only."""
    counted = progress.unit == "step" and progress.step > 0
    if counted and not (progress.step == progress.total and progress.remaining is None):
        parts = [f"Step {progress.step} of {progress.total}"]
    else:
        # No image steps are being done: a warm-up, a reconstruction, planes or tiles.
        parts = [sentence(progress.stage)]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4g}")
    if progress.remaining is not None:
        parts.append(f"{duration_text(progress.remaining)} left")
    return " · ".join(part.replace(" ", NO_BREAK) for part in parts) if parts[1:] else parts[0]


def ending_text(result: Result | StackResult) -> str:
    """Return how a run ended, and how long it took, in a sentence."""
    text = f"{ENDINGS[str(result.reason)]} in {duration_text(result.seconds)}"
    if isinstance(result, StackResult):
        device = "" if result.example is None else f" ({device_label(result.example.device)})"
        return f"{text}{device}: {planes_text(result)}."
    steps = ""
    if method_named(result.settings.method).optimises:
        steps = f", {result.trace.size} of {result.settings.schedule.image_steps} steps"
    return f"{text} ({device_label(result.device)}{steps})."


def planes_text(result: StackResult) -> str:
    """Return how many planes are restored, those of an earlier run included."""
    restored = len(result.records) - len(result.failures) + result.kept
    return f"{restored} of {math.prod(map(len, result.selection))} planes"


def details_of(result: Result | StackResult, nanometres: float | None = None) -> list[str]:
    """Return failures, estimates and the networks used in sentences; a coarse pixel in nm."""
    lines = _failures(result) if isinstance(result, StackResult) else []
    lines += blur_details(result, nanometres)
    if not isinstance(result, StackResult):
        if result.continued:
            steps = result.settings.schedule.image_steps
            lines.append(
                f"Continued after step {result.continued}: {steps} steps at once may differ."
            )
        for label, value, asked in (
            ("Estimated gain:", result.gain, result.settings.gain),
            ("Estimated noise: SD", result.noise, result.settings.noise),
        ):
            # A reconstruction estimates the noise if none is given.
            if asked == "auto" or (asked == 0 and value > 0):
                lines.append(f"{label} {value:.3g}.")
    if result.learned_priors:
        lines.append(f"Neural networks used: {', '.join(result.learned_priors)}.")
    if isinstance(result, StackResult):
        counted = Counter(text for record in result.records for text in record.notes)
        notes = [
            f"{count} plane{'' if count == 1 else 's'}: {text}"
            for text, count in counted.most_common(NAMED)
        ]
        lines += [f"{sentence(note)}." for note in (*result.notes, *notes)]
    return lines


def blur_details(result: Result | StackResult, nanometres: float | None = None) -> list[str]:
    """Return the estimated blurs in sentences; a coarse pixel in nm."""
    lines = []
    entries = result.kernels if isinstance(result, StackResult) else [result]
    blurs = [entry for entry in entries if entry.blur is not None]
    for entry in blurs[:NAMED]:
        assert entry.blur is not None
        plane = ""
        if isinstance(result, StackResult) and isinstance(entry, StackKernel) and len(blurs) > 1:
            plane = f"{plane_name(result, entry.indices[0])}: "
        lines.append(plane + blur_text(entry.blur, nanometres))
    if len(blurs) > NAMED:
        more = len(blurs) - NAMED
        lines.append(f"And {more} more kernel{'' if more == 1 else 's'}.")
    return lines + [field_text(entry.field) for entry in entries if entry.field is not None][:1]


def blur_text(blur: BlurEstimate, nanometres: float | None = None) -> str:
    """Return the FWHM of a blur with its 90 % interval, in coarse pixels and, given nm, in µm."""
    widths = [FWHM * width / blur.scale for width in blur.widths]
    text = f"Estimated blur: FWHM {widths[0]:.1f} × {widths[1]:.1f} px"
    ends = [FWHM * end / blur.scale for pair in blur.intervals for end in pair]
    if not any(map(math.isnan, ends)):
        text += f" (90 %: {min(ends):.1f}–{max(ends):.1f})"
    if nanometres is not None:
        across = " × ".join(f"{width * nanometres / 1000:.2f}" for width in widths)
        text += f", {across} µm"
    return f"{text}."


def field_text(field: KernelField) -> str:
    """Return how the FWHM of a blur varies across the image, in coarse pixels."""
    rows, columns = field.shape
    blurs = [blur for line in field.blurs for blur in line]
    if not blurs:
        return f"Given blur of {rows} × {columns} regions."
    widths = [FWHM * math.prod(blur.widths) ** 0.5 / blur.scale for blur in blurs]
    text = f"Estimated blur of {rows} × {columns} regions"
    return f"{text}: FWHM {min(widths):.1f} to {max(widths):.1f} px."


def plane_name(result: StackResult, index: tuple[int, ...]) -> str:
    """Return the name of a plane, such as "T=3, C=1"."""
    named = zip(result.loop_axes, index, strict=True)
    return ", ".join(f"{axis}={at}" for axis, at in named) or "the plane"


def _failures(result: StackResult) -> list[str]:
    """Return which planes failed and why, in one sentence if there are any."""
    failures = result.failures
    named = [f"{plane_name(result, record.index)} ({record.error})" for record in failures[:NAMED]]
    if len(failures) > NAMED:
        named.append(f"{len(failures) - NAMED} more")
    return [f"Not restored: {'; '.join(named)}."] if named else []
