"""Samples as layers: the degraded image, and below it its truth and kernel, hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.plugin.layers.inputs import Frame, Plane
from napari_blindsr.plugin.layers.outputs import METADATA_KEY, beside, kernel_record, shown_psf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.evaluation.samples import Sample
    from napari_blindsr.plugin.layers.outputs import LayerData


def fluorescence() -> list[LayerData]:
    """Return the simulated fluorescence image with its truth and kernel."""
    return _named("fluorescence")


def micrograph() -> list[LayerData]:
    """Return the bright-field micrograph with its truth and kernel."""
    return _named("micrograph")


def photograph() -> list[LayerData]:
    """Return the photograph with its truth and kernel."""
    return _named("photograph")


def _named(name: str) -> list[LayerData]:
    # Making samples needs torch, which napari's menus must not wait for.
    from napari_blindsr.evaluation import samples  # noqa: PLC0415

    return sample_layers(getattr(samples, name)())


def sample_layers(sample: Sample) -> list[LayerData]:
    """Return a sample as layer data: truth and point spread function, both hidden, then the image.

    The image so becomes the active layer. napari fits its view to the first layer, the truth, which
    has the same place.
    """
    size, unit = (1.0, "pixel") if sample.pixel_size is None else (sample.pixel_size, "um")
    coarse = Frame(
        scale=np.full(2, size),
        translate=np.zeros(2),
        rotate=np.eye(2),
        shear=np.zeros(1),
        affine=np.eye(3),
        units=(unit, unit),
        axis_labels=("y", "x"),
    )
    shape = sample.image.shape[0], sample.image.shape[1]
    plane = Plane(axes=(0, 1), index=(None, None), shape=shape)
    origin = -sample.offset / sample.scale
    fine = plane.grid(coarse, origin=origin, step=1 / sample.scale)
    layers = degraded_layers(sample, coarse=coarse, fine=fine, place=(coarse, plane))
    (_, truth, _), (_, kernel, _), (_, image, _) = layers
    truth["visible"] = kernel["visible"] = False
    kernel["name"] += f" ×{sample.scale}"
    image["name"] = sample.name
    if sample.image.ndim == 2:
        for attributes, data in ((image, sample.image), (truth, sample.truth)):
            # Single bright vesicles shall not darken the rest.
            limits = float(data.min()), float(np.quantile(data, 0.999))
            attributes |= {"colormap": "gray", "contrast_limits": limits}
    return layers


def degraded_layers(
    sample: Sample, *, coarse: Frame, fine: Frame, place: tuple[Frame, Plane]
) -> list[LayerData]:
    """Return truth, point spread function and image as layer data.

    The truth has the placement `fine`, the image `coarse`; the point spread function lies right of
    `place`, a plane of an image.
    """
    middle = (sample.kernel.shape[0] - 1) / 2 + sample.offset
    psf = shown_psf(sample.kernel, (middle, middle))
    colours = {"rgb": sample.image.ndim == 3}
    parts: tuple[tuple[str, NDArray[Any], str, Frame, dict[str, Any]], ...] = (
        ("truth", sample.truth, f"truth ×{sample.scale}", fine, colours),
        (
            "kernel",
            psf,
            "PSF",
            beside(fine, *place, (psf.shape[0], psf.shape[1])),
            {"colormap": "inferno", "contrast_limits": (0.0, float(psf.max()))},
        ),
        ("image", sample.image, "simulated", coarse, colours),
    )
    return [
        (
            data,
            {
                "name": f"{sample.name}: {name}",
                **frame.attributes(),
                **looks,
                "metadata": {METADATA_KEY: _record(sample, kind)},
            },
            "image",
        )
        for kind, data, name, frame, looks in parts
    ]


def _record(sample: Sample, kind: str) -> dict[str, Any]:
    """Return the metadata of a layer, as plain JSON types."""
    return {
        "kind": kind,
        "sample": sample.name,
        "origin": sample.origin,
        "scale": sample.scale,
        "geometry": sample.geometry,
        "offset": sample.offset,
        **(kernel_record(sample.kernel) if kind == "kernel" else {}),
    }
