"""The dock "Simulate degradation": a sharp image becomes a blurred, coarse and noisy one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from magicgui.widgets import CheckBox, ComboBox, PushButton, SpinBox
from napari.layers import Image, Layer
from napari.utils.notifications import show_error
from qtpy.QtCore import QTimer

from napari_blindsr.errors import BlindSRError, InputError
from napari_blindsr.plugin.layers.outputs import (
    METADATA_KEY,
    as_rgb,
    beside,
    in_plane,
    shown_psf,
)
from napari_blindsr.plugin.layers.read import read_layer
from napari_blindsr.plugin.widgets.dock import NO_IMAGE, Dock, allow
from napari_blindsr.plugin.widgets.fields import Rows, number, side_by_side, text_line
from napari_blindsr.plugin.widgets.follow import LayerFollower
from napari_blindsr.plugin.widgets.scroll import Scroll

if TYPE_CHECKING:
    import napari.viewer
    from numpy.typing import NDArray

    from napari_blindsr.plugin.layers.inputs import LayerInput
    from napari_blindsr.plugin.layers.outputs import LayerData

Blur: TypeAlias = Literal["gaussian", "disk", "line"]

BLURS: dict[Blur, tuple[str, str]] = {
    "gaussian": ("Gaussian (optics)", "full width at half maximum"),
    "disk": ("Out of focus", "diameter"),
    "line": ("Straight motion", "length"),
}
"""The label of each blur, and the meaning of its size."""

DELAY = 250
"""Milliseconds from the last change of a setting to the next simulation."""

LARGEST = 16_000_000
"""Most pixels of a sharp image: the viewer waits for the simulation."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """How a sharp image is degraded; the tooltips of the dock say what each number means.

    `size` is in pixels of the result, `angle` in degrees anticlockwise from the column axis, and
    `hidden` the share of missing pixels, in blocks of 4 × 4.
    """

    scale: int = 2
    blur: Blur = "gaussian"
    size: float = 2.0
    elongation: float = 1.0
    angle: float = 0.0
    photons: float = 500.0
    read_noise: float = 0.0
    jpeg: int = 0
    hidden: float = 0.0
    seed: int = 0


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
    made = degrade(scaled, kernel, Degradation(scale=simulation.scale))
    rng = np.random.default_rng(simulation.seed)
    photons = simulation.photons or None
    record = Acquisition(
        photons=photons,
        read_noise=simulation.read_noise if photons else 0.0,
        noise=0.0 if photons else simulation.read_noise / 100,
    )
    planes = made.image[..., None] if made.image.ndim == 2 else made.image
    recorded = np.stack([record.record(p, rng) for p in np.moveaxis(planes, -1, 0)], axis=-1)
    image: NDArray[Any] = np.clip(recorded.reshape(made.image.shape), 0, None)
    if simulation.jpeg:
        image = compressed(image, simulation.jpeg)
    hidden = _hidden((image.shape[0], image.shape[1]), simulation.hidden, rng)
    image[hidden] = 0
    image, truth = (values * (high - low) + low for values in (image, made.truth))
    degraded = Simulated(image=image, truth=truth, kernel=kernel, offset=made.offset, hidden=hidden)
    return _layers(source, simulation, degraded)


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulated:
    """A degraded image (h, w) or (h, w, 3) in the unit of its source, and the truth about it."""

    image: NDArray[Any]
    truth: NDArray[Any]
    kernel: NDArray[np.float32]
    offset: float
    hidden: NDArray[np.bool_]


def _hidden(shape: tuple[int, int], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw blocks of 4 × 4 pixels that cover a share of an image."""
    blocks = rng.random([-(-side // 4) for side in shape]) < share
    return np.asarray(np.kron(blocks, np.ones((4, 4)))[: shape[0], : shape[1]] > 0)


def _layers(source: LayerInput, simulation: Simulation, made: Simulated) -> list[LayerData]:
    """Return a simulation as layer data, in the place of its source."""
    scale = simulation.scale
    border = made.kernel.shape[0] // 2
    # The truth is the source without the border that the kernel needs.
    fine = _frame(source, origin=border, step=1)
    coarse = _frame(source, origin=border + made.offset, step=scale)

    def attributes(kind: str, name: str, frame: Any, **more: Any) -> dict[str, Any]:
        record: dict[str, Any] = {
            "kind": kind,
            "sample": source.name,
            "origin": f"simulated from layer {source.name}",
            "scale": scale,
            "geometry": "camera",
            "offset": made.offset,
        }
        if kind == "kernel":
            record["shown"] = "point spread function: the correlation kernel flipped in both axes"
            record["correlation_kernel"] = made.kernel.astype(float).tolist()
        metadata = {METADATA_KEY: record}
        return {
            "name": f"{source.name}: {name}",
            "metadata": metadata,
            **frame.attributes(),
            **more,
        }

    looks = source.appearance
    shown: dict[str, Any] = {"rgb": source.is_rgb}
    if not source.is_rgb:
        shown |= {"colormap": looks.colormap, "contrast_limits": looks.contrast_limits}
    truth, image = (_as_source(values, source) for values in (made.truth, made.image))
    middle = (made.kernel.shape[0] - 1) / 2 + made.offset
    psf = shown_psf(made.kernel, (middle, middle))
    place = beside(fine, source, psf.shape)
    limits = (0.0, float(psf.max()))
    layers: list[LayerData] = [
        (truth, attributes("truth", f"truth ×{scale}", fine, visible=False, **shown), "image"),
        (
            psf,
            attributes("kernel", "PSF", place, colormap="inferno", contrast_limits=limits),
            "image",
        ),
        (image, attributes("image", "simulated", coarse, **shown), "image"),
    ]
    if made.hidden.any():
        mask = made.hidden.astype(np.uint8)
        layers.append((mask, attributes("mask", "missing", coarse, opacity=0.4), "labels"))
    return [(in_plane(data, source), more, kind) for data, more, kind in layers]


def _as_source(values: NDArray[Any], source: LayerInput) -> NDArray[Any]:
    """Return values in the type of their source, if that has integers or colours."""
    if source.is_rgb or np.issubdtype(source.kind, np.integer):
        return as_rgb(values.astype(np.float32), source.kind)
    return values.astype(np.float32)


def _frame(source: LayerInput, *, origin: float, step: float) -> Any:
    """Return the placement of a grid on the plane of a source, in its pixels."""
    index = source.plane.index
    return source.frame.resampled(
        [origin if at is None else float(at) for at in index],
        [step if at is None else 1.0 for at in index],
    )


def kind_of(layer: Layer) -> str:
    """Return what a layer of a simulation shows."""
    return str(layer.metadata[METADATA_KEY]["kind"])


class SimulateWidget(Dock):
    """The dock "Simulate degradation".

    Attributes
    ----------
    image, scale, blur, size, elongation, angle, photons, read_noise, jpeg, hidden, seed : Widget
        The numbers of a `Simulation` by their ``value``.
    live : CheckBox
        Whether the simulated layers follow each change of a setting.
    simulate_button, keep_button : PushButton
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._layers: tuple[Layer, ...] = ()
        self.image = ComboBox(
            choices=lambda _: [x for x in self._viewer.layers if isinstance(x, Image)],
            tooltip="The sharp image.",
        )
        self.scale = SpinBox(value=2, min=1, max=8, tooltip="How many times coarser.")
        self.blur = ComboBox(
            choices=[(label, name) for name, (label, _) in BLURS.items()],
            tooltip="What caused the blur.",
        )
        self.size = number(
            2.0,
            low=0.1,
            high=50,
            step=0.1,
            tooltip="Gaussian: full width at half maximum; out of focus: diameter; motion:\n"
            "length. In pixels of the simulated image.",
        )
        self.elongation = number(
            1.0, low=1, high=10, step=0.1, tooltip="Long axis over short axis of a Gaussian."
        )
        self.angle = number(
            0.0,
            low=-180,
            high=180,
            step=5,
            tooltip="Angle of the long axis or the motion, in degrees, anticlockwise.",
        )
        self.photons = number(
            500,
            low=0,
            high=1e6,
            step=50,
            tooltip="Photons in the brightest pixel; their shot noise is simulated. 0: none.",
        )
        self.read_noise = number(
            0.0,
            low=0,
            high=1000,
            step=0.5,
            tooltip="Standard deviation of the camera's noise, in photons; without photons in\n"
            "hundredths of the brightest value.",
        )
        self.jpeg = SpinBox(value=0, min=0, max=100, tooltip="JPEG quality, 1 to 100. 0: none.")
        self.hidden = number(
            0.0, low=0, high=90, step=5, tooltip="How much of the image is missing, in percent."
        )
        self.seed = SpinBox(value=0, min=0, max=10**6, tooltip="Seed of noise and missing pixels.")
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
        for field in (self.photons, self.read_noise, self.jpeg, self.hidden):
            field.native.setSpecialValueText("none")
        self.status = text_line("What was simulated, or why nothing was.")
        buttons = side_by_side(self.simulate_button, self.keep_button)
        self.extend([buttons, self.live, self.status])
        self._lay_out()
        self._follower = LayerFollower(
            self.image,
            napari_viewer,
            follows=lambda x: isinstance(x, Image) and x not in self._layers,
        )
        # As a child of the dock it ends with it.
        self._timer = QTimer(self.native)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._simulate)
        self._connect()
        self._show_fields()

    def reset_choices(self, *_: Any) -> None:
        """Update the list of images. napari calls this when layers come or go."""
        if self._gone:
            return
        with self._follower.refreshing():
            self.image.reset_choices()
        self._allow()

    @property
    def simulation(self) -> Simulation:
        """The chosen settings."""
        return Simulation(
            scale=self.scale.value,
            blur=self.blur.value,
            size=self.size.value,
            elongation=self.elongation.value,
            angle=self.angle.value,
            photons=self.photons.value,
            read_noise=self.read_noise.value,
            jpeg=self.jpeg.value,
            hidden=self.hidden.value / 100,
            seed=self.seed.value,
        )

    def _lay_out(self) -> None:
        self._rows = Rows()
        for label, row in (
            ("Sharp image", self.image),
            ("Coarser by", self.scale),
            ("Blur", self.blur),
            ("Size (px)", self.size),
            ("Elongation", self.elongation),
            ("Angle (°)", self.angle),
            ("Photons", self.photons),
            ("Read noise", self.read_noise),
            ("JPEG quality", self.jpeg),
            ("Missing (%)", self.hidden),
            ("Seed", self.seed),
        ):
            self._rows.add(label, row)
        self.native.layout().insertWidget(0, Scroll(self._rows.native))

    def _connect(self) -> None:
        self.simulate_button.changed.connect(self._simulate)
        self.keep_button.changed.connect(self._keep)
        self.blur.changed.connect(self._show_fields)
        self.image.changed.connect(self._allow)
        fields = (self.scale, self.blur, self.size, self.elongation, self.angle, self.photons)
        for field in (*fields, self.read_noise, self.jpeg, self.hidden, self.seed):
            field.changed.connect(self._on_change)
        self._ends.append(self._follower.disconnect)

    def _show_fields(self, *_: Any) -> None:
        blur = self.blur.value
        self._rows.show([self.elongation], visible=blur == "gaussian")
        self._rows.show([self.angle], visible=blur != "disk")

    def _allow(self, *_: Any) -> None:
        reason = "" if self.image.value is not None else NO_IMAGE
        allow(self.simulate_button, reason)
        here = any(layer in self._viewer.layers for layer in self._layers)
        allow(self.keep_button, "" if here else "Nothing was simulated yet.")

    def _on_change(self, *_: Any) -> None:
        if self.live.value and any(layer in self._viewer.layers for layer in self._layers):
            self._timer.start(DELAY)

    def _keep(self) -> None:
        self._layers = ()
        self._allow()

    def _simulate(self, *_: Any) -> None:
        if self._gone or self.image.value is None:
            return
        self._timer.stop()
        if self.image.value in self._layers:
            # A simulation does not replace the image that it is made from.
            self._layers = ()
        try:
            source = read_layer(self.image.value, self._viewer.dims)
            made = simulate(source, self.simulation)
        except BlindSRError as error:
            self.status.value = str(error)
            show_error(str(error))
            return
        self._show(made)
        name, what = BLURS[self.blur.value]
        self.status.value = f"{name}, {what} {self.size.value:g} px, ×{self.scale.value} coarser."

    def _show(self, made: list[LayerData]) -> None:
        """Show what was simulated in the layers of the simulation before, if they are there."""
        before = {kind_of(x): x for x in self._layers if x in self._viewer.layers}
        source, layers = self.image.value, []
        for data, attributes, kind in made:
            layer = Layer.create(data, attributes, kind)
            earlier = before.pop(kind_of(layer), None)
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
        if len(layers) == len(self._viewer.layers) - 1:
            self._viewer.reset_view()
        self._allow()

    def _on_closed(self) -> None:
        self._timer.stop()
