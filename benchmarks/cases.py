"""Pictures, kernels and micrographs that several benchmarks run on; none was trained on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import loadmat
from skimage import data

from napari_blindsr.evaluation.samples import fluorescent_cells
from napari_blindsr.images.files import read_image
from napari_blindsr.metrics import psnr_y, ssim_y
from napari_blindsr.physics.kernels import kernel_size, render_gaussian, side_for
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.physics.simulate import Degradation, degrade

SET5 = ("baby", "bird", "butterfly", "head", "woman")

OTHERS = (
    ("camera", 60, 130),
    ("coins", 20, 60),
    ("moon", 100, 100),
    ("page", 0, 60),
    ("text", 0, 100),
    ("retina", 500, 500),
    ("immunohistochemistry", 130, 130),
)
"""Names in scikit-image, and where to cut."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What was measured, how, and the truth.

    Attributes
    ----------
    name : str
    lr : ndarray, (h, w) or (h, w, C)
    truth : ndarray, (s·h, s·w) or (s·h, s·w, C)
        In the unit of `lr`.
    kernel : ndarray, (K, K)
    scale : int
    geometry : {"benchmark", "camera"}
    border : {"circular", "extend"}
    span : float
        From black to white, in the unit of `lr`.
    widths : tuple of float
        Standard deviations of the blur in px of the truth, the larger first; NaN if it is not
        a Gaussian.
    """

    name: str
    lr: NDArray[Any]
    truth: NDArray[Any]
    kernel: NDArray[np.float64]
    scale: int
    geometry: Literal["benchmark", "camera"]
    border: Literal["circular", "extend"]
    span: float = 255.0
    widths: tuple[float, float] = (math.nan, math.nan)

    def psnr(self, image: NDArray[Any]) -> float:
        """Y-PSNR of a result as the field scores 8-bit pictures."""
        return psnr_y(self._unit(image), self._unit(self.truth), crop=self.scale)

    def ssim(self, image: NDArray[Any]) -> float:
        """SSIM of the luma."""
        return ssim_y(self._unit(image), self._unit(self.truth), crop=self.scale)

    def fidelity(self, image: NDArray[Any]) -> float:
        """PSNR in dB with the truth's largest value for peak, nothing rounded or clipped."""
        crop = (slice(2 * self.scale, -2 * self.scale),) * 2
        error = np.asarray(image, dtype=float)[crop] - self.truth[crop]
        peak = float(self.truth.max() - self.truth.min())
        return float(10 * np.log10(peak**2 / np.mean(error**2)))

    def _unit(self, image: NDArray[Any]) -> NDArray[np.float64]:
        return np.clip(np.asarray(image, dtype=np.float64) / self.span, 0, 1)


def data_folder() -> Path:
    """Return the folder of reference data."""
    folder = os.environ.get("BLINDSR_DATA")
    if not folder:
        raise SystemExit("BLINDSR_DATA is not set; expected the folder of reference data")
    return Path(folder)


def published(name: str) -> Case:
    """Return an image of Set5 ×4 with its published kernel."""
    folder = data_folder() / "Set5"
    lr = read_image(folder / "DDSR_lr_x4" / f"{name}.png").array
    hr = read_image(folder / "HR" / f"{name}.png").array[: 4 * lr.shape[0], : 4 * lr.shape[1]]
    kernel = loadmat(folder / "DDSR_gt_k_x4" / f"{name}.mat")["Kernel"]
    return Case(
        name=f"{name} ×4",
        lr=lr,
        truth=hr,
        kernel=kernel,
        scale=4,
        geometry="benchmark",
        border="circular",
    )


def random_gaussian(scale: int, seed: int) -> NDArray[np.float64]:
    """Return a kernel as the published test data have them: λ uniform in [0.175·s, 2.5·s]."""
    rng = np.random.default_rng(seed)
    size = kernel_size(scale)
    kernels = render_gaussian(
        torch.tensor(rng.uniform(0.175 * scale, min(2.5 * scale, 10), (1, 2))),
        torch.tensor(rng.uniform(0, math.pi, 1)),
        size=size,
        center=kernel_center(size, scale, "benchmark"),
    )
    return kernels[0].numpy()


def degraded(
    name: str, scale: int, kernel: NDArray[np.float64], *, label: str, noise: float = 0.0
) -> Case:
    """Return an image of Set5 degraded as the published ones are."""
    hr = read_image(data_folder() / "Set5" / "HR" / f"{name}.png").array
    height, width = (side // scale * scale for side in hr.shape[:2])
    return _as_published(
        hr[:height, :width], scale, kernel, name=f"{name} ×{scale} {label}", noise=noise
    )


def _as_published(
    sharp: NDArray[np.uint8],
    scale: int,
    kernel: NDArray[np.float64],
    *,
    name: str,
    noise: float = 0.0,
) -> Case:
    how = Degradation(
        scale=scale,
        geometry="benchmark",
        border="circular",
        noise=noise,
        seed=0,
        quantise=True,
    )
    return Case(
        name=name,
        lr=degrade(sharp, kernel, how).image,
        truth=sharp,
        kernel=kernel,
        scale=scale,
        geometry="benchmark",
        border="circular",
    )


def gaussian_cases(scales: tuple[int, ...] = (2, 3, 4)) -> list[Case]:
    """Return Set5 with two more seeded kernels an image and scale."""
    cases = []
    for scale in scales:
        for place, name in enumerate(SET5):
            for index in (0, 1):
                kernel = random_gaussian(scale, seed=1000 * scale + 10 * place + index)
                cases.append(degraded(name, scale, kernel, label=f"kernel {index + 1}"))
    return cases


def micrograph(
    *,
    scale: int,
    sigma: float,
    photons: float,
    seed: int,
    side: int = 64,
    narrower: float = 1.0,
    angle: float = 0.0,
) -> Case:
    """Return a simulated fluorescence image.

    Parameters
    ----------
    scale : int
    sigma : float
        Standard deviation of the blur in LR px: the larger one, if it is not round.
    photons : float
        Expected at the brightest pixel of the camera.
    seed : int
    side : int
        Pixels of the camera's image.
    narrower : float
        By how much the blur is narrower across.
    angle : float
        Where it is wider, in radians from the column axis towards the row axis.
    """
    width = sigma * scale
    size = side_for(4 * width, scale)
    kernel = render_gaussian(
        torch.tensor([[width**2, (narrower * width) ** 2]]).double(),
        torch.tensor([angle]).double(),
        size=size,
        center=kernel_center(size, scale, "camera"),
    )[0].numpy()
    length = side * scale + 2 * (size // 2)
    clean = degrade(
        fluorescent_cells((length, length), seed=seed), kernel, Degradation(scale=scale)
    )
    gain = photons / float(clean.image.max())
    rng = np.random.default_rng(seed)
    offset, read_noise = 100.0, 1.5
    counts = rng.poisson(gain * np.maximum(clean.image, 0))
    counts = counts + rng.normal(0, read_noise, counts.shape) + offset
    return Case(
        name=f"cells ×{scale} σ {sigma:g} {photons:g} photons {seed}",
        lr=np.clip(np.rint(counts), 0, 65535).astype(np.uint16),
        truth=gain * clean.truth + offset,
        kernel=kernel,
        scale=scale,
        geometry="camera",
        border="extend",
        span=photons + offset,
        widths=(width, narrower * width),
    )


def other_pictures(scales: tuple[int, ...] = (2, 3, 4)) -> list[Case]:
    """Return pictures of scikit-image that nothing was trained on, as Set5 is degraded."""
    cases = []
    for place, (name, top, left) in enumerate(OTHERS):
        whole = getattr(data, name)()
        image = whole[top : top + 252, left : left + 252]
        for scale in scales:
            height, width = (side // scale * scale for side in image.shape[:2])
            kernel = random_gaussian(scale, seed=7000 + 100 * scale + place)
            cases.append(
                _as_published(image[:height, :width], scale, kernel, name=f"{name} ×{scale}")
            )
    return cases


def table(title: str, columns: list[str], rows: Iterable[list[str]]) -> None:
    """Print a table in Markdown, each row as soon as it is there."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
