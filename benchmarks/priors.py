"""What the networks that ship are worth: the kernel estimator and the image prior.

    BLINDSR_DATA=… python benchmarks/priors.py [--sections kernel micrographs …] [--threads 1]

Nothing that is measured here was trained on.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from cases import (
    SET5,
    Case,
    data_folder,
    gaussian_cases,
    micrograph,
    other_pictures,
    published,
    table,
)
from numpy.typing import NDArray
from skimage.restoration import richardson_lucy, wiener

from napari_blindsr import restore
from napari_blindsr.estimation.estimate import estimate_kernel
from napari_blindsr.metrics import kernel_error
from napari_blindsr.physics.kernels import render_gaussian
from napari_blindsr.physics.kernels.moments import core_covariance, principal_axes
from napari_blindsr.physics.simulate import interpolate
from napari_blindsr.restoration.evidence import kernel_widths

if TYPE_CHECKING:
    from napari_blindsr.types import Finish

WEIGHTS = "usrnet_tiny.pth"


def read(case: Case, reader: Literal["network", "spectrum"] = "network") -> Any:
    return estimate_kernel(
        case.lr, scale=case.scale, geometry=case.geometry, border=case.border, reader=reader
    )


def finished(
    case: Case, finish: Finish, *, kernel: NDArray[Any] | None = None, noise: float | None = None
) -> tuple[NDArray[Any], float]:
    """Return the image that a finish makes with a kernel, and the seconds it took."""
    start = time.perf_counter()
    result = restore(
        case.lr,
        scale=case.scale,
        kernel=case.kernel if kernel is None else kernel,
        geometry=case.geometry,
        border=case.border,
        finish=finish,
        noise=0.0 if noise is None else noise,
        usrnet_weights=data_folder() / WEIGHTS if finish == "usrnet" else None,
    )
    return result.image, time.perf_counter() - start


def kernel_section() -> None:
    """Kernels of Gaussian test data: the published ones, and two more for each image and scale."""
    groups: dict[str, list[Case]] = {"Set5 ×4, published": [published(name) for name in SET5]}
    for scale in (2, 3, 4):
        groups[f"Set5 ×{scale}, two more each"] = gaussian_cases((scale,))
    rows = []
    for label, cases in groups.items():
        for reader in ("network", "spectrum"):
            errors = [kernel_error(read(case, reader).kernel, case.kernel) for case in cases]
            rows.append([label, reader, f"{statistics.mean(errors):.3f}", f"{max(errors):.3f}"])
    table("Kernel estimator, Gaussian", ["images", "read by", "e_k mean", "worst"], rows)
    image = np.tile(published("butterfly").lr, (3, 3, 1))[:128, :128]
    for label, array in (("RGB", image), ("grey", image[..., 1])):
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            estimate_kernel(array, scale=4)
            seconds.append(time.perf_counter() - start)
        print(
            f"128 × 128 {label}: {1000 * min(seconds):.0f} ms ({torch.get_num_threads()} threads)"
        )


def micrograph_section() -> None:
    """Widths of the blur of simulated cells, and whether their intervals hold."""
    rows = []
    for photons in (50, 500):
        for sigma in (0.5, 0.75, 1.0, 1.5, 2.0):
            errors, covered = [], []
            for seed in range(6):
                case = micrograph(scale=2, sigma=sigma, photons=photons, seed=100 + seed)
                blur = read(case)
                truth = case.widths[0]
                fitted = math.sqrt(blur.widths[0] * blur.widths[1])
                errors.append(fitted / truth - 1)
                covered += [low <= truth <= high for low, high in blur.intervals]
            rows.append(
                [
                    f"{photons}",
                    f"{sigma:g}",
                    f"{100 * statistics.median(errors):+.0f} %",
                    f"{100 * statistics.median(map(abs, errors)):.0f} %",
                    f"{100 * statistics.mean(covered):.0f} %",
                ]
            )
    columns = ["photons", "σ (LR px)", "median error of σ", "median |error|", "in 90 % interval"]
    table("Kernel estimator, simulated cells ×2", columns, rows)


def intervals_section() -> None:
    """Whether intervals hold for cells of every scale, shape and brightness, and for pictures."""
    groups: dict[str, list[Case]] = {}
    for scale in (2, 3, 4):
        rng = np.random.default_rng(scale)
        groups[f"cells ×{scale}"] = [
            micrograph(
                scale=scale,
                sigma=math.exp(rng.uniform(math.log(0.5), math.log(2))),
                narrower=(1.0, 0.6)[index % 2],
                angle=rng.uniform(0, math.pi),
                photons=math.exp(rng.uniform(math.log(50), math.log(1500))),
                seed=600 + index,
            )
            for index in range(16)
        ]
        groups[f"Set5 ×{scale}"] = gaussian_cases((scale,))
    for scale in (2, 3, 4):
        groups[f"other pictures ×{scale}"] = other_pictures((scale,))
    rows = []
    for label, cases in groups.items():
        estimates = [read(case) for case in cases]
        truths = [kernel_widths(np.array(case.kernel, dtype=np.float32)) for case in cases]
        covered = [
            low <= width <= high
            for blur, widths in zip(estimates, truths, strict=True)
            for (low, high), width in zip(blur.intervals, widths, strict=True)
        ]
        ratios = [
            math.sqrt(math.prod(blur.widths) / math.prod(widths)) - 1
            for blur, widths in zip(estimates, truths, strict=True)
        ]
        errors = [
            kernel_error(blur.kernel, case.kernel)
            for blur, case in zip(estimates, cases, strict=True)
        ]
        rows.append(
            [
                label,
                f"{len(cases)}",
                f"{100 * statistics.mean(covered):.0f} %",
                f"{100 * statistics.mean(ratios):+.0f} %",
                f"{statistics.mean(errors):.3f}",
                f"{max(errors):.3f}",
            ]
        )
    columns = ["images", "cases", "in 90 % interval", "mean error of σ", "e_k mean", "worst"]
    table("Kernel estimator, intervals of both widths", columns, rows)


def image_section() -> None:
    """Set5 ×4 with the true kernels."""
    rows = []
    for finish in ("usrnet", "prior", "measurement"):
        psnrs, ssims, seconds = [], [], []
        for name in SET5:
            case = published(name)
            image, _ = finished(case, finish)
            seconds.append(finished(case, finish)[1])
            psnrs.append(case.psnr(image))
            ssims.append(case.ssim(image))
        rows.append(
            [
                finish,
                *(f"{value:.2f}" for value in psnrs),
                f"{statistics.mean(psnrs):.2f}",
                f"{statistics.mean(ssims):.3f}",
                f"{sum(seconds):.1f}",
            ]
        )
    columns = ["finish", *SET5, "mean", "SSIM", "seconds in all"]
    table("Finishes with the true kernel, Set5 ×4", columns, rows)


def fluorescence_section() -> None:
    """Restore simulated cells with the true kernel, beside the classics at their best setting."""
    rows = []
    for scale in (2, 4):
        for photons in (50, 500):
            scores: dict[str, list[float]] = {}
            for seed in range(4):
                case = micrograph(scale=scale, sigma=1.0, photons=photons, seed=200 + seed)
                for name, value in _fluorescence_scores(case).items():
                    scores.setdefault(name, []).append(value)
            rows.append(
                [f"×{scale}", f"{photons}", *(f"{statistics.mean(v):.2f}" for v in scores.values())]
            )
    columns = ["scale", "photons", *scores]
    table("Simulated cells, true kernel, PSNR in dB", columns, rows)


def _fluorescence_scores(case: Case) -> dict[str, float]:
    finishes: tuple[Finish, ...] = ("prior", "usrnet", "measurement")
    scores: dict[str, float] = {
        finish: case.fidelity(finished(case, finish)[0]) for finish in finishes
    }
    enlarged = np.asarray(
        interpolate(case.lr, case.scale, geometry="camera", border="extend"), dtype=float
    )
    scores["cubic"] = case.fidelity(enlarged)
    low, span = 100.0, float(enlarged.max()) - 100.0
    unit = np.clip((enlarged - low) / span, 1e-6, None)
    # The blur on the fine grid, centred: interpolation has put the image in its place.
    size = 2 * math.ceil(4 * case.widths[0]) + 1
    kernel = render_gaussian(
        torch.full((1, 2), case.widths[0] ** 2).double(),
        torch.zeros(1).double(),
        size=size,
        center=size // 2,
    )[0].numpy()
    scores["Richardson–Lucy"] = max(
        case.fidelity(low + span * richardson_lucy(unit, kernel, num_iter=count, clip=False))
        for count in (3, 5, 10, 20, 40)
    )
    scores["Wiener"] = max(
        case.fidelity(low + span * wiener(unit, kernel, balance, clip=False))
        for balance in (1e-3, 1e-2, 0.1, 0.3, 1, 3)
    )
    return scores


def robustness_section() -> None:
    """Measure what a wrong noise level or kernel costs, and what empty background becomes."""
    rows = []
    for finish in ("prior", "usrnet", "measurement"):
        losses: dict[str, list[float]] = {}
        for name in SET5:
            case = published(name)
            right = case.psnr(finished(case, finish)[0])
            for label, factor in (("kernel −20 %", 0.8), ("kernel +20 %", 1.2)):
                image, _ = finished(case, finish, kernel=_stretched(case, factor))
                losses.setdefault(label, []).append(right - case.psnr(image))
            noisy = _noisy(case, 5.0)
            right = noisy.psnr(finished(noisy, finish, noise=5.0)[0])
            for label, noise in (("noise / 2", 2.5), ("noise × 2", 10.0)):
                image, _ = finished(noisy, finish, noise=noise)
                losses.setdefault(label, []).append(right - noisy.psnr(image))
        rows.append([finish, *(f"{statistics.mean(v):.2f}" for v in losses.values())])
    table("Loss in dB on the mean of Set5 ×4 with something wrong", ["finish", *losses], rows)
    rng = np.random.default_rng(0)
    empty = 100 + rng.poisson(5, (64, 64)) + rng.normal(0, 1.5, (64, 64))
    # One bead, so that there is something to restore.
    empty[30:34, 30:34] += 200
    noise = math.sqrt(5 + 1.5**2)
    case = micrograph(scale=2, sigma=1.0, photons=50, seed=1)
    finishes: tuple[Finish, ...] = ("prior", "usrnet", "measurement")
    for finish in finishes:
        result = restore(
            empty,
            scale=2,
            kernel=case.kernel,
            finish=finish,
            usrnet_weights=data_folder() / WEIGHTS,
        )
        background = result.image[:40]
        deviation = float(np.abs(background - background.mean()).mean())
        print(
            f"empty background, {finish}: mean absolute deviation {deviation / noise:.2f} of noise"
        )


def _stretched(case: Case, factor: float) -> NDArray[np.float64]:
    """Return a Gaussian kernel so many times as wide, along all directions alike."""
    covariance = core_covariance(torch.from_numpy(np.array(case.kernel, dtype=np.float64))[None])
    variances, angles = principal_axes(covariance)
    size = len(case.kernel)
    center = size // 2 - (case.scale - 1) / 2
    return render_gaussian(factor**2 * variances, angles, size=size, center=center)[0].numpy()


def _noisy(case: Case, sigma: float) -> Case:
    rng = np.random.default_rng(3)
    lr = np.clip(np.rint(case.lr + rng.normal(0, sigma, case.lr.shape)), 0, 255)
    return replace(case, lr=lr.astype(np.uint8))


SECTIONS: dict[str, Callable[[], None]] = {
    "kernel": kernel_section,
    "micrographs": micrograph_section,
    "intervals": intervals_section,
    "image": image_section,
    "fluorescence": fluorescence_section,
    "robustness": robustness_section,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--sections", nargs="*", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for section in options.sections:
        SECTIONS[section]()


if __name__ == "__main__":
    main()
