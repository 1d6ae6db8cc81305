"""How much memory a run needs above an interpreter that has torch loaded.

python benchmarks/memory.py [--size 252] [--scale 4] [--device auto]
"""

from __future__ import annotations

import argparse
import resource

import numpy as np
import torch

from napari_blindsr import restore

# The kernel counts in KiB; the BSDs, macOS among them, in bytes, which this does not cover.
KIB = 1024


def peak() -> float:
    """Return the largest resident size of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=252, help="side of the result in pixels")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    before = peak()
    side = options.size // options.scale
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    result = restore(image, scale=options.scale, method="mlmc", steps=10, device=options.device)
    print(
        f"{options.size}² RGB result at ×{options.scale}, {result.device}, {result.dtype}: "
        f"{peak() - before:.2f} GB above the {before:.2f} GB of an interpreter with torch"
    )
    if result.device.startswith("cuda"):
        print(f"on the device: {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
