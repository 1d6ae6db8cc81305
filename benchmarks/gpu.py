"""Every check and benchmark of a GPU, and one report of them.

    BLINDSR_DATA=… python benchmarks/gpu.py [--out benchmarks/results/gpu.md]

Ends at once where torch finds no CUDA device. Each part runs in an interpreter of its own; one
that fails is reported and does not end the others, but the exit status tells of it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Part:
    """A command of the report: its title, its arguments, and whether it needs reference data."""

    title: str
    arguments: tuple[str, ...]
    needs_data: bool = False


ON = ("--device", "cuda")

PARTS = (
    Part(
        title="Captured graphs against eager passes",
        arguments=(
            "-m",
            "pytest",
            "-q",
            "-rs",
            str(HERE.parent / "tests" / "solvers" / "test_cuda_graphs.py"),
        ),
    ),
    Part(
        title="One step of MLMC against the plain step, 512²",
        arguments=(str(HERE / "step.py"), "--size", "512", "--outer", "20", *ON),
    ),
    Part(
        title="Method fast: seconds and memory against size",
        arguments=(str(HERE / "scaling.py"), *ON),
    ),
    Part(
        title="Method mlmc, published schedule, 512² result, its capture included",
        arguments=(str(HERE / "scaling.py"), "--method", "mlmc", "--sizes", "512", *ON),
    ),
    Part(
        title="Scores and seconds of method fast on Set5 ×4",
        arguments=(str(HERE / "quality_speed.py"), "--sections", "set5"),
        needs_data=True,
    ),
)


def run(part: Part) -> tuple[int, str, float]:
    """Return exit status, output and seconds of a part."""
    start = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - itself and its neighbours
        [sys.executable, *part.arguments], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    return done.returncode, done.stdout + done.stderr[-2000:] * (done.returncode != 0), seconds


def describe(device: torch.device) -> str:
    properties = torch.cuda.get_device_properties(device)
    return (
        f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, compute capability "
        f"{properties.major}.{properties.minor}; torch {torch.__version__}, CUDA "
        f"{torch.version.cuda}, Python {sys.version.split()[0]}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu.md")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} finds no CUDA device here; nothing was run")
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    worst = 0
    with options.out.open("w", encoding="utf-8") as report:
        report.write(f"# {describe(torch.device('cuda'))}\n")
        for part in PARTS:
            report.write(f"\n## {part.title}\n\n")
            if part.needs_data and not os.environ.get("BLINDSR_DATA"):
                report.write("Left out: BLINDSR_DATA is not set.\n")
                continue
            status, output, seconds = run(part)
            worst = max(worst, status)
            report.write(f"```text\n{output.strip()}\n```\n\n")
            report.write(f"exit status {status}, {seconds:.0f} s\n")
            report.flush()
            print(f"{part.title}: exit status {status}, {seconds:.0f} s", flush=True)
    print(f"report: {options.out}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
