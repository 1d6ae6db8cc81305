"""How close each published system comes to the scores of the released programs.

    BLINDSR_DATA=… python benchmarks/fidelity.py [--sections parity families …] [--threads 1]

Every run is kept in benchmarks/results/fidelity.jsonl as soon as it ends; a second call goes on
where the first was interrupted and prints the tables of what is there. Several calls may run
beside each other on different sections.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from cases import random_gaussian
from numpy.typing import NDArray
from scipy.io import loadmat
from skimage import data
from skimage.restoration import inpaint_biharmonic

from napari_blindsr.images.files import read_image
from napari_blindsr.metrics import kernel_error, kernel_psnr, psnr_y, ssim_y
from napari_blindsr.physics.kernels import FAMILIES, KernelFamily
from napari_blindsr.physics.observation import Observation, kernel_center
from napari_blindsr.physics.simulate import Degradation, degrade, interpolate
from napari_blindsr.restoration.restore import make_settings, restore
from napari_blindsr.settings import kernel_family
from napari_blindsr.solvers.device import choose_compute
from napari_blindsr.solvers.nonblind.restorers import load_restorer

if TYPE_CHECKING:
    from napari_blindsr.restoration.result import Result

SCALE = 4
RESULTS = Path(__file__).parent / "results" / "fidelity.jsonl"
LANE = ("butterfly", "bird", "head")
CUTS = {"immunohistochemistry": (200, 200), "camera": (90, 200), "chelsea": (60, 180)}
"""Pictures of scikit-image, and where to cut 112 × 112 pixels out of them."""

FINISHED = (
    *(("lane128", name, seed) for name in LANE for seed in (0, 1, 2)),
    *(("scikit-image", name, 0) for name in CUTS),
)
"""What USRNet finishes: data set, picture and seed."""

UNEXPLAINED = (0, 2, 4)
"""Of 255; the second is what the schedule says."""

# Y-PSNR and e_k of the released DDSR program; see data/README.md of the reference data.
REFERENCE = {
    ("lane128", "butterfly"): (25.01, 0.245),
    ("lane128", "bird"): (30.54, 0.406),
    ("lane128", "head"): (30.80, 0.231),
    ("Set5", "butterfly"): (24.28, 0.175),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a data set: what was measured, and the truth."""

    data_set: str
    name: str
    lr: NDArray[np.uint8]
    hr: NDArray[np.uint8]
    kernel: NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One run: its name in the results, and what computes its scores."""

    section: str
    name: str
    run: Callable[[], dict[str, float]]


def load(data_set: str, name: str) -> Picture:
    if data_set == "scikit-image":
        return cut(name)
    folder = Path(os.environ["BLINDSR_DATA"]) / data_set
    lr = read_image(folder / "DDSR_lr_x4" / f"{name}.png").array
    hr = read_image(folder / "HR" / f"{name}.png").array[
        : SCALE * lr.shape[0], : SCALE * lr.shape[1]
    ]
    kernel = loadmat(folder / "DDSR_gt_k_x4" / f"{name}.mat")["Kernel"]
    return Picture(data_set=data_set, name=name, lr=lr, hr=hr, kernel=kernel)


def cut(name: str) -> Picture:
    """Return a cut of a picture of scikit-image, blurred by a Gaussian of the published kind."""
    top, left = CUTS[name]
    sharp = getattr(data, name)()[top : top + 112, left : left + 112]
    sharp = sharp if sharp.ndim == 3 else np.repeat(sharp[..., None], 3, axis=2)
    kernel = random_gaussian(SCALE, seed=50 + len(name))
    picture = Picture(
        data_set="scikit-image", name=name, lr=sharp[::SCALE, ::SCALE], hr=sharp, kernel=kernel
    )
    return blurred(picture, kernel)


def usrnet_weights() -> Path:
    return Path(os.environ["BLINDSR_DATA"]) / "usrnet_tiny.pth"


def to_float(image: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(image, dtype=np.float64) / 255


def cubic(lr: NDArray[Any]) -> NDArray[np.float64]:
    """Return right-placed cubic interpolation of an image in [0, 1]."""
    return np.asarray(
        interpolate(lr, SCALE, geometry="benchmark", border="circular"), dtype=np.float64
    )


def scores(
    image: NDArray[Any], picture: Picture, kernel: NDArray[Any] | None = None
) -> dict[str, float]:
    """Score an image in [0, 1], and a kernel."""
    truth = to_float(picture.hr)
    record = {
        "psnr": psnr_y(image, truth, crop=SCALE),
        "ssim": ssim_y(image, truth, crop=SCALE),
    }
    if kernel is not None:
        record["kernel_error"] = kernel_error(kernel, picture.kernel)
        record["kernel_psnr"] = kernel_psnr(kernel, picture.kernel)
    return record


def restored(picture: Picture, **options: Any) -> tuple[Result, float]:
    """Restore a picture as the published data are, by default by MLMC; also return seconds."""
    start = time.perf_counter()
    options.setdefault("method", "mlmc")
    lr = options.pop("lr", picture.lr)
    result = restore(
        lr,
        scale=SCALE,
        geometry="benchmark",
        border="circular",
        usrnet_weights=usrnet_weights(),
        **options,
    )
    return result, time.perf_counter() - start


def recorded(result: Result, picture: Picture, taken: float) -> dict[str, float]:
    """Score a result beside cubic interpolation."""
    record = scores(result.image / 255, picture, result.kernel)
    record["cubic"] = scores(np.clip(cubic(to_float(picture.lr)), 0, 1), picture)["psnr"]
    record["seconds"] = taken
    record["steps"] = float(result.trace.size)
    record["threads"] = float(torch.get_num_threads())
    return record


def solve(picture: Picture, **options: Any) -> dict[str, float]:
    """Restore a picture, and score it."""
    result, taken = restored(picture, **options)
    return recorded(result, picture, taken)


def kept_path(data_set: str, name: str, seed: int) -> Path:
    return RESULTS.parent / f"mlmc_{data_set}_{name}_{seed}.npz"


def published_run(data_set: str, name: str, seed: int) -> dict[str, float]:
    """Restore by MLMC, and keep image and kernel for the sections that need them, too."""
    picture = load(data_set, name)
    result, taken = restored(picture, seed=seed)
    RESULTS.parent.mkdir(exist_ok=True)
    np.savez(kept_path(data_set, name, seed), image=result.image, kernel=result.kernel)
    return recorded(result, picture, taken)


def kept_run(data_set: str, name: str, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return image and kernel of a picture by MLMC, of now or of an earlier call."""
    path = kept_path(data_set, name, seed)
    if not path.exists():
        run = partial(published_run, data_set, name, seed)
        case = Case(section="parity", name=f"{data_set}/{name}/{seed}", run=run)
        keep(case, case.run())
    with np.load(path) as file:
        return file["image"], file["kernel"]


def parity_cases() -> Iterable[Case]:
    """MLMC and DDSR on Gaussian blur are one algorithm: the published schedule, three seeds."""
    for name in LANE:
        for seed in (0, 1, 2):
            yield Case(
                section="parity",
                name=f"lane128/{name}/{seed}",
                run=partial(published_run, "lane128", name, seed),
            )
    yield Case(
        section="parity",
        name="Set5/butterfly/0",
        run=partial(published_run, "Set5", "butterfly", 0),
    )


def finish_cases() -> Iterable[Case]:
    """USRNet after MLMC, and with the true kernel."""
    for data_set, name, seed in FINISHED:
        label = f"{data_set}/{name}/{seed}"
        yield Case(
            section="finish",
            name=f"mlmc/{label}",
            run=partial(unfinished_run, data_set, name, seed),
        )
        for unexplained in UNEXPLAINED:
            yield Case(
                section="finish",
                name=f"mlmc-usrnet {unexplained}/{label}",
                run=partial(finished_run, data_set, name, seed, unexplained),
            )
    for data_set, names in (("lane128", LANE), ("Set5", ("baby", "bird", *LANE[::2], "woman"))):
        for name in names:
            yield Case(
                section="finish",
                name=f"true kernel/{data_set}/{name}",
                run=partial(ceiling, data_set, name),
            )


def unfinished_run(data_set: str, name: str, seed: int) -> dict[str, float]:
    """Score what MLMC has found, as it is."""
    image, kernel = kept_run(data_set, name, seed)
    return scores(image / 255, load(data_set, name), kernel)


def finished_run(data_set: str, name: str, seed: int, unexplained: int) -> dict[str, float]:
    """Restore with the kernel of MLMC by USRNet; noise of so much of 255 stands for its errors.

    With what the schedule says, that is the second stage of method mlmc-usrnet.
    """
    picture = load(data_set, name)
    _, kernel = kept_run(data_set, name, seed)
    settings, _ = make_settings(
        scale=SCALE,
        method="mlmc-usrnet",
        geometry="benchmark",
        border="circular",
        usrnet_weights=usrnet_weights(),
    )
    restorer, _ = load_restorer(settings, choose_compute("cpu", "auto"))
    observation = Observation(
        data=torch.from_numpy(np.moveaxis(to_float(picture.lr), -1, 0)).float(),
        scale=SCALE,
        kernel_size=kernel.shape[0],
        geometry="benchmark",
        border="circular",
    )
    with torch.no_grad():
        image = dataclasses.replace(restorer, unexplained=unexplained / 255)(
            observation, torch.from_numpy(kernel), noise=0.0, measured=None
        )
    return scores(np.moveaxis(image.numpy(), 0, -1), picture, kernel)


def ceiling(data_set: str, name: str) -> dict[str, float]:
    """USRNet with the true kernel; the first stage, which it does not need, is one step."""
    picture = load(data_set, name)
    return solve(
        picture, method="mlmc-usrnet", kernel=picture.kernel, schedule="reference", steps=1
    )


def drawn(family: KernelFamily, count: int, seed: int) -> NDArray[np.float64]:
    """Draw kernels of a family, centred as the published ones are."""
    size = family.size(SCALE)
    kernels = family.sample(
        count,
        scale=SCALE,
        size=size,
        center=kernel_center(size, SCALE, "benchmark"),
        generator=torch.Generator().manual_seed(seed),
    )
    return kernels.double().numpy()


def blurred(picture: Picture, kernel: NDArray[np.float64], noise: float = 0.0) -> Picture:
    """Return the picture degraded anew."""
    lr = degrade(
        to_float(picture.hr),
        kernel,
        Degradation(scale=SCALE, geometry="benchmark", border="circular", noise=noise, seed=0),
    ).image
    quantised = np.floor(255 * np.clip(lr, 0, 1)).astype(np.uint8)
    return dataclasses.replace(picture, lr=quantised, kernel=kernel)


def family_cases() -> Iterable[Case]:
    """Each family on kernels drawn from it."""
    for family in (kernel_family(kind.name) for kind in FAMILIES):
        for name in LANE:
            for index in (0, 1):
                yield Case(
                    section="families",
                    name=f"{family.name}/{name}/{index}",
                    run=partial(family_run, family, name, index),
                )


def family_run(family: KernelFamily, name: str, index: int) -> dict[str, float]:
    kernels = drawn(family, 200, seed=100 + LANE.index(name))
    picture = blurred(load("lane128", name), kernels[index])
    record = solve(picture, kernel=family)
    record["mean_kernel_error"] = kernel_error(kernels[2:].mean(axis=0), picture.kernel)
    return record


def holes(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Cover a quarter of an LR image: a hole of 4 × 4 pixels somewhere in every 8 × 8."""
    rng = np.random.default_rng(5)
    mask = np.zeros(shape, dtype=bool)
    for top in range(0, shape[0], 8):
        for left in range(0, shape[1], 8):
            # At least one pixel lies between two holes.
            row, column = rng.integers(0, 4, size=2)
            mask[top + row : top + row + 4, left + column : left + column + 4] = True
    return mask


def covered_run(name: str) -> dict[str, float]:
    """Restore with a quarter covered; score inside and outside the holes."""
    picture = load("lane128", name)
    mask = holes(picture.lr.shape[:2])
    result = restore(
        np.where(mask[..., None], 0, picture.lr).astype(np.uint8),
        scale=SCALE,
        geometry="benchmark",
        border="circular",
        method="ddsr",
        mask=mask,
    )
    # Without covered pixels DDSR and MLMC are one algorithm.
    plain, _ = kept_run("lane128", name, 0)
    inside = np.kron(mask, np.ones((SCALE, SCALE), dtype=bool))
    filled = inpaint_biharmonic(to_float(picture.lr), mask, channel_axis=-1)
    record = {
        "covered": float(mask.mean()),
        "kernel_error": kernel_error(result.kernel, picture.kernel),
    }
    images = {"masked": result.image / 255, "plain": plain / 255, "inpainted": cubic(filled)}
    for label, image in images.items():
        for place, where in (("inside", inside), ("outside", ~inside)):
            record[f"{label}_{place}"] = masked_psnr(image, picture, where)
    return record


def masked_psnr(image: NDArray[Any], picture: Picture, where: NDArray[np.bool_]) -> float:
    """Y-PSNR over some pixels alone."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    values = np.clip(np.round(255 * image), 0, 255)
    error = ((values - picture.hr) @ weights)[where]
    return float(10 * np.log10(255**2 / np.mean(error**2)))


def dark_run(name: str) -> dict[str, float]:
    """Restore a picture of 0.3 of its brightness, with the gain given."""
    picture = load("lane128", name)
    dark = np.floor(0.3 * picture.lr).astype(np.uint8)
    record = solve(picture, lr=dark, method="ddsr", gain=0.3)
    bright = np.clip(cubic(to_float(dark) / 0.3), 0, 1)
    return {**record, "cubic": scores(bright, picture)["psnr"]}


def noisy_run(name: str, noise: float | Literal["auto"]) -> dict[str, float]:
    """Restore a picture with noise of 10/255."""
    picture = load("lane128", name)
    rng = np.random.default_rng(0)
    noisy = picture.lr + rng.normal(0, 10, picture.lr.shape)
    lr = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
    record = solve(picture, lr=lr, method="ddsr", noise=noise)
    bright = np.clip(cubic(to_float(lr)), 0, 1)
    return {**record, "cubic": scores(bright, picture)["psnr"]}


def degradation_cases() -> Iterable[Case]:
    """Covered, dark and noisy inputs."""
    for name in LANE:
        runs: dict[str, Callable[[], dict[str, float]]] = {
            "covered": partial(covered_run, name),
            "dark": partial(dark_run, name),
            "noise 10": partial(noisy_run, name, 10.0),
            "noise auto": partial(noisy_run, name, "auto"),
        }
        for kind, run in runs.items():
            yield Case(section="degradations", name=f"{kind}/{name}", run=run)


SECTIONS = {
    "parity": parity_cases,
    "finish": finish_cases,
    "families": family_cases,
    "degradations": degradation_cases,
}


def finished() -> dict[tuple[str, str], dict[str, float]]:
    """Return what is in the results file."""
    if not RESULTS.exists():
        return {}
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return {(record["section"], record["name"]): record["scores"] for record in records}


def family_record(family: str, name: str, index: int) -> dict[str, float] | None:
    """Return the scores of a run of the section of families, if it was made."""
    return finished().get(("families", f"{family}/{name}/{index}"))


def keep(case: Case, record: dict[str, float]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    line = json.dumps({"section": case.section, "name": case.name, "scores": record})
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def table(rows: dict[str, dict[str, float]]) -> None:
    columns = sorted({column for row in rows.values() for column in row})
    print("| " + " | ".join(["run", *columns]) + " |")
    print("|" + "---|" * (len(columns) + 1))
    for name, row in rows.items():
        cells = [f"{row[column]:.3f}" if column in row else "" for column in columns]
        print("| " + " | ".join([name, *cells]) + " |")


def parity_summary(rows: dict[str, dict[str, float]]) -> None:
    """Print the medians over seeds beside the released program's."""
    print("\n| picture | Y-PSNR | released | e_k | released |\n|---|---|---|---|---|")
    for (data_set, picture), (psnr, error) in REFERENCE.items():
        runs = [row for name, row in rows.items() if name.startswith(f"{data_set}/{picture}/")]
        if runs:
            ours = statistics.median(run["psnr"] for run in runs)
            e_k = statistics.median(run["kernel_error"] for run in runs)
            print(f"| {data_set}/{picture} | {ours:.2f} | {psnr:.2f} | {e_k:.3f} | {error:.3f} |")


def finish_summary(rows: dict[str, dict[str, float]]) -> None:
    """Print the means over seeds, picture by picture."""
    pictures = list(dict.fromkeys((data_set, name) for data_set, name, _ in FINISHED))
    print("\n| | " + " | ".join(f"{'/'.join(picture)}" for picture in pictures) + " | mean |")
    print("|---" * (len(pictures) + 2) + "|")
    for method in ("mlmc", *(f"mlmc-usrnet {unexplained}" for unexplained in UNEXPLAINED)):
        means = [
            statistics.mean(row["psnr"] for name, row in rows.items() if name.startswith(start))
            for start in (f"{method}/{'/'.join(picture)}/" for picture in pictures)
            if any(name.startswith(start) for name in rows)
        ]
        if len(means) == len(pictures):
            cells = [f"{value:.2f}" for value in (*means, statistics.mean(means))]
            print(f"| {method} | " + " | ".join(cells) + " |")


def family_summary(rows: dict[str, dict[str, float]]) -> None:
    print("\n| family | median e_k | of the mean kernel | median gain over cubic (dB) |")
    print("|---|---|---|---|")
    for kind in FAMILIES:
        runs = [row for name, row in rows.items() if name.startswith(f"{kind.name}/")]
        if runs:
            error = statistics.median(run["kernel_error"] for run in runs)
            mean = statistics.median(run["mean_kernel_error"] for run in runs)
            gain = statistics.median(run["psnr"] - run["cubic"] for run in runs)
            print(f"| {kind.name} | {error:.3f} | {mean:.3f} | {gain:+.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--sections", nargs="*", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--only", default="", help="run only cases whose name contains this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--print", action="store_true", help="print the tables, run nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for section in options.sections:
        for case in SECTIONS[section]():
            if options.print or options.only not in case.name:
                continue
            if (case.section, case.name) in finished():
                continue
            record = case.run()
            keep(case, record)
            print(case.section, case.name, {k: round(v, 3) for k, v in record.items()}, flush=True)
        rows = {name: row for (kind, name), row in finished().items() if kind == section}
        print(f"\n### {section}\n")
        table(rows)
        if section == "parity":
            parity_summary(rows)
        if section == "finish":
            finish_summary(rows)
        if section == "families":
            family_summary(rows)


if __name__ == "__main__":
    main()
