"""A result in tiles: what is planned, what comes of each tile, and who restores them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_blindsr.images.tiling import TileBlender
from napari_blindsr.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_blindsr.images.tiling import Target, Tile
    from napari_blindsr.metrics.residual import Residual
    from napari_blindsr.restoration.problem import Job


@dataclass(frozen=True, kw_only=True, eq=False)
class TilePlan:
    """The tiles of a result.

    Attributes
    ----------
    job : Job
        With the kernel that all tiles are restored with.
    rows : list of list of Tile
        From top to bottom, and from left to right.
    notes : tuple of str
    """

    job: Job
    rows: list[list[Tile]]
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> list[Tile]:
        """The tiles, row by row."""
        return [part for line in self.rows for part in line]

    def is_examined(self, number: int) -> bool:
        """Tell whether what a tile leaves unexplained is looked at: of the first and the middle."""
        return number in (0, sum(map(len, self.rows)) // 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class TileOutcome:
    """What came of a tile.

    Attributes
    ----------
    image : ndarray, float32, (s·h, s·w, C)
        What is kept of it, in scaled intensities.
    support : ndarray, float32, (s·h, s·w)
    kernel : ndarray, float32, (K, K)
    center, offset : float
        As in `Observation`.
    losses : ndarray, float32, (n,)
    residual : Residual or None
        What it leaves unexplained, if that was looked at.
    """

    image: NDArray[np.float32]
    support: NDArray[np.float32]
    kernel: NDArray[np.float32]
    center: float
    offset: float
    losses: NDArray[np.float32]
    residual: Residual | None = None


@dataclass(kw_only=True)
class TileClock:
    """How many tiles are done, and since when."""

    start: float
    total: int
    done: int = 0
    began: float = field(default_factory=time.perf_counter)

    def progress(self) -> Progress:
        """Return the report that so many tiles are done."""
        now = time.perf_counter()
        pace = (now - self.began) / self.done if self.done else None
        return Progress(
            step=self.done,
            total=self.total,
            stage=f"tile {self.done} of {self.total}",
            loss=None,
            seconds=now - self.start,
            remaining=None if pace is None else pace * (self.total - self.done),
            unit="tile",
        )


class TileRunner(Protocol):
    """Restores tiles."""

    def tiles(
        self,
        plan: TilePlan,
        clock: TileClock,
        deliver: Callable[[int, TileOutcome], None],
        *,
        stop: bool,
    ) -> Generator[Progress, bool | None, None]:
        """Restore tiles and deliver them by their numbers; ends early if asked to stop.

        They may come in any order; those that are ahead of the first one that is missing are held
        in memory. With `stop`, as little is restored as there can be.
        """


class TileJoiner:
    """Joins tiles that come in any order, and remembers what there is to know of them.

    Parameters
    ----------
    plan : TilePlan
    image : Target
        Takes rows and columns of the result.
    support : Target or None
        Takes how much of what sees them was measured.
    """

    def __init__(self, plan: TilePlan, *, image: Target, support: Target | None) -> None:
        scale = plan.job.settings.scale
        self._plan = plan
        self._image = TileBlender(plan.rows, scale=scale, target=image)
        self._support = (
            None if support is None else TileBlender(plan.rows, scale=scale, target=support)
        )
        self._places = [(r, c) for r, line in enumerate(plan.rows) for c in range(len(line))]
        self._ahead: dict[int, TileOutcome] = {}
        self._next = 0
        self._last: tuple[int, TileOutcome] | None = None
        self._residual: tuple[int, Residual | None] = (-1, None)
        self.done = 0

    @property
    def next(self) -> int:
        """The first tile that is missing."""
        return self._next

    @property
    def last(self) -> TileOutcome | None:
        """The one of the tiles so far that is furthest down and right."""
        return None if self._last is None else self._last[1]

    @property
    def residual(self) -> Residual | None:
        """What is left unexplained of the tile in the middle, or of the first one."""
        return self._residual[1]

    def take(self, number: int, outcome: TileOutcome) -> None:
        """Take what came of a tile."""
        self.done += 1
        if self._last is None or number > self._last[0]:
            self._last = number, outcome
        if self._plan.is_examined(number) and number > self._residual[0]:
            self._residual = number, outcome.residual
        self._ahead[number] = outcome
        while self._next in self._ahead:
            given = self._ahead.pop(self._next)
            self._add(given.image, given.support)

    def fill(self) -> None:
        """Say of all tiles that are missing that they have no values."""
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
