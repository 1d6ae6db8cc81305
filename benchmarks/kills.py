"""Kill runs of the command line at random moments, then run the same command once more.

    python benchmarks/kills.py [--kills 100] [--again 10] [--seed 0]

Three jobs take turns: a single image, a folder of images, and a stack into an OME-Zarr. Each is run
once undisturbed. A trial is then one command that is killed (SIGKILL) at a random moment, after
which every file that stands under its final name must be whole, and the same command once more,
which must complete, give the same pixels, and leave nothing but its results.

``--again`` kills one batch, a stack of 24 planes into an OME-Zarr, so many times in a row before it
may finish: every plane that a run has delivered is kept, and in the end each is there once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_blindsr.images.files import open_image


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command, and the images it writes; all in one folder beside the file ``mine.txt``."""

    name: str
    arguments: str
    images: tuple[str, ...]


JOBS = (
    Job(
        name="single image",
        arguments="restore in.tif -o out.tif -s 2 --report out.json --kernel-out kernel.npy",
        images=("out.tif",),
    ),
    Job(
        name="folder",
        arguments="restore folder -d results -s 2 --format tif",
        images=tuple(f"results/{n}_x2.tif" for n in range(3)),
    ),
    Job(
        name="stack in OME-Zarr",
        arguments="restore stack.tif -o out.ome.zarr -s 2 --axes TYX",
        images=("out.ome.zarr",),
    ),
)


BATCH = Job(
    name="batch of 24 planes in OME-Zarr",
    arguments="restore many.tif -o many.ome.zarr -s 2 --axes TYX --kernels plane --quality refined",
    images=("many.ome.zarr",),
)


def prepare(folder: Path) -> None:
    """Write the inputs, and a file of somebody else."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "folder").mkdir(parents=True)
    noise = np.random.default_rng(1).normal(size=(6, 48, 48))
    stack = (1000 + 400 * gaussian_filter(noise, (0, 2, 2)) ** 2).astype(np.uint16)
    tifffile.imwrite(folder / "in.tif", stack[0])
    tifffile.imwrite(folder / "stack.tif", stack)
    tifffile.imwrite(folder / "many.tif", np.concatenate(4 * [stack]))
    for number in range(3):
        tifffile.imwrite(folder / "folder" / f"{number}.tif", stack[number])
    (folder / "mine.txt").write_text("not yours")


def listed(folder: Path) -> set[str]:
    """Return the files in a folder, those of an OME-Zarr as one."""
    files = set()
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        inside = [n for n, part in enumerate(parts) if part.endswith(".zarr")]
        if inside:
            files.add("/".join(parts[: inside[0] + 1]))
        elif path.is_file():
            files.add("/".join(parts))
    return files


def start(job: Job, folder: Path) -> subprocess.Popen[bytes]:
    """Start the command of a job."""
    return subprocess.Popen(  # noqa: S603 - the command is written above
        [sys.executable, "-m", "napari_blindsr", *job.arguments.split()],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def pixels(folder: Path, job: Job) -> list[NDArray[np.float32]]:
    """Return what the images of a job hold."""
    return [np.asarray(open_image(folder / name).array[:]) for name in job.images]


def undisturbed(job: Job, folder: Path) -> tuple[float, list[NDArray[np.float32]], set[str]]:
    """Run a job once; return the seconds it took, its pixels, and its files."""
    prepare(folder)
    began = time.perf_counter()
    process = start(job, folder)
    _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{job.name}: {said.decode()}")
    seconds = time.perf_counter() - began
    print(f"{job.name}: {seconds:.1f} s undisturbed", flush=True)
    return seconds, pixels(folder, job), listed(folder)


def kill(job: Job, folder: Path, seconds: float) -> bool:
    """Kill a job after some seconds; return whether it was still running."""
    process = start(job, folder)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    return False


def kill_again(times: int, folder: Path, seconds: float, rng: np.random.Generator) -> None:
    """Kill the batch several times in a row, then let it finish, and print what is there.

    `seconds` is what a run with one plane takes.
    """
    _, expected, files = undisturbed(BATCH, folder)
    prepare(folder)
    # Some planes at a time, or none.
    killed = sum(kill(BATCH, folder, seconds * rng.uniform(0.9, 1.15)) for _ in range(times))
    process = start(BATCH, folder)
    _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{BATCH.name}: {said.decode()}")
    report = json.loads((folder / "many.json").read_text(encoding="utf-8"))
    planes = [tuple(plane["index"]) for plane in report["planes"]]
    same = all(map(np.array_equal, pixels(folder, BATCH), expected))
    print(
        f"{BATCH.name}: killed {killed} times; {report['kept']} planes from killed runs, "
        f"{len(planes)} in all, {len(set(planes))} different; pixels "
        f"{'as' if same else 'NOT as'} undisturbed, {len(listed(folder) ^ files)} files left over"
    )


def main() -> None:
    """Run all trials and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--again", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "work"
        counts = dict.fromkeys(
            ("killed", "torn", "lost", "incomplete", "different", "left over"), 0
        )
        expectations = {job.name: undisturbed(job, folder) for job in JOBS}
        for number in range(given.kills):
            job = JOBS[number % len(JOBS)]
            seconds, expected, files = expectations[job.name]
            prepare(folder)
            before = listed(folder)
            # Most of the time is the start of Python; what is written comes at the end.
            moment = seconds * (rng.uniform(0.6, 1.02) if number % 4 else rng.uniform(0, 1))
            counts["killed"] += kill(job, folder, moment)
            for image, values in zip(job.images, expected, strict=True):
                if (folder / image).exists():
                    found = np.asarray(open_image(folder / image).array[:])
                    counts["torn"] += not np.array_equal(found, values)
            counts["lost"] += not before <= listed(folder)
            process = start(job, folder)
            _, said = process.communicate()
            complete = all((folder / image).exists() for image in job.images)
            if not complete:
                counts["incomplete"] += 1
                print(f"trial {number}, {job.name}, {moment:.2f} s: {said.decode()[-300:]}")
                continue
            same = all(map(np.array_equal, pixels(folder, job), expected))
            counts["different"] += not same
            counts["lost"] += (folder / "mine.txt").read_text() != "not yours"
            surplus = listed(folder) ^ files
            if surplus:
                counts["left over"] += 1
                print(f"trial {number}, {job.name}, {moment:.2f} s: {sorted(surplus)}")
        print("  ".join(f"{name} {count}" for name, count in counts.items()))
        if given.again:
            kill_again(given.again, folder, expectations[JOBS[0].name][0], rng)


if __name__ == "__main__":
    main()
