"""How much faster more workers of a cluster on this machine are than one.

    python benchmarks/cluster.py [planes] [tiles] [--planes 8] [--side 256] [--large 512]
        [--workers 2] [--repeats 3]

``planes`` shares out the planes of a stack, ``tiles`` those of one image of --large pixels a side
that is made in tiles of half the result's side, whoever makes them.

Each worker is a process of one thread. Workers are started, and have restored a plane each, before
the clock runs. With fewer idle cores than workers the figure says little.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_blindsr import Settings, StackResult, restore_stack
from napari_blindsr.evaluation.samples import Camera, fluorescent_cells
from napari_blindsr.stacks.dask_client import local_client

SETTINGS = Settings(scale=2, threads=1)


def pictures(count: int, side: int) -> NDArray[np.uint16]:
    """Return different pictures of cells, (count, side, side)."""
    return np.stack(
        [
            Camera().expose(fluorescent_cells((side, side), seed=seed), seed=seed)
            for seed in range(count)
        ]
    )


def timed(
    image: NDArray[np.uint16], settings: Settings, axes: str, *, workers: int, repeats: int
) -> tuple[float, StackResult]:
    """Return the best of some times, and the result."""
    best = float("inf")
    with local_client(workers) as client:
        # Each worker loads torch and the networks with its first planes.
        first = pictures(2 * workers, 64)
        restore_stack(first, replace(settings, tile=None), axes="TYX", client=client)
        for _ in range(repeats):
            start = time.perf_counter()
            result = restore_stack(image, settings, axes=axes, client=client)
            best = min(best, time.perf_counter() - start)
    return best, result


def compare(
    what: str, image: NDArray[np.uint16], settings: Settings, axes: str, options: argparse.Namespace
) -> None:
    """Print how much faster some workers are than one."""
    repeats, workers = options.repeats, options.workers
    one, alone = timed(image, settings, axes, workers=1, repeats=repeats)
    many, shared = timed(image, settings, axes, workers=workers, repeats=repeats)
    same = np.array_equal(alone.image, shared.image)
    print(
        f"{what}: 1 worker {one:.1f} s, {workers} workers {many:.1f} s, {one / many:.2f}× (target "
        f"1.6× of 2 workers); results {'equal' if same else 'DIFFERENT'}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("what", nargs="*", default=["planes", "tiles"])
    parser.add_argument("--planes", type=int, default=8)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--large", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    before = os.getloadavg()[0]
    if "planes" in options.what:
        image = pictures(options.planes, options.side)
        what = f"{options.planes} planes of {options.side}² ×2, one kernel"
        compare(what, image, SETTINGS, "TYX", options)
    if "tiles" in options.what:
        tile = SETTINGS.scale * options.large // 2
        what = f"one image of {options.large}² ×2 in tiles of {tile}"
        compare(what, pictures(1, options.large)[0], replace(SETTINGS, tile=tile), "YX", options)
    if before + options.workers > cores + 0.5:
        print(
            f"the load was {before:.1f} on {cores} cores before the run: other programs were at "
            "work, and the figures are too low"
        )


if __name__ == "__main__":
    main()
