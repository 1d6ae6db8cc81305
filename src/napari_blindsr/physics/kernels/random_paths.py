"""Paths of a shaken camera, and sets of given kernels. Imports torch, unlike the families."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from napari_blindsr.errors import InputError
from napari_blindsr.physics.kernels.base import CORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor


PATH_POINTS = 256


@dataclass(frozen=True, eq=False)
class KernelSet:
    """Kernels to draw from: `tensor`, float32, (n, k, k), on the CPU, non-negative and of sum 1."""

    tensor: Tensor

    @classmethod
    def of(cls, kernels: Sequence[Any]) -> KernelSet:
        """Return a set of kernels (k, k) of any size; negative values are set to 0.

        Raises
        ------
        InputError
            If there are none, or one is not square or has no positive sum.
        """
        if not kernels:
            raise InputError("there are no kernels to draw from; expected at least one")
        planes = [torch.as_tensor(kernel, dtype=torch.float32) for kernel in kernels]
        for index, plane in enumerate(planes):
            shape = " × ".join(map(str, plane.shape)) or "a single number"
            if plane.ndim != 2 or plane.shape[0] != plane.shape[1] or not plane.numel():
                raise InputError(f"kernel {index} is {shape}; expected a square array (K × K)")
            if not (bool(plane.isfinite().all()) and float(plane.sum()) > 0):
                raise InputError(
                    f"kernel {index} has sum {float(plane.sum()):g}; expected finite weights "
                    "of positive sum"
                )
        side = max(plane.shape[0] for plane in planes)
        stack = torch.zeros(len(planes), side, side)
        for target, plane in zip(stack, planes, strict=True):
            target[: len(plane), : len(plane)] = plane.clamp_min(0)
        return cls(stack / stack.sum(dim=(1, 2), keepdim=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KernelSet) and torch.equal(self.tensor, other.tensor)

    def __hash__(self) -> int:
        return hash(self.tensor.numpy().tobytes())

    def __repr__(self) -> str:
        count, side, _ = self.tensor.shape
        return f"KernelSet({count} kernels of {side} × {side})"

    @property
    def reach(self) -> float:
        """Reach of the widest kernel from its centre, in its pixels."""
        side = self.tensor.shape[-1]
        axis = torch.arange(side)
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        distances = torch.stack((rows, columns)) - centres(self.tensor)[..., None, None]
        # Values below 1 % of the peak may be cut.
        seen = self.tensor > 0.01 * self.tensor.amax(dim=(1, 2), keepdim=True)
        return float((distances.abs().amax(dim=1) * seen).max())

    def to_json(self) -> dict[str, Any]:
        """Return the kernels as plain JSON types, exactly."""
        content = self.tensor.numpy().astype("<f4").tobytes()
        return {
            "shape": list(self.tensor.shape),
            "float32": base64.b64encode(content).decode("ascii"),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> KernelSet:
        """Rebuild a set from the record of `to_json`."""
        content = bytearray(base64.b64decode(record["float32"]))
        return cls(torch.frombuffer(content, dtype=torch.float32).reshape(record["shape"]))


def random_paths(extents: Tensor, *, persistence: float, generator: Generator) -> Tensor:
    """Draw random walks with inertia: rows and columns at equal times, (n, 2, PATH_POINTS).

    Parameters
    ----------
    extents : Tensor, (n,)
        Largest distance of each path from its mean, which is 0.
    persistence : float
        Time over which the velocity is lost, as a fraction of the whole.
    generator : torch.Generator
    """
    shape = (len(extents), 2, PATH_POINTS)
    kicks = torch.randn(shape, generator=generator, device=generator.device)
    keep = math.exp(-1 / (persistence * PATH_POINTS))
    time = torch.arange(PATH_POINTS, device=kicks.device, dtype=kicks.dtype)
    age = time[:, None] - time[None, :] + 1
    # A kick's velocity decays, so the distance it adds grows towards a limit.
    response = torch.where(age > 0, (1 - keep ** age.clamp_min(0)) / (1 - keep), 0)
    paths = kicks @ response.T
    paths = paths - paths.mean(dim=-1, keepdim=True)
    longest = torch.linalg.vector_norm(paths, dim=1).amax(dim=1)
    scaled: Tensor = paths * (extents / longest)[:, None, None]
    return scaled


def render_paths(paths: Tensor, *, size: int, center: float) -> Tensor:
    """Draw paths, each point with the same weight, by linear interpolation; each of sum 1.

    Parameters
    ----------
    paths : Tensor, (n, 2, P)
        Rows and columns of points, not far apart. Points outside are left out.
    size : int
    center : float
        Row and column of the paths' means in the result. The centre of a kernel's core, which
        leaves out where the camera was fast, is 0.07 px away from it on average at ×4.
    """
    # A product of tents, so that the sum has the same order on every run.
    tents = _tents(paths + (center - paths.mean(dim=-1, keepdim=True)), size)
    return _normalised(tents[:, 0].transpose(1, 2) @ tents[:, 1])


def place(kernels: Tensor, *, size: int, center: float) -> Tensor:
    """Move kernels (n, k, k), by linear interpolation, into arrays of another size; each of sum 1.

    Parameters
    ----------
    kernels : Tensor, (n, k, k)
    size : int
    center : float
        Row and column of the centre of the kernel's core in the result, which may cut the kernel.
    """
    axis = torch.arange(kernels.shape[-1], device=kernels.device, dtype=kernels.dtype)
    offset = center - centres(kernels)
    tents = _tents(offset[..., None] + axis, size)
    return _normalised(tents[:, 0].transpose(1, 2) @ kernels @ tents[:, 1])


def centres(kernels: Tensor) -> Tensor:
    """Return the centroids (n, 2) of the cores of kernels (n, k, k)."""
    core = kernels * (kernels > CORE * kernels.amax(dim=(1, 2), keepdim=True))
    axis = torch.arange(kernels.shape[-1], device=kernels.device, dtype=kernels.dtype)
    mass = core.sum(dim=(1, 2))
    return torch.stack((core.sum(dim=2) @ axis, core.sum(dim=1) @ axis), dim=1) / mass[:, None]


def _normalised(kernels: Tensor) -> Tensor:
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def _tents(positions: Tensor, size: int) -> Tensor:
    """Return the linear interpolation weights (..., P, size) of positions (..., P)."""
    axis = torch.arange(size, device=positions.device, dtype=positions.dtype)
    return (1 - (positions[..., None] - axis).abs()).clamp_min(0)
