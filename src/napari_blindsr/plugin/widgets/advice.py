"""What speaks against a result, in plain words with what to do, and how grave it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_blindsr.restoration.diagnostics import Flag

Level: TypeAlias = Literal["good", "caution", "doubtful"]
LEVELS: tuple[Level, ...] = ("good", "caution", "doubtful")
"""The graver ones last."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What a kind of flag means to whoever sees the result.

    Attributes
    ----------
    level : {"good", "caution", "doubtful"}
        How good a result with it is at best.
    finding, action : str
        Sentences.
    """

    level: Level
    finding: str
    action: str


ADVICE: dict[str, Advice] = {
    "blur_not_identifiable": Advice(
        level="caution",
        finding="The image does not tell its blur for certain; the result may stay soft.",
        action="Give the numerical aperture, the emission wavelength and the pixel size, or choose "
        "a PSF layer.",
    ),
    "noise_not_white": Advice(
        level="caution",
        finding="JPEG compression left blocks that look like detail; they were smoothed.",
        action="Use the uncompressed original of the image.",
    ),
    "no_blur": Advice(
        level="caution",
        finding="The image has no blur that could be removed; the result adds nothing certain.",
        action="Keep the image as it is.",
    ),
    "kernel_at_bound": Advice(
        level="caution",
        finding="The real blur may be wider than the estimate.",
        action="Reduce the image to half its size first, or choose a PSF layer.",
    ),
    "another_family": Advice(
        level="caution",
        finding="The blur looks like another type than the one that was chosen.",
        action="Set the blur type to Automatic and compare.",
    ),
    "kernel_unstable": Advice(
        level="caution",
        finding="The blur differs between parts of the image.",
        action="Let the blur vary across the image (Advanced), such as 2 × 2.",
    ),
    "kernel_unlike_image": Advice(
        level="doubtful",
        finding="The given PSF does not fit this image.",
        action="Check the pixel size of the PSF layer, or let the blur be estimated.",
    ),
    "residual_not_white": Advice(
        level="doubtful",
        finding="The result does not reproduce your image. Do not trust fine detail.",
        action="Set the noise yourself, try another blur type, or run more steps.",
    ),
    "saturated_or_covered": Advice(
        level="good",
        finding="Pixels are saturated or missing; the result is invented there.",
        action="Ignore saturated pixels, and do not measure there.",
    ),
    "scale_beyond_kernel": Advice(
        level="good",
        finding="Noise hides the finest details; this scale adds pixels, not information.",
        action="Choose a smaller scale.",
    ),
}
"""By the name of the flag."""


def advice_on(flag: Flag) -> Advice:
    """Return what to say of a flag; of one without a plain text, what it says itself."""
    own = Advice(
        level="caution", finding=f"{_sentence(flag.message)}. {flag.meaning}", action=flag.advice
    )
    return ADVICE.get(flag.name, own)


def gravest(levels: Sequence[Level]) -> Level:
    """Return the gravest of some levels; "good" if there is none."""
    return max(levels, key=LEVELS.index, default="good")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
