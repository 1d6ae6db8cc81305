"""All settings of a run, checked once, readable from and writable to JSON.

Nothing here imports torch, so that menus, help texts and widgets cost nothing.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from napari_blindsr.errors import (
    BlindSRError,
    SettingsError,
    first_line,
    near,
    require,
    require_choices,
)
from napari_blindsr.methods import (
    METHOD_TABLE,
    METHODS,
    Method,
    Schedule,
    method_named,
    repeats_cheaply,
)
from napari_blindsr.optics import UNKNOWN, Optics
from napari_blindsr.physics.kernels import FAMILIES, Airy, Automatic, KernelFamily
from napari_blindsr.types import (
    BORDERS,
    FINISHES,
    GEOMETRIES,
    PRECISIONS,
    QUALITIES,
    SCALES,
    Border,
    Finish,
    Geometry,
    Precision,
    Quality,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ONE_BLUR = (1, 1)
"""Rows and columns of regions if the blur does not vary."""
FEWEST_RESTORATIONS = 2
"""Fewest restorations for an uncertainty without the image prior's error map."""
SMALLEST_TILE = 256
"""Smallest side of a tile in pixels of the result; smaller ones would be mostly overlap."""


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral)


_KINDS: tuple[tuple[str, Any, str], ...] = (
    ("bounded", bool | None, "true, false or none"),
    ("mask_saturated", bool, "true or false"),
    ("device", str, "a name such as 'auto' or 'cpu'"),
    ("usrnet_weights", str | None, "the path of a file or none"),
)
"""Settings with any value of a kind."""

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one run; together with the image they repeat it.

    Attributes
    ----------
    scale : int
        How many times finer the result is, 1…8; 1 removes blur alone.
    method : str
        One of `napari_blindsr.methods.METHODS`. "fast", the default, estimates the blur and
        restores the image with pretrained networks; the others optimise and learn from this image
        alone, unless USRNet reconstructs it.
    kernel : KernelFamily or "known"
        Family that the kernel is estimated from, or "known" if the kernel is given.
    geometry : {"camera", "benchmark"}
        "camera": the outer pixel edges of input and result coincide. "benchmark": the
        geometry of the published test data.
    border : {"extend", "circular"}
        "extend" assumes nothing about what lies outside; "circular" wraps around.
    bounded : bool or None
        Whether the result is limited to the input's range of intensities, although blurring lowers
        peaks. None limits it for ``benchmark`` geometry alone. Applies to the image generator; an
        error with method "fast".
    gain : float or "auto"
        Brightness of the image relative to the result; below 1 for dark inputs. "auto" assumes
        that the brightest pixels are white. Not for MLMC.
    noise : float or "auto"
        Standard deviation of the noise in the image's intensity unit, which DDSR does not fit and
        the reconstruction removes; "auto" estimates it. With 0 the reconstruction estimates it
        for ``camera`` geometry, and assumes none for ``benchmark`` geometry.
    mask_saturated : bool
        Treat pixels at the largest value of an integer type as missing. Not for MLMC.
    finish : {"none", "prior", "usrnet", "measurement"} or None
        How the image is reconstructed once the kernel is estimated: "none" keeps the image of the
        optimisation, "prior" uses the image prior that ships, "usrnet" USRNet, "measurement" the
        classical reconstruction without a neural network. None is that of the method.
    usrnet_weights : str or None
        File with the published weights of USRNet; None uses the cache, or fetches them.
    quality : {"fast", "refined"}
        "refined": the image prior restores the image in four rotations, and their mean is the
        result. It takes four times as long, is a little nearer to the truth, and has fewer
        artefacts. No effect on other reconstructions.
    schedule : Schedule
        Of the optimisation; not used by "fast".
    seed : int
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : {"auto", "float32", "bfloat16"}
    threads : int or None
        CPU threads to compute with; None keeps torch's choice.
    tile : int, "auto" or None
        Largest side of a tile in pixels of the result; tiles overlap. "auto" uses tiles beyond
        2048 × 2048 pixels, None never. MLMC and DDSR without a reconstruction solve the whole image
        at once.
    uncertainty : int
        Number of further restorations from which the standard deviation of each pixel is
        estimated; 0 for none. The image prior predicts it in one, however many are asked for.
        Others, at least 2, use other kernels that fit the image, or fresh noise. Not where an
        optimisation would have to be repeated.
    field : tuple of int
        Rows and columns of regions with a kernel each; kernels are interpolated between the
        regions' middles. (1, 1) is one kernel for all. Not with methods that optimise, unless a
        grid of kernels is given.
    optics : Optics
        Numerical aperture, emission wavelength and pixel size of a microscope, as far as they are
        known; they are combined with the blur estimate. Not used by methods that optimise.

    Examples
    --------
    >>> settings = Settings(scale=2, method="fast")
    >>> Settings.from_json(settings.to_json()) == settings
    True
    >>> Settings(scale=99)
    Traceback (most recent call last):
    napari_blindsr.errors.SettingsError: scale is 99; expected a whole number from 1 to 8
    """

    scale: int
    method: str = METHODS[0]
    kernel: KernelFamily | Literal["known"] = field(default_factory=Automatic)
    geometry: Geometry = "camera"
    border: Border = "extend"
    bounded: bool | None = None
    gain: float | Literal["auto"] = 1.0
    noise: float | Literal["auto"] = 0.0
    mask_saturated: bool = False
    finish: Finish | None = None
    usrnet_weights: str | None = None
    quality: Quality = "fast"
    schedule: Schedule = field(default_factory=Schedule)
    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    tile: int | Literal["auto"] | None = "auto"
    uncertainty: int = 0
    field: tuple[int, int] = ONE_BLUR
    optics: Optics = UNKNOWN

    def __post_init__(self) -> None:
        require(
            isinstance(self.scale, int) and self.scale in SCALES,
            f"scale is {self.scale!r}; expected a whole number from {SCALES[0]} to {SCALES[-1]}",
        )
        method = method_named(self.method)
        require(
            self.kernel == "known" or isinstance(self.kernel, KernelFamily),
            f"kernel is {self.kernel!r}; expected a kernel family or 'known'",
        )
        require_choices(
            self, geometry=GEOMETRIES, border=BORDERS, quality=QUALITIES, precision=PRECISIONS
        )
        require(
            self.gain == "auto" or (_is_number(self.gain) and self.gain > 0),
            f"gain is {self.gain!r}; expected a positive number or 'auto'",
        )
        require(
            self.noise == "auto" or (_is_number(self.noise) and self.noise >= 0),
            f"noise is {self.noise!r}; expected a number from 0 or 'auto'",
        )
        require(
            self.finish is None or self.finish in FINISHES,
            f"finish is {self.finish!r}; expected one of {list(FINISHES)}",
        )
        self._check_method(method)
        require(
            isinstance(self.seed, int) and 0 <= self.seed < 2**63,
            f"seed is {self.seed!r}; expected a whole number from 0 to 2**63 − 1",
        )
        require(
            self.threads is None or (_is_whole(self.threads) and self.threads >= 1),
            f"threads is {self.threads!r}; it must be at least 1",
        )
        require(
            self.tile is None
            or self.tile == "auto"
            or (isinstance(self.tile, int) and self.tile >= SMALLEST_TILE),
            f"tile is {self.tile!r}; expected a whole number from {SMALLEST_TILE}, 'auto' or None",
        )
        self._check_uncertainty()
        require(
            isinstance(self.optics, Optics),
            f"optics is {self.optics!r}; expected an Optics, such as "
            "Optics(numerical_aperture=1.2, emission_nm=520, pixel_size_nm=65)",
        )
        self._check_field(method)
        for name, kinds, expected in _KINDS:
            value = getattr(self, name)
            require(isinstance(value, kinds), f"{name} is {value!r}; expected {expected}")

    def _check_method(self, method: Method) -> None:
        """Check what only some methods take."""
        require(
            method.degradations or (self.gain == 1 and not self.mask_saturated),
            f"method {self.method!r} takes no gain and no mask; use one of "
            f"{[m.name for m in METHOD_TABLE if m.degradations]}",
        )
        require(
            method.optimises or self.finish != "none",
            f"method {self.method!r} needs a non-blind reconstruction; finish is 'none', expected "
            f"one of {[finish for finish in FINISHES if finish != 'none']}",
        )
        require(
            method.optimises or self.bounded is None,
            f"bounded is {self.bounded}, but method {self.method!r} has no image generator to "
            "bound",
        )

    def _check_uncertainty(self) -> None:
        require(
            isinstance(self.uncertainty, int)
            and (self.uncertainty == 0 or self.uncertainty >= self.fewest_restorations),
            f"uncertainty is {self.uncertainty!r}; expected 0, which is off, or a number of "
            f"restorations from {self.fewest_restorations} with finish {self.used_finish!r}",
        )
        require(
            self.uncertainty == 0 or self.takes_uncertainty,
            f"uncertainty is {self.uncertainty}, but method {self.method!r} optimises, which would "
            "take as many times as long; expected 0, a method that does not "
            f"({[m.name for m in METHOD_TABLE if not m.optimises]}), or a known kernel with a "
            "finish",
        )

    def _check_field(self, method: Method) -> None:
        rows_and_columns = (
            isinstance(self.field, tuple)
            and len(self.field) == 2
            and all(type(count) is int and count >= 1 for count in self.field)
        )
        require(
            rows_and_columns,
            f"field is {self.field!r}; expected rows and columns of regions, whole numbers from 1",
        )
        if self.field == ONE_BLUR:
            return
        name = f"field is {self.field[0]} × {self.field[1]}"
        require(
            not method.optimises or self.kernel == "known",
            f"{name}, but method {self.method!r} optimises one kernel for the whole image; "
            f"expected 1 × 1, a method that estimates the blur "
            f"({[m.name for m in METHOD_TABLE if not m.optimises]}), or a grid of known kernels",
        )
        require(
            self.tile is not None,
            f"{name} and tile is None, but a blur that varies is removed tile by tile; expected a "
            "tile of 'auto' or a number",
        )
        require(
            self.uncertainty == 0,
            f"{name} and uncertainty is {self.uncertainty}, which is known for one blur only; "
            "expected 0, or a field of 1 × 1",
        )

    @property
    def fewest_restorations(self) -> int:
        """Fewest restorations for an uncertainty."""
        return 1 if self.used_finish == "prior" else FEWEST_RESTORATIONS

    @property
    def takes_uncertainty(self) -> bool:
        """Whether an uncertainty can be estimated."""
        return repeats_cheaply(
            method_named(self.method), known=self.kernel == "known", finish=self.used_finish
        )

    @property
    def is_bounded(self) -> bool:
        """Whether the result is bounded: as set, or by the geometry."""
        return self.geometry == "benchmark" if self.bounded is None else self.bounded

    @property
    def recentres(self) -> bool:
        """Whether kernel and image are centred: always, unless the schedule forbids it."""
        return self.schedule.recentre or not method_named(self.method).optimises

    @property
    def used_finish(self) -> Finish:
        """The reconstruction: as set, or that of the method."""
        return method_named(self.method).finish if self.finish is None else self.finish

    @property
    def estimates_noise(self) -> bool:
        """Whether the reconstruction is given an estimate of the noise.

        With 0 as well in ``camera`` geometry, since every camera has noise; the published test data
        have none.
        """
        return self.noise == "auto" or (self.noise == 0 and self.geometry == "camera")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        record["kernel"] = "known" if self.kernel == "known" else self.kernel.to_json()
        record["schedule"] = dataclasses.asdict(self.schedule)
        record["field"] = list(self.field)
        record["optics"] = self.optics.report()
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Settings:
        """Rebuild settings from what `to_json` returned; what is left out has its default.

        A `SettingsError` names an unknown key, or a value that cannot be used.
        """
        require(isinstance(record, dict), f"the settings are {record!r:.60}; expected an object")
        require("scale" in record, "the settings have no 'scale'; expected a whole number")
        values = dict(record)
        for name, kind in (("schedule", Schedule), ("optics", Optics)):
            if name in values:
                values[name] = _made(kind, name, values[name])
        if values.get("kernel", "known") != "known":
            values["kernel"] = _family_from(values["kernel"], values.get("optics"))
        if isinstance(values.get("field"), list):
            values["field"] = tuple(values["field"])
        return _made(cls, "the settings", values)


def _family_from(record: Any, optics: Optics | None) -> KernelFamily:
    """Return the kernel family of a record, or of a name."""
    if isinstance(record, str):
        return as_family(record, optics)
    name = record.get("name") if isinstance(record, dict) else None
    require(isinstance(name, str), f"kernel is {record!r:.60}; expected an object with a name")
    family = type(kernel_family(str(name)))
    parameters = {key: value for key, value in record.items() if key != "name"}
    return _made(family, f"kernel {name!r}", parameters, make=family.from_parameters)


def _made(
    kind: type[Made], name: str, record: Any, make: Callable[[dict[str, Any]], Made] | None = None
) -> Made:
    """Return an object of the values of a record, which a file may have."""
    require(isinstance(record, dict), f"{name} is {record!r:.60}; expected an object")
    known = [entry.name for entry in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in record:
        require(key in known, f"{name} has {key!r}, which is unknown; {near(key, known)}")
    try:
        return kind(**record) if make is None else make(record)
    except BlindSRError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        reason = first_line(error)
        raise SettingsError(f"{name} has a value of a wrong kind ({reason})") from error


def kernel_family(name: str) -> KernelFamily:
    """Return the kernel family of this name, with its default parameters."""
    for family in FAMILIES:
        if family.name == name:
            return family()
    raise SettingsError(f"kernel is {name!r}; expected one of {[f.name for f in FAMILIES]}")


def as_family(kernel: str | KernelFamily, optics: Optics | None) -> KernelFamily:
    """Return a kernel family, or that of a name with its default parameters.

    The parameters of "airy" are the optics, which must be known.
    """
    family = kernel_family(kernel) if isinstance(kernel, str) else kernel
    if isinstance(kernel, str) and kernel == Airy.name:
        return Airy.of(UNKNOWN if optics is None else optics)
    if not isinstance(family, KernelFamily):
        raise SettingsError(
            f"kernel is a {type(kernel).__name__}; expected a kernel family or the name of one"
        )
    return family
