"""Samples as layers: the degraded image, and below it its truth and kernel, hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.plugin.layers.outputs import METADATA_KEY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_blindsr.evaluation.samples import Sample
    from napari_blindsr.plugin.layers.outputs import LayerData


def fluorescence() -> list[LayerData]:
    """Return the simulated fluorescence image with its truth and kernel."""
    # Making samples needs torch, which napari's menus must not wait for.
    from napari_blindsr.evaluation import samples  # noqa: PLC0415

    return sample_layers(samples.fluorescence())


def micrograph() -> list[LayerData]:
    """Return the bright-field micrograph with its truth and kernel."""
    from napari_blindsr.evaluation import samples  # noqa: PLC0415

    return sample_layers(samples.micrograph())


def photograph() -> list[LayerData]:
    """Return the photograph with its truth and kernel."""
    from napari_blindsr.evaluation import samples  # noqa: PLC0415

    return sample_layers(samples.photograph())


def sample_layers(sample: Sample) -> list[LayerData]:
    """Return a sample as layer data: truth and point spread function, both hidden, then the image.

    The image so becomes the active layer. napari fits its view to the first layer, the truth, which
    has the same place.
    """
    fine = _placement(sample, step=1 / sample.scale, origin=-sample.offset / sample.scale)
    colour = sample.image.ndim == 3
    truth = {
        **fine,
        "name": f"{sample.name}: truth ×{sample.scale}",
        "rgb": colour,
        "visible": False,
        "metadata": _metadata(sample, "truth"),
    }
    image = {
        **_placement(sample, step=1, origin=0),
        "name": sample.name,
        "rgb": colour,
        "metadata": _metadata(sample, "image"),
    }
    if not colour:
        for attributes, data in ((image, sample.image), (truth, sample.truth)):
            # Single bright vesicles shall not darken the rest.
            limits = float(data.min()), float(np.quantile(data, 0.999))
            attributes |= {"colormap": "gray", "contrast_limits": limits}
    return [
        (sample.truth, truth, "image"),
        _kernel_layer(sample),
        (sample.image, image, "image"),
    ]


def _kernel_layer(sample: Sample) -> LayerData:
    """Return the point spread function, right of the image."""
    # Zeros on one side put its centre, off the array's by −δ after the flip, into the middle.
    shift = round(2 * sample.offset)
    padding = (max(shift, 0), max(-shift, 0))
    psf = np.pad(sample.kernel[::-1, ::-1], (padding, padding))
    step = 1 / sample.scale
    width = sample.image.shape[1]
    placement = _placement(sample, step=step, origin=0)
    size = placement["scale"][0] / step
    # Outer edges: level at the top, a gap of 5 % of the image's width between them.
    corner = np.array([-0.5, 1.05 * width - 0.5]) + step / 2
    placement["translate"] = tuple(size * corner)
    attributes = {
        **placement,
        "name": f"{sample.name}: PSF ×{sample.scale}",
        "colormap": "inferno",
        "contrast_limits": (0.0, float(psf.max())),
        "visible": False,
        "metadata": _metadata(sample, "kernel"),
    }
    return psf, attributes, "image"


def _placement(sample: Sample, *, step: float, origin: float) -> dict[str, Any]:
    """Return the placement of a grid, with spacing and pixel 0 in pixels of the image."""
    size = 1.0 if sample.pixel_size is None else sample.pixel_size
    unit = "pixel" if sample.pixel_size is None else "um"
    return {
        "scale": (size * step, size * step),
        "translate": (size * origin, size * origin),
        "units": (unit, unit),
        "axis_labels": ("y", "x"),
    }


def _metadata(sample: Sample, kind: str) -> dict[str, Any]:
    """Return the metadata of a layer, as plain JSON types."""
    record: dict[str, Any] = {
        "kind": kind,
        "sample": sample.name,
        "origin": sample.origin,
        "scale": sample.scale,
        "geometry": sample.geometry,
        "offset": sample.offset,
    }
    if kind == "kernel":
        kernel: NDArray[np.float32] = sample.kernel
        record["shown"] = "point spread function: the correlation kernel flipped in both axes"
        record["correlation_kernel"] = kernel.astype(float).tolist()
    return {METADATA_KEY: record}
