"""Data sets for evaluation, in the field's folder convention, with a manifest.

- ``DATASET/HR/NAME.png``: sharp images
- ``DATASET/<MODEL>_lr_x4/NAME.png``: degraded images
- ``DATASET/<MODEL>_gt_k_x4/NAME.mat``: the kernels, variable ``Kernel``
- ``DATASET/<MODEL>_manifest_x4.json``: all parameters; published data sets have none
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import FileError, InputError, SettingsError
from napari_blindsr.images.files import read_image
from napari_blindsr.physics.kernel_files import read_kernel
from napari_blindsr.physics.kernels import KernelFamily, Motion
from napari_blindsr.types import BORDERS, GEOMETRIES, SCALES

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_blindsr.types import Border, Geometry


HR_SUFFIXES = (".png", ".tif", ".tiff")
MODEL = "DDSR"
"""Prefix of the folders of the published data sets."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The folders of a data set.

    Attributes
    ----------
    folder : Path
        DATASET.
    scale : int
    model : str
        Prefix of the folders: the name of a published method.
    """

    folder: Path
    scale: int
    model: str = MODEL

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise SettingsError(
                f"scale is {self.scale!r}; expected a whole number from {SCALES[0]} to {SCALES[-1]}"
            )
        if not self.model or set(self.model) & set('/\\:*?"<>|') or self.model.startswith("."):
            raise SettingsError(f"model is {self.model!r}; expected a name fit for a folder")

    @property
    def sharp(self) -> Path:
        """Folder of the HR images."""
        return self.folder / "HR"

    @property
    def coarse(self) -> Path:
        """Folder of the LR images."""
        return self.folder / f"{self.model}_lr_x{self.scale}"

    @property
    def kernels(self) -> Path:
        """Folder of the true kernels."""
        return self.folder / f"{self.model}_gt_k_x{self.scale}"

    @property
    def manifest(self) -> Path:
        """File of the manifest."""
        return self.folder / f"{self.model}_manifest_x{self.scale}.json"

    def sharp_images(self) -> dict[str, Path]:
        """Return the HR images by their names, in alphabetical order.

        Raises
        ------
        FileError
            If there are none, or two have the same name.
        """
        if not self.folder.is_dir():
            raise FileError(f"there is no data set {self.folder}; expected a folder")
        if not self.sharp.is_dir():
            raise FileError(
                f"the data set {self.folder} has no folder HR; expected HR/*.png, the sharp images"
            )
        found = images_in(self.sharp)
        if not found:
            raise FileError(f"the folder {self.sharp} holds no images; expected .png or .tif files")
        return found


def images_in(folder: Path) -> dict[str, Path]:
    """Return the PNG and TIFF images of a folder by their names without extension."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in HR_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise FileError(
                f"{found[path.stem]} and {path.name} have the same name; expected one of them"
            )
        found[path.stem] = path
    return found


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image of a data set, with its truth.

    Attributes
    ----------
    name : str
    coarse : ndarray, (h, w) or (h, w, 3)
        The LR image, of integer type.
    truth : ndarray, (s·h, s·w) or (s·h, s·w, 3)
        uint8, or floats in [0, 1]; colours as in `coarse`.
    kernel : ndarray, float32, (K, K), or None
        The true correlation kernel, if known.
    noise : float
        Standard deviation of the noise in 8-bit levels; 0 if unknown.
    digest : str
        SHA-256 of the LR image's file.
    """

    name: str
    coarse: NDArray[Any]
    truth: NDArray[Any]
    kernel: NDArray[np.float32] | None
    noise: float
    digest: str

    @property
    def white(self) -> float:
        """The intensity of the LR image that corresponds to 1."""
        return float(np.iinfo(self.coarse.dtype).max)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A prepared data set.

    Attributes
    ----------
    layout : Layout
    manifest : Manifest or None
    names : tuple of str
        Of its images.
    """

    layout: Layout
    manifest: Manifest | None
    names: tuple[str, ...]

    @property
    def geometry(self) -> Geometry:
        """Without a manifest, that of the published data sets."""
        return "benchmark" if self.manifest is None else self.manifest.geometry

    @property
    def border(self) -> Border:
        """Without a manifest, that of the published data sets."""
        return "circular" if self.manifest is None else self.manifest.border

    @property
    def gain(self) -> float:
        """How bright the LR images are."""
        return 1.0 if self.manifest is None else self.manifest.gain

    def load(self, name: str) -> Case:
        """Read one image, its truth and its kernel.

        Raises
        ------
        FileError, InputError
            If one is missing or cannot be read, or they do not fit together.
        """
        layout = self.layout
        file = layout.coarse / f"{name}.png"
        coarse = read_image(file).array
        sharp = layout.sharp_images().get(name)
        if sharp is None:
            raise FileError(f"{file} has no truth; expected {layout.sharp / name}.png or .tif")
        record = None if self.manifest is None else self.manifest.images.get(name)
        height, width = (layout.scale * length for length in coarse.shape[:2])
        crop = (0, 0, height, width) if record is None else record.crop
        truth = _cut(read_sharp(sharp), crop, (height, width), sharp)
        kernel = layout.kernels / f"{name}.mat"
        return Case(
            name=name,
            coarse=coarse,
            truth=_coloured_as(truth, coarse, sharp),
            kernel=read_kernel(kernel) if kernel.exists() else None,
            noise=0.0 if record is None else record.noise,
            digest=hashlib.sha256(file.read_bytes()).hexdigest(),
        )


def open_dataset(
    folder: str | os.PathLike[str],
    *,
    scale: int,
    model: str = MODEL,
    images: Sequence[str] | None = None,
) -> DataSet:
    """Open a prepared data set, published or prepared here.

    Parameters
    ----------
    folder : path
        DATASET.
    scale : int
    model : str
        Prefix of its folders.
    images : sequence of str, optional
        Names of some images; by default all.

    Raises
    ------
    FileError
        If it is not a prepared data set, or lacks some of these images.
    """
    layout = Layout(folder=Path(folder), scale=scale, model=model)
    layout.sharp_images()
    there = images_in(layout.coarse) if layout.coarse.is_dir() else {}
    names = tuple(name for name, path in there.items() if path.suffix.lower() == ".png")
    if not names:
        raise FileError(
            f"the data set {layout.folder} is not prepared for scale {scale} and model {model}: "
            f"expected {layout.coarse.name}/*.png; napari-blindsr prepare makes them"
        )
    for name in images or ():
        if name not in names:
            raise FileError(f"{layout.coarse} has no image {name!r}; expected some of {names}")
    manifest = read_manifest(layout.manifest)
    if manifest is not None and manifest.scale != scale:
        raise FileError(f"{layout.manifest} is for scale {manifest.scale}; expected {scale}")
    return DataSet(
        layout=layout, manifest=manifest, names=tuple(images) if images is not None else names
    )


def read_sharp(path: Path) -> NDArray[Any]:
    """Read an HR image: uint8, or floats in [0, 1]."""
    array = read_image(path).array
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return array / np.float32(np.iinfo(np.uint16).max)
    # Comparisons with NaN are false.
    if array.dtype.kind == "f" and ((array >= 0) & (array <= 1)).all():
        return array
    raise InputError(
        f"{path} holds {array.dtype} values; expected 8 or 16 bits, or floats from 0 to 1"
    )


def _cut(
    sharp: NDArray[Any], crop: tuple[int, int, int, int], size: tuple[int, int], path: Path
) -> NDArray[Any]:
    """Return the part of an HR image that corresponds to the LR image."""
    top, left, height, width = crop
    truth = sharp[top : top + height, left : left + width]
    if truth.shape[:2] != size:
        raise InputError(
            f"{path} is {sharp.shape[0]} × {sharp.shape[1]}, which has no part of "
            f"{size[0]} × {size[1]} that its LR image could show; prepare the data set again"
        )
    return truth


def _coloured_as(truth: NDArray[Any], coarse: NDArray[Any], path: Path) -> NDArray[Any]:
    """Repeat a grey truth if the LR image is in colour, as published data sets have it."""
    if truth.ndim == coarse.ndim:
        return truth
    if truth.ndim == 2:
        return np.repeat(truth[..., None], 3, axis=2)
    raise InputError(f"{path} is in colour, its LR image is grey; expected the same")


FORMAT = "napari-blindsr data set, version 1"


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """How one image was prepared.

    Attributes
    ----------
    source : str
        File name of the HR image.
    crop : tuple of int
        Top, left, height and width of the part of the HR image that the LR image shows.
    noise : float
        Standard deviation of the noise in 8-bit levels.
    seed : int
        Of kernel and noise.
    """

    source: str
    crop: tuple[int, int, int, int]
    noise: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """How a data set was prepared.

    Attributes
    ----------
    model : str
    scale : int
    geometry : {"camera", "benchmark"}
    border : {"extend", "circular"}
    gain : float
        How bright the LR images are compared with the HR images.
    noise : float
        The largest standard deviation of the noise in 8-bit levels; each image's is drawn
        from 0 to this.
    seed : int
    family : KernelFamily or None
        Family that the kernels were drawn from; None for one given kernel. The kernels of a
        folder are left out.
    kernel_source : str
        File or folder of given kernels, or "".
    kernel_size : int
    images : dict of str to ImageRecord
    versions : dict of str to str
    """

    model: str
    scale: int
    geometry: Geometry
    border: Border
    gain: float
    noise: float
    seed: int
    family: KernelFamily | None
    kernel_source: str
    kernel_size: int
    images: dict[str, ImageRecord]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON types."""
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        family = self.family
        if isinstance(family, Motion):
            family = dataclasses.replace(family, kernels=None)
        record["family"] = None if family is None else family.to_json()
        record["images"] = {name: dataclasses.asdict(image) for name, image in self.images.items()}
        return {"format": FORMAT, "noise_unit": "8-bit levels", **record}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Manifest:
        """Rebuild a manifest from the output of `to_json`; unknown entries are ignored."""
        values = {f.name: record[f.name] for f in dataclasses.fields(cls)}
        if values["geometry"] not in GEOMETRIES or values["border"] not in BORDERS:
            raise ValueError("geometry or border")
        if values["family"] is not None:
            values["family"] = KernelFamily.from_json(values["family"])
        values["images"] = {
            name: ImageRecord(**{**image, "crop": tuple(image["crop"])})
            for name, image in values["images"].items()
        }
        return cls(**values)


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest of a file, or None if there is no such file."""
    if not path.exists():
        return None
    try:
        return Manifest.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileError(
            f"cannot read {path}: it is no manifest of this program ({error}); prepare the data "
            "set again"
        ) from error
