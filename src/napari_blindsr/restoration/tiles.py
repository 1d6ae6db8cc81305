"""Tiles of a result: the plan, the outcome of each tile, and stitching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_blindsr.images.tiling import Mosaic

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_blindsr.images.tiling import Part, Target
    from napari_blindsr.metrics.residual import Residual
    from napari_blindsr.progress import Progress, ProgressCounter
    from napari_blindsr.restoration.problem import Job


@dataclass(frozen=True, kw_only=True, eq=False)
class TilePlan:
    """The tiles of a result.

    Attributes
    ----------
    job : Job
        The problem with the kernel of all tiles.
    rows : list of list of Part
        From top to bottom, and from left to right.
    notes : tuple of str
    """

    job: Job
    rows: list[list[Part]]
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> list[Part]:
        """The tiles, row by row."""
        return [part for line in self.rows for part in line]

    def is_examined(self, number: int) -> bool:
        """Return whether to compute the residual of a tile: the first and the middle one."""
        return number in (0, sum(map(len, self.rows)) // 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class TileOutcome:
    """The restoration of a tile.

    Attributes
    ----------
    image : ndarray, float32, (s·h, s·w, C)
        Its output region, in scaled intensities.
    support : ndarray, float32, (s·h, s·w)
    kernel : ndarray, float32, (K, K)
    center, offset : float
        As in `Observation`.
    losses : ndarray, float32, (n,)
    residual : Residual or None
        Of the forward model; None if it was not asked for.
    """

    image: NDArray[np.float32]
    support: NDArray[np.float32]
    kernel: NDArray[np.float32]
    center: float
    offset: float
    losses: NDArray[np.float32]
    residual: Residual | None = None


class TileRestorer(Protocol):
    """Restores tiles, here or on workers."""

    def __call__(
        self,
        plan: TilePlan,
        counter: ProgressCounter,
        deliver: Callable[[int, TileOutcome], None],
        *,
        stop: bool,
    ) -> Generator[Progress, bool | None, None]:
        """Restore tiles and deliver each by its number, in any order; ends early if asked to stop.

        Tiles that are ahead of the first missing one are held in memory. With `stop`, as little as
        possible is restored.
        """


class TileJoiner:
    """Stitches tiles that arrive in any order, and keeps what the result needs of them.

    Parameters
    ----------
    plan : TilePlan
    image : Target
        Receives rows and columns of the result.
    support : Target or None
        Receives the support.
    """

    def __init__(self, plan: TilePlan, *, image: Target, support: Target | None) -> None:
        scale = plan.job.settings.scale
        self._plan = plan
        self._image = Mosaic(plan.rows, scale=scale, target=image)
        self._support = None if support is None else Mosaic(plan.rows, scale=scale, target=support)
        self._places = [(r, c) for r, line in enumerate(plan.rows) for c in range(len(line))]
        self._ahead: dict[int, TileOutcome] = {}
        self._next = 0
        self._last: tuple[int, TileOutcome] | None = None
        self._residual: tuple[int, Residual | None] = (-1, None)

    @property
    def last(self) -> TileOutcome | None:
        """The tile furthest down and right so far."""
        return None if self._last is None else self._last[1]

    @property
    def residual(self) -> Residual | None:
        """Residual of the tile in the middle, or of the first one."""
        return self._residual[1]

    def take(self, number: int, outcome: TileOutcome) -> None:
        """Add the outcome of a tile."""
        if self._last is None or number > self._last[0]:
            self._last = number, outcome
        if self._plan.is_examined(number) and number > self._residual[0]:
            self._residual = number, outcome.residual
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
            shape = parts[self._next].kept.scaled(scale).shape
            nothing = np.full((*shape, channels), np.nan, dtype=np.float32)
            self._add(nothing, np.zeros(shape, dtype=np.float32))

    def _add(self, image: NDArray[np.float32], support: NDArray[np.float32]) -> None:
        place = self._places[self._next]
        self._image.add(*place, image)
        if self._support is not None:
            self._support.add(*place, support)
        self._next += 1
