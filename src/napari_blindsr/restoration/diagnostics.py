"""Checks of a finished run; each that fails adds a warning flag to the result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_blindsr.physics.kernels.base import CORE, FWHM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from napari_blindsr.estimation.consistency import Consistency
    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.metrics.residual import Residual


UNLIKE_NOISE = 0.25
"""Largest residual power (in units of the noise power) times its autocorrelation.

With the right kernel it stays below 0.1; a kernel half an LR pixel too wide gives 0.4 and more,
unless the noise hides it."""

CHANCE = 1.5
"""Whiteness that 1 % of white residuals exceed."""

DISAGREEMENT = 2.5
"""Largest mean square difference between the blurs of an image's parts, in units of their
uncertainty: one blur gives 1 at most, two of threefold different variance give 4 and more."""

SPREAD = 0.4
"""Smallest root mean square difference of the log variances that counts."""

TOLERANCE = 1.15
"""Largest factor by which a kernel may lie outside the interval of the blur estimate."""

UNLIKE_IMAGE = 1.5
"""Largest factor between the width of a known kernel and the blur estimate. None of 152 true
kernels of pictures, cells and noisy images exceeded it."""

UNLIKELY = 2.0
"""Smallest difference from the blur estimate in units of its standard deviation."""

SATURATED = 0.002
"""Largest fraction of pixels at the upper end of the range that is not reported."""

COVERED = 0.05
"""Largest fraction of missing pixels that is not reported."""

OVERSAMPLED = 0.25
"""Cut-off frequency of the blur, in cycles a pixel, below which the image is oversampled: its
pixels are less than half as large as needed, and a finer grid adds no information."""

MOST_FINE = 3
"""Largest scale that is suggested: in the benchmark ×4 brought nothing more, on the median."""

NARROW = 0.25
"""Standard deviation in LR pixels below which a kernel hardly blurs."""


UNCERTAIN = 1.27
"""Largest uncertainty of the blur's width, as a factor, that is not reported."""

BLOCKY = 0.35
"""Blocking above which JPEG compression is reported; see `blocking`."""

CORRELATED = 0.4
"""Further noise, in units of the root mean square difference of neighbouring pixels, above which
correlated noise is reported."""

ANOTHER = 0.6
"""Probability from which on another kernel family is reported. None of 22 Gaussian blurs of
pictures outside the training set reached it."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A warning about a result.

    Attributes
    ----------
    name : str
    message : str
        What was measured in this run.
    meaning : str
        What it means for the result.
    advice : str
        What to do about it.
    """

    name: str
    message: str
    meaning: str
    advice: str

    def report(self) -> dict[str, str]:
        """Return the flag as plain JSON types."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class RunEvidence:
    """What the checks need to know of a run.

    Attributes
    ----------
    kernel : ndarray, (K, K)
        The kernel that was used, in HR pixels.
    widths : tuple of float
        Standard deviations along the principal axes of its core in HR pixels, the larger first.
    saturated, covered : float
        Fractions of the pixels at the upper end of the range, and of the missing pixels.
    noise : float
        Standard deviation of the noise, relative to that of the image.
    blocking : float
        See `physics.noise.blocking`.
    further_noise : float
        See `Decision.unexplained`.
    """

    scale: int
    kernel: NDArray[np.float32]
    widths: tuple[float, float]
    known: bool = False
    blur: BlurEstimate | None = None
    consistency: Consistency | None = None
    residual: Residual | None = None
    saturated: float = 0.0
    covered: float = 0.0
    noise: float = 0.01
    blocking: float = 0.0
    further_noise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check; `find` returns the message, or None if the check passes."""

    name: str
    meaning: str
    advice: str
    find: Callable[[RunEvidence], str | None]

    def flag(self, message: str) -> Flag:
        """Return the warning with a message."""
        return Flag(name=self.name, message=message, meaning=self.meaning, advice=self.advice)


def run_checks(evidence: RunEvidence) -> tuple[Flag, ...]:
    """Return the flags of a result with one kernel."""
    messages = ((check, check.find(evidence)) for check in FLAGS)
    return tuple(check.flag(message) for check, message in messages if message is not None)


def run_field_checks(evidence: Mapping[tuple[int, int], RunEvidence]) -> tuple[Flag, ...]:
    """Return the flags of a result whose kernel varies, from each (row, column) of its field."""
    flags = []
    for check in FLAGS:
        outcomes = {place: check.find(region) for place, region in evidence.items()}
        messages = {place: message for place, message in outcomes.items() if message is not None}
        if not messages:
            continue
        (row, column), message = next(iter(messages.items()))
        everywhere = len(messages) == len(evidence) and len(set(messages.values())) == 1
        if not everywhere:
            message = (
                f"in {len(messages)} of {len(evidence)} regions, such as row {row}, column "
                f"{column} of the grid: {message}"
            )
        flags.append(check.flag(message))
    return tuple(flags)


def _no_blur(evidence: RunEvidence) -> str | None:
    if evidence.blur is not None:
        sharp = not evidence.blur.found
    else:
        sharp = not evidence.known and evidence.widths[0] < NARROW * evidence.scale
    return (
        "the image shows no blur: it is as sharp as one that was never blurred" if sharp else None
    )


def _at_bound(evidence: RunEvidence) -> str | None:
    side = len(evidence.kernel)
    if side > 1:
        frame = np.ones(evidence.kernel.shape, dtype=bool)
        frame[1:-1, 1:-1] = False
        edge = float(evidence.kernel[frame].max() / evidence.kernel.max())
        if edge > CORE:
            name = "kernel" if evidence.known else "blur estimate"
            return f"the {name} is cut off by its {side} × {side} window"
    blur = evidence.blur
    if blur is None or not blur.found:
        return None
    return _beyond_estimate(evidence, blur)


def _beyond_estimate(evidence: RunEvidence, blur: BlurEstimate) -> str | None:
    """Report a kernel that differs from the estimate, or a blur too wide to be estimated."""
    # The run has loaded torch by now, which this imports.
    from napari_blindsr.estimation.network import WIDEST_BLUR  # noqa: PLC0415

    careful = blur.careful_widths
    for width, estimate, interval, least in zip(
        evidence.widths, blur.widths, blur.intervals, careful, strict=True
    ):
        low, high = (estimate, estimate) if math.isnan(interval[0]) else interval
        # Where the blur is uncertain, a kernel narrower than the estimate is used on purpose.
        low = min(low, least)
        if not low / TOLERANCE < width < high * TOLERANCE:
            pixels = FWHM / evidence.scale
            return (
                f"the kernel's FWHM is {pixels * width:.1f} px, but the estimate from the image is "
                f"{pixels * estimate:.1f} px: family {blur.family!r} has no such kernel"
            )
    widest = math.sqrt(WIDEST_BLUR)
    if blur.widths[0] > 0.95 * widest * evidence.scale:
        return (
            f"the estimated blur has a FWHM of {FWHM * blur.widths[0] / evidence.scale:.1f} px; "
            f"blur wider than {FWHM * widest:.1f} px cannot be estimated"
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
        f"the blur is more likely of family {likely!r} ({blur.families[likely]:.0%}) than of "
        f"{blur.family!r} ({blur.families.get(blur.family, 0.0):.0%})"
    )


def _unlike_image(evidence: RunEvidence) -> str | None:
    estimate = evidence.consistency
    # An estimated kernel follows the estimate.
    if estimate is None or evidence.blur is not None:
        return None
    # The run has loaded torch by now, which this imports.
    from napari_blindsr.estimation.network import NARROWEST_BLUR, WIDEST_BLUR  # noqa: PLC0415

    # Blurs beyond these limits cannot be distinguished.
    own = math.prod(evidence.widths) / evidence.scale**2
    own = math.log(min(max(own, NARROWEST_BLUR / evidence.scale), WIDEST_BLUR))
    difference = own - estimate.variance
    if (
        abs(difference) / 2 <= math.log(UNLIKE_IMAGE)
        or abs(difference) <= UNLIKELY * estimate.log_variance_sd
    ):
        return None
    width = math.sqrt(math.prod(evidence.widths)) / evidence.scale
    return (
        f"the kernel's FWHM is {FWHM * width:.2f} px, but the estimate from the image is "
        f"{FWHM * math.exp(estimate.variance / 2):.2f} px"
    )


def _not_white(evidence: RunEvidence) -> str | None:
    residual = evidence.residual
    if residual is None or residual.whiteness <= CHANCE:
        return None
    if residual.level**2 * residual.correlation <= UNLIKE_NOISE:
        return None
    return f"the result does not reproduce your image (error {residual.level:.1f} × noise)"


def _unstable(evidence: RunEvidence) -> str | None:
    parts = evidence.consistency
    if parts is None or parts.disagreement <= DISAGREEMENT or parts.spread <= SPREAD:
        return None
    low, high = (FWHM * width for width in parts.range)
    return f"the blur varies across the image: FWHM {low:.1f} to {high:.1f} px"


def _saturated(evidence: RunEvidence) -> str | None:
    parts = []
    if evidence.saturated > SATURATED:
        parts.append(f"{evidence.saturated:.1%} of the pixels are saturated (at the largest value)")
    if evidence.covered > COVERED:
        parts.append(f"{evidence.covered:.0%} of the pixels are missing")
    return ", and ".join(parts) if parts else None


def finest_detail(width: float, noise: float) -> float:
    """Return the highest frequency that a blur leaves above the noise, in cycles a pixel.

    `width` is the standard deviation of the blur in pixels of the image, `noise` that of the noise
    relative to that of the image.
    """
    # A Gaussian of standard deviation σ multiplies frequency f by exp(−2π²σ²f²).
    ratio = max(1 / max(noise, 1e-3), 1.0)
    return math.sqrt(2 * math.log(ratio)) / (2 * math.pi * width)


def finest_scale(width: float, noise: float) -> int:
    """Return the smallest scale whose pixels hold all detail that blur and noise leave.

    Arguments as of `finest_detail`. `benchmarks/finer.py` compares it with what larger scales gain.
    """
    needed = math.floor(finest_detail(width, noise) / OVERSAMPLED) + 1
    return min(needed, MOST_FINE)


def _beyond_kernel(evidence: RunEvidence) -> str | None:
    if evidence.scale == 1:
        return None
    if evidence.known and evidence.widths[0] < NARROW * evidence.scale:
        width = evidence.widths[0] / evidence.scale
        return f"the kernel's FWHM is {FWHM * width:.1f} px: it hardly blurs"
    # Along the shorter axis the most detail passes.
    widths = evidence.widths if evidence.blur is None else evidence.blur.widths
    limit = finest_detail(widths[1] / evidence.scale, evidence.noise)
    if limit >= OVERSAMPLED:
        return None
    details = f"details finer than {1 / limit:.1f} px" if limit > 0 else "all details"
    return f"{details} are lost in noise; ×{evidence.scale} adds no information"


def _not_identifiable(evidence: RunEvidence) -> str | None:
    blur = evidence.blur
    if blur is None or blur.posterior is None or not blur.found:
        return None
    factor = math.exp(0.5 * blur.posterior.log_variance_sd)
    if factor < UNCERTAIN:
        return None
    return (
        f"the width of the blur is uncertain by a factor of {factor:.1f}: the image has no detail "
        "sharp enough to distinguish blur from soft objects"
    )


def _correlated(evidence: RunEvidence) -> str | None:
    if evidence.blocking > BLOCKY:
        return "the image has the 8 × 8 pixel blocks of JPEG compression"
    if evidence.further_noise > CORRELATED:
        return "the noise of neighbouring pixels is correlated"
    return None


FLAGS: tuple[Check, ...] = (
    Check(
        name="blur_not_identifiable",
        meaning="A narrow kernel was used to be safe: the result may stay soft.",
        advice="Give the objective's numerical aperture, the emission wavelength and the pixel "
        "size (optics), or choose a measured PSF.",
        find=_not_identifiable,
    ),
    Check(
        name="noise_not_white",
        meaning="This looks like detail; the result is smoothed to suppress it.",
        advice="Use the unprocessed original of the image: before compression, resampling or "
        "denoising; or set the noise yourself.",
        find=_correlated,
    ),
    Check(
        name="no_blur",
        meaning="No gain over interpolation is expected; detail that looks sharper is invented.",
        advice="Keep the image as it is.",
        find=_no_blur,
    ),
    Check(
        name="kernel_at_bound",
        meaning="The real blur may be wider, or of another shape.",
        advice="Choose another blur type or wider parameters, or reduce the image to half its "
        "size first.",
        find=_at_bound,
    ),
    Check(
        name="another_family",
        meaning="A kernel of the wrong shape leaves traces such as double edges.",
        advice="Restore again with the blur type that is named, and compare.",
        find=_another_family,
    ),
    Check(
        name="kernel_unstable",
        meaning="One kernel for the whole image is wrong in parts of it.",
        advice="Let the blur vary across the image (field, such as 2 × 2 or 3 × 4), or give "
        "measured kernels.",
        find=_unstable,
    ),
    Check(
        name="kernel_unlike_image",
        meaning="Too wide a kernel makes edges ring; too narrow a kernel leaves blur.",
        advice="Check that the kernel is sampled in pixels of the result, not of the image; or let "
        "the blur be estimated, and compare.",
        find=_unlike_image,
    ),
    Check(
        name="residual_not_white",
        meaning="Do not trust fine detail: the kernel is too wide or of another shape, or the "
        "result too smooth. This check does not show too narrow a kernel.",
        advice="Set the noise yourself, try another blur type, or run more steps of MLMC or DDSR.",
        find=_not_white,
    ),
    Check(
        name="saturated_or_covered",
        meaning="No kernel explains the pixels around saturated ones; missing pixels are filled "
        "in.",
        advice="Ignore saturated pixels, and do not measure where support is low.",
        find=_saturated,
    ),
    Check(
        name="scale_beyond_kernel",
        meaning="A finer grid adds pixels, but no information.",
        advice="Choose a smaller scale; scale 1 removes blur alone.",
        find=_beyond_kernel,
    ),
)
"""All checks, in the order in which their flags are shown."""
