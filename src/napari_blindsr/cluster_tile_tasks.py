"""What the workers of a cluster do for planes in tiles: pure functions of what they are sent."""

from __future__ import annotations

import pickle
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_blindsr.cluster_tasks import ONE_AT_A_TIME, opened_job
from napari_blindsr.engine.device import choose_compute
from napari_blindsr.errors import BlindSRError, EngineError
from napari_blindsr.finish import Finisher, load_finisher
from napari_blindsr.job import Job, local
from napari_blindsr.job_setup import with_blur
from napari_blindsr.pipeline import conclude, cpu_threads, translated_errors
from napari_blindsr.restoration import Restored, plan_tiles, restore_tile
from napari_blindsr.steps import drained

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.kernel_field import KernelField
    from napari_blindsr.parts import Part
    from napari_blindsr.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.tiles import TileOutcome, TilePlan


@dataclass(frozen=True, kw_only=True, eq=False)
class _SentTile:
    """What a worker is told of a tile."""

    piece: Job
    part: Part
    examined: bool


def plan_plane(
    payload: bytes, kernel: NDArray[Any] | KernelField | None, tile: int
) -> TilePlan | BlindSRError:
    """Make the one plane of a job ready for tiles: range, noise level, kernel.

    It comes back without what only a worker needs; a failure is returned, as by
    `cluster_tasks.restore_plane`.
    """
    with ONE_AT_A_TIME:
        try:
            stack, (index,) = opened_job(payload)
            with translated_errors(), cpu_threads(stack.settings.threads):
                job = stack.prepared(index, kernel)
                if job.reads:
                    job, _ = drained(with_blur(job, start=time.perf_counter()))
                # Where the blur varies, tiles are small whoever restores them.
                plan = drained(plan_tiles(job, min(tile, job.tile or tile)))
            return replace(plan, job=_bare(plan.job))
        except BlindSRError as error:
            return error


def tile_payload(plan: TilePlan, number: int) -> bytes:
    """Return a tile as a worker gets it: what is seen of the plane, and nothing else."""
    part = plan.parts[number]
    piece = local(plan.job, part)
    if piece.light is not None:
        # A view would be sent with all that it is a view of.
        light = replace(piece.light, levels=piece.light.levels.clone())
        piece = replace(piece, light=light)
    return pickle.dumps(
        _SentTile(piece=piece, part=part, examined=plan.is_examined(number)), protocol=5
    )


def run_tile(payload: bytes) -> TileOutcome | BlindSRError:
    """Restore a tile."""
    with ONE_AT_A_TIME:
        try:
            sent: _SentTile = pickle.loads(payload)  # noqa: S301 - from `tile_payload`
            with translated_errors(), cpu_threads(sent.piece.settings.threads):
                return restore_tile(_equipped(sent.piece), sent.part, examined=sent.examined)
        except BlindSRError as error:
            return error


def result_payload(plan: TilePlan, joined: Restored) -> bytes:
    """Return what came of a plane as a worker gets it, without its pixels."""
    nothing = np.empty((0, 0), dtype=np.float32)
    return pickle.dumps((plan.job, replace(joined, image=nothing, support=nothing)), protocol=5)


def conclude_plane(payload: bytes) -> Result | BlindSRError:
    """Look for what speaks against a result, and return it without its pixels."""
    with ONE_AT_A_TIME:
        try:
            job, joined = pickle.loads(payload)  # noqa: S301 - from `result_payload`
            with translated_errors(), cpu_threads(job.settings.threads):
                return conclude(_equipped(job), joined, seconds=0.0)
        except BlindSRError as error:
            return error


def _bare(job: Job) -> Job:
    """Return a job without networks, and with nothing on a device."""
    light = None if job.light is None else job.light.to(torch.device("cpu"))
    return replace(job, finisher=replace(job.finisher, prior=None, usrnet=None), light=light)


def _equipped(job: Job) -> Job:
    """Return a job with the device and the networks of this process.

    Raises
    ------
    EngineError
        If a network is missing here that the plane was made ready for.
    """
    settings, light = job.settings, job.light
    finisher = _tools(_Tools(settings))
    if finisher.name != job.finisher.name:
        raise EngineError(
            f"a worker lacks the weights of {job.finisher.name!r}, which another one has; "
            "expected all workers to find them"
        )
    compute = finisher.compute
    light = None if light is None else light.to(compute.device)
    return replace(job, compute=compute, finisher=finisher, light=light)


class _Tools:
    """Settings as far as they tell which networks are loaded, and where."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._key = (
            settings.method,
            settings.finish,
            settings.usrnet_weights,
            settings.device,
            settings.precision,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Tools) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=1)
def _tools(tools: _Tools) -> Finisher:
    settings = tools.settings
    compute = choose_compute(settings.device, settings.precision)
    return load_finisher(settings, compute)[0]
