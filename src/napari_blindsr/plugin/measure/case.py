"""From the form to the evidence: read and checked at once, before any long work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import LayerList

from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.images.planes import find_covered
from napari_blindsr.images.tiling import Box
from napari_blindsr.plugin.layers.inputs import LayerInput
from napari_blindsr.plugin.layers.kernel import read_kernel_layer
from napari_blindsr.plugin.layers.read import nanometres, quoted, read_layer
from napari_blindsr.plugin.layers.shapes import read_mask
from napari_blindsr.plugin.measure.form import PARTNERS, MeasureForm
from napari_blindsr.plugin.measure.partners import Place, record_of
from napari_blindsr.types import Border, Geometry

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_blindsr.metrics import MetricInputs


NUMBERS = (
    "geometry",
    "border",
    "gain",
    "noise",
    "pixel_size",
    "numerical_aperture",
    "wavelength",
    "registers",
    "fits_intensity",
    "crop",
    "criterion",
)
"""What of the evidence goes into the metadata as it is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """All that is measured, and by what.

    Attributes
    ----------
    name : str
        Of the layer that is measured.
    evidence : MetricInputs
    places : dict of str to Place
        Of the "image" and, if there is one, the "source".
    notes : tuple of str
        What the user should know of what was read.
    measured_with : dict
        What the values rest on, as plain JSON types.
    """

    name: str
    evidence: MetricInputs
    places: dict[str, Place]
    notes: tuple[str, ...]
    measured_with: dict[str, Any]


def read_case(form: MeasureForm, layers: LayerList, dims: Dims) -> Case:
    """Read the layers that a form names. Call it on the main thread.

    Parameters
    ----------
    form : MeasureForm
    layers : LayerList
        The viewer's: a mask that a run was given is looked for there.
    dims : napari.components.Dims
        The viewer's; tells which plane of a stack is shown.

    Raises
    ------
    BlindSRError
        If something cannot be used: a layer, a number, two sizes that do not go together.
    """
    # Not before now: its methods import parts of scipy and scikit-image.
    from napari_blindsr.metrics import MetricInputs  # noqa: PLC0415

    layer = form.image.value
    if layer is None:
        raise InputError("no image is chosen; expected the layer of a result, or any other image")
    aperture, wavelength = _optics(form)
    image = read_layer(layer, dims)
    record = record_of(layer)
    run = _Run.of(record, form)
    size = nanometres(layer, image.plane)
    source = None
    if form.source.value is not None:
        source = read_source(form.source.value, record, layers, dims, fine=image.plane.shape)
    evidence = MetricInputs(
        image=image.data,
        reference=_read(form.reference.value, dims),
        source=None if source is None else source.data,
        second=_read(form.second.value, dims),
        second_source=None if source is None else _read(form.second_source.value, dims),
        geometry=run.geometry,
        border=run.border,
        gain=run.gain,
        noise=run.noise,
        covered=None if source is None else source.covered,
        pixel_size=size,
        numerical_aperture=aperture,
        wavelength=wavelength,
        registers=bool(form.registers.value),
        fits_intensity=bool(form.fits_intensity.value),
        crop=int(form.crop.value),
        criterion=form.criterion.value,
    )
    # Only now that the sizes are known to go together they tell what scale the kernel is for.
    scale = evidence.scale if source is not None else record.get("scale")
    kernel = _read_kernel(form.kernel.value, dims, scale=scale, pixel_size=size)
    true_kernel = None
    if kernel is not None:
        true_kernel = _read_kernel(form.true_kernel.value, dims, scale=scale, pixel_size=size)
    evidence = replace(evidence, kernel=kernel, true_kernel=true_kernel)
    places = {"image": Place(frame=image.frame, plane=image.plane)}
    if source is not None:
        places["source"] = source.place
    return Case(
        name=str(layer.name),
        evidence=evidence,
        places=places,
        notes=(*image.notes, *(() if source is None else source.notes)),
        measured_with=_describe(form, evidence, image),
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What of the run that made an image the forward model needs."""

    geometry: Geometry
    border: Border
    gain: float = 1.0
    noise: float | None = None

    @classmethod
    def of(cls, record: dict[str, Any], form: MeasureForm) -> _Run:
        """Return what the metadata say or, of an image that has none, the form."""
        settings = record.get("settings")
        if settings is None:
            return cls(geometry=form.geometry.value, border=form.border.value)
        noise = settings["noise"]
        return cls(
            geometry=settings["geometry"],
            border=settings["border"],
            gain=record["gain"],
            # If nobody said what it is, an estimate that may grow with the light is better than
            # the one number that the run went by.
            noise=noise if noise != "auto" and noise > 0 else None,
        )


def _optics(form: MeasureForm) -> tuple[float | None, float | None]:
    """Return numerical aperture and wavelength; None if unknown, or of no use without a size."""
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
        # Nothing says how fine the image is, but a kernel of ours says what it is for.
        scale = int(record_of(layer).get("scale", 1))
    kernel = read_kernel_layer(layer, dims, scale=scale, pixel_size=pixel_size).kernel
    if kernel.ndim != 2:
        raise InputError(
            f"{quoted(layer)} holds a grid of {kernel.shape[0]} × {kernel.shape[1]} kernels; "
            "measures take one kernel for the whole image"
        )
    return kernel


def _describe(form: MeasureForm, evidence: MetricInputs, image: LayerInput) -> dict[str, Any]:
    """Return what values rest on, as plain JSON types."""
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What an image was made from.

    Attributes
    ----------
    data : ndarray, (h, w) or (h, w, 3)
    place : Place
    covered : ndarray, bool, (h, w), or None
        What the run took for not measured.
    notes : tuple of str
        What the user should know.
    """

    data: NDArray[Any]
    place: Place
    covered: NDArray[np.bool_] | None
    notes: tuple[str, ...]


def read_source(
    layer: Image,
    record: dict[str, Any],
    layers: LayerList,
    dims: Dims,
    *,
    fine: tuple[int, int],
) -> Source:
    """Read a source. Call it on the main thread.

    Parameters
    ----------
    layer : napari.layers.Image
    record : dict
        What the result's metadata say of its run; may be empty.
    layers : LayerList
        The viewer's: the mask that the run was given is looked for there.
    dims : napari.components.Dims
    fine : tuple of int
        (H, W) of the result.

    Raises
    ------
    InputError
        If the layer cannot be read.
    """
    source = read_layer(layer, dims)
    told = record.get("source", {})
    notes: tuple[str, ...] = ()
    covered = None
    if told.get("layer") == layer.name:
        if told.get("sha256") == source.provenance()["sha256"]:
            covered, notes = _read_covered(source, record, layers, dims)
        else:
            notes = (f"{quoted(layer)} now shows other pixels than the result was made from",)
    box = _region(record, source.plane.shape, fine)
    return Source(
        data=source.data[box.slices],
        place=Place(frame=source.frame, plane=source.plane, corner=(box.top, box.left)),
        covered=None if covered is None else covered[box.slices],
        notes=(*source.notes, *notes),
    )


def _region(record: dict[str, Any], shape: tuple[int, int], fine: tuple[int, int]) -> Box:
    """Return which part of the source a result is of: all, unless it tells of a smaller one."""
    told = record.get("region")
    if told is not None:
        top, left, bottom, right = told
        box = Box(top=top, left=left, bottom=bottom, right=right)
        if box.scaled(record["scale"]).shape == fine:
            return box
    return Box.whole(shape)


def _read_covered(
    source: LayerInput, record: dict[str, Any], layers: LayerList, dims: Dims
) -> tuple[NDArray[np.bool_] | None, tuple[str, ...]]:
    """Return what the run took for not measured, and what to say if that is not known any more."""
    told = record["source"].get("mask")
    mask: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    if told is not None:
        layer = next((layer for layer in layers if layer.name == told["layer"]), None)
        found = None if layer is None else read_mask(layer, source, dims)
        if found is not None and found.provenance()["sha256"] == told["sha256"]:
            mask = found.covered
        else:
            notes = (f"the mask '{told['layer']}' is gone or changed: what it covered counts",)
    saturated = bool(record["settings"].get("mask_saturated", False))
    covered = find_covered(source.data, axes=source.axes, mask=mask, saturated=saturated)
    return (covered if covered.any() else None), notes
