"""The record of how a data set was prepared, as a JSON file beside it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_blindsr.engine.kernels import KernelFamily, Motion
from napari_blindsr.errors import FileError
from napari_blindsr.settings import BORDERS, GEOMETRIES

if TYPE_CHECKING:
    from pathlib import Path

    from napari_blindsr.settings import Border, Geometry

FORMAT = "napari-blindsr data set, version 1"
MODEL = "DDSR"
"""The name that the published data sets have in their folders."""


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
        What the kernels were drawn from; None if it was one given kernel. Kernels drawn
        from a folder are not repeated here.
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
        """Rebuild a manifest from what `to_json` returned; what it does not know is ignored."""
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
