"""Pictures as people have them: real micrographs, JPEG photographs, soft objects, defects.

    BLINDSR_DATA=… python benchmarks/real.py [--pictures FOLDER] [--quality refined]
        [--sections micrographs smooth jpeg soft noise defects motion]

The micrographs are those of the validation split (`training.real.VALIDATION`), the photographs come
with scikit-image; no network was trained on either. ``--pictures`` keeps input, result and truth of
each case side by side.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from cases import data_folder
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve
from skimage import data
from skimage.transform import resize

from napari_blindsr import restore
from napari_blindsr.physics.acquisition import Acquisition
from napari_blindsr.physics.kernels import Line, side_for
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.physics.simulate import Degradation, degrade, gaussian_kernel, interpolate
from training.real import is_validation, read_micrograph, reduced

if TYPE_CHECKING:
    from napari_blindsr.types import Quality

LARGEST = 512
"""Side in pixels of what is used of a truth, at most."""

PHOTOGRAPHS = ("camera", "coins", "moon", "page", "text", "horse", "clock", "immunohistochemistry")
"""Of scikit-image, none of which was trained on."""

MOVED = ("coins", "camera", "moon", "clock")
"""Those that are blurred by straight motion."""

PARTS = 2
"""How many parts of each photograph are used."""

INTERVAL = 1.645


@dataclass(frozen=True, kw_only=True)
class Real:
    """An image, its truth, and how it came about; σ and noise in pixels and units of the image."""

    name: str
    image: NDArray[Any]
    truth: NDArray[np.float32]
    kernel: NDArray[np.float32]
    scale: int
    sigma: float
    offset: float = 0.0
    optics: float | None = None

    def error(self, image: NDArray[Any]) -> float:
        """Mean squared error, leaving out the border of two pixels of the image."""
        crop = (slice(2 * self.scale, -2 * self.scale),) * 2
        return float(np.mean(np.square(np.asarray(image, dtype=float)[crop] - self.truth[crop])))

    def gain(self, image: NDArray[Any], over: NDArray[Any]) -> float:
        """Return by how many decibels an image is nearer to the truth than another."""
        return 10 * math.log10(self.error(over) / self.error(image))


def simulated(
    truth: NDArray[Any], scale: int, sigma: float, record: Acquisition, *, seed: int, name: str
) -> Real:
    """Blur a sharp picture by a Gaussian of σ in pixels of the image, sample and record it."""
    reach = 3.2 * sigma * scale
    kernel = gaussian_kernel(
        ((sigma * scale) ** 2,) * 2, 0.0, scale=scale, size=side_for(reach, scale)
    )
    low = degrade(truth, kernel, Degradation(scale=scale))
    rng = np.random.default_rng(seed)
    grey = low.image.ndim == 2
    planes = low.image[..., None] if grey else low.image
    recorded = np.stack(
        [record.record(planes[..., c], rng) for c in range(planes.shape[2])], axis=-1
    )
    return Real(
        name=name,
        image=recorded[..., 0] if grey else recorded,
        truth=low.truth + np.float32(record.offset),
        kernel=low.kernel,
        scale=scale,
        sigma=sigma,
        offset=record.offset,
    )


def micrographs(*, smooth: bool = False, validation: bool = True) -> Iterator[Real]:
    """Yield the validation split: pixels averaged 2 × 2, then blurred, ×2 and ×4, noisy.

    `smooth` correlates the noise of neighbouring pixels: a Gaussian of σ from 0.5 to 1 pixel.
    Without `validation` the pictures are those that the networks were trained on.
    """
    folder = data_folder() / "micrographs"
    paths = [
        path for path in sorted(folder.glob("*.tif")) if is_validation(path.name) == validation
    ]
    for number, path in enumerate(paths):
        truth = reduced(read_micrograph(path), 2)
        top, left = (max(0, (n - LARGEST) // 2) for n in truth.shape)
        truth = truth[top : top + LARGEST, left : left + LARGEST]
        rng = np.random.default_rng([18, number])
        for scale in (2, 4):
            if min(truth.shape) // scale < 28:
                continue
            photons = (100, 1000)[(number + scale // 2) % 2]
            width = np.random.default_rng([19, number, scale]).uniform(0.5, 1) if smooth else 0.0
            yield simulated(
                truth,
                scale,
                rng.uniform(0.45, 1.1),
                Acquisition(photons=photons, offset=0.05, correlation=width),
                seed=number,
                name=f"{path.stem[:44]} ×{scale} {photons}",
            )


def photographs(names: Sequence[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield parts of photographs of some 256 pixels a side."""
    for name in names:
        loaded = np.asarray(getattr(data, name)())
        picture = loaded / (255 if loaded.max() > 1 else 1)
        factor = max(1, min(picture.shape[:2]) / 360)
        shape = [int(n / factor) for n in picture.shape[:2]]
        picture = resize(picture, (*shape, *picture.shape[2:]), anti_aliasing=True)
        for part in range(PARTS):
            side = min(256, *shape)
            top, left = (round(part * (n - side)) for n in shape)
            yield (
                f"{name} {part}",
                np.ascontiguousarray(
                    picture[top : top + side, left : left + side], dtype=np.float32
                ),
            )


def compressed(scale: int, quality: int, names: Sequence[str] = PHOTOGRAPHS) -> Iterator[Real]:
    """Yield photographs that were blurred, sampled, and stored as JPEG."""
    for number, (name, picture) in enumerate(photographs(names)):
        rng = np.random.default_rng([quality, number])
        sigma = rng.uniform(0.35, 0.8)
        case = simulated(
            picture, scale, sigma, Acquisition(levels=256), seed=0, name=f"{name} ×{scale}"
        )
        yield replace(case, image=as_jpeg(case.image, quality), name=f"{case.name} q{quality}")


def as_jpeg(image: NDArray[Any], quality: int) -> NDArray[np.float32]:
    """Return an image as it comes back from a JPEG file."""
    import io  # noqa: PLC0415

    file = io.BytesIO()
    grey = np.asarray(np.rint(255 * np.clip(image, 0, 1)), dtype=np.uint8)
    Image.fromarray(grey).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(file.getvalue())), dtype=np.float32) / np.float32(255)


def soft_objects(first: int = 0) -> Iterator[Real]:
    """Yield filtered noise and soft nuclei: nothing sharp anywhere."""
    for number in range(first, first + 24):
        rng = np.random.default_rng([24, number])
        side, scale = 320, (2, 4)[number % 2]
        if number % 4 < 2:
            truth = gaussian_filter(rng.normal(size=(side, side)), rng.uniform(3, 8))
        else:
            truth = np.zeros((side, side))
            for _ in range(20):
                y, x = np.ogrid[:side, :side]
                row, column = rng.uniform(0, side, 2)
                truth += rng.uniform(0.4, 1) * (
                    np.hypot((y - row) / rng.uniform(14, 28), (x - column) / rng.uniform(14, 28))
                    < 1
                )
            truth = gaussian_filter(truth, rng.uniform(3, 7))
        truth = 0.05 + 0.95 * (truth - truth.min()) / np.ptp(truth)
        photons = math.exp(rng.uniform(math.log(50), math.log(2000)))
        sigma = rng.uniform(0.5, 1.0)
        yield replace(
            simulated(
                truth,
                scale,
                sigma,
                Acquisition(photons=photons, offset=0.02),
                seed=number,
                name=f"soft {number} ×{scale} {photons:.0f}",
            ),
            optics=sigma * rng.uniform(0.85, 1.15),
        )


def band_excess(case: Real, image: NDArray[Any]) -> float:
    """Return the power of a result above the band of the truth, over the truth's power.

    The band holds 99.5 % of the truth's power.
    """
    crop = (slice(2 * case.scale, -2 * case.scale),) * 2
    truth, found = (np.asarray(a, dtype=float)[crop] for a in (case.truth, image))
    taper = np.outer(*(np.hanning(n) for n in truth.shape))
    powers = [np.abs(np.fft.fft2((a - a.mean()) * taper)) ** 2 for a in (truth, found)]
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in truth.shape), indexing="ij"))
    order = np.argsort(radius, axis=None)
    total = np.cumsum(powers[0].ravel()[order])
    limit = radius.ravel()[order][np.searchsorted(total, 0.995 * total[-1])]
    outside = radius > limit
    return float(powers[1][outside].sum() / powers[0].sum())


def lucy(case: Real, rounds: int = 60) -> NDArray[Any]:
    """Return Richardson–Lucy with the true kernel, stopped where it is nearest to the truth."""
    scale, kernel = case.scale, case.kernel.astype(np.float64)
    image = np.asarray(case.image, dtype=np.float64)
    margin = -(-len(kernel) // scale) + 2
    data_ = np.maximum(np.pad(image, margin, mode="edge"), 1e-6)
    shape = [scale * n for n in data_.shape]

    def forward(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(fftconvolve(x, kernel[::-1, ::-1], mode="same")[::scale, ::scale])

    def backward(y: NDArray[np.float64]) -> NDArray[np.float64]:
        spread = np.zeros(shape)
        spread[::scale, ::scale] = y
        return np.asarray(fftconvolve(spread, kernel, mode="same"))

    inner = (slice(scale * margin, -scale * margin),) * 2
    weight = np.maximum(backward(np.ones_like(data_)), 1e-9)
    estimate = np.maximum(interpolate(data_.astype(np.float32), scale).astype(np.float64), 1e-6)
    best, least = estimate[inner], math.inf
    for _ in range(rounds):
        estimate = estimate * backward(data_ / np.maximum(forward(estimate), 1e-9)) / weight
        error = case.error(estimate[inner])
        if error >= least:
            break
        best, least = estimate[inner], error
    return best


def section_gains(
    cases: Iterator[Real], folder: Path | None, *, widths: bool, quality: Quality = "fast"
) -> dict[str, Any]:
    """Restore cases blindly and with the true kernel, and print how they fare."""
    rows, records = [], []
    for case in cases:
        cubic = interpolate(case.image, case.scale)
        start = time.perf_counter()
        blind = restore(case.image, scale=case.scale, quality=quality)
        seconds = time.perf_counter() - start
        known = restore(case.image, scale=case.scale, kernel=case.kernel)
        record = {
            "gain": case.gain(blind.image, cubic),
            "known": case.gain(known.image, cubic),
            "seconds": seconds,
        }
        if widths:
            assert blind.blur is not None
            own = math.sqrt(math.prod(blind.blur.widths)) / case.scale
            low, high = (
                math.sqrt(math.prod(pair[k] for pair in blind.blur.intervals)) / case.scale
                for k in (0, 1)
            )
            record |= {
                "lucy": case.gain(lucy(case), cubic),
                "width": math.log(own / case.sigma),
                "held": float(low <= case.sigma <= high),
            }
        records.append(record)
        rows.append(
            [
                case.name,
                *(f"{value:.2f}" for value in record.values()),
                " ".join(flag.name for flag in blind.flags),
            ]
        )
        print(*rows[-1], sep="\t", flush=True)
        if folder is not None:
            keep_picture(case, cubic, blind.image, known.image, folder)
    return summary(records)


def summary(records: list[dict[str, float]]) -> dict[str, Any]:
    """Return the figures that the targets are about."""
    gains = np.array([record["gain"] for record in records])
    known = np.array([record["known"] for record in records])
    found = {
        "cases": len(gains),
        "gain": gains.mean(),
        "worst": gains.min(),
        "below": int((gains < 0).sum()),
        "below -0.1": int((gains < -0.1).sum()),
        "with the true kernel": known.mean(),
        "gap": (known - gains).mean(),
        "worst gap": (known - gains).max(),
        "seconds": np.mean([record["seconds"] for record in records]),
    }
    if "width" in records[0]:
        width = np.array([record["width"] for record in records])
        lucys = np.array([record["lucy"] for record in records])
        found |= {
            "over Richardson-Lucy": (gains - lucys).mean(),
            "width rms": np.sqrt(np.mean(np.square(np.expm1(width)))),
            "width bias": np.expm1(width).mean(),
            "held": np.mean([record["held"] for record in records]),
        }
    return {name: round(float(value), 3) for name, value in found.items()}


def keep_picture(
    case: Real, cubic: NDArray[Any], image: NDArray[Any], known: NDArray[Any], folder: Path
) -> None:
    """Write interpolation, result, result with the true kernel, and truth side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    low, high = (float(np.quantile(case.truth, q)) for q in (0.001, 0.999))
    parts = [
        np.uint8(255 * np.clip((np.asarray(a) - low) / (high - low + 1e-9), 0, 1))
        for a in (cubic, image, known, case.truth)
    ]
    name = "".join(c if c.isalnum() else "_" for c in case.name)
    Image.fromarray(np.concatenate(parts, axis=1)).save(folder / f"{name}.png")


def section_soft(folder: Path | None) -> dict[str, Any]:
    """Soft objects, blindly and with optics known to 15 %."""
    records = []
    for case in soft_objects():
        cubic = interpolate(case.image, case.scale)
        blind = restore(case.image, scale=case.scale)
        known = restore(case.image, scale=case.scale, kernel=case.kernel)
        record = {
            "blind": case.gain(blind.image, cubic),
            "blind above": band_excess(case, blind.image),
            "known": case.gain(known.image, cubic),
            "known above": band_excess(case, known.image),
            "flagged": float(any(flag.name == "blur_not_identifiable" for flag in blind.flags)),
        }
        given = with_optics(case)
        if given is not None:
            record |= {
                "optics": case.gain(given, cubic),
                "optics above": band_excess(case, given),
            }
        records.append(record)
        print(case.name, *(f"{name} {value:.3f}" for name, value in record.items()), flush=True)
        if folder is not None:
            keep_picture(case, cubic, blind.image, known.image, folder)
    found = {}
    for name in records[0]:
        values = [record[name] for record in records]
        found[name] = round(float(np.mean(values)), 3)
        if "above" not in name and name != "flagged":
            found[f"{name} worst"] = round(float(np.min(values)), 3)
    return found


def with_optics(case: Real) -> NDArray[Any] | None:
    """Restore a case whose optics are given: NA 1, 500 nm, and the pixel that fits σ."""
    try:
        from napari_blindsr import Optics  # noqa: PLC0415
    except ImportError:
        return None
    assert case.optics is not None
    optics = Optics(
        numerical_aperture=1.0, emission_nm=500.0, pixel_size_nm=0.21 * 500.0 / case.optics
    )
    return restore(case.image, scale=case.scale, optics=optics).image


def section_noise() -> dict[str, Any]:
    """Return how much structure, in units of the noise, is made of noise alone."""
    found = {}
    for photons in (20, 100, 1000):
        for scale in (2, 4):
            rng = np.random.default_rng(photons)
            image = rng.poisson(photons, (96, 96)).astype(np.float32)
            result = restore(image, scale=scale).image
            found[f"{photons} photons ×{scale}"] = round(
                float(np.std(result) / math.sqrt(photons)), 3
            )
    return found


def section_defects() -> dict[str, Any]:
    """Return what defects cost in decibels, away from them, on three micrographs."""
    cases = list(micrographs())[:24:8]
    losses: dict[str, list[float]] = {}
    for case in cases:
        image = np.asarray(np.rint(case.image / case.image.max() * 2000), dtype=np.uint16)
        factor = 2000 / case.image.max()
        truth = case.truth * factor
        rng = np.random.default_rng(5)
        variants: dict[str, NDArray[Any]] = {}
        for name, count in (("1 hot", 1), ("12 hot", 12), ("0.1 % hot", round(image.size / 1000))):
            spoilt = image.copy()
            places = rng.choice(image.size, count, replace=False)
            spoilt.flat[places] = image.max() + 1800
            variants[name] = spoilt
        spoilt = image.copy()
        n = min(image.shape) // 4
        spoilt[:n, :n] = np.where(np.add.outer(np.arange(n), np.arange(n)) < n, 0, spoilt[:n, :n])
        variants["zero corner"] = spoilt
        spoilt = image.copy()
        spoilt[image.shape[0] // 2] = 0
        variants["zero row"] = spoilt
        level = int(np.quantile(image, 0.99))
        variants["saturated"] = np.minimum(image, level).astype(np.uint16)
        clean = restore(image, scale=case.scale).image
        for name, spoilt in variants.items():
            result = restore(spoilt, scale=case.scale).image
            good = np.kron(spoilt == image, np.ones((case.scale, case.scale), dtype=bool))
            errors = [np.mean(np.square(a[good] - truth[good])) for a in (result, clean)]
            losses.setdefault(name, []).append(10 * math.log10(errors[0] / errors[1]))
    return {name: [round(v, 2) for v in values] for name, values in losses.items()}


def section_motion() -> dict[str, Any]:
    """Return mean gains over interpolation on photographs that moved along a straight line."""
    gains: dict[str, list[float]] = {"auto": [], "gaussian": [], "known": []}
    for name in MOVED:
        for half, seed in ((3.0, 1), (4.5, 2)):
            family = Line(half_length=(half, half))
            side = family.size(2)
            kernel = family.sample(
                1,
                scale=2,
                size=side,
                center=kernel_center(side, 2, "camera"),
                generator=torch.Generator().manual_seed(seed),
            )[0].numpy()
            how = Degradation(scale=2, quantise=True)
            moved = degrade(getattr(data, name)()[:256, :256], kernel, how)
            case = Real(
                name=name,
                image=moved.image,
                truth=255 * moved.truth,
                kernel=kernel,
                scale=2,
                sigma=math.nan,
            )
            cubic = interpolate(moved.image, 2)
            for label, given in (("auto", "auto"), ("gaussian", "gaussian"), ("known", kernel)):
                gains[label].append(
                    case.gain(restore(moved.image, scale=2, kernel=given).image, cubic)
                )
    return {label: round(float(np.mean(values)), 2) for label, values in gains.items()}


def main() -> None:
    """Run sections and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("micrographs", "smooth", "jpeg", "soft", "noise", "defects", "motion")
    parser.add_argument("--sections", nargs="+", choices=names, default=names)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quality", choices=("fast", "refined"), default="fast")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {}
    if "micrographs" in options.sections:
        found["micrographs"] = section_gains(
            micrographs(), options.pictures, widths=True, quality=options.quality
        )
    if "smooth" in options.sections:
        found["micrographs, smooth noise"] = section_gains(
            micrographs(smooth=True), options.pictures, widths=True, quality=options.quality
        )
    if "jpeg" in options.sections:
        for scale, quality in ((2, 90), (2, 60), (4, 75)):
            found[f"JPEG {quality} ×{scale}"] = section_gains(
                compressed(scale, quality),
                options.pictures,
                widths=False,
                quality=options.quality,
            )
    if "soft" in options.sections:
        found["soft"] = section_soft(options.pictures)
    if "noise" in options.sections:
        found["noise"] = section_noise()
    if "defects" in options.sections:
        found["defects"] = section_defects()
    if "motion" in options.sections:
        found["motion"] = section_motion()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
