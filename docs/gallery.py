"""Make the pictures of the gallery page: input, result and truth of real micrographs.

    BLINDSR_DATA=… PYTHONPATH=benchmarks python docs/gallery.py

Writes docs/images/gallery/ and docs/gallery.md. The micrographs are those of the validation
split, on which nothing was trained; failures are included.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from cases import data_folder
from PIL import Image
from real import Real, micrographs

from napari_blindsr import restore
from napari_blindsr.physics.simulate import interpolate

COUNT = 12
SIDE = 192
"""Of the cuts, in pixels of the result."""

HEAD = """# Gallery

Twelve real micrographs on which nothing was trained, each blurred, made coarser and noisy, so that
the truth is known. From left to right: the image enlarged by cubic interpolation, the result of
*fast*, the truth. One in four cases of the benchmark is shown, good or bad; gain is in decibels
over interpolation. Made by `docs/gallery.py`.

"""

SMOOTH_COUNT = 6
SMOOTH_HEAD = """## Noise that neighbouring pixels share

Six of the same micrographs, one in eight, whose noise a Gaussian of 0.5 to 1 pixel has smoothed, as
resampling does. Such noise is recognised where it is strong.

"""


def shown(case: Real, folder: Path) -> tuple[str, float]:
    """Write the picture of a case; return its name and the gain."""
    cubic = interpolate(case.image, case.scale)
    result = restore(case.image, scale=case.scale).image
    side = min(SIDE, *case.truth.shape)
    detail = np.abs(np.diff(case.truth, axis=0))[:, :-1] + np.abs(np.diff(case.truth, axis=1))[:-1]
    sums = torch.nn.functional.avg_pool2d(torch.from_numpy(detail)[None, None], side // 2, 8)[0, 0]
    place = np.unravel_index(int(sums.argmax()), sums.shape)
    top, left = (
        int(np.clip(8 * p - side // 4, 0, n - side))
        for p, n in zip(place, case.truth.shape, strict=True)
    )
    low, high = (float(np.quantile(case.truth, q)) for q in (0.002, 0.998))
    parts = [
        np.clip((image[top : top + side, left : left + side] - low) / (high - low + 1e-9), 0, 1)
        for image in (cubic, result, case.truth)
    ]
    gap = np.ones((side, 4))
    row = np.concatenate([parts[0], gap, parts[1], gap, parts[2]], axis=1)
    name = "".join(c if c.isalnum() else "_" for c in case.name)
    Image.fromarray(np.asarray(np.rint(255 * row), dtype=np.uint8)).save(folder / f"{name}.png")
    return name, case.gain(result, cubic)


def entries(
    cases: list[Real], count: int, folder: Path, sources: dict[str, dict[str, str]]
) -> list[str]:
    """Write the pictures of some cases, evenly spaced; return their lines of the page."""
    lines = []
    stride = max(2, len(cases) // count)
    for index in range(min(count, len(cases) // stride)):
        # Scales take turns.
        case = cases[stride * index + index % 2]
        name, gain = shown(case, folder)
        stem = case.name.split(" ×")[0]
        source = next(row for file, row in sources.items() if file.startswith(stem))
        photons = case.name.rsplit(" ", 1)[1]
        lines.append(
            f"![{case.name}: interpolation, result, truth](images/gallery/{folder.name}/{name}.png)"
            f"\n\n×{case.scale}, blur of {case.sigma:.2f} pixels, {photons} photons: "
            f"{gain:+.1f} dB. {source['repository']}, {source['path']} ({source['licence']}).\n\n"
        )
    return lines


def main() -> None:
    """Make the pictures and the page."""
    docs = Path(__file__).parent
    gallery = docs / "images" / "gallery"
    for old in gallery.rglob("*.png"):
        old.unlink()
    with (data_folder() / "micrographs" / "manifest.csv").open(encoding="utf-8") as file:
        sources = {row["file"]: row for row in csv.DictReader(file)}
    lines = [HEAD]
    for name, head, count in (("white", "", COUNT), ("smooth", SMOOTH_HEAD, SMOOTH_COUNT)):
        folder = gallery / name
        folder.mkdir(parents=True, exist_ok=True)
        cases = list(micrographs(smooth=name == "smooth"))
        lines += [head, *entries(cases, count, folder, sources)]
    (docs / "gallery.md").write_text("".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
