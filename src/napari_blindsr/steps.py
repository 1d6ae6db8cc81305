"""Pieces of work that say how far they are, and can be told to end early."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from napari_blindsr.engine.result import Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_blindsr.engine.refine import Done

Returned = TypeVar("Returned")

REFINING = "refining the blur"
"""The stage in which what was read of a blur is refined."""


def drained(steps: Generator[Any, bool | None, Returned]) -> Returned:
    """Do a piece of work to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Returned = end.value
            return result


def reported(
    steps: Generator[Done, bool | None, Returned], *, stage: str, start: float
) -> Generator[Progress, bool | None, tuple[Returned, bool]]:
    """Do a piece of work, report how far it is, and return whether it was told to stop, too.

    Parameters
    ----------
    steps : generator
        Yields how many of how many parts are done, and hears whether to stop.
    stage : str
        What is going on, in words fit to be shown.
    start : float
        When the run began.
    """
    began = time.perf_counter()
    stop: bool | None = None
    stopped = False
    while True:
        try:
            done, total = steps.send(stop)
        except StopIteration as end:
            result: Returned = end.value
            return result, stopped
        now = time.perf_counter()
        stop = yield Progress(
            step=done,
            total=total,
            stage=stage,
            loss=None,
            seconds=now - start,
            remaining=(now - began) / done * (total - done),
            unit="part",
        )
        stopped = stopped or bool(stop)


def one_of(
    steps: Generator[Done, bool | None, Returned], number: int, count: int
) -> Generator[Done, bool | None, Returned]:
    """Do one of several like pieces of work, and say how far all are."""
    stop: bool | None = None
    while True:
        try:
            done, total = steps.send(stop)
        except StopIteration as end:
            result: Returned = end.value
            return result
        stop = yield number * total + done, count * total
