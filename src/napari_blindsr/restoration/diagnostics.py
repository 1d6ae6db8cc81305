"""Reasons not to believe a result: one list of short functions of what a run knows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_blindsr.physics.kernels.base import CORE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from napari_blindsr.estimation.consistency import Consistency
    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.metrics.residual import Residual


UNLIKE_NOISE = 0.25
"""Power of the residual, in units of the noise's, times its autocorrelation, that is too much.

Restorations by the right kernel stay below 0.1; a kernel half a pixel of the image too wide
gives 0.4 and more, unless the noise hides it."""

CHANCE = 1.5
"""Whiteness of a residual that one of a hundred white ones exceeds."""

DISAGREEMENT = 2.5
"""Mean square difference of the blurs of an image's parts, in units of their uncertainty, that is
too much: one blur for all gives 1 at most, two that differ threefold in width 4 and more."""

SPREAD = 0.4
"""Least root mean square difference of the logarithms of the variances that matters."""

TOLERANCE = 1.15
"""By what factor a kernel may leave the interval that was read off the image."""

UNLIKE_IMAGE = 1.5
"""By what factor a kernel may be wider, or narrower, than the image looks blurred. Of 152 true
kernels of pictures, cells and noisy images none was."""

UNLIKELY = 2.0
"""By how many standard deviations of what the image tells it has to be off, too."""

SATURATED = 0.002
"""Part of the pixels at the upper end of the range that is no chance."""

COVERED = 0.05
"""Part of the pixels that may be missing without a word."""

OVERSAMPLED = 0.25
"""Cycles a pixel: if a blur lets nothing through from here on, the image is sampled more than
twice as finely as it needs to be, and a finer grid holds nothing more."""

NARROW = 0.25
"""Standard deviation in pixels of the image, of a kernel that is as good as none."""


UNCERTAIN = 1.27
"""Factor by which the width of a blur may be uncertain without a word."""

BLOCKY = 0.35
"""How strong the blocks of JPEG must be to be mentioned; see `blocking`."""

ANOTHER = 0.6
"""Probability of another kernel family than the one asked for, from which on it is said. Of 22
Gaussian blurs of pictures that were not trained on, none reached it."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A reason not to believe a result.

    Attributes
    ----------
    name : str
    message : str
        What was found, in this run.
    meaning : str
        What such a finding means for the result.
    advice : str
        What to do about it.
    """

    name: str
    message: str
    meaning: str
    advice: str

    def report(self) -> dict[str, str]:
        """Return it as plain JSON types."""
        return {
            "name": self.name,
            "message": self.message,
            "meaning": self.meaning,
            "advice": self.advice,
        }


@dataclass(frozen=True, kw_only=True)
class RunEvidence:
    """What a run knows.

    Attributes
    ----------
    scale : int
    kernel : ndarray, (K, K)
        The kernel that was used, in HR pixels.
    widths : tuple of float
        Standard deviations along the principal axes of its core in HR pixels, the larger first.
    known : bool
        Whether the kernel was given rather than estimated.
    blur : BlurEstimate or None
        What was read off the image.
    agreement : Consistency or None
        How well the blurs of its parts agree, and what they tell.
    residual : Residual or None
        What image and kernel leave unexplained; None if it cannot be told.
    saturated : float
        Part of the pixels that pile up at the upper end of the range.
    covered : float
        Part of the pixels that were not measured.
    noise : float
        Standard deviation of the noise, relative to that of the image.
    blocking : float
        How much the image shows the blocks of JPEG.
    """

    scale: int
    kernel: NDArray[np.float32]
    widths: tuple[float, float]
    known: bool = False
    blur: BlurEstimate | None = None
    agreement: Consistency | None = None
    residual: Residual | None = None
    saturated: float = 0.0
    covered: float = 0.0
    noise: float = 0.01
    blocking: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """A kind of reason; `find` returns the message, or None if there is nothing to say."""

    name: str
    meaning: str
    advice: str
    find: Callable[[RunEvidence], str | None]


def run_checks(evidence: RunEvidence) -> tuple[Flag, ...]:
    """Return all that speaks against a result."""
    found = ((kind, kind.find(evidence)) for kind in FLAGS)
    return tuple(
        Flag(name=kind.name, message=message, meaning=kind.meaning, advice=kind.advice)
        for kind, message in found
        if message is not None
    )


def run_field_checks(evidence: Mapping[tuple[int, int], RunEvidence]) -> tuple[Flag, ...]:
    """Return all that speaks against a result whose regions have kernels of their own.

    Parameters
    ----------
    evidence : dict of (row, column) to RunEvidence
        What is known of each region.
    """
    flags = []
    for kind in FLAGS:
        found = {place: kind.find(known) for place, known in evidence.items()}
        messages = {place: message for place, message in found.items() if message is not None}
        if not messages:
            continue
        (row, column), message = next(iter(messages.items()))
        everywhere = len(messages) == len(evidence) and len(set(messages.values())) == 1
        if not everywhere:
            message = (
                f"in {len(messages)} of {len(evidence)} regions, such as row {row}, column "
                f"{column} of the field: {message}"
            )
        flags.append(
            Flag(name=kind.name, message=message, meaning=kind.meaning, advice=kind.advice)
        )
    return tuple(flags)


def _no_blur(evidence: RunEvidence) -> str | None:
    if evidence.blur is not None:
        sharp = not evidence.blur.found
    else:
        sharp = not evidence.known and evidence.widths[0] < NARROW * evidence.scale
    return "no blur found: the image is as sharp as one that was never blurred" if sharp else None


def _at_bound(evidence: RunEvidence) -> str | None:
    side = len(evidence.kernel)
    if side > 1:
        frame = np.ones(evidence.kernel.shape, dtype=bool)
        frame[1:-1, 1:-1] = False
        edge = float(evidence.kernel[frame].max() / evidence.kernel.max())
        if edge > CORE:
            return (
                f"at the border of its {side} × {side} pixels the kernel has {edge:.0%} of its peak"
            )
    blur = evidence.blur
    if blur is None or not blur.found:
        return None
    return _beyond_reading(evidence, blur)


def _beyond_reading(evidence: RunEvidence, blur: BlurEstimate) -> str | None:
    """Tell of a kernel that is not what was read, or of a blur wider than any that is known."""
    # What imports torch is loaded by the run by now.
    from napari_blindsr.estimation.network import WIDEST_BLUR  # noqa: PLC0415

    careful = blur.careful_widths
    for width, read, interval, least in zip(
        evidence.widths, blur.widths, blur.intervals, careful, strict=True
    ):
        low, high = (read, read) if math.isnan(interval[0]) else interval
        # The kernel is narrower than the estimate where that is safer.
        low = min(low, least)
        if not low / TOLERANCE < width < high * TOLERANCE:
            own = width / evidence.scale
            return (
                f"the kernel's standard deviation is {own:.2f} pixels of the image "
                f"where {read / evidence.scale:.2f} was read: family {blur.family!r} has none such"
            )
    widest = math.sqrt(WIDEST_BLUR)
    if blur.widths[0] > 0.95 * widest * evidence.scale:
        return (
            f"the blur was read as {blur.widths[0] / evidence.scale:.2f} pixels of the image; the "
            f"reader knows none beyond {widest:.2f}"
        )
    return None


def _another_family(evidence: RunEvidence) -> str | None:
    blur = evidence.blur
    if blur is None or not blur.found or not blur.families:
        return None
    likely = max(blur.families, key=lambda name: blur.families[name])
    if likely == blur.family or blur.families[likely] < ANOTHER:
        return None
    return (
        f"the blur looks like one of family {likely!r} ({blur.families[likely]:.0%}), not "
        f"{blur.family!r} ({blur.families.get(blur.family, 0.0):.0%})"
    )


def _unlike_image(evidence: RunEvidence) -> str | None:
    told = evidence.agreement
    # A kernel that was read is like what was read.
    if told is None or evidence.blur is not None:
        return None
    # What imports torch is loaded by the run by now.
    from napari_blindsr.estimation.network import NARROWEST_BLUR, WIDEST_BLUR  # noqa: PLC0415

    # Beyond these the image tells no difference.
    own = math.prod(evidence.widths) / evidence.scale**2
    own = math.log(min(max(own, NARROWEST_BLUR / evidence.scale), WIDEST_BLUR))
    difference = own - told.variance
    if (
        abs(difference) / 2 <= math.log(UNLIKE_IMAGE)
        or abs(difference) <= UNLIKELY * told.log_variance_sd
    ):
        return None
    width = math.sqrt(math.prod(evidence.widths)) / evidence.scale
    return (
        f"the kernel's standard deviation is {width:.2f} pixels of the image, which looks as if "
        f"blurred by {math.exp(told.variance / 2):.2f}"
    )


def _not_white(evidence: RunEvidence) -> str | None:
    found = evidence.residual
    if found is None or found.whiteness <= CHANCE:
        return None
    if found.level**2 * found.correlation <= UNLIKE_NOISE:
        return None
    return (
        f"blurred again, the result differs from the image by {found.level:.1f} times its noise, "
        f"in a pattern (autocorrelation {found.correlation:.2f})"
    )


def _unstable(evidence: RunEvidence) -> str | None:
    found = evidence.agreement
    if found is None or found.disagreement <= DISAGREEMENT or found.spread <= SPREAD:
        return None
    low, high = found.range
    return f"parts of the image have blurs from {low:.2f} to {high:.2f} pixels of the image"


def _saturated(evidence: RunEvidence) -> str | None:
    parts = []
    if evidence.saturated > SATURATED:
        parts.append(f"{evidence.saturated:.1%} of the pixels pile up at the largest value")
    if evidence.covered > COVERED:
        parts.append(f"{evidence.covered:.0%} of the pixels were not measured")
    return ", and ".join(parts) if parts else None


def _beyond_kernel(evidence: RunEvidence) -> str | None:
    if evidence.scale == 1:
        return None
    if evidence.known and evidence.widths[0] < NARROW * evidence.scale:
        width = evidence.widths[0] / evidence.scale
        return f"the kernel is {width:.2f} pixels of the image wide, as good as none"
    # Along the shorter axis, which lets the most through. What a Gaussian of standard deviation
    # σ lets through of frequency f is exp(−2π²σ²f²).
    widths = evidence.widths if evidence.blur is None else evidence.blur.widths
    width = widths[1] / evidence.scale
    ratio = max(1 / max(evidence.noise, 1e-3), 1.0)
    limit = math.sqrt(2 * math.log(ratio)) / (2 * math.pi * width)
    if limit >= OVERSAMPLED:
        return None
    period = f"{1 / limit:.1f} pixels" if limit > 0 else "any size"
    return f"of detail with a period below {period} of the image, the blur leaves less than noise"


def _not_identifiable(evidence: RunEvidence) -> str | None:
    blur = evidence.blur
    if blur is None or blur.posterior is None or not blur.found:
        return None
    factor = math.exp(0.5 * blur.posterior.log_variance_sd)
    if factor < UNCERTAIN:
        return None
    return (
        f"the width of the blur is uncertain by a factor of {factor:.1f}: nothing in the image is "
        "sharp enough to tell blur from soft objects"
    )


def _compressed(evidence: RunEvidence) -> str | None:
    if evidence.blocking <= BLOCKY:
        return None
    return "the image has the 8 × 8 pixel blocks of JPEG compression"


FLAGS: tuple[Check, ...] = (
    Check(
        name="blur_not_identifiable",
        meaning="The result is restored with care: it may stay softer than the image allows.",
        advice="Give the objective's numerical aperture, the emission wavelength and the pixel "
        "size (optics), or a measured kernel.",
        find=_not_identifiable,
    ),
    Check(
        name="noise_not_white",
        meaning="Such disturbances look like detail; the result is smoothed to suppress them.",
        advice="Use the uncompressed original of the image, if there is one.",
        find=_compressed,
    ),
    Check(
        name="no_blur",
        meaning="No gain is expected beyond interpolation; what looks sharper was made up.",
        advice="Keep the image as it is, or try another image of the same series.",
        find=_no_blur,
    ),
    Check(
        name="kernel_at_bound",
        meaning="The true blur may be wider than, or unlike, any that could be found.",
        advice="Choose another family, or wider parameters, or reduce the image first.",
        find=_at_bound,
    ),
    Check(
        name="another_family",
        meaning="A kernel of the wrong shape leaves traces such as double edges.",
        advice="Restore again with a kernel of the family that is named, and compare.",
        find=_another_family,
    ),
    Check(
        name="kernel_unstable",
        meaning="One kernel for the whole image is wrong for parts of it.",
        advice="Give its regions kernels of their own (field, such as 2 × 2 or 3 × 4), or measured "
        "kernels.",
        find=_unstable,
    ),
    Check(
        name="kernel_unlike_image",
        meaning="With a kernel that is too wide edges ring; one that is too narrow leaves blur.",
        advice="See that a measured kernel is sampled in pixels of the result, not of the image; "
        "or let the blur be read off the image, and compare.",
        find=_unlike_image,
    ),
    Check(
        name="residual_not_white",
        meaning="Kernel and result do not explain the data: the kernel is too wide or of another "
        "shape, or the result too smooth. Too narrow a kernel leaves no such trace.",
        advice="Try another kernel or family, give the noise, or let the optimisation go on.",
        find=_not_white,
    ),
    Check(
        name="saturated_or_covered",
        meaning="Saturated pixels contradict any kernel around them; what was covered is "
        "filled in.",
        advice="Take saturated pixels for covered, and do not measure where support is low.",
        find=_saturated,
    ),
    Check(
        name="scale_beyond_kernel",
        meaning="A finer grid holds nothing that the image could tell of.",
        advice="Choose a smaller scale; scale 1 removes blur alone.",
        find=_beyond_kernel,
    ),
)
"""Every kind; what is appended is inherited by results, command line, dock and tests."""
