"""The problem that a run solves: observation, kernel, noise, region and settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F

from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.estimation.kernel_field import KernelField
from napari_blindsr.images.tiling import Box
from napari_blindsr.methods import METHOD_TABLE, method_named
from napari_blindsr.physics.centring import NEGLIGIBLE, locate, shift
from napari_blindsr.physics.kernel_files import check_kernels
from napari_blindsr.physics.kernels import KernelFamily
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.settings import ONE_BLUR, Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.estimation.posterior import BlurPosterior
    from napari_blindsr.images.planes import Planes
    from napari_blindsr.images.tiling import Tile
    from napari_blindsr.physics.noise import ShotNoise
    from napari_blindsr.solvers.device import Compute
    from napari_blindsr.solvers.loop import Checkpoint, Weights
    from napari_blindsr.solvers.nonblind.conditions import Conditions
    from napari_blindsr.solvers.nonblind.restorers import NonblindRestorer
    from napari_blindsr.types import Border, Geometry


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """What an optimisation starts from, and what it leaves.

    Attributes
    ----------
    start : Weights or None
        The weights of the run before, for a warm start.
    checkpoint : Checkpoint or None
        Where a run of this problem has ended, or where to keep that. Without one the result has the
        weights.
    """

    start: Weights | None = None
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A checked problem, ready to be solved.

    Attributes
    ----------
    planes : Planes
        The input region.
    output : Box
        The output region within it.
    border : {"extend", "circular"}
        What is assumed beyond the planes' borders.
    source : KernelFamily, ndarray or KernelField
        Family of the kernel, or the kernel (K, K), or the kernels of the image's regions.
    noise : float
        Standard deviation of the noise, in the planes' unit.
    shot_noise : ShotNoise or None
        Noise in each pixel; None without shot noise.
    tile : int or None
        Largest side of a tile; None solves the whole image at once.
    kernel_is_known : bool
        Whether the kernel is given, not estimated.
    colour : bool
        Whether the channels are red, green and blue that share their detail.
    conditions : Conditions or None
        Unit and noise for the image prior; None without it.
    link : Link or None
        None if the optimisation starts at its beginning, and leaves nothing.
    """

    settings: Settings
    planes: Planes
    output: Box
    border: Border
    source: Source
    compute: Compute
    restorer: NonblindRestorer
    noise: float
    shot_noise: ShotNoise | None
    tile: int | None
    kernel_is_known: bool = False
    colour: bool = False
    conditions: Conditions | None = None
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
    def posterior(self) -> BlurPosterior | None:
        """The posterior of the estimated blur; None if the kernel was not estimated."""
        return None if self.blur is None else self.blur.posterior

    @property
    def unexplained(self) -> float:
        """Standard deviation of what the image prior may leave unexplained; 0 without it."""
        if self.conditions is None:
            return 0.0
        levels = torch.tensor([self.noise]) if self.shot_noise is None else self.shot_noise.typical
        given = self.conditions.noise(levels.to(self.conditions.slope))
        return float(given.square().mean().sqrt())

    @property
    def estimates_blur(self) -> bool:
        """Whether the blur is still to be estimated."""
        return not self.optimises and isinstance(self.source, KernelFamily)


def wrapped(problem: Problem, margin: int) -> Problem:
    """Return a periodic problem padded by so many pixels on each side, so that tiles see them."""
    if problem.border == "extend":
        return problem
    sides = ((0, 0), (margin, margin), (margin, margin))
    measured, shot_noise = problem.planes.measured, problem.shot_noise
    planes = replace(
        problem.planes,
        data=np.pad(problem.planes.data, sides, mode="wrap"),
        measured=None if measured is None else np.pad(measured, margin, mode="wrap"),
    )
    return replace(
        problem,
        planes=planes,
        shot_noise=None
        if shot_noise is None
        else replace(shot_noise, levels=_wrap(shot_noise.levels, margin)),
        conditions=None
        if problem.conditions is None
        else problem.conditions.moved(-margin, -margin),
        output=problem.output.moved(margin, margin),
        border="extend",
        source=moved(problem.source, margin, margin),
    )


def _wrap(planes: Tensor, margin: int) -> Tensor:
    """Return planes (C, h, w) padded periodically by any margin."""
    rows, columns = (
        torch.arange(-margin, side + margin, device=planes.device) % side
        for side in planes.shape[-2:]
    )
    return planes[:, rows[:, None], columns]


def cut(problem: Problem, seen: Box) -> Problem:
    """Return the problem of a part of the planes."""
    if seen == Box.whole(problem.shape):
        return problem
    measured = problem.planes.measured
    planes = replace(
        problem.planes,
        data=np.ascontiguousarray(problem.planes.data[(..., *seen.slices)]),
        measured=None if measured is None else measured[seen.slices],
    )
    shot_noise = problem.shot_noise
    if shot_noise is not None:
        shot_noise = replace(shot_noise, levels=shot_noise.levels[(..., *seen.slices)])
    return replace(
        problem,
        planes=planes,
        shot_noise=shot_noise,
        conditions=None
        if problem.conditions is None
        else problem.conditions.moved(seen.top, seen.left),
        output=Box.whole(seen.shape),
        source=moved(problem.source, -seen.top, -seen.left),
    )


def local(problem: Problem, part: Tile) -> Problem:
    """Return the problem of a tile, with the kernel in the middle of its output region."""
    piece = cut(problem, part.outer)
    if not isinstance(problem.source, KernelField):
        return piece
    return replace(piece, source=problem.source.middle_of(part.inner))


Source: TypeAlias = "KernelFamily | NDArray[np.float32] | KernelField"
"""A kernel, a grid of kernels, or the family to estimate a kernel from."""


def kernel_source(
    settings: Settings, known_kernel: NDArray[Any] | KernelField | None, shape: tuple[int, int]
) -> Source:
    """Return the kernel, the kernels or the family of a run on an image (h, w), checked."""
    if settings.kernel == "known":
        if isinstance(known_kernel, KernelField):
            _check_field(known_kernel.shape, settings, shape)
            kernels = known_kernel.kernels
            if settings.recentres and known_kernel.gaussians is None:
                # Kernels with different centres would distort the image.
                kernels = centred(kernels, settings.scale, settings.geometry)
            return replace(known_kernel, kernels=kernels, extent=Box.whole(shape))
        if known_kernel is not None:
            known = check_kernels(known_kernel)
            if known.ndim == 4:
                _check_field((known.shape[0], known.shape[1]), settings, shape)
                if settings.recentres:
                    known = centred(known, settings.scale, settings.geometry)
                return KernelField(kernels=known, extent=Box.whole(shape))
            _check_grid(settings, ONE_BLUR)
            return _with_room(known, settings) if settings.recentres else known
    elif known_kernel is None:
        return settings.kernel
    raise InputError(
        f"kernel is {settings.kernel!r} and known_kernel is "
        f"{'missing' if known_kernel is None else 'given'}; "
        "a known kernel goes with kernel='known', and only with it"
    )


def _check_field(grid: tuple[int, int], settings: Settings, shape: tuple[int, int]) -> None:
    """Raise an error if a grid of known kernels does not fit an image (h, w) or the settings."""
    rows, columns = grid
    _check_grid(settings, grid)
    # The settings may say 1 × 1, so check the grid itself.
    checked = replace(settings, field=(rows, columns))
    if checked.used_finish == "none":
        raise SettingsError(
            f"the kernels are a grid of {rows} × {columns}, but method {settings.method!r} makes "
            "its image in one go, with one kernel; expected a finish (finish='prior') or a method "
            f"that has one ({[m.name for m in METHOD_TABLE if m.finish != 'none']})"
        )
    if rows > shape[0] or columns > shape[1]:
        raise InputError(
            f"the kernels are a grid of {rows} × {columns} for an image of {shape[0]} × {shape[1]} "
            "pixels; expected no more kernels than pixels"
        )


def _check_grid(settings: Settings, grid: tuple[int, int]) -> None:
    """Raise a `SettingsError` if the settings' field differs from the grid of known kernels."""
    if settings.field not in (ONE_BLUR, grid):
        raise SettingsError(
            f"field is {settings.field[0]} × {settings.field[1]}, but the known kernels are a grid "
            f"of {grid[0]} × {grid[1]}; expected the same, or no field"
        )


def centred(
    kernels: NDArray[np.float32], scale: int, geometry: Geometry, *, negligible: float = NEGLIGIBLE
) -> NDArray[np.float32]:
    """Centre each kernel (..., K, K), padded as far as that needs, unless it hardly moves."""
    size = kernels.shape[-1]
    center = kernel_center(size, scale, geometry)
    flat = torch.from_numpy(kernels.reshape(-1, size, size))
    offsets = [(row - center, column - center) for row, column in map(locate, flat)]
    farthest = max(max(map(abs, offset)) for offset in offsets)
    if farthest < negligible:
        return kernels
    # Zeros on both sides leave K//2, and so the geometry, in the middle.
    margin = math.ceil(farthest)
    padded = F.pad(flat, (margin,) * 4)
    moved = [
        kernel
        if max(map(abs, offset)) < negligible
        else shift(kernel, offset, border="zero").clamp_min(0)
        for kernel, offset in zip(padded, offsets, strict=True)
    ]
    stacked = torch.stack([kernel / kernel.sum() for kernel in moved])
    side = size + 2 * margin
    return np.asarray(stacked.numpy().reshape(*kernels.shape[:-2], side, side), dtype=np.float32)


def _with_room(kernel: NDArray[np.float32], settings: Settings) -> NDArray[np.float32]:
    """Pad a known kernel so that centring does not cut it."""
    center = kernel_center(len(kernel), settings.scale, settings.geometry)
    distance = max(abs(found - center) for found in locate(torch.from_numpy(kernel)))
    # Equal padding on all sides leaves K//2, and so the geometry, as it is.
    return kernel if distance < NEGLIGIBLE else np.pad(kernel, math.ceil(distance))


def size_of(source: Source, settings: Settings) -> int:
    """Return the side of a kernel in HR pixels."""
    if isinstance(source, KernelField):
        return source.size
    return source.shape[0] if isinstance(source, np.ndarray) else source.size(settings.scale)


def moved(source: Source, rows: int, columns: int) -> Source:
    """Return the kernel of planes that begin so many pixels further up and left."""
    return source.moved(rows, columns) if isinstance(source, KernelField) else source
