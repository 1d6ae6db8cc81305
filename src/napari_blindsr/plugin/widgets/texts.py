"""Sentences for people: how long, how far, how it ended; of stacks, which planes failed."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from napari_blindsr.methods import method_named
from napari_blindsr.plugin.widgets.devices import device_label
from napari_blindsr.stacks.result import StackResult

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def stage_text(progress: Progress) -> str:
    """Return the stage of a run as a sentence."""
    return sentence(progress.stage)


def progress_text(progress: Progress) -> str:
    """Return step, loss and time left in one line."""
    parts = [f"Step {progress.step} of {progress.total}"]
    if (
        progress.unit != "step"
        or progress.step == 0
        or (progress.step == progress.total and progress.remaining is None)
    ):
        # Something else than image steps is going on: a warm-up, a finish, planes or tiles.
        parts = [stage_text(progress)]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4g}")
    if progress.remaining is not None:
        parts.append(f"{duration_text(progress.remaining)} left")
    # Lines break between the parts only.
    return " · ".join(part.replace(" ", NO_BREAK) for part in parts)


FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian, in standard deviations."""


def ending_text(result: Result | StackResult) -> str:
    """Return how a run ended, and how long it took, in a sentence."""
    ending, duration = ENDINGS[str(result.reason)], duration_text(result.seconds)
    if isinstance(result, StackResult):
        device = "" if result.example is None else f" ({device_label(result.example.device)})"
        done = len(result.records) - len(result.failures) + result.kept
        return f"{ending} in {duration}{device}: {done} of {planes_asked(result)} planes."
    steps = ""
    if method_named(result.settings.method).optimises:
        steps = f", {result.trace.size} of {result.settings.schedule.image_steps} steps"
    return f"{ending} in {duration} ({device_label(result.device)}{steps})."


def planes_asked(result: StackResult) -> int:
    """Return how many planes were to be restored."""
    return math.prod(map(len, result.selection))


def facts_of(result: Result, nanometres: float | None = None) -> list[str]:
    """Return what a run has estimated, and which networks it used, in sentences.

    Parameters
    ----------
    result : Result
    nanometres : float, optional
        Size of a pixel of the image.
    """
    facts = []
    if result.blur is not None:
        facts.append(blur_text(result.blur, nanometres))
    if result.field is not None:
        facts.append(field_text(result.field))
    for label, value, asked in (
        ("Estimated gain:", result.gain, result.settings.gain),
        ("Estimated noise: SD", result.noise, result.settings.noise),
    ):
        # A reconstruction estimates the noise if nothing is said of it.
        if asked == "auto" or (asked == 0 and value > 0):
            facts.append(f"{label} {value:.3g}.")
    if result.learned_priors:
        facts.append(networks_text(result.learned_priors))
    return facts


def networks_text(names: Sequence[str]) -> str:
    """Return which trained networks a result is owed to."""
    return f"Neural networks used: {', '.join(names)}."


def blur_text(blur: BlurEstimate, nanometres: float | None = None) -> str:
    """Return the FWHM of a blur with its 90 % interval, in pixels of the input and in µm.

    Parameters
    ----------
    blur : BlurEstimate
    nanometres : float, optional
        Size of a pixel of the input.
    """
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
    """Return how the FWHM of a blur varies across the image, in pixels of the input."""
    rows, columns = field.shape
    text = f"Estimated blur of {rows} × {columns} regions"
    blurs = [blur for line in field.blurs for blur in line]
    if not blurs:
        return f"Given blur of {rows} × {columns} regions."
    widths = [FWHM * math.prod(blur.widths) ** 0.5 / blur.scale for blur in blurs]
    return f"{text}: FWHM {min(widths):.1f} to {max(widths):.1f} px."


def sentence(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


NAMED = 5
"""How many planes, kernels or reasons are named one by one."""


def stack_facts(result: StackResult, nanometres: float | None = None) -> list[str]:
    """Return which planes failed, and with which kernels the others were restored.

    Parameters
    ----------
    result : StackResult
    nanometres : float, optional
        Size of a pixel of the image.
    """
    facts = []
    if result.failures:
        facts.append(f"Not restored: {_failures(result)}.")
    blurs = [entry for entry in result.kernels if entry.blur is not None]
    for entry in blurs[:NAMED]:
        assert entry.blur is not None
        text = blur_text(entry.blur, nanometres)
        facts.append(text if len(blurs) == 1 else f"{plane_name(result, entry.indices[0])}: {text}")
    if len(blurs) > NAMED:
        facts.append(f"And {len(blurs) - NAMED} more kernels.")
    fields = [entry.field for entry in result.kernels if entry.field is not None]
    if fields:
        facts.append(field_text(fields[0]))
    if result.learned_priors:
        facts.append(networks_text(result.learned_priors))
    return [*facts, *(f"{sentence(note)}." for note in (*result.notes, *_counted(result)))]


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
    """Return what is noted of planes, with how many of them it is noted."""
    notes = Counter(text for record in result.records for text in record.notes)
    return [f"{count} planes: {text}" for text, count in notes.most_common(NAMED)]
