"""The base class of all kernel families, and its checks."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from napari_blindsr.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Generator, Tensor
    from typing_extensions import Self


FWHM = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""

CORE = 0.1
"""The core of a kernel, from which its centre is taken, exceeds this fraction of its peak."""

RENDERED = 64
"""Kernels that are drawn at a time on oversampled grids, which take much memory."""


def in_parts(render: Callable[[Tensor], Tensor], parameters: Tensor) -> Tensor:
    """Return `render` of parameters (n, …), a part at a time."""
    import torch  # noqa: PLC0415

    return torch.cat([render(part) for part in parameters.split(RENDERED)])


def kernel_size(scale: int) -> int:
    """Return the published side of a kernel, min(4·scale + 3, 21), in HR pixels."""
    return min(4 * scale + 3, 21)


def side_for(reach: float, scale: int) -> int:
    """Return the smallest odd side of a kernel with a reach from its centre.

    The centre lies (scale − 1)/2 beside the middle of the array, so K ≥ 2·reach + scale.
    """
    side = math.ceil(2 * reach + scale)
    return side + 1 - side % 2


def check_range(
    name: str, values: tuple[float, float], *, least: float, strict: bool = False
) -> None:
    """Raise a `SettingsError` unless least ≤ low ≤ high; with `strict`, least < low."""
    low, high = values
    finite = math.isfinite(low) and math.isfinite(high)
    if not (finite and low <= high and (low > least if strict else low >= least)):
        bound = f"above {least:g}" if strict else f"from {least:g}"
        raise SettingsError(
            f"{name} is {low:g} to {high:g}; expected a range {bound}, the smaller number first"
        )


def check_positive(name: str, value: float) -> None:
    """Raise a `SettingsError` unless a value is positive and finite."""
    if not (math.isfinite(value) and value > 0):
        raise SettingsError(f"{name} is {value:g}; expected a positive number")


def shown(
    label: str,
    help: str,  # noqa: A002
    *,
    name: str | None = None,
    low: float = 0.0,
    high: float = 1000.0,
    step: float = 0.1,
) -> dict[str, Any]:
    """Return the metadata of a family's parameter: what a form shows of it, and its bounds there.

    `name` is that of the form's field, where it differs from the parameter's.
    """
    return {"label": label, "help": help, "name": name, "low": low, "high": high, "step": step}


@dataclass(frozen=True, kw_only=True)
class KernelFamily(ABC):
    """A distribution of blur kernels.

    Attributes
    ----------
    name, label : str
    instrument : tuple of str
        Parameters that the user has to know: no image shows them.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    instrument: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def reach(self, scale: int) -> float:
        """Return how far the widest kernels reach from their centre, in HR pixels."""

    def size(self, scale: int) -> int:
        """Return the side of the kernels: the published one, or more if they need it."""
        return max(kernel_size(scale), side_for(self.reach(scale), scale))

    def searched(self, scale: int) -> KernelFamily:  # noqa: ARG002 - of most it is the same
        """Return the family whose kernels an estimate is looked for among."""
        return self

    @abstractmethod
    def sample(
        self, count: int, *, scale: int, size: int, center: float, generator: Generator
    ) -> Tensor:
        """Draw kernels, all in one batch on the generator's device.

        Parameters
        ----------
        count : int
        scale : int
            HR pixels an LR pixel, which sets the default range of widths.
        size : int
            Side of the kernels, K.
        center : float
            Row and column of their centre.
        generator : torch.Generator
            Source of randomness; its device is the device of the kernels.

        Returns
        -------
        Tensor, float32, (count, K, K)
            Non-negative, each of sum 1.
        """

    def to_json(self) -> dict[str, Any]:
        """Return name and parameters as plain JSON types."""
        return {"name": self.name, **dataclasses.asdict(self)}

    @classmethod
    def from_parameters(cls, values: dict[str, Any]) -> Self:
        """Rebuild a family from its parameters as `to_json` returned them."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    @staticmethod
    def from_json(record: dict[str, Any]) -> KernelFamily:
        """Rebuild a family from what `to_json` returned."""
        # The list of families imports this module.
        from napari_blindsr.physics.kernels import FAMILIES  # noqa: PLC0415

        values = dict(record)
        name = values.pop("name")
        for family in FAMILIES:
            if family.name == name:
                return family.from_parameters(values)
        raise ValueError(f"no kernel family is named {name!r}")
