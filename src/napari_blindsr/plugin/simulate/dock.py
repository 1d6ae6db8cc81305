"""The dock "Simulate degradation": a sharp image becomes a blurred, coarse and noisy one."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import CheckBox, ComboBox, PushButton, create_widget
from napari.layers import Image, Layer
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer

from napari_blindsr.errors import BlindSRError, InputError
from napari_blindsr.plugin.layers.outputs import METADATA_KEY, as_rgb, record_of
from napari_blindsr.plugin.layers.read import read_layer
from napari_blindsr.plugin.layers.sample_data import degraded_layers
from napari_blindsr.plugin.widgets.dock import NO_IMAGE, Dock, allow
from napari_blindsr.plugin.widgets.fields import Rows, side_by_side, text_line
from napari_blindsr.plugin.widgets.scroll import Scroll

if TYPE_CHECKING:
    import napari.viewer
    from numpy.typing import NDArray

    from napari_blindsr.evaluation.samples import Sample
    from napari_blindsr.plugin.layers.inputs import LayerInput
    from napari_blindsr.plugin.layers.outputs import LayerData

BLURS = {
    "gaussian": ("Gaussian (optics)", "full width at half maximum"),
    "disk": ("Out of focus", "diameter"),
    "line": ("Straight motion", "length"),
}
"""The label of each blur, and the meaning of its size."""

DELAY = 250
"""Milliseconds from the last change of a setting to the next simulation."""

LARGEST = 16_000_000
"""Most pixels of a sharp image: the viewer waits for the simulation."""


def _row(default: Any, label: str, tooltip: str, **options: Any) -> Any:
    """Return a setting, with the options of its field."""
    return field(default=default, metadata={"label": label, "tooltip": tooltip, **options})


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """How a sharp image is degraded, and what the dock shows of each setting.

    Missing pixels are hidden in blocks of 4 × 4.
    """

    scale: int = _row(2, "Coarser by", "How many times coarser.", min=1, max=8)
    blur: str = _row(
        "gaussian",
        "Blur",
        "What caused the blur.",
        choices=[(label, name) for name, (label, _) in BLURS.items()],
    )
    size: float = _row(
        2.0,
        "Size (px)",
        "Gaussian: full width at half maximum; out of focus: diameter; motion:\n"
        "length. In pixels of the simulated image.",
        min=0.1,
        max=50,
        step=0.1,
    )
    elongation: float = _row(
        1.0, "Elongation", "Long axis over short axis of a Gaussian.", min=1, max=10, step=0.1
    )
    angle: float = _row(
        0.0,
        "Angle (°)",
        "Angle of the long axis or the motion, in degrees, anticlockwise.",
        min=-180,
        max=180,
        step=5,
    )
    photons: float = _row(
        500.0,
        "Photons",
        "Photons in the brightest pixel; their shot noise is simulated. 0: none.",
        min=0,
        max=1e6,
        step=50,
    )
    read_noise: float = _row(
        0.0,
        "Read noise",
        "Standard deviation of the camera's noise, in photons; without photons in\n"
        "hundredths of the brightest value.",
        min=0,
        max=1000,
        step=0.5,
    )
    jpeg: int = _row(0, "JPEG quality", "JPEG quality, 1 to 100. 0: none.", min=0, max=100)
    hidden: float = _row(
        0.0, "Missing (%)", "How much of the image is missing, in percent.", min=0, max=90, step=5
    )
    seed: int = _row(0, "Seed", "Seed of noise and missing pixels.", min=0, max=10**6)


def kernel_of(simulation: Simulation) -> NDArray[np.float32]:
    """Return the correlation kernel (K, K), in pixels of the sharp image."""
    # Not before now: this imports torch, which the dock shall not wait for.
    import torch  # noqa: PLC0415

    from napari_blindsr.physics.kernels import side_for  # noqa: PLC0415
    from napari_blindsr.physics.kernels.disk import render_disk  # noqa: PLC0415
    from napari_blindsr.physics.kernels.line import render_line  # noqa: PLC0415
    from napari_blindsr.physics.observation import kernel_center  # noqa: PLC0415
    from napari_blindsr.physics.simulate import gaussian_kernel  # noqa: PLC0415

    scale, size = simulation.scale, simulation.size * simulation.scale
    # The axes of an image point right and down; a screen's angle turns the other way.
    angle = np.deg2rad(simulation.angle)
    if simulation.blur == "gaussian":
        sigma = size / np.sqrt(8 * np.log(2))
        stretch = np.sqrt(simulation.elongation)
        side = side_for(3.2 * sigma * stretch, scale)
        variances = (sigma * stretch) ** 2, (sigma / stretch) ** 2
        return gaussian_kernel(variances, -angle, scale=scale, size=side)
    side = side_for(size / 2 + 1, scale)
    center = kernel_center(side, scale, "camera")
    if simulation.blur == "disk":
        kernels = render_disk(torch.tensor([size / 2]), size=side, center=center)
    else:
        half = torch.tensor([max(0.0, (size - 1) / 2)])
        kernels = render_line(half, torch.tensor([angle]), size=side, center=(center, center))
    return np.asarray(kernels[0].numpy(), dtype=np.float32)


def simulate(source: LayerInput, simulation: Simulation) -> list[LayerData]:
    """Return truth, PSF, the degraded image, and a mask of missing pixels as layer data.

    Raises an `InputError` if the image is too large or too small, or is constant.
    """
    from napari_blindsr.evaluation.samples import Sample  # noqa: PLC0415
    from napari_blindsr.physics.acquisition import Acquisition, compressed  # noqa: PLC0415
    from napari_blindsr.physics.simulate import Degradation, degrade  # noqa: PLC0415

    data = np.asarray(source.data, dtype=np.float64)
    if data.shape[0] * data.shape[1] > LARGEST:
        raise InputError(
            f"the image has {data.shape[0]} × {data.shape[1]} pixels; expected at most "
            f"{LARGEST // 10**6} million: crop it first"
        )
    if not np.isfinite(data).all() or np.ptp(data) == 0:
        raise InputError("the image is constant or has values that are not finite")
    low, high = min(0.0, float(data.min())), float(data.max())
    kernel = kernel_of(simulation)
    scaled = ((data - low) / (high - low)).astype(np.float32)
    degraded = degrade(scaled, kernel, Degradation(scale=simulation.scale))
    rng = np.random.default_rng(simulation.seed)
    photons = simulation.photons or None
    record = Acquisition(
        photons=photons,
        read_noise=simulation.read_noise if photons else 0.0,
        noise=0.0 if photons else simulation.read_noise / 100,
    )
    planes = degraded.image[..., None] if degraded.image.ndim == 2 else degraded.image
    recorded = np.stack([record.record(p, rng) for p in np.moveaxis(planes, -1, 0)], axis=-1)
    image: NDArray[Any] = np.clip(recorded.reshape(degraded.image.shape), 0, None)
    if simulation.jpeg:
        image = compressed(image, simulation.jpeg)
    hidden = _hidden((image.shape[0], image.shape[1]), simulation.hidden / 100, rng)
    image[hidden] = 0
    image, truth = (values * (high - low) + low for values in (image, degraded.truth))
    made = Sample(
        name=source.name,
        label="",
        image=_as_source(image, source),
        truth=_as_source(truth, source),
        kernel=kernel,
        scale=simulation.scale,
        geometry="camera",
        offset=degraded.offset,
        pixel_size=None,
        origin=f"simulated from layer {source.name}",
    )
    return _layers(source, made, hidden)


def _hidden(shape: tuple[int, int], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw blocks of 4 × 4 pixels that cover a share of an image."""
    blocks = rng.random([-(-side // 4) for side in shape]) < share
    return np.asarray(np.kron(blocks, np.ones((4, 4)))[: shape[0], : shape[1]] > 0)


def _layers(source: LayerInput, made: Sample, hidden: NDArray[np.bool_]) -> list[LayerData]:
    """Return a simulation and its missing pixels as layer data, in the place of its source."""
    frame, plane, looks = source.frame, source.plane, source.appearance
    border = made.kernel.shape[0] // 2
    # The truth is the source without the border that the kernel needs.
    fine = plane.grid(frame, origin=border, step=1)
    coarse = plane.grid(frame, origin=border + made.offset, step=made.scale)
    layers = degraded_layers(made, coarse=coarse, fine=fine, place=(frame, plane))
    (_, truth, _), _, (_, image, _) = layers
    truth["visible"] = False
    if not source.is_rgb:
        for attributes in (truth, image):
            attributes |= {"colormap": looks.colormap, "contrast_limits": looks.contrast_limits}
    if hidden.any():
        record = {**image["metadata"][METADATA_KEY], "kind": "mask"}
        mask = {
            "name": f"{source.name}: missing",
            "metadata": {METADATA_KEY: record},
            "opacity": 0.4,
            **coarse.attributes(),
        }
        layers.append((hidden.astype(np.uint8), mask, "labels"))
    return [(plane.expanded(data), attributes, kind) for data, attributes, kind in layers]


def _as_source(values: NDArray[Any], source: LayerInput) -> NDArray[Any]:
    """Return values in the type of their source, if that has integers or colours."""
    if source.is_rgb or np.issubdtype(source.kind, np.integer):
        return as_rgb(values.astype(np.float32), source.kind)
    return values.astype(np.float32)


def _field(setting: Field[Any]) -> Any:
    """Return the field of a setting; where 0 is none, it says so."""
    options = dict(setting.metadata)
    label = options.pop("label")
    made = create_widget(setting.default, name=setting.name, label=label, options=options)
    if setting.name in ("photons", "read_noise", "jpeg", "hidden"):
        made.native.setSpecialValueText("none")
    return made


class SimulateWidget(Dock):
    """The dock "Simulate degradation".

    Attributes
    ----------
    image : ComboBox
        The settings, too, are attributes: the fields of a `Simulation` by their names.
    live : CheckBox
        Whether the simulated layers follow each change of a setting.
    simulate_button, keep_button : PushButton
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._layers: tuple[Layer, ...] = ()
        self.image = ComboBox(
            label="Sharp image",
            choices=lambda _: [x for x in self._viewer.layers if isinstance(x, Image)],
            tooltip="The sharp image.",
        )
        rows = [_field(entry) for entry in fields(Simulation)]
        self._form = Rows(self.image, *rows)
        self.live = CheckBox(
            value=True,
            text="Follow changes",
            tooltip="Simulate again, into the same layers, when a setting changes.",
        )
        self.simulate_button = PushButton(
            text="Simulate", tooltip="Add the simulated image, its truth and its PSF as layers."
        )
        self.keep_button = PushButton(
            text="Keep layers", tooltip="Leave these layers as they are, and begin new ones."
        )
        self.status = text_line("What was simulated, or why nothing was.")
        buttons = side_by_side(self.simulate_button, self.keep_button)
        self.extend([buttons, self.live, self.status])
        self.native.layout().insertWidget(0, Scroll(self._form.native))
        self._follow(self.image, follows=lambda x: isinstance(x, Image) and x not in self._layers)
        # As a child of the dock it ends with it.
        self._timer = QTimer(self.native)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._simulate)
        self.simulate_button.changed.connect(self._simulate)
        self.keep_button.changed.connect(self._keep)
        self.blur.changed.connect(self._show_fields)
        self.image.changed.connect(self._describe)
        for row in rows:
            row.changed.connect(self._on_change)
        self._show_fields()

    def _show_fields(self, *_: Any) -> None:
        blur = self.blur.value
        self._form.show(self.elongation, visible=blur == "gaussian")
        self._form.show(self.angle, visible=blur != "disk")

    def _describe(self, *_: Any) -> None:
        reason = "" if self.image.value is not None else NO_IMAGE
        allow(self.simulate_button, reason)
        here = any(layer in self._viewer.layers for layer in self._layers)
        allow(self.keep_button, "" if here else "Nothing was simulated yet.")

    def _on_change(self, *_: Any) -> None:
        if self.live.value and any(layer in self._viewer.layers for layer in self._layers):
            self._timer.start(DELAY)

    def _keep(self) -> None:
        self._layers = ()
        self._describe()

    def _simulate(self, *_: Any) -> None:
        if self._gone or self.image.value is None:
            return
        self._timer.stop()
        if self.image.value in self._layers:
            # A simulation does not replace the image that it is made from.
            self._layers = ()
        try:
            source = read_layer(self.image.value, self._viewer.dims)
            settings = {entry.name: getattr(self, entry.name).value for entry in fields(Simulation)}
            made = simulate(source, Simulation(**settings))
        except BlindSRError as error:
            self.status.value = str(error)
            show_error(str(error))
            return
        self._show(made)
        name, what = BLURS[self.blur.value]
        self.status.value = f"{name}, {what} {self.size.value:g} px, ×{self.scale.value} coarser."

    def _show(self, made: list[LayerData]) -> None:
        """Show what was simulated in the layers of the simulation before, if they are there."""
        before = {record_of(x)["kind"]: x for x in self._layers if x in self._viewer.layers}
        shown, source, layers = set(self._layers), self.image.value, []
        for data, attributes, kind in made:
            layer = Layer.create(data, attributes, kind)
            earlier = before.pop(record_of(layer)["kind"], None)
            if earlier is None or earlier.ndim != layer.ndim:
                layers.append(self._viewer.add_layer(layer))
                continue
            earlier.data, earlier.name, earlier.metadata = layer.data, layer.name, layer.metadata
            for name in ("scale", "translate", "rotate", "shear", "affine"):
                setattr(earlier, name, getattr(layer, name))
            if isinstance(layer, Image):
                earlier.contrast_limits = layer.contrast_limits
            layers.append(earlier)
        for layer in before.values():
            self._viewer.layers.remove(layer)
        # The source stays chosen when napari selects another layer.
        self._layers = tuple(layers)
        if source in self.image.choices:
            self.image.value = source
        if shown != set(layers):
            self._view.hold()
        self._view.fit([source, *layers])
        self._describe()

    def _on_closed(self) -> None:
        self._timer.stop()
