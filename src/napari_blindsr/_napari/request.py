"""From the form to what a run is given: read and checked at once, before any long work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_blindsr._napari.controls import RunForm
from napari_blindsr._napari.inputs import LayerInput, Source
from napari_blindsr._napari.known_kernel import read_kernel_layer
from napari_blindsr._napari.layers import find_plane, nanometres, read_layer
from napari_blindsr._napari.masks import read_mask
from napari_blindsr._napari.region import read_region
from napari_blindsr._napari.stacks import plane_text, read_part, read_stack
from napari_blindsr.arrays import find_covered, to_planes
from napari_blindsr.errors import InputError
from napari_blindsr.settings import Settings

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_blindsr.stack_result import OutputType


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """All that a run needs.

    Attributes
    ----------
    source : LayerInput or StackInput
    settings : Settings
    kernel_folder : Path or None
        Folder of kernels that the settings' family draws from, still to be read.
    target_folder : Path or None
        Where the result is written; None keeps it in memory.
    """

    source: Source
    settings: Settings
    kernel_folder: Path | None = None
    target_folder: Path | None = None


def read_request(form: RunForm, viewer: ViewerModel) -> Request:
    """Read the layers that a form names. Call it on the main thread.

    Parameters
    ----------
    form : RunForm
    viewer : napari.components.ViewerModel

    Raises
    ------
    BlindSRError
        If something cannot be used: a setting, a layer, the file of weights.
    """
    settings = form.settings()
    layer = form.image_row.value
    source = _read_source(form, viewer)
    mask_layer, kernel_layer = form.masking.mask.value, form.kernel_layer_row.value
    if form.method.degradations and mask_layer is not None:
        # Of a stack, the plane on display says what is covered of all.
        shown = replace(source, plane=find_plane(layer, viewer.dims))
        source = replace(source, mask=read_mask(mask_layer, shown, viewer.dims))
    if settings.kernel == "known":
        if kernel_layer is None:
            raise InputError("no kernel layer is chosen; expected an image layer with the kernel")
        size = nanometres(layer, source.plane)
        kernel = read_kernel_layer(
            kernel_layer,
            viewer.dims,
            scale=settings.scale,
            pixel_size=None if size is None else size / settings.scale,
        )
        source = replace(source, kernel=kernel)
    if isinstance(source, LayerInput) and source.region is None:
        # Of what is read in the run's own time only the run knows whether it can be used.
        _check_image(source, settings, degradations=form.method.degradations)
    if settings.used_finish == "usrnet" and settings.usrnet_weights is not None:
        # Not before now: it imports what fetches files.
        from napari_blindsr.weights import local_usrnet  # noqa: PLC0415

        local_usrnet(settings.usrnet_weights)
    folder = None if form.family is None else form.family.folder
    return Request(
        source=source,
        settings=settings,
        kernel_folder=folder,
        target_folder=_target_folder(form),
    )


def _read_source(form: RunForm, viewer: ViewerModel) -> Source:
    """Read the image, or make it ready to be read, as far as it is asked for."""
    layer, extent = form.image_row.value, form.extent
    plane = find_plane(layer, viewer.dims)
    many = extent.is_stack(layer)
    region = read_region(extent.region.value, layer, plane, viewer, any_slice=many)
    options = extent.options(region, _result_type(form))
    if many:
        return read_stack(layer, plane, replace(options, warm_start=form.warm_starts))
    if _target_folder(form) is not None:
        # Files are written plane by plane, be it one.
        return read_stack(layer, plane, replace(options, planes=plane_text(layer, plane)))
    return read_layer(layer, viewer.dims) if region is None else read_part(layer, plane, region)


def _target_folder(form: RunForm) -> Path | None:
    folder = form.advanced.folder.value
    return folder if isinstance(folder, Path) else None


def _result_type(form: RunForm) -> OutputType:
    """Return of which type a stack becomes: colours are shown within the range of theirs only."""
    wanted: OutputType = form.advanced.dtype.value
    return "source" if form.image_row.value.rgb else wanted


def _check_image(source: LayerInput, settings: Settings, *, degradations: bool) -> None:
    """Raise an `InputError` for what the run would refuse once torch is loaded."""
    covered = None
    if degradations:
        covered = find_covered(
            source.data,
            axes=source.axes,
            mask=None if source.mask is None else source.mask.covered,
            saturated=settings.mask_saturated,
        )
    to_planes(
        source.data,
        axes=source.axes,
        geometry=settings.geometry,
        covered=covered,
        gain=settings.gain,
    )
