"""The methods that restore an image, and what may finish it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from napari_blindsr.errors import SettingsError

Finish = Literal["none", "prior", "usrnet", "measurement"]
FINISHES: tuple[Finish, ...] = get_args(Finish)


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
