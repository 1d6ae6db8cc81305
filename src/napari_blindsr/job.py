"""What a run is about to do: the image as planes, its conditions, and the tools made ready."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_blindsr.engine.kernels import KernelFamily
from napari_blindsr.kernel_field import KernelField
from napari_blindsr.kernel_source import moved
from napari_blindsr.methods import method_named
from napari_blindsr.parts import Box

if TYPE_CHECKING:
    from torch import Tensor

    from napari_blindsr.arrays import Planes
    from napari_blindsr.blur import BlurEstimate
    from napari_blindsr.engine.device import Compute
    from napari_blindsr.engine.estimator import BlurReading
    from napari_blindsr.engine.result import Weights
    from napari_blindsr.finish import Finisher
    from napari_blindsr.kernel_source import Source
    from napari_blindsr.noise_levels import LightNoise
    from napari_blindsr.parts import Part
    from napari_blindsr.settings import Border, Settings


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """What makes an optimisation one of a chain: its weights are handed on.

    Attributes
    ----------
    start : Weights or None
        Of the run before, with which it begins; None begins anew.
    """

    start: Weights | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A run, checked and ready.

    Attributes
    ----------
    settings : Settings
    planes : Planes
        What is looked at of the image: all of it, or a region and what surrounds it.
    wanted : Box
        What of that is restored.
    border : {"extend", "circular"}
        What lies beyond the planes' borders.
    source : KernelFamily, ndarray or KernelField
        Where the kernel comes from, or the kernel (K, K), or the kernels of the image's regions.
    compute : Compute
    finisher : Finisher
    noise : float
        Standard deviation of the noise, in the planes' unit.
    light : LightNoise or None
        That in each pixel, if it grows with the light.
    tile : int or None
        Largest side of the parts that the result is made in; None is in one go.
    trusted : bool
        Whether the kernel is known, not found.
    colour : bool
        Whether the channels are red, green and blue that share their detail.
    blur : BlurEstimate or None
        What was read of the blur.
    notes : tuple of str
    link : Link or None
        Of a chain of optimisations.
    """

    settings: Settings
    planes: Planes
    wanted: Box
    border: Border
    source: Source
    compute: Compute
    finisher: Finisher
    noise: float
    light: LightNoise | None
    tile: int | None
    trusted: bool = False
    colour: bool = False
    blur: BlurEstimate | None = None
    notes: tuple[str, ...] = ()
    link: Link | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the planes."""
        return self.planes.data.shape[1], self.planes.data.shape[2]

    @property
    def optimises(self) -> bool:
        """Whether the method optimises."""
        return method_named(self.settings.method).optimises

    @property
    def reading(self) -> BlurReading | None:
        """What a network read of the blur, with its uncertainty."""
        return None if self.blur is None else self.blur.reading

    @property
    def reads(self) -> bool:
        """Whether the blur is still to be read off the image."""
        return not self.optimises and isinstance(self.source, KernelFamily)


def wrapped(job: Job, margin: int) -> Job:
    """Return a periodic job continued by so many pixels on each side, so that parts see them."""
    if job.border == "extend":
        return job
    sides = ((0, 0), (margin, margin), (margin, margin))
    measured, light = job.planes.measured, job.light
    planes = replace(
        job.planes,
        data=np.pad(job.planes.data, sides, mode="wrap"),
        measured=None if measured is None else np.pad(measured, margin, mode="wrap"),
    )
    return replace(
        job,
        planes=planes,
        light=None if light is None else replace(light, levels=_wrap(light.levels, margin)),
        wanted=job.wanted.moved(margin, margin),
        border="extend",
        source=moved(job.source, margin, margin),
    )


def _wrap(planes: Tensor, margin: int) -> Tensor:
    """Return planes (C, h, w) continued periodically, as often as it takes."""
    rows, columns = (
        torch.arange(-margin, side + margin, device=planes.device) % side
        for side in planes.shape[-2:]
    )
    return planes[:, rows[:, None], columns]


def cut(job: Job, seen: Box) -> Job:
    """Return the job for a part of its planes."""
    if seen == Box.whole(job.shape):
        return job
    measured = job.planes.measured
    planes = replace(
        job.planes,
        data=np.ascontiguousarray(job.planes.data[:, *seen.slices]),
        measured=None if measured is None else measured[seen.slices],
    )
    light = job.light
    if light is not None:
        light = replace(light, levels=light.levels[:, *seen.slices])
    return replace(
        job,
        planes=planes,
        light=light,
        wanted=Box.whole(seen.shape),
        source=moved(job.source, -seen.top, -seen.left),
    )


def local(job: Job, part: Part) -> Job:
    """Return the job for what is seen of a part, with the kernel in the middle of what is kept."""
    piece = cut(job, part.seen)
    if not isinstance(job.source, KernelField):
        return piece
    return replace(piece, source=job.source.middle_of(part.kept))
