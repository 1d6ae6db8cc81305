"""A measurement: its inputs, read from the layers and checked, and the work of a worker."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import LayerList

from napari_blindsr.errors import EngineError, InputError, SettingsError
from napari_blindsr.images.planes import find_covered
from napari_blindsr.images.tiling import Box
from napari_blindsr.plugin.layers.inputs import Frame, LayerInput, Plane
from napari_blindsr.plugin.layers.outputs import finer_frame, record_of
from napari_blindsr.plugin.layers.read import nanometres, quoted, read_kernel_layer, read_layer
from napari_blindsr.plugin.layers.shapes import read_mask
from napari_blindsr.plugin.measure.form import PARTNERS, MeasureForm
from napari_blindsr.plugin.widgets.dock import Run
from napari_blindsr.progress import Progress

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_blindsr.metrics import MetricInputs
    from napari_blindsr.metrics.measure import Layer, Measurement, Plot


OPTIONS = ("geometry", "border", "registers", "fits_intensity", "crop", "criterion")
"""Fields of the form that the evidence takes as they are."""
NUMBERS = (*OPTIONS, "gain", "noise", "pixel_size", "numerical_aperture", "wavelength")
"""Fields of the evidence that the metadata keep."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """The inputs of a measurement, and the places of the "image" and its "source".

    `measured_with` lists what the values depend on, as plain JSON types.
    """

    name: str
    evidence: MetricInputs
    places: dict[str, tuple[Frame, Plane]]
    notes: tuple[str, ...]
    measured_with: dict[str, Any]


def read_case(form: MeasureForm, layers: LayerList, dims: Dims) -> Case:
    """Read the layers that a form names. Call it on the main thread.

    The mask of the image's run is looked for among `layers`. Raises a `BlindSRError` if a layer or
    a number cannot be used, or two sizes do not fit each other.
    """
    # Not before now: its methods import parts of scipy and scikit-image.
    from napari_blindsr.metrics import MetricInputs  # noqa: PLC0415

    layer = form.image.value
    if layer is None:
        raise InputError("no image is chosen; expected an image layer")
    aperture, wavelength = _optics(form)
    image = read_layer(layer, dims)
    record = record_of(layer)
    size = nanometres(image.frame, image.plane)
    source = covered = None
    if form.source.value is not None:
        source, covered = read_source(
            form.source.value, record, layers, dims, fine=image.plane.shape
        )
    evidence = MetricInputs(
        image=image.data,
        reference=_read(form.reference.value, dims),
        source=None if source is None else source.data,
        second=_read(form.second.value, dims),
        second_source=None if source is None else _read(form.second_source.value, dims),
        covered=covered,
        pixel_size=size,
        numerical_aperture=aperture,
        wavelength=wavelength,
        **{name: getattr(form, name).value for name in OPTIONS} | _options_of_run(record),
    )
    # The scale of the kernel is known only once the sizes are known to fit each other.
    scale = evidence.scale if source is not None else record.get("scale")
    kernel = _read_kernel(form.kernel.value, dims, scale=scale, pixel_size=size)
    true_kernel = None
    if kernel is not None:
        true_kernel = _read_kernel(form.true_kernel.value, dims, scale=scale, pixel_size=size)
    evidence = replace(evidence, kernel=kernel, true_kernel=true_kernel)
    # The source is the part that the image shows, at the corner of its region.
    places = {
        name: (finer_frame(read, scale=1, offset=0.0), read.plane)
        for name, read in (("image", image), ("source", source))
        if read is not None
    }
    return Case(
        name=str(layer.name),
        evidence=evidence,
        places=places,
        notes=(*image.notes, *(() if source is None else source.notes)),
        measured_with=_describe(form, evidence, image),
    )


def _options_of_run(record: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a result is measured with, if the record is of a result."""
    settings = record.get("settings")
    if settings is None:
        return {}
    noise = settings["noise"]
    return {
        "geometry": settings["geometry"],
        "border": settings["border"],
        "gain": record["gain"],
        # Unless it was given, an estimate with shot noise is better than the one number that the
        # run used.
        "noise": noise if noise != "auto" and noise > 0 else None,
    }


def _optics(form: MeasureForm) -> tuple[float | None, float | None]:
    """Return numerical aperture and wavelength; None if unknown, or without a pixel size."""
    aperture, wavelength = form.numerical_aperture.value, form.wavelength.value
    if form.pixel_size is None:
        return None, None
    if aperture > 0 and wavelength == 0:
        raise SettingsError(
            f"the numerical aperture is {aperture:g}, but no wavelength is given; the diffraction "
            "limit needs both"
        )
    if wavelength > 0 and aperture == 0:
        raise SettingsError(
            f"the wavelength is {wavelength:g} nm, but no numerical aperture is given; the "
            "diffraction limit needs both"
        )
    return aperture or None, wavelength or None


def _read(layer: Image | None, dims: Dims) -> NDArray[Any] | None:
    return None if layer is None else read_layer(layer, dims).data


def _read_kernel(
    layer: Image | None, dims: Dims, *, scale: int | None, pixel_size: float | None
) -> NDArray[np.float32] | None:
    if layer is None:
        return None
    if scale is None:
        # The scale of the image is unknown, but this plugin's kernels keep their own.
        scale = int(record_of(layer).get("scale", 1))
    kernel = read_kernel_layer(layer, dims, scale=scale, pixel_size=pixel_size).kernel
    if kernel.ndim != 2:
        raise InputError(
            f"{quoted(layer)} holds a grid of {kernel.shape[0]} × {kernel.shape[1]} kernels; "
            "measures take one kernel for the whole image"
        )
    return kernel


def _describe(form: MeasureForm, evidence: MetricInputs, image: LayerInput) -> dict[str, Any]:
    """Return what the values depend on, as plain JSON types."""
    layers = {
        name: str(getattr(form, name).value.name)
        for name in PARTNERS
        if getattr(evidence, name) is not None
    }
    return {
        "layers": layers,
        "index": list(image.plane.index),
        "sha256": image.provenance()["sha256"],
        "scale": evidence.scale,
        "covered": 0 if evidence.covered is None else int(evidence.covered.sum()),
        **{name: getattr(evidence, name) for name in NUMBERS},
    }


def read_source(
    layer: Image,
    record: dict[str, Any],
    layers: LayerList,
    dims: Dims,
    *,
    fine: tuple[int, int],
) -> tuple[LayerInput, NDArray[np.bool_] | None]:
    """Read the part of a source that a result (H, W) shows, and its missing pixels (h, w).

    `record` are the metadata of the result, which may be empty; the mask of its run is looked for
    among `layers`. Raises an `InputError` if the layer cannot be read.
    """
    source = read_layer(layer, dims)
    made_from = record.get("source", {})
    notes: tuple[str, ...] = ()
    covered = None
    if made_from.get("layer") == layer.name:
        if made_from.get("sha256") == source.provenance()["sha256"]:
            covered, notes = _read_covered(source, record, layers, dims)
        else:
            notes = (f"{quoted(layer)} has changed since the result was restored from it",)
    box = _region(record, source.plane.shape, fine)
    part = replace(source, data=source.data[box.slices], region=box, notes=(*source.notes, *notes))
    return part, None if covered is None else covered[box.slices]


def _region(record: dict[str, Any], shape: tuple[int, int], fine: tuple[int, int]) -> Box:
    """Return the part of the source that a result shows: all of it, unless the record says less."""
    region = record.get("region")
    if region is not None:
        top, left, bottom, right = region
        box = Box(top=top, left=left, bottom=bottom, right=right)
        if box.scaled(record["scale"]).shape == fine:
            return box
    return Box.whole(shape)


def _read_covered(
    source: LayerInput, record: dict[str, Any], layers: LayerList, dims: Dims
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Return the missing pixels of the run, and a note if its mask is gone or changed."""
    given = record["source"].get("mask")
    mask: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    if given is not None:
        layer = next((layer for layer in layers if layer.name == given["layer"]), None)
        found = None if layer is None else read_mask(layer, source, dims)
        if found is not None and found.provenance()["sha256"] == given["sha256"]:
            mask = found.covered
        else:
            notes = (f"the mask '{given['layer']}' is gone or changed: its pixels count as valid",)
    saturated = bool(record["settings"].get("mask_saturated", False))
    covered = find_covered(source.data, axes=source.axes, mask=mask, saturated=saturated)
    return (covered if covered.any() else None), notes


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """The values, curves and maps of a measurement."""

    measurements: tuple[Measurement, ...]
    plots: tuple[Plot, ...]
    maps: tuple[Layer, ...]


class MeasureRun(Run[Findings]):
    """One measurement; `case` is None once it is closed."""

    kind = "measurement"

    def __init__(self, case: Case) -> None:
        super().__init__(case.name)
        self.case: Case | None = case

    @property
    def cancelled(self) -> str:
        """What is left of it if it was cancelled."""
        return "Cancelled; nothing was kept."

    def _work(self) -> Generator[Progress, bool | None, Findings]:
        from napari_blindsr.metrics import METRICS  # noqa: PLC0415
        from napari_blindsr.metrics.measure import (  # noqa: PLC0415
            iterate_measurements,
            maps,
            plots,
        )

        if self.case is None:
            raise EngineError(f"the {self!r} was closed before it began")
        evidence, began = self.case.evidence, time.perf_counter()
        wanted = [metric for metric in METRICS if evidence.allows(metric.needs)]
        measured: list[Measurement] = []
        # Curves and maps show how the values were obtained; they are one stage more.
        for done, label in enumerate([*(metric.label for metric in wanted), "curves and maps"]):
            yield Progress(
                step=done,
                total=len(wanted) + 1,
                stage=f"measuring {label}",
                loss=None,
                seconds=time.perf_counter() - began,
                remaining=None,
                unit="metric",
            )
            measured += iterate_measurements(evidence, metrics=wanted[done : done + 1])
        return Findings(measurements=tuple(measured), plots=plots(evidence), maps=maps(evidence))

    def close(self) -> None:
        """Free all memory. Only while no value is being measured."""
        self.case = None
        super().close()
