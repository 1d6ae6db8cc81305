"""How much faster more workers of a cluster on this machine are than one.

    python benchmarks/cluster.py [--planes 8] [--side 256] [--workers 2] [--repeats 3]

Each worker is a process of one thread. Workers are started, and have restored a plane each, before
the clock runs. With fewer idle cores than workers the figure says little.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from numpy.typing import NDArray

from napari_blindsr import Settings, StackResult, restore_stack
from napari_blindsr.cluster import local_client
from napari_blindsr.fluorescence import Camera, fluorescent_cells

SETTINGS = Settings(scale=2, threads=1)


def pictures(count: int, side: int) -> NDArray[np.uint16]:
    """Return different pictures of cells, (count, side, side)."""
    return np.stack(
        [
            Camera().expose(fluorescent_cells((side, side), seed=seed), seed=seed)
            for seed in range(count)
        ]
    )


def timed(image: NDArray[np.uint16], workers: int, repeats: int) -> tuple[float, StackResult]:
    """Return the best of some times, and the result."""
    best = float("inf")
    with local_client(workers) as client:
        # Each worker loads torch and the networks with its first planes.
        restore_stack(image[: 2 * workers], SETTINGS, axes="TYX", client=client)
        for _ in range(repeats):
            start = time.perf_counter()
            result = restore_stack(image, SETTINGS, axes="TYX", client=client)
            best = min(best, time.perf_counter() - start)
    return best, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--planes", type=int, default=8)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    before = os.getloadavg()[0]
    image = pictures(options.planes, options.side)
    one, alone = timed(image, 1, options.repeats)
    many, shared = timed(image, options.workers, options.repeats)
    same = np.array_equal(alone.image, shared.image)
    print(
        f"{options.planes} planes of {options.side}² ×2, one kernel: 1 worker {one:.1f} s, "
        f"{options.workers} workers {many:.1f} s, {one / many:.2f}× (target 1.6× of 2 workers); "
        f"results {'equal' if same else 'DIFFERENT'}"
    )
    if before + options.workers > cores + 0.5:
        print(
            f"the load was {before:.1f} on {cores} cores before the run: other programs were at "
            "work, and the figure is too low"
        )


if __name__ == "__main__":
    main()
