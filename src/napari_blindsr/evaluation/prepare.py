"""Prepares a data set: degrades sharp images by random kernels, and writes a manifest."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from napari_blindsr.errors import FileError, InputError, SettingsError, require, require_choices
from napari_blindsr.evaluation.dataset import ImageRecord, Layout, Manifest, read_sharp
from napari_blindsr.physics.kernel_files import check_kernel
from napari_blindsr.physics.kernels import Gaussian, KernelFamily, kernel_size
from napari_blindsr.physics.observation import kernel_center
from napari_blindsr.physics.simulate import Degradation, Degraded, degrade
from napari_blindsr.restoration.problem import centred
from napari_blindsr.restoration.restore import versions
from napari_blindsr.types import BORDERS, GEOMETRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.types import Border, Geometry


LEVELS = 255.0
"""8-bit levels from black to white: the unit of noise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Preparation:
    """How sharp images are degraded; the defaults are those of the published data sets.

    Attributes
    ----------
    scale : int
    kernel : KernelFamily or ndarray, (K, K)
        Family that each image's kernel is drawn from, or one kernel for all. `Gaussian` without
        a range of variances draws as for the published test data.
    kernel_source : str
        File or folder of given kernels, for the manifest.
    geometry : {"camera", "benchmark"}
    border : {"extend", "circular"}
    gain : float
        Below 1 for dark images.
    noise : float
        Each image's standard deviation of the noise is drawn from 0 to this, in 8-bit
        levels.
    seed : int
    """

    scale: int
    kernel: KernelFamily | NDArray[Any]
    kernel_source: str = ""
    geometry: Geometry = "benchmark"
    border: Border = "circular"
    gain: float = 1.0
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_choices(self, geometry=GEOMETRIES, border=BORDERS)
        require(
            math.isfinite(self.gain) and self.gain > 0,
            f"gain is {self.gain!r}; expected a positive number",
        )
        require(
            math.isfinite(self.noise) and self.noise >= 0,
            f"noise is {self.noise!r}; expected a number from 0",
        )
        require(
            0 <= self.seed < 2**63,
            f"seed is {self.seed!r}; expected a whole number from 0 to 2**63 − 1",
        )

    @property
    def is_published(self) -> bool:
        """Whether kernels are drawn as for the published test data."""
        gaussian = isinstance(self.kernel, Gaussian) and self.kernel.variance is None
        return gaussian and self.scale > 1

    @property
    def family(self) -> KernelFamily | None:
        """The family that kernels are drawn from; None for one given kernel."""
        if not isinstance(self.kernel, KernelFamily):
            return None
        if self.is_published:
            return Gaussian(variance=published_variances(self.scale))
        return self.kernel

    def draw_kernel(self, seed: int) -> NDArray[np.float32]:
        """Return a kernel (K, K) of sum 1, centred for the geometry."""
        family = self.family
        if family is None:
            given = check_kernel(np.asarray(self.kernel))
            # Interpolation would change a kernel that is in place already.
            return centred(given, self.scale, self.geometry, negligible=0.1)
        # The published kernel size cuts off the widest of the published kernels.
        size = kernel_size(self.scale) if self.is_published else family.size(self.scale)
        kernels = family.sample(
            1,
            scale=self.scale,
            size=size,
            center=kernel_center(size, self.scale, self.geometry),
            generator=torch.Generator().manual_seed(seed),
        )
        return np.asarray(kernels[0].numpy(), dtype=np.float32)


def published_variances(scale: int) -> tuple[float, float]:
    """Return the range of variances of the published test data, in px² of the HR grid.

    It is narrower than what the published solver draws from.
    """
    return 0.175 * scale, min(2.5 * scale, 10.0)


def image_seed(seed: int, name: str) -> int:
    """Return the seed of one image, which does not depend on the others."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    # JSON readers keep whole numbers up to 2**53.
    return int.from_bytes(digest[:6], "big")


def prepare_image(sharp: ArrayLike, preparation: Preparation, *, seed: int) -> Degraded:
    """Degrade one sharp image by a random kernel and random noise.

    Parameters
    ----------
    sharp : array_like, (H, W) or (H, W, C)
        uint8, or floats in [0, 1].
    preparation : Preparation
    seed : int
        Of kernel and noise; the preparation's own is not used.

    Returns
    -------
    Degraded
        Its image is uint8, rounded down; its degradation has the noise in [0, 1].
    """
    deviation = np.random.default_rng([seed, 1]).uniform(0, preparation.noise)
    return degrade(
        sharp,
        preparation.draw_kernel(seed),
        Degradation(
            scale=preparation.scale,
            geometry=preparation.geometry,
            border=preparation.border,
            gain=preparation.gain,
            noise=deviation / LEVELS,
            quantise=True,
            seed=seed,
        ),
    )


def prepare_dataset(
    layout: Layout,
    preparation: Preparation,
    *,
    force: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Prepare all images of a data set.

    All files are written to a temporary folder and moved at the end, so an interrupted
    preparation leaves nothing behind.

    Parameters
    ----------
    layout : Layout
    preparation : Preparation
    force : bool
        Replace the files of an earlier preparation.
    progress : callable, optional
        Called with the name of each image before it is degraded.

    Raises
    ------
    BlindSRError
        If there are no HR images, one cannot be read or is too small, or the results
        exist already and `force` is not set.
    """
    if layout.scale != preparation.scale:
        raise SettingsError(f"scales {layout.scale} and {preparation.scale} differ")
    sharp = layout.sharp_images()
    targets = (layout.coarse, layout.kernels, layout.manifest)
    for target in targets:
        if target.exists() and not force:
            raise FileError(f"cannot write {target}: it exists already; --force replaces it")
    with _aside(layout.folder) as folder:
        aside = Layout(folder=folder, scale=layout.scale, model=layout.model)
        aside.coarse.mkdir()
        aside.kernels.mkdir()
        records, side = {}, 0
        for name, path in sharp.items():
            if progress is not None:
                progress(name)
            records[name], side = _prepare_file(name, path, aside, preparation)
        manifest = Manifest(
            model=layout.model,
            scale=layout.scale,
            geometry=preparation.geometry,
            border=preparation.border,
            gain=preparation.gain,
            noise=preparation.noise,
            seed=preparation.seed,
            family=preparation.family,
            kernel_source=preparation.kernel_source,
            kernel_size=side,
            images=records,
            versions=versions(),
        )
        text = json.dumps(manifest.to_json(), indent=2, allow_nan=False, ensure_ascii=False)
        aside.manifest.write_text(text + "\n", encoding="utf-8")
        _take_place(folder, targets)
    return manifest


def _prepare_file(
    name: str, path: Path, aside: Layout, preparation: Preparation
) -> tuple[ImageRecord, int]:
    """Prepare one image; returns its record and the side of its kernel."""
    seed = image_seed(preparation.seed, name)
    try:
        degraded = prepare_image(read_sharp(path), preparation, seed=seed)
    except InputError as error:
        text = str(error)
        raise InputError(text if str(path) in text else f"{path}: {text}") from error
    Image.fromarray(degraded.image).save(aside.coarse / f"{name}.png")
    kernel = degraded.kernel.astype(np.float64)
    savemat(aside.kernels / f"{name}.mat", {"Kernel": kernel / kernel.sum()})
    margin = len(kernel) // 2 if preparation.border == "extend" else 0
    height, width = degraded.truth.shape[:2]
    record = ImageRecord(
        source=path.name,
        crop=(margin, margin, height, width),
        noise=degraded.degradation.noise * LEVELS,
        seed=seed,
    )
    return record, len(kernel)


@contextmanager
def _aside(parent: Path) -> Iterator[Path]:
    """Make a temporary folder."""
    folder = parent / f".{uuid.uuid4().hex[:12]}.part"
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        raise FileError(f"cannot prepare {parent}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take_place(folder: Path, targets: tuple[Path, ...]) -> None:
    """Replace all targets by the files of a folder, or none of them."""
    old = folder / "old"
    old.mkdir()
    done: list[Path] = []
    try:
        for target in targets:
            done.append(target)
            if target.exists():
                target.replace(old / target.name)
            (folder / target.name).replace(target)
    except BaseException:
        for target in done:
            if not (folder / target.name).exists():
                target.replace(folder / target.name)
            if (old / target.name).exists():
                (old / target.name).replace(target)
        raise
