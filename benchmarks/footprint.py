"""The estimate of a run's memory against its measured peak.

    python benchmarks/footprint.py [--sizes 128 256 512 1024 2048] [--threads 1] [--device cpu]

Each run has an interpreter of its own, which has restored a small image before, so that libraries
and networks are loaded. On the CPU the peak is that of the process above that of the small run
(Linux only); on CUDA it is what torch allocated there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_blindsr.evaluation.results import peak_memory
from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.methods import Schedule
from napari_blindsr.restoration.memory import estimate_memory
from napari_blindsr.restoration.restore import iterate
from napari_blindsr.settings import Settings
from napari_blindsr.solvers.device import choose_compute

STEPS = Schedule(image_steps=2, warmup_steps=1, structural_steps=1, channels=64)

CASES: dict[str, Settings] = {
    "fast": Settings(scale=2),
    "fast, whole": Settings(scale=2, tile=None),
    "fast, x4": Settings(scale=4),
    "fast, tiles of 512": Settings(scale=2, tile=512),
    "measurement": Settings(scale=2, finish="measurement", tile=None),
    "measurement, tiles of 512": Settings(scale=2, finish="measurement", tile=512),
    "mlmc, 64 channels": Settings(scale=2, method="mlmc", schedule=STEPS, tile=None),
    "mlmc, 128 channels": Settings(
        scale=2, method="mlmc", schedule=replace(STEPS, channels=128), tile=None
    ),
    "ddsr, 64 channels": Settings(scale=2, method="ddsr", schedule=STEPS, tile=None),
}
LARGEST = {"mlmc": 512, "ddsr": 512}
"""Of results whose image is optimised: a step of larger ones takes long."""


def picture(height: int, width: int, channels: int) -> NDArray[np.uint16]:
    """Return a picture of cells, repeated: making it takes little memory."""
    cells = 1000 * fluorescent_cells((64, 64), seed=1)
    image = np.tile(cells, (-(-height // 64), -(-width // 64)))[:height, :width]
    if channels > 1:
        image = np.stack([image] * channels, axis=-1)
    return np.asarray(image, dtype=np.uint16)


def drain(image: NDArray[np.uint16], settings: Settings) -> object:
    run = iterate(image, settings)
    while True:
        try:
            next(run)
        except StopIteration as end:
            return end.value


def measure(case: str, size: int, channels: int, threads: int, device: str) -> int:
    """Return the peak of one run in bytes."""
    settings = replace(CASES[case], device=device, threads=threads)
    where = torch.device(device)
    # Not what is resident when the run begins: the system may have dropped pages of libraries,
    # which then come back.
    with peak_memory(where) as small:
        drain(picture(32, 32, channels), settings)
    image = picture(size // settings.scale, size // settings.scale, channels)
    before = small.bytes if device == "cpu" else torch.cuda.memory_allocated()
    with peak_memory(where) as peak:
        result = drain(image, settings)
    assert before is not None
    assert result is not None
    assert peak.bytes is not None
    return peak.bytes - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="*", default=[128, 256, 512, 1024, 2048])
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--channels", type=int, default=1, help="3 for RGB")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        case, size = options.one
        peak = measure(case, int(size), options.channels, options.threads, options.device)
        print(json.dumps(peak))
        return
    compute = choose_compute(options.device, "auto")
    half = compute.dtype == torch.bfloat16
    print(
        f"{options.channels} channels, {options.threads} threads, {options.device}, {compute.dtype}"
    )
    print("| run | result | GB estimated | GB measured | estimated / measured |")
    print("|---|---|---|---|---|")
    for case in options.cases:
        settings = replace(CASES[case], device=options.device)
        for size in options.sizes:
            if size > LARGEST.get(settings.method, size):
                continue
            command = [sys.executable, __file__, "--one", case, str(size)]
            command += ["--channels", str(options.channels), "--threads", str(options.threads)]
            command += ["--device", options.device]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - itself
            measured = json.loads(output.splitlines()[-1])
            shape = (size // settings.scale, size // settings.scale)
            estimated = estimate_memory(shape, options.channels, settings, half=half)
            print(
                f"| {case} | {size}² | {estimated / 1e9:.3f} | {measured / 1e9:.3f} "
                f"| {estimated / measured:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
