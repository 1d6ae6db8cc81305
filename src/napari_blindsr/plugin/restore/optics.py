"""The kind of image, and the optics of its microscope, which bound the blur."""

from __future__ import annotations

from magicgui.widgets import ComboBox, FloatSpinBox
from napari.layers import Image

from napari_blindsr.optics import RANGES, UNKNOWN, Optics
from napari_blindsr.plugin.widgets.fields import number

FLUORESCENCE, BRIGHTFIELD, ELECTRON, OTHER = "fluorescence", "brightfield", "electron", "other"
KINDS = (
    ("Fluorescence", FLUORESCENCE),
    ("Brightfield, photo", BRIGHTFIELD),
    ("Electron", ELECTRON),
    ("Other", OTHER),
)
WITH_LIGHT = (FLUORESCENCE, BRIGHTFIELD)

OBJECTIVES = (
    ("4× / 0.13", 0.13),
    ("10× / 0.30", 0.30),
    ("20× / 0.50", 0.50),
    ("20× / 0.80", 0.80),
    ("40× / 0.75", 0.75),
    ("40× / 0.95", 0.95),
    ("40× / 1.30 oil", 1.30),
    ("60× / 1.20 water", 1.20),
    ("63× / 1.40 oil", 1.40),
    ("100× / 1.45 oil", 1.45),
    ("100× / 1.49 oil (TIRF)", 1.49),
)
"""Common objectives and their numerical apertures."""
DYES = (
    ("DAPI, Hoechst", 460.0),
    ("CFP", 475.0),
    ("GFP, FITC, Alexa 488", 510.0),
    ("YFP", 527.0),
    ("Cy3, TRITC", 570.0),
    ("mCherry, Alexa 594", 610.0),
    ("Cy5, Alexa 647", 668.0),
    ("White light (middle)", 550.0),
)
"""Common fluorophores and the peaks of their emission, in nm."""

AIR = 1.0
MEDIA = ((1.3, 1.515), (1.0, 1.33))
"""Least apertures of objectives for oil and water, and the refractive indices of these."""

_remembered: dict[str, float] = {}
"""Aperture and wavelength of the last run; they hold for the session."""


class OpticsOptions:
    """The kind of image, and the objective, the light and the pixel size of a micrograph."""

    def __init__(self) -> None:
        self.kind = ComboBox(
            name="kind",
            label="What it is",
            value=OTHER,
            choices=list(KINDS),
            tooltip="What kind of image it is. The optics of a light microscope bound how narrow\n"
            "its blur can be.",
        )
        self.objective = _list(
            "Objective", OBJECTIVES, "Common objectives, by magnification and aperture."
        )
        self.aperture = _number(
            "Aperture (NA)", "numerical_aperture", 0.05, "Numerical aperture of the objective."
        )
        self.dye = _list("Fluorophore", DYES, "Common fluorophores, by the peak of their emission.")
        self.emission = _number(
            "Emission (nm)", "emission_nm", 10, "Wavelength of the light, in nm."
        )
        self.pixel_size = _number(
            "Pixel size (nm)",
            "pixel_size_nm",
            5,
            "Side of a pixel of the image at the specimen, in nm; taken from the layer's scale\n"
            "and unit until it is changed.",
        )
        self.rows = (self.objective, self.aperture, self.dye, self.emission, self.pixel_size)
        self._suggested = (self.kind.value, float(self.pixel_size.value))
        self.aperture.value = _remembered.get("numerical_aperture", 0.0)
        self.emission.value = _remembered.get("emission_nm", 0.0)
        self.objective.changed.connect(lambda value: _take(self.aperture, value))
        self.dye.changed.connect(lambda value: _take(self.emission, value))

    def optics(self) -> Optics:
        """Return the optics, if all numbers are known."""
        numbers = self.aperture.value, self.emission.value, self.pixel_size.value
        if not self.matters or not all(numbers):
            return UNKNOWN
        aperture, emission, pixel_size = map(float, numbers)
        return Optics(numerical_aperture=aperture, emission_nm=emission, pixel_size_nm=pixel_size)

    def take(self, optics: Optics) -> None:
        """Set the numbers as optics are; unknown ones stay if they have no effect."""
        if optics == self.optics():
            return
        if not self.matters:
            self.kind.value = FLUORESCENCE
        self.aperture.value = optics.numerical_aperture or 0.0
        self.emission.value = optics.emission_nm or 0.0
        if optics.pixel_size_nm is not None:
            self.pixel_size.value = optics.pixel_size_nm

    @property
    def index(self) -> float:
        """Refractive index of the medium that an objective of this aperture needs, 0 if unknown."""
        aperture = float(self.aperture.value)
        if not aperture:
            return 0.0
        return next((index for least, index in MEDIA if aperture >= least), AIR)

    @property
    def hint(self) -> str:
        """What to add if some numbers were given, but not all; else nothing."""
        if not self.matters or self.optics() != UNKNOWN:
            return ""
        if not self.aperture.value and not self.emission.value:
            return ""
        return "the optics have no effect until aperture, emission and pixel size are all known"

    @property
    def matters(self) -> bool:
        """Whether the image is of a light microscope."""
        return self.kind.value in WITH_LIGHT

    def remember(self) -> None:
        """Keep the values for the docks of this session."""
        if self.matters:
            _remembered["numerical_aperture"] = float(self.aperture.value)
            _remembered["emission_nm"] = float(self.emission.value)

    def show_layer(self, layer: Image, size: float | None) -> None:
        """Show a layer's pixel size in nm and the likely kind of image, unless the user chose."""
        kind, shown = self._suggested
        # What listens to the fields may come here again.
        if self.pixel_size.value == shown:
            with self.pixel_size.changed.blocked():
                self.pixel_size.value = 0.0 if size is None else float(size)
            # As the field rounds it.
            shown = float(self.pixel_size.value)
        likely = OTHER if size is None else BRIGHTFIELD if layer.rgb else FLUORESCENCE
        follows = self.kind.value == kind
        self._suggested = (likely if follows else kind, shown)
        if follows:
            self.kind.value = likely


def _list(label: str, entries: tuple[tuple[str, float], ...], tooltip: str) -> ComboBox:
    choices = [("Choose, or type below", 0.0), *entries]
    return ComboBox(name=label, label=label, value=0.0, choices=choices, tooltip=tooltip)


def _number(label: str, name: str, step: float, tooltip: str) -> FloatSpinBox:
    high = RANGES[name][1]
    return number(
        0,
        name=name,
        label=label,
        low=0,
        high=high,
        step=step,
        zero="unknown",
        tooltip=tooltip,
    )


def _take(field: FloatSpinBox, value: float) -> None:
    if value:
        field.value = value
