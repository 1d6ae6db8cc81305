"""From the form to what a run is given: read and checked at once, before any long work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_blindsr._napari.controls import RunForm
from napari_blindsr._napari.inputs import LayerInput
from napari_blindsr._napari.known_kernel import read_kernel_layer
from napari_blindsr._napari.layers import nanometres, read_layer
from napari_blindsr._napari.masks import read_mask
from napari_blindsr.arrays import find_covered, to_planes
from napari_blindsr.errors import InputError
from napari_blindsr.settings import Settings

if TYPE_CHECKING:
    from napari.components import Dims


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """All that a run needs.

    Attributes
    ----------
    source : LayerInput
    settings : Settings
    kernel_folder : Path or None
        Folder of kernels that the settings' family draws from, still to be read.
    """

    source: LayerInput
    settings: Settings
    kernel_folder: Path | None = None


def read_request(form: RunForm, dims: Dims) -> Request:
    """Read the layers that a form names. Call it on the main thread.

    Parameters
    ----------
    form : RunForm
    dims : napari.components.Dims
        The viewer's.

    Raises
    ------
    BlindSRError
        If something cannot be used: a setting, a layer, the file of weights.
    """
    settings = form.settings()
    layer = form.image_row.value
    source = read_layer(layer, dims)
    mask_layer, kernel_layer = form.masking.mask.value, form.kernel_layer_row.value
    if form.method.degradations and mask_layer is not None:
        source = replace(source, mask=read_mask(mask_layer, source, dims))
    if settings.kernel == "known":
        if kernel_layer is None:
            raise InputError("no kernel layer is chosen; expected an image layer with the kernel")
        size = nanometres(layer, source.plane)
        kernel = read_kernel_layer(
            kernel_layer,
            dims,
            scale=settings.scale,
            pixel_size=None if size is None else size / settings.scale,
        )
        source = replace(source, kernel=kernel)
    _check_image(source, settings, degradations=form.method.degradations)
    if settings.used_finish == "usrnet" and settings.usrnet_weights is not None:
        # Not before now: it imports what fetches files.
        from napari_blindsr.weights import local_usrnet  # noqa: PLC0415

        local_usrnet(settings.usrnet_weights)
    folder = None if form.family is None else form.family.folder
    return Request(source=source, settings=settings, kernel_folder=folder)


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
