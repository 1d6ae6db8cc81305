"""The demonstration: a sample with known truth, a short preset, scores and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from napari_blindsr.metrics import METRICS, Metric
from napari_blindsr.samples import Sample, degraded_piece
from napari_blindsr.settings import METHODS, Schedule, Settings
from napari_blindsr.simulate import interpolate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.result import Result

# Fewer steps of a narrower image generator; in return the kernel generator learns longer from
# random kernels alone, which costs next to nothing and without which it would stay flat.
SCHEDULE = Schedule(image_steps=400, structural_steps=160, warmup_steps=1000, channels=32)

PANEL, GAP, LABEL = 256, 10, 26


def demo_sample() -> Sample:
    """Return an RGB image of 32×32 pixels, whose truth has 128×128."""
    return degraded_piece(
        name="demo",
        label="Demonstration",
        sharp=data.astronaut(),
        corner=(70, 160),
        variances=(6.0, 3.0),
        angle=0.6,
        pixel_size=None,
        origin="skimage.data.astronaut",
        side=32,
    )


def demo_settings(sample: Sample, method: str = METHODS[0], *, device: str = "auto") -> Settings:
    """Return the settings of a short run on a sample."""
    return Settings(
        scale=sample.scale,
        method=method,
        geometry=sample.geometry,
        schedule=SCHEDULE,
        device=device,
        # Planes of 146 pixels are too small to share among threads, which lose more than they
        # gain where other programs run as well.
        threads=1,
    )


@dataclass(frozen=True, kw_only=True)
class Score:
    """One row of the table of scores.

    Attributes
    ----------
    metric : Metric
    interpolation, result : float or None
        None where there is nothing to compare: interpolation estimates no kernel.
    """

    metric: Metric
    interpolation: float | None
    result: float


def demo_scores(sample: Sample, result: Result) -> list[Score]:
    """Compare a result, and cubic interpolation in the right place, with the truth.

    Parameters
    ----------
    sample : Sample
        8-bit.
    result : Result
    """
    restored = _to_8bit(result.image)
    plain = _to_8bit(interpolate(sample.image, sample.scale, geometry=sample.geometry))
    scores = []
    for metric in METRICS:
        if metric.subject == "image":
            before, after = (
                metric(image, sample.truth, crop=sample.scale) for image in (plain, restored)
            )
            scores.append(Score(metric=metric, interpolation=before, result=after))
        else:
            error = metric(result.kernel, sample.kernel)
            scores.append(Score(metric=metric, interpolation=None, result=error))
    return scores


def side_by_side(sample: Sample, result: Result) -> NDArray[np.uint8]:
    """Return a labelled picture of input, interpolation, result, truth and both kernels.

    Parameters
    ----------
    sample : Sample
        8-bit.
    result : Result

    Returns
    -------
    ndarray, uint8, (H, W, 3)
    """
    plain = interpolate(sample.image, sample.scale, geometry=sample.geometry)
    columns = [
        [("input", sample.image)],
        [("cubic interpolation", plain)],
        [(f"restored ({result.settings.method})", result.image)],
        [("truth", sample.truth)],
        [("estimated kernel", _view(result.kernel)), ("true kernel", _view(sample.kernel))],
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
