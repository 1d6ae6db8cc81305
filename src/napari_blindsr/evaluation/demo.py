"""The demonstration: a sample with a known true image, a short schedule, scores and a picture."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data
from skimage.restoration import inpaint_biharmonic

from napari_blindsr.evaluation.samples import Sample, degraded_piece
from napari_blindsr.methods import METHODS, Schedule, method_named
from napari_blindsr.metrics import SCORES, Metric, MetricInputs
from napari_blindsr.metrics.kernel import same_size
from napari_blindsr.physics.simulate import interpolate
from napari_blindsr.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_blindsr.restoration.result import Result


# Fewer steps of a narrower image generator. A longer warm-up of the kernel generator costs little,
# and without it the kernel of so short a run stays flat.
SCHEDULE = Schedule(image_steps=400, structural_steps=160, warmup_steps=1000, channels=32)

PANEL, GAP, LABEL = 256, 10, 26


# Further degradations for DDSR: holes, a short exposure, and noise in 8-bit levels. Much less noise
# could not be distinguished from the rounding to 8 bit.
GAIN, NOISE, COVERED, LARGEST_HOLE = 0.5, 1.5, 0.08, 3
ROUNDING = 12**-0.5
"""Standard deviation of the error of rounding to whole levels."""


@dataclass(frozen=True, kw_only=True)
class DemoCase:
    """The problem of a demonstration: an 8-bit sample, degraded further for some methods.

    `mask` is True where pixels are missing; `gain` is the brightness compared with the truth;
    `noise` is its standard deviation in the image's unit, rounding included.
    """

    sample: Sample
    mask: NDArray[np.bool_] | None = None
    gain: float = 1.0
    noise: float = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """The degradations beyond blur, in a sentence."""
        if self.mask is None:
            return ()
        text = (
            f"the sample lacks {self.mask.mean():.0%} of its pixels, has {self.gain:g} of its "
            f"brightness, and noise of {self.noise:.2g} levels"
        )
        return (text,)

    @property
    def plain(self) -> NDArray[np.float32]:
        """Cubic interpolation in the right place: holes filled in, at normal brightness."""
        image = np.asarray(self.sample.image, dtype=np.float32) / self.gain
        if self.mask is not None:
            image = inpaint_biharmonic(image, self.mask, channel_axis=-1)
        return interpolate(image, self.sample.scale, geometry=self.sample.geometry)


def demo_case(method: str) -> DemoCase:
    """Return the sample for a method; for those of DDSR it is incomplete, dark and noisy."""
    sample = demo_sample()
    chosen = method_named(method)
    if not (chosen.degradations and chosen.optimises):
        return DemoCase(sample=sample)
    rng = np.random.default_rng(3)
    mask = _holes(sample.image.shape[0], rng)
    dark = GAIN * sample.image + rng.normal(0, NOISE, sample.image.shape)
    image = np.where(mask[..., None], 0, _to_8bit(dark))
    return DemoCase(
        sample=dataclasses.replace(sample, image=image.astype(np.uint8)),
        mask=mask,
        gain=GAIN,
        noise=math.hypot(NOISE, ROUNDING),
    )


def _holes(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a square mask with a part of it in small rectangles."""
    mask = np.zeros((side, side), dtype=bool)
    while mask.mean() < COVERED:
        top, left = rng.integers(0, side - LARGEST_HOLE, size=2)
        height, width = rng.integers(1, LARGEST_HOLE + 1, size=2)
        mask[top : top + height, left : left + width] = True
    return mask


def demo_sample() -> Sample:
    """Return an RGB image of 32×32 pixels, whose truth has 128×128."""
    return degraded_piece(
        name="demo",
        label="Demonstration",
        sharp=data.immunohistochemistry(),
        corner=(280, 160),
        variances=(8.0, 4.0),
        angle=0.6,
        pixel_size=None,
        origin="skimage.data.immunohistochemistry",
        side=32,
    )


def demo_settings(
    case: DemoCase,
    method: str = METHODS[0],
    *,
    device: str = "auto",
    usrnet_weights: Path | None = None,
) -> Settings:
    """Return the settings of a short run on a sample."""
    return Settings(
        scale=case.sample.scale,
        method=method,
        geometry=case.sample.geometry,
        gain=case.gain,
        noise=case.noise,
        schedule=SCHEDULE,
        device=device,
        usrnet_weights=None if usrnet_weights is None else str(usrnet_weights),
        # Planes of 146 pixels are too small to share among threads, which lose more than they
        # gain where other programs run as well.
        threads=1,
    )


@dataclass(frozen=True, kw_only=True)
class Score:
    """One row of the table of scores; interpolation has none for the kernel."""

    metric: Metric
    interpolation: float | None
    result: float


def demo_scores(case: DemoCase, result: Result) -> list[Score]:
    """Compare a result, and cubic interpolation in the right place, with the truth."""
    sample = case.sample
    restored, plain = (
        MetricInputs(
            image=image,
            reference=_to_8bit(sample.truth),
            kernel=kernel,
            true_kernel=sample.kernel,
            crop=sample.scale,
        )
        for image, kernel in ((result.image, result.kernel), (case.plain, None))
    )
    return [
        Score(
            metric=metric,
            interpolation=metric(plain) if plain.allows(metric.needs) else None,
            result=metric(restored),
        )
        for metric in SCORES
    ]


def side_by_side(case: DemoCase, result: Result) -> NDArray[np.uint8]:
    """Return a labelled picture of input, interpolation, result, truth and both kernels."""
    sample = case.sample
    estimated, true = same_size(result.kernel, sample.kernel)
    columns = [
        [("input", sample.image)],
        [("cubic interpolation", case.plain)],
        [(f"restored ({result.settings.method})", result.image)],
        [("truth", sample.truth)],
        [("estimated kernel", _view(estimated)), ("true kernel", _view(true))],
    ]
    # The last column is half as wide.
    width = 9 * PANEL // 2 + 6 * GAP
    picture = Image.new("RGB", (width, PANEL + LABEL + 2 * GAP), "white")
    for number, panels in enumerate(columns):
        height = (PANEL + LABEL) // len(panels)
        for row, (text, image) in enumerate(panels):
            corner = (GAP + number * (PANEL + GAP), GAP + row * height)
            _paste(picture, corner, height - LABEL, text, _to_8bit(image))
    return np.asarray(picture)


def _paste(
    picture: Image.Image, corner: tuple[int, int], side: int, text: str, image: NDArray[np.uint8]
) -> None:
    """Draw a label, and an image below it with its pixels as squares."""
    pen = ImageDraw.Draw(picture)
    pen.text(corner, text, fill="black", font=ImageFont.load_default(size=16))
    enlarged = Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST)
    picture.paste(enlarged, (corner[0], corner[1] + LABEL))


def _to_8bit(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Round and clip an image in 8-bit units."""
    return np.asarray(np.clip(np.rint(image), 0, 255), dtype=np.uint8)


def _view(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a kernel to the range of 8 bits."""
    return np.asarray(255 * kernel / kernel.max(), dtype=np.float32)
