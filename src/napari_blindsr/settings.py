"""Everything that can be set, checked once, readable from and writable to JSON.

Nothing here imports torch, so that menus, help texts and widgets cost nothing.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from napari_blindsr.engine.kernels import FAMILIES, Automatic, KernelFamily
from napari_blindsr.errors import SettingsError

Geometry = Literal["camera", "benchmark"]
Border = Literal["extend", "circular"]
Precision = Literal["auto", "float32", "bfloat16"]
Criterion = Literal["one-seventh", "half-bit", "three-sigma"]
"""Threshold of Fourier ring correlation."""
ScheduleName = Literal["published", "reference"]

Quality = Literal["fast", "refined"]
QUALITIES: tuple[Quality, ...] = get_args(Quality)

GEOMETRIES: tuple[Geometry, ...] = get_args(Geometry)
BORDERS: tuple[Border, ...] = get_args(Border)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)
Finish = Literal["none", "prior", "usrnet", "measurement"]
FINISHES: tuple[Finish, ...] = get_args(Finish)
SCALES = (1, 2, 3, 4, 5, 6, 7, 8)
ONE_BLUR = (1, 1)
"""Rows and columns of regions, where the blur is the same all over the image."""
FEWEST_RESTORATIONS = 2
"""From which an uncertainty can be told, if not by the image prior's map of errors."""
CONTINUED = 1 / 3
"""Part of the image steps that is left to a run that begins where another one has ended."""
SMALLEST_TILE = 256
"""Side, in pixels of the result, below which tiles would see little else than their borders."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to restore an image.

    Attributes
    ----------
    name, label : str
    degradations : bool
        Whether it takes covered, dark and noisy inputs.
    finish : {"none", "prior", "usrnet", "measurement"}
        What becomes of the kernel, once it is estimated.
    optimises : bool
        Whether image and kernel come out of an optimisation with a schedule. Otherwise the
        kernel is read off the image by a trained network, in one go.
    """

    name: str
    label: str
    degradations: bool = False
    finish: Finish = "none"
    optimises: bool = True


METHOD_TABLE: tuple[Method, ...] = (
    Method(name="fast", label="Fast", degradations=True, finish="prior", optimises=False),
    Method(name="mlmc", label="MLMC"),
    Method(name="mlmc-usrnet", label="MLMC + USRNet", finish="usrnet"),
    Method(name="ddsr", label="DDSR", degradations=True),
    Method(name="ddsr-usrnet", label="DDSR + USRNet", degradations=True, finish="usrnet"),
)
"""Every method; appending one puts it into dock, command line and tests."""

METHODS: tuple[str, ...] = tuple(method.name for method in METHOD_TABLE)


def method_named(name: str) -> Method:
    """Return the method of this name."""
    for method in METHOD_TABLE:
        if method.name == name:
            return method
    raise SettingsError(f"method is {name!r}; expected one of {list(METHODS)}")


def repeats_cheaply(method: Method, *, known: bool, finish: Finish) -> bool:
    """Tell whether nothing is optimised, or the finish makes its image with a known kernel."""
    return not method.optimises or (known and finish != "none")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SettingsError(message)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The numbers of the alternating optimisation; the defaults are the published ones.

    Attributes
    ----------
    image_steps : int
        Steps of the image generator in all.
    inner_steps : int
        Image steps between two Monte-Carlo steps of the kernel.
    warmup_steps : int
        Random kernel learning before the first image step.
    structural_steps : int
        Image steps whose data term is 1 − SSIM; the rest use the mean squared error.
    random_kernels : int
        Kernels drawn for each Monte-Carlo step.
    kept_kernels : int
        Of these, how many count: those that explain the data best.
    monte_carlo_steps : int
        Kernel steps in a Monte-Carlo step, all towards the same random kernels.
    meta_every : int
        A kernel step on the accumulated data term is taken whenever the number of
        image steps is a multiple of this.
    image_rate, kernel_rate : float
        Learning rates of the two Adam optimisers.
    prior_weight, prior_exponent, prior_epsilon : float
        Weight and exponent of the sparse gradient prior, and what is added to a gradient's
        magnitude before it is raised to the exponent.
    channels : int
        Width of the image generator.
    average : float
        Share of the image steps, at the end, whose images and kernels are averaged into
        the result; 0 returns the last state alone.
    brighten : bool
        Fit dark data at normal brightness, with the gradient prior. The published runs fit them as
        they are, where structure counts little, and without the prior.
    recentre : bool
        Move the kernel to its place, and the image with it.
    before_update : bool
        Return what the last step computed before it updated the weights.
    """

    image_steps: int = 1000
    inner_steps: int = 5
    warmup_steps: int = 200
    structural_steps: int = 405
    random_kernels: int = 5
    kept_kernels: int = 5
    monte_carlo_steps: int = 1
    meta_every: int = 3
    image_rate: float = 5e-3
    kernel_rate: float = 1e-4
    prior_weight: float = 2e-4
    prior_exponent: float = 0.67
    prior_epsilon: float = 1e-8
    channels: int = 128
    average: float = 0.0
    brighten: bool = True
    recentre: bool = True
    before_update: bool = False

    def __post_init__(self) -> None:
        for name in (
            "image_steps",
            "inner_steps",
            "random_kernels",
            "kept_kernels",
            "monte_carlo_steps",
            "meta_every",
            "channels",
        ):
            _require(
                getattr(self, name) >= 1,
                f"{name} is {getattr(self, name)}; it must be at least 1",
            )
        for name in ("warmup_steps", "structural_steps"):
            _require(
                getattr(self, name) >= 0,
                f"{name} is {getattr(self, name)}; it must not be negative",
            )
        for name in ("image_rate", "kernel_rate", "prior_exponent", "prior_epsilon"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, f"{name} is {value}; it must be positive")
        _require(self.prior_weight >= 0, f"prior_weight is {self.prior_weight}; must be ≥ 0")
        _require(0 <= self.average <= 1, f"average is {self.average}; expected 0…1")

    @classmethod
    def named(cls, name: ScheduleName, *, kernel: str = "gaussian") -> Schedule:
        """Return a schedule by its name.

        Parameters
        ----------
        name : {"published", "reference"}
            "published" has the published numbers. "reference" adds the habits of the
            released programs: no recentring, no averaging, dark data fitted as they are, and the
            tensors computed before the last update are returned.
        kernel : str
            Name of the kernel family, or "known". Nothing was published for families other
            than Gaussians but the advice to take 400 steps, one between two Monte-Carlo
            steps. With 5 random kernels and one step towards them the kernel stays near
            the family's mean, so the best 5 of 128 count, and 20 steps are taken. 2000 steps
            of warm-up, which cost little, bring large kernels to that mean in the first place.
        """
        _require(name in SCHEDULES, f"schedule is {name!r}; expected one of {list(SCHEDULES)}")
        if name == "reference":
            return cls(average=0.0, brighten=False, recentre=False, before_update=True)
        if kernel in ("auto", "gaussian", "known"):
            return cls()
        return cls(
            image_steps=400,
            inner_steps=1,
            warmup_steps=2000,
            structural_steps=162,
            random_kernels=128,
            monte_carlo_steps=20,
        )

    def continued(self) -> Schedule:
        """Return the schedule of a run that begins where one on a similar image has ended.

        It is shorter, its kernel generator has been warmed up, and the structure is there already:
        to fit that again undoes what the run before has found.
        """
        steps = max(1, round(CONTINUED * self.image_steps))
        return dataclasses.replace(self.scaled(steps), warmup_steps=0, structural_steps=0)

    def scaled(self, image_steps: int) -> Schedule:
        """Return the schedule with another number of image steps, its phases in proportion.

        The warm-up never shrinks: it costs next to nothing, and without it the kernel of a
        short run stays flat.
        """
        _require(image_steps >= 1, f"steps is {image_steps}; it must be at least 1")
        ratio = image_steps / self.image_steps
        return dataclasses.replace(
            self,
            image_steps=image_steps,
            warmup_steps=max(self.warmup_steps, round(self.warmup_steps * ratio)),
            structural_steps=round(self.structural_steps * ratio),
        )


def plan_schedule(
    schedule: Schedule | ScheduleName, *, method: str, kernel: str, steps: int | None
) -> Schedule:
    """Return the schedule that is asked for.

    Parameters
    ----------
    schedule : Schedule or str
        As it is, or the name of one.
    method : str
    kernel : str
        Name of the kernel family, or "known".
    steps : int or None
        Image steps; None leaves the schedule's own number.

    Raises
    ------
    SettingsError
        If a method that has no steps is given their number.
    """
    planned = Schedule.named(schedule, kernel=kernel) if isinstance(schedule, str) else schedule
    if steps is None:
        return planned
    _require(
        method_named(method).optimises,
        f"steps is {steps}, but method {method!r} takes no steps: it reads the blur in one go",
    )
    return planned.scaled(steps)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one run; together with the image they repeat it.

    Attributes
    ----------
    scale : int
        How many times finer the result is, 1…8; 1 removes blur alone.
    method : str
        One of `METHODS`; the first is the default.
    kernel : KernelFamily or "known"
        Where random kernels come from, or "known" if the kernel is given and held.
    geometry : {"camera", "benchmark"}
        Where LR pixels lie on the HR grid.
    border : {"extend", "circular"}
        What lies beyond the borders.
    bounded : bool or None
        Whether the result is kept within the input's range of intensities, which a
        blurred input understates. None bounds ``benchmark`` geometry alone. It is the image
        generator that is bounded: a finish is not.
    gain : float or "auto"
        How bright the input is compared with the result, which comes out at normal
        brightness; "auto" takes the brightest pixels for white. For methods that take
        degradations.
    noise : float or "auto"
        Standard deviation of the noise in the intensity unit of the input. DDSR does not
        fit it, and a finish removes it, after any method; "auto" estimates it. 0 means that
        nothing is said of it: it is fitted, and for ``camera`` geometry a finish takes the
        estimate.
    mask_saturated : bool
        Take pixels at the largest value of an integer type for covered. For methods that
        take degradations.
    finish : {"none", "prior", "usrnet", "measurement"} or None
        How the image is finished once the kernel is known: not at all, by the image prior
        that ships, by USRNet, or from the measurement alone, without any learned prior. None
        is the method's own way.
    usrnet_weights : str or None
        File with the weights of USRNet; None looks where they usually are.
    quality : {"fast", "refined"}
        Whether a method that reads the blur leaves it at that, or refines a Gaussian by how well
        the restored image explains the data, which takes some seconds more and was no gain on
        the mean of what was measured.
    schedule : Schedule
        Of the optimisation; without one it has no influence.
    seed : int
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : {"auto", "float32", "bfloat16"}
    threads : int or None
        CPU threads to compute with; None leaves torch's choice.
    tile : int, "auto" or None
        Largest side, in pixels of the result, of the tiles that large results are made in;
        "auto" makes results beyond 2048 × 2048 pixels in tiles, None all in one go. Methods
        that have neither a known kernel nor a finish make their image in one go only.
    uncertainty : int
        How many more restorations the standard deviation of each pixel is found from; 0 is none.
        With the image prior the first of them gives its map of errors.
    field : tuple of int
        Rows and columns of the regions of the image that each have a blur of their own, which is
        interpolated between their middles; (1, 1) is one blur for all. Of known kernels, either
        (1, 1) or that of the grid that is given.
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

    def __post_init__(self) -> None:
        _require(
            isinstance(self.scale, int) and self.scale in SCALES,
            f"scale is {self.scale!r}; expected a whole number from {SCALES[0]} to {SCALES[-1]}",
        )
        method = method_named(self.method)
        _require(
            self.kernel == "known" or isinstance(self.kernel, KernelFamily),
            f"kernel is {self.kernel!r}; expected a kernel family or 'known'",
        )
        _require(
            self.geometry in GEOMETRIES,
            f"geometry is {self.geometry!r}; expected one of {list(GEOMETRIES)}",
        )
        _require(
            self.border in BORDERS, f"border is {self.border!r}; expected one of {list(BORDERS)}"
        )
        _require(
            self.gain == "auto" or (math.isfinite(self.gain) and self.gain > 0),
            f"gain is {self.gain!r}; expected a positive number or 'auto'",
        )
        _require(
            self.noise == "auto" or (math.isfinite(self.noise) and self.noise >= 0),
            f"noise is {self.noise!r}; expected a number from 0 or 'auto'",
        )
        _require(
            self.finish is None or self.finish in FINISHES,
            f"finish is {self.finish!r}; expected one of {list(FINISHES)}",
        )
        _require(
            self.quality in QUALITIES,
            f"quality is {self.quality!r}; expected one of {list(QUALITIES)}",
        )
        _require(
            method.degradations or (self.gain == 1 and not self.mask_saturated),
            f"method {self.method!r} takes no gain and no mask; use one of "
            f"{[m.name for m in METHOD_TABLE if m.degradations]}",
        )
        _require(
            method.optimises or self.finish != "none",
            f"method {self.method!r} makes its image by a finish; finish is 'none', expected one "
            f"of {[finish for finish in FINISHES if finish != 'none']}",
        )
        _require(
            method.optimises or self.bounded is None,
            f"bounded is {self.bounded}, but method {self.method!r} has no image generator to "
            "bound",
        )
        _require(
            isinstance(self.seed, int) and 0 <= self.seed < 2**63,
            f"seed is {self.seed!r}; expected a whole number from 0 to 2**63 − 1",
        )
        _require(
            self.precision in PRECISIONS,
            f"precision is {self.precision!r}; expected one of {list(PRECISIONS)}",
        )
        _require(
            self.threads is None or self.threads >= 1,
            f"threads is {self.threads}; it must be at least 1",
        )
        _require(
            self.tile is None
            or self.tile == "auto"
            or (isinstance(self.tile, int) and self.tile >= SMALLEST_TILE),
            f"tile is {self.tile!r}; expected a whole number from {SMALLEST_TILE}, 'auto' or None",
        )

        _require(
            isinstance(self.uncertainty, int)
            and (self.uncertainty == 0 or self.uncertainty >= self.fewest_restorations),
            f"uncertainty is {self.uncertainty!r}; expected 0, which is off, or a number of "
            f"restorations from {self.fewest_restorations} with finish {self.used_finish!r}",
        )
        _require(
            self.uncertainty == 0 or self.takes_uncertainty,
            f"uncertainty is {self.uncertainty}, but method {self.method!r} optimises, which would "
            "take as many times as long; expected 0, a method that does not "
            f"({[m.name for m in METHOD_TABLE if not m.optimises]}), or a known kernel with a "
            "finish",
        )
        self._check_field(method)

    def _check_field(self, method: Method) -> None:
        rows_and_columns = (
            isinstance(self.field, tuple)
            and len(self.field) == 2
            and all(type(count) is int and count >= 1 for count in self.field)
        )
        _require(
            rows_and_columns,
            f"field is {self.field!r}; expected rows and columns of regions, whole numbers from 1",
        )
        if self.field == ONE_BLUR:
            return
        name = f"field is {self.field[0]} × {self.field[1]}"
        _require(
            not method.optimises or self.kernel == "known",
            f"{name}, but method {self.method!r} optimises one kernel for the whole image; "
            f"expected 1 × 1, a method that reads the blur "
            f"({[m.name for m in METHOD_TABLE if not m.optimises]}), or a grid of known kernels",
        )
        _require(
            self.tile is not None,
            f"{name} and tile is None, but a blur that varies is removed tile by tile; expected a "
            "tile of 'auto' or a number",
        )
        _require(
            self.uncertainty == 0,
            f"{name} and uncertainty is {self.uncertainty}, which is known for one blur only; "
            "expected 0, or a field of 1 × 1",
        )

    @property
    def fewest_restorations(self) -> int:
        """From how many restorations an uncertainty can be told."""
        return 1 if self.used_finish == "prior" else FEWEST_RESTORATIONS

    @property
    def takes_uncertainty(self) -> bool:
        """Whether an uncertainty can be found."""
        return repeats_cheaply(
            method_named(self.method), known=self.kernel == "known", finish=self.used_finish
        )

    @property
    def is_bounded(self) -> bool:
        """Whether the result is bounded: as set, or by the geometry."""
        return self.geometry == "benchmark" if self.bounded is None else self.bounded

    @property
    def recentres(self) -> bool:
        """Whether kernel and image are moved to their place: always, unless a schedule says not."""
        return self.schedule.recentre or not method_named(self.method).optimises

    @property
    def used_finish(self) -> Finish:
        """The finish: as set, or the method's own."""
        return method_named(self.method).finish if self.finish is None else self.finish

    @property
    def estimates_noise(self) -> bool:
        """Whether a finish is told an estimate of the noise.

        As asked for; or because nothing is said of it, and every camera has some, which a finish
        that is told of none takes for detail. The published test data have none.
        """
        return self.noise == "auto" or (self.noise == 0 and self.geometry == "camera")

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        record["kernel"] = "known" if self.kernel == "known" else self.kernel.to_json()
        record["schedule"] = dataclasses.asdict(self.schedule)
        record["field"] = list(self.field)
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Settings:
        """Rebuild settings from what `to_json` returned."""
        values = dict(record)
        if values["kernel"] != "known":
            values["kernel"] = KernelFamily.from_json(values["kernel"])
        values["schedule"] = Schedule(**values["schedule"])
        values["field"] = tuple(values.get("field", ONE_BLUR))
        return cls(**values)


def kernel_family(name: str) -> KernelFamily:
    """Return the kernel family of this name, with its default parameters."""
    for family in FAMILIES:
        if family.name == name:
            return family()
    raise SettingsError(f"kernel is {name!r}; expected one of {[f.name for f in FAMILIES]}")


def as_family(kernel: str | KernelFamily) -> KernelFamily:
    """Return a kernel family, or that of a name with its default parameters."""
    family = kernel_family(kernel) if isinstance(kernel, str) else kernel
    if not isinstance(family, KernelFamily):
        raise SettingsError(
            f"kernel is a {type(kernel).__name__}; expected a kernel family or the name of one"
        )
    return family
