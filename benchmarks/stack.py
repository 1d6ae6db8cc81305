"""What a stack with shared kernels costs, beside its finishes and kernel estimates alone.

    python benchmarks/stack.py [--frames 20] [--side 256] [--threads 2]

The target is a ratio of at most 1.3.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from napari_blindsr import Settings, estimate_kernel, restore, restore_stack
from napari_blindsr.evaluation.samples import Camera, fluorescent_cells

SCALE = 2
CHANNELS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pictures = [
        Camera().expose(fluorescent_cells((options.side, options.side), seed=seed), seed=seed)
        for seed in range(CHANNELS)
    ]
    # Frames differ by their noise and a little by their place.
    image = np.stack(
        [np.stack([np.roll(p, frame, axis=0) for p in pictures]) for frame in range(options.frames)]
    )
    settings = Settings(scale=SCALE)
    restore(image[0, 0, :64, :64], scale=SCALE)
    kernel = estimate_kernel(image[0, 0], scale=SCALE).kernel
    estimating, finishing = [], []
    for frame in range(3):
        start = time.perf_counter()
        estimate_kernel(image[frame, 0], scale=SCALE)
        estimating.append(time.perf_counter() - start)
        start = time.perf_counter()
        restore(image[frame, 0], scale=SCALE, kernel=kernel)
        finishing.append(time.perf_counter() - start)
    start = time.perf_counter()
    result = restore_stack(image, settings, axes="TCYX")
    seconds = time.perf_counter() - start
    count = options.frames * CHANNELS
    alone = count * min(finishing) + CHANNELS * min(estimating)
    print(f"torch {torch.__version__}, {options.threads} threads, {image.dtype} {image.shape} TCYX")
    print(
        f"stack {seconds:.1f} s with {len(result.kernels)} kernels; {count} finishes of "
        f"{min(finishing):.2f} s and {CHANNELS} estimates of {min(estimating):.2f} s: "
        f"{alone:.1f} s; ratio {seconds / alone:.2f}"
    )
    assert result.image.shape == (options.frames, CHANNELS, *[SCALE * options.side] * 2)


if __name__ == "__main__":
    main()
