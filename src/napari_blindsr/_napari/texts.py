"""Sentences for people: how long, how far, how it ended."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_blindsr._napari.devices import device_label
from napari_blindsr.methods import method_named

if TYPE_CHECKING:
    from napari_blindsr.blur import BlurEstimate
    from napari_blindsr.engine.result import Progress
    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.result import Result

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
