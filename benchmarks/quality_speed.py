"""Scores, kernels and seconds of each method, and how much faster than the plain schedule.

    BLINDSR_DATA=… python benchmarks/quality_speed.py [--sections set5 kernels …] [--threads 2]

One setting for all images. Every run is kept in benchmarks/results/quality_speed.jsonl; a second
call goes on where the first was interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from cases import (
    SET5,
    Case,
    data_folder,
    degraded,
    gaussian_cases,
    micrograph,
    other_pictures,
    published,
    table,
)
from fidelity import LANE, Picture, blurred, drawn, family_record, load
from numpy.typing import NDArray
from skimage.restoration import richardson_lucy
from step import KERNEL_SIZE, SCALE, PlainStep, seconds

from napari_blindsr.metrics import kernel_error
from napari_blindsr.physics.observation import Observation
from napari_blindsr.physics.simulate import interpolate
from napari_blindsr.progress import drained
from napari_blindsr.restoration.restore import iterate, make_settings, restore
from napari_blindsr.settings import kernel_family
from napari_blindsr.types import FINISHES, QUALITIES, Finish, Quality

RESULTS = Path(__file__).parent / "results" / "quality_speed.jsonl"
MADE: tuple[Finish, ...] = tuple(finish for finish in FINISHES if finish != "none")
PUBLISHED_STEPS = 1000
AS_FOUND = "prior known, as if found"
"""The true kernel, restored with as an estimated one is: in no more rounds."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of the results."""

    section: str
    name: str
    work: Callable[[], dict[str, float]]


def solved(
    case: Case,
    finish: Finish | None = None,
    *,
    method: str = "fast",
    kernel: NDArray[Any] | str = "gaussian",
    noise: float | Literal["auto"] = 0.0,
    quality: Quality = "fast",
) -> tuple[Any, float]:
    """Return a result, and the seconds it took with everything loaded."""
    start = time.perf_counter()
    used = finish
    if method.endswith("usrnet"):
        used = "usrnet"
    result = restore(
        case.lr,
        scale=case.scale,
        method=method,
        # By its name an Airy pattern would be that of the optics.
        kernel=kernel_family(kernel) if isinstance(kernel, str) else kernel,
        geometry=case.geometry,
        border=case.border,
        finish=finish,
        noise=noise,
        quality=quality,
        usrnet_weights=data_folder() / "usrnet_tiny.pth" if used == "usrnet" else None,
    )
    return result, time.perf_counter() - start


def blind_and_known(case: Case) -> dict[str, float]:
    """Score each finish with the kernel that is found and with the true one."""
    record: dict[str, float] = {}
    first, taken = solved(case)
    record["kernel_error"] = kernel_error(first.kernel, case.kernel)
    record["seconds"] = taken
    for finish in MADE:
        # The kernel is found anew, as one that is handed over would count as a measured one.
        found = first if first.finish == finish else solved(case, finish)[0]
        known, _ = solved(case, finish, kernel=case.kernel)
        record[finish] = case.psnr(found.image)
        record[f"{finish} known"] = case.psnr(known.image)
        record[f"{finish} ssim"] = case.ssim(found.image)
    record[AS_FOUND] = case.psnr(as_if_found(case))
    return record


def as_if_found(case: Case) -> NDArray[Any]:
    """Return what the image prior makes with the true kernel, as if it were estimated."""
    settings, known = make_settings(
        scale=case.scale, kernel=case.kernel, geometry=case.geometry, border=case.border
    )
    return drained(iterate(case.lr, settings, known_kernel=known, found=True)).image


def set5_runs() -> Iterable[Run]:
    for name in SET5:
        yield Run(section="set5", name=name, work=partial(blind_and_known, published(name)))


def kernel_runs() -> Iterable[Run]:
    for case in gaussian_cases():
        yield Run(section="kernels", name=case.name, work=partial(blind_and_known, case))


def family_runs() -> Iterable[Run]:
    """Other blurs, and noise, of Set5 ×4: fast, with the family given."""
    for family in ("line", "disk", "airy"):
        kernels = drawn(kernel_family(family), 5, seed=17)
        for name, kernel in zip(SET5, kernels, strict=True):
            case = degraded(name, 4, kernel, label=family)
            yield Run(section="families", name=case.name, work=partial(family_scores, case, family))
    for name in SET5:
        case = published(name)
        noisy = degraded(name, 4, case.kernel, label="noise 5", noise=5 / 255)
        yield Run(
            section="families",
            name=noisy.name,
            work=partial(family_scores, noisy, "gaussian", noise="auto"),
        )


def family_scores(
    case: Case, family: str, *, noise: float | Literal["auto"] = 0.0
) -> dict[str, float]:
    found, taken = solved(case, kernel=family, noise=noise)
    known, _ = solved(case, kernel=case.kernel, noise=noise)
    plain = np.asarray(interpolate(case.lr, case.scale, geometry=case.geometry, border=case.border))
    return {
        "prior": case.psnr(found.image),
        "prior known": case.psnr(known.image),
        "cubic": case.psnr(plain),
        "kernel_error": kernel_error(found.kernel, case.kernel),
        "seconds": taken,
    }


def refined_runs() -> Iterable[Run]:
    """Score quality "refined" on the same pictures, and on others."""
    cases = [*(published(name) for name in SET5), *gaussian_cases()[::2], *other_pictures((4,))]
    for case in cases:
        yield Run(section="refined", name=case.name, work=partial(refined_scores, case))


def refined_scores(case: Case) -> dict[str, float]:
    record: dict[str, float] = {}
    for quality in QUALITIES:
        found, taken = solved(case, quality=quality)
        record[quality] = case.psnr(found.image)
        record[f"{quality}: seconds"] = taken
    return record


def published_method_runs() -> Iterable[Run]:
    """Small pictures, which the published schedules take minutes for: fast beside these."""
    for name in LANE:
        picture = load("lane128", name)
        rng = np.random.default_rng(0)
        noisy = np.clip(np.round(picture.lr + rng.normal(0, 5, picture.lr.shape)), 0, 255)
        yield Run(
            section="methods",
            name=f"noise of 5/255 {name}",
            work=partial(
                beside_published,
                dataclasses.replace(picture, lr=noisy.astype(np.uint8)),
                "ddsr",
                "gaussian",
                noise="auto",
            ),
        )
    for index in (0, 1):
        for family in ("line", "disk", "airy"):
            for name in LANE:
                # The pictures of `fidelity.py`, which may have restored them already.
                kernels = drawn(kernel_family(family), 200, seed=100 + LANE.index(name))
                picture = blurred(load("lane128", name), kernels[index])
                kept = family_record(family, name, index)
                yield Run(
                    section="methods",
                    name=f"{family} {name} {index}",
                    work=partial(beside_published, picture, "mlmc", family, kept=kept),
                )


def beside_published(
    picture: Picture,
    method: str,
    family: str,
    *,
    noise: float | Literal["auto"] = 0.0,
    kept: dict[str, float] | None = None,
) -> dict[str, float]:
    """Score fast and a published method with the same family and noise.

    Runs of the published method that were kept, with as many threads, are not repeated.
    """
    case = Case(
        name=picture.name,
        lr=picture.lr,
        truth=picture.hr,
        kernel=picture.kernel,
        scale=SCALE,
        geometry="benchmark",
        border="circular",
    )
    plain = interpolate(case.lr, SCALE, geometry=case.geometry, border=case.border)
    record = {"cubic": case.psnr(np.asarray(plain))}
    if kept is not None and kept.get("threads") != torch.get_num_threads():
        kept = None
    runs = {
        "fast": scored(case, "fast", family, noise),
        method: kept or scored(case, method, family, noise),
    }
    for name, run in runs.items():
        record[name] = run["psnr"]
        record[f"{name}: e_k"] = run["kernel_error"]
        record[f"{name}: seconds"] = run["seconds"]
    record["times faster"] = record[f"{method}: seconds"] / record["fast: seconds"]
    return record


def scored(
    case: Case, method: str, family: str, noise: float | Literal["auto"]
) -> dict[str, float]:
    """Score a method with the family and the noise given."""
    result, taken = solved(case, method=method, kernel=family, noise=noise)
    return {
        "psnr": case.psnr(result.image),
        "kernel_error": kernel_error(result.kernel, case.kernel),
        "seconds": taken,
    }


def micrograph_runs() -> Iterable[Run]:
    for photons in (50, 500):
        for sigma in (0.5, 1.0, 1.5, 2.0):
            for seed in range(3):
                case = micrograph(scale=2, sigma=sigma, photons=photons, seed=300 + seed)
                yield Run(
                    section="micrographs", name=case.name, work=partial(micrograph_scores, case)
                )


def micrograph_scores(case: Case) -> dict[str, float]:
    """Score fast beside cubic interpolation and Richardson–Lucy with the kernel that it found."""
    result, taken = solved(case)
    enlarged = np.asarray(
        interpolate(case.lr, case.scale, geometry="camera", border="extend"), dtype=float
    )
    low, span = 100.0, float(enlarged.max()) - 100.0
    kernel = result.kernel.astype(float)
    # Interpolation has put the image in its place, so the kernel is centred in its array.
    shift = (case.scale - 1) / 2
    whole = int(shift)
    kernel = np.roll(kernel, (-whole, -whole), axis=(0, 1))
    unit = np.clip((enlarged - low) / span, 1e-6, None)
    record = {
        "fast": case.fidelity(result.image),
        "cubic": case.fidelity(enlarged),
        "no_blur": float(any(flag.name == "no_blur" for flag in result.flags)),
        "seconds": taken,
    }
    for count in (5, 10, 20):
        image = low + span * richardson_lucy(unit, kernel[::-1, ::-1], num_iter=count, clip=False)
        record[f"richardson-lucy {count}"] = case.fidelity(image)
    return record


def speed_runs() -> Iterable[Run]:
    yield Run(section="speed", name="butterfly ×4", work=speeds)


def speeds() -> dict[str, float]:
    """Time a 252² result: the plain schedule by its steps, the methods as a whole."""
    case = published("butterfly")
    data = torch.from_numpy(np.moveaxis(case.lr, -1, 0) / np.float32(255)).float()
    observation = Observation(
        data=data, scale=SCALE, kernel_size=KERNEL_SIZE, geometry="benchmark", border="circular"
    )
    plain = PlainStep(observation).outer
    device = torch.device("cpu")
    seconds(plain, device)
    step = statistics.median(seconds(plain, device) for _ in range(2))
    record = {"plain step": step, "plain schedule": PUBLISHED_STEPS * step}
    for finish in MADE:
        for quality in QUALITIES:
            solved(case, finish, quality=quality)
            taken = statistics.median(solved(case, finish, quality=quality)[1] for _ in range(3))
            record[f"{finish}, {quality}"] = taken
            record[f"{finish}, {quality}: times faster"] = PUBLISHED_STEPS * step / taken
    return record


SECTIONS: dict[str, Callable[[], Iterable[Run]]] = {
    "set5": set5_runs,
    "kernels": kernel_runs,
    "families": family_runs,
    "refined": refined_runs,
    "methods": published_method_runs,
    "micrographs": micrograph_runs,
    "speed": speed_runs,
}


def finished() -> dict[tuple[str, str], dict[str, float]]:
    if not RESULTS.exists():
        return {}
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return {(record["section"], record["name"]): record["scores"] for record in records}


def keep(run: Run, record: dict[str, float]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    line = json.dumps({"section": run.section, "name": run.name, "scores": record})
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def show(section: str) -> None:
    rows = {name: row for (kind, name), row in finished().items() if kind == section}
    if not rows:
        return
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [
        [name, *(f"{row[c]:.3f}" if c in row else "" for c in columns)]
        for name, row in rows.items()
    ]
    if section != "speed":
        means = [statistics.mean(row[c] for row in rows.values() if c in row) for c in columns]
        cells.append(["mean", *(f"{value:.3f}" for value in means)])
    table(section, ["run", *columns], cells)
    if section in ("set5", "kernels"):
        for finish in MADE:
            gaps = [row[f"{finish} known"] - row[finish] for row in rows.values()]
            print(
                f"{finish}: {statistics.mean(gaps):.2f} dB below the same finish with the true "
                f"kernel, {max(gaps):.2f} at worst"
            )
        gaps = [row[AS_FOUND] - row["prior"] for row in rows.values()]
        print(
            f"prior: {statistics.mean(gaps):.2f} dB below the same rounds with it, "
            f"{max(gaps):.2f} at worst"
        )
        errors = [row["kernel_error"] for row in rows.values()]
        print(f"e_k {statistics.mean(errors):.3f}, {max(errors):.3f} at worst")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--sections", nargs="*", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--print", action="store_true", help="print the tables, run nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for section in options.sections:
        for run in () if options.print else SECTIONS[section]():
            if (run.section, run.name) in finished():
                continue
            record = run.work()
            keep(run, record)
            print(run.section, run.name, {k: round(v, 3) for k, v in record.items()}, flush=True)
        show(section)


if __name__ == "__main__":
    main()
