"""Seconds and peak memory of a method against the size of its result.

    python benchmarks/scaling.py [--sizes 128 256 512 1024 2048] [--scale 2] [--threads 2]

Each size runs in an interpreter of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from napari_blindsr import restore
from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.methods import METHODS

# The kernel counts in KiB; the BSDs, macOS among them, in bytes, which this does not cover.
KIB = 1024


def peak() -> float:
    """Return the largest resident size of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 1e9


def run(size: int, scale: int, method: str, threads: int, device: str) -> dict[str, float]:
    """Restore twice; the first run loads and compiles what the second finds ready."""
    torch.set_num_threads(threads)
    image = fluorescent_cells((size // scale, size // scale), seed=1).astype(np.float32)
    restore(image[:64, :64], scale=scale, method=method, device=device)
    before = peak()
    start = time.perf_counter()
    restore(image, scale=scale, method=method, device=device)
    return {"seconds": time.perf_counter() - start, "memory": peak() - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="*", default=[128, 256, 512, 1024, 2048])
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--method", default=METHODS[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        found = run(options.one, options.scale, options.method, options.threads, options.device)
        print(json.dumps(found))
        return
    print(
        f"{options.method} ×{options.scale}, {options.threads} threads, torch {torch.__version__}"
    )
    print("| result | seconds | µs a pixel | GB above the loaded interpreter | bytes a pixel |")
    print("|---|---|---|---|---|")
    for size in options.sizes:
        command = [sys.executable, __file__, "--one", str(size), "--scale", str(options.scale)]
        command += ["--method", options.method, "--threads", str(options.threads)]
        command += ["--device", options.device]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - itself
        found = json.loads(output.splitlines()[-1])
        pixels = size * size
        print(
            f"| {size}² | {found['seconds']:.2f} | {1e6 * found['seconds'] / pixels:.2f} "
            f"| {found['memory']:.2f} | {1e9 * found['memory'] / pixels:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
