"""The methods that restore an image, and the schedules of their optimisation."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from napari_blindsr.errors import SettingsError, require

if TYPE_CHECKING:
    from napari_blindsr.types import Finish


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to restore an image.

    Attributes
    ----------
    name, label : str
    degradations : bool
        Whether it takes incomplete, dark and noisy inputs.
    finish : {"none", "prior", "usrnet", "measurement"}
        Default non-blind reconstruction, once the kernel is estimated.
    optimises : bool
        Whether an optimisation with a schedule yields image and kernel. Otherwise a trained network
        estimates the kernel, in one pass.
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
    """Return whether no optimisation is needed: a fast method, or a known kernel."""
    return not method.optimises or (known and finish != "none")


ScheduleName = Literal["published", "reference"]
SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)
CONTINUED = 1 / 3
"""Share of the image steps that a warm start takes."""


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
        Kernels drawn for each Monte-Carlo step; fewer if they are so large that comparing them
        would take long.
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
    from_mean : bool
        Let the kernel begin at the mean of its family. The published runs begin it near a constant,
        from where the warm-up brings small kernels towards that mean, and large ones not at all.
    recentre : bool
        Move the kernel to its place, and the image with it.
    before_update : bool
        Return what the last step computed before it updated the weights.
    unexplained : float
        Standard deviation of the error that the estimated kernel leaves, in units of the range:
        given to USRNet as additional noise.

    Examples
    --------
    >>> schedule = Schedule.named("published")
    >>> schedule.scaled(200).image_steps
    200
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
    from_mean: bool = True
    recentre: bool = True
    before_update: bool = False
    unexplained: float = 2 / 255

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
            require(
                getattr(self, name) >= 1,
                f"{name} is {getattr(self, name)}; it must be at least 1",
            )
        for name in ("warmup_steps", "structural_steps"):
            require(
                getattr(self, name) >= 0,
                f"{name} is {getattr(self, name)}; it must not be negative",
            )
        for name in ("image_rate", "kernel_rate", "prior_exponent", "prior_epsilon"):
            value = getattr(self, name)
            require(math.isfinite(value) and value > 0, f"{name} is {value}; it must be positive")
        require(self.prior_weight >= 0, f"prior_weight is {self.prior_weight}; must be ≥ 0")
        require(
            0 <= self.unexplained < 1, f"unexplained is {self.unexplained}; expected 0 to below 1"
        )
        require(0 <= self.average <= 1, f"average is {self.average}; expected 0…1")

    @classmethod
    def named(cls, name: ScheduleName, *, kernel: str = "gaussian") -> Schedule:
        """Return a schedule by its name.

        Parameters
        ----------
        name : {"published", "reference"}
            "published" has the published numbers. "reference" adds the habits of the
            released programs: the kernel begins near a constant, no recentring, no averaging, dark
            data fitted as they are, the tensors computed before the last update are returned, and
            USRNet takes the kernel for the true one.
        kernel : str
            Name of the kernel family, or "known". Nothing was published for families other
            than Gaussians but the advice to take 400 steps, one between two Monte-Carlo
            steps. With 5 random kernels and one step towards them the kernel stays near
            the family's mean, so the best 5 of 2048 count, and 20 steps are taken.
        """
        require(name in SCHEDULES, f"schedule is {name!r}; expected one of {list(SCHEDULES)}")
        if name == "reference":
            return cls(
                average=0.0,
                brighten=False,
                from_mean=False,
                recentre=False,
                before_update=True,
                unexplained=0.0,
            )
        if kernel in ("auto", "gaussian", "known"):
            return cls()
        return cls(
            image_steps=400,
            inner_steps=1,
            structural_steps=162,
            random_kernels=2048,
            monte_carlo_steps=20,
        )

    def continued(self) -> Schedule:
        """Return the schedule of a warm start, from the result of a similar image.

        It is shorter and skips the warm-up of the kernel generator. It skips the structural steps
        too: the structure is there already, and fitting it again would undo the earlier result.
        """
        steps = max(1, round(CONTINUED * self.image_steps))
        return dataclasses.replace(self.scaled(steps), warmup_steps=0, structural_steps=0)

    def scaled(self, image_steps: int) -> Schedule:
        """Return the schedule with another number of image steps, its phases in proportion.

        The warm-up never shrinks: it costs next to nothing, and without it the kernel of a
        short run stays flat.
        """
        require(image_steps >= 1, f"steps is {image_steps}; it must be at least 1")
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
    """Return a schedule, or that of a name, with so many image steps; None leaves its own number.

    `kernel` is the name of the kernel family, or "known".
    """
    planned = Schedule.named(schedule, kernel=kernel) if isinstance(schedule, str) else schedule
    if steps is None:
        return planned
    require(
        method_named(method).optimises,
        f"steps is {steps}, but method {method!r} takes no steps: it does not optimise",
    )
    return planned.scaled(steps)
