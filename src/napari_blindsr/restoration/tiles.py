"""Tiles of a result: the plan, the outcome of each tile, and stitching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_blindsr.images.tiling import TileBlender

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_blindsr.images.tiling import Target, Tile
    from napari_blindsr.metrics.residual import Residual
    from napari_blindsr.progress import Progress, ProgressCounter, StopReason
    from napari_blindsr.restoration.problem import Job
    from napari_blindsr.solvers.loop import Weights


@dataclass(frozen=True, kw_only=True, eq=False)
class TilePlan:
    """The tiles of a result, row by row, and the problem with the kernel of all of them."""

    job: Job
    rows: list[list[Tile]]
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> list[Tile]:
        """The tiles, row by row."""
        return [part for line in self.rows for part in line]

    def is_examined(self, number: int) -> bool:
        """Return whether to compute the residual of a tile: the first and the middle one."""
        return number in (0, sum(map(len, self.rows)) // 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Restored:
    """The reconstruction of an image, or of one tile.

    Attributes
    ----------
    image : ndarray, float32
        In the axes and intensities of the input; of a tile, (s·h, s·w, C) in scaled intensities.
    support : ndarray, float32, (s·h, s·w)
    kernel : ndarray, float32, (K, K)
        Of a field, the one in the middle.
    center, offset : float
        As in `Observation`.
    losses : ndarray, float32, (n,)
        Of the last tile.
    residual : Residual or None
        Of the image, or of the tile in the middle; None if it was not asked for.
    guess : Tensor, (C, h, w), or None
        The image with missing pixels filled in, if it has any and was solved at once.
    weights : Weights or None
        For the warm start of the next plane; None if the optimisation diverged.
    tiles : int
        Number of tiles.
    """

    image: NDArray[np.float32]
    support: NDArray[np.float32]
    kernel: NDArray[np.float32]
    center: float
    offset: float
    losses: NDArray[np.float32]
    reason: StopReason
    residual: Residual | None = None
    guess: Tensor | None = None
    weights: Weights | None = None
    tiles: int = 1
    notes: tuple[str, ...] = ()


class TileRestorer(Protocol):
    """Restores tiles, here or on workers."""

    def __call__(
        self,
        plan: TilePlan,
        counter: ProgressCounter,
        deliver: Callable[[int, Restored], None],
        *,
        stop: bool,
    ) -> Generator[Progress, bool | None, None]:
        """Restore tiles and deliver each by its number, in any order; ends early if asked to stop.

        Tiles that are ahead of the first missing one are held in memory. With `stop`, as little as
        possible is restored.
        """


class TileJoiner:
    """Stitches tiles that arrive in any order, and keeps what the result needs of them.

    `last` is the tile furthest down and right so far; `residual` that of the tile in the middle,
    or of the first one.
    """

    def __init__(self, plan: TilePlan, *, image: Target, support: Target | None) -> None:
        scale = plan.job.settings.scale
        self._plan = plan
        self._image = TileBlender(plan.rows, scale=scale, target=image)
        self._support = (
            None if support is None else TileBlender(plan.rows, scale=scale, target=support)
        )
        self._places = [(r, c) for r, line in enumerate(plan.rows) for c in range(len(line))]
        self._ahead: dict[int, Restored] = {}
        self._next = 0
        self._last = self._examined = -1
        self.last: Restored | None = None
        self.residual: Residual | None = None

    def take(self, number: int, outcome: Restored) -> None:
        """Add the outcome of a tile."""
        if number > self._last:
            self._last, self.last = number, outcome
        if self._plan.is_examined(number) and number > self._examined:
            self._examined, self.residual = number, outcome.residual
        self._ahead[number] = outcome
        while self._next in self._ahead:
            given = self._ahead.pop(self._next)
            self._add(given.image, given.support)

    def fill(self) -> None:
        """Fill all missing tiles with NaN."""
        scale, channels = self._plan.job.settings.scale, len(self._plan.job.planes.data)
        parts = self._plan.parts
        while self._next < len(parts):
            given = self._ahead.pop(self._next, None)
            if given is not None:
                self._add(given.image, given.support)
                continue
            shape = parts[self._next].inner.scaled(scale).shape
            nothing = np.full((*shape, channels), np.nan, dtype=np.float32)
            self._add(nothing, np.zeros(shape, dtype=np.float32))

    def _add(self, image: NDArray[np.float32], support: NDArray[np.float32]) -> None:
        place = self._places[self._next]
        self._image.add(*place, image)
        if self._support is not None:
            self._support.add(*place, support)
        self._next += 1
