"""The parameters of each kernel family, as rows of a form."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets.bases import BaseValueWidget

from napari_blindsr.physics.kernels import FAMILIES, KernelFamily
from napari_blindsr.physics.kernels.base import check_range
from napari_blindsr.plugin.widgets.fields import Span, number, path_field

AUTOMATIC = "\nAutomatic takes the range that is usual for the scale."
KERNELS, VARIANCE = "kernels", "variance"
"""Parameters that are a folder here, and are shown as a standard deviation."""


class FamilyForm:
    """The parameters of a kernel family; each field is an attribute.

    Attributes
    ----------
    rows : tuple of BaseValueWidget
    """

    def __init__(self, family: type[KernelFamily]) -> None:
        self._family = family
        shown = [entry for entry in dataclasses.fields(family) if "label" in entry.metadata]
        self._fields = {entry.name: _field(family, entry) for entry in shown}
        self._names = {entry.metadata["name"] or entry.name: entry.name for entry in shown}
        # A folder stands above what it replaces.
        self.rows = tuple(
            self._fields[name] for name in sorted(self._fields, key=lambda name: name != KERNELS)
        )
        self._suggested = {name: field.value for name, field in self._fields.items()}
        self._usual = {name: self._suggested[name] for name in family.instrument}
        self.instrument = tuple(self._fields[name] for name in family.instrument)

    def __getattr__(self, name: str) -> Any:
        names = self.__dict__.get("_names", {})
        if name not in names:
            raise AttributeError(name)
        return self._fields[names[name]]

    @property
    def idle(self) -> tuple[BaseValueWidget[Any], ...]:
        """Fields that have no effect, given what is set."""
        if self.folder is None:
            return ()
        return tuple(field for name, field in self._fields.items() if name != KERNELS)

    @property
    def folder(self) -> Path | None:
        """Folder of kernels to draw from instead."""
        path = self._fields[KERNELS].value if KERNELS in self._fields else None
        return path if isinstance(path, Path) else None

    @property
    def hint(self) -> str:
        """What is assumed of the instrument, as long as nobody has said something else."""
        assumed = []
        for name, usual in self._usual.items():
            field = self._fields[name]
            if field.value == usual:
                label, _, unit = field.label.rstrip(")").partition(" (")
                assumed.append(f"{label} {usual:g} {unit}".strip())
        return f"{self._family.label} assumes {', '.join(assumed)}: check them" if assumed else ""

    def kernel(self) -> KernelFamily:
        """Return the family with the parameters that are set; a folder is read later.

        Raises a `SettingsError` for parameters that do not fit.
        """
        if self.folder is not None:
            # Reading it takes torch, which takes seconds.
            return self._family()
        values = {name: field.value for name, field in self._fields.items() if name != KERNELS}
        sigma = values.get(VARIANCE)
        if sigma is not None:
            check_range("width σ", sigma, least=0, strict=True)
            values[VARIANCE] = (sigma[0] ** 2, sigma[1] ** 2)
        return self._family(**values)

    def take(self, kernel: KernelFamily) -> None:
        """Set the fields as the parameters of a kernel family are."""
        for name, field in self._fields.items():
            value = getattr(kernel, name)
            if name == VARIANCE and value is not None:
                value = tuple(map(math.sqrt, value))
            if name != KERNELS:
                field.value = value

    def show_usual(self, scale: int) -> None:
        """Show the automatic ranges at a scale."""
        for name, field in self._fields.items():
            usual = getattr(self._family(), f"{name}_range", None)
            if isinstance(field, Span) and usual is not None:
                low, high = usual(scale)
                root = name == VARIANCE
                field.show_usual(*((math.sqrt(low), math.sqrt(high)) if root else (low, high)))

    def suggest(self, parameter: str, value: float) -> BaseValueWidget[Any] | None:
        """Take a parameter that is known from elsewhere, unless the user has set another value.

        Returns its field, if the value was taken.
        """
        field: Any = self._fields.get(parameter)
        if field is None or field.value != self._suggested[parameter]:
            return None
        if not field.min <= value <= field.max:
            return None
        self._usual.pop(parameter, None)
        field.value = value
        # The field rounds.
        self._suggested[parameter] = field.value
        taken: BaseValueWidget[Any] = field
        return taken


def _field(family: type[KernelFamily], parameter: dataclasses.Field[Any]) -> BaseValueWidget[Any]:
    shown, default = parameter.metadata, parameter.default
    options = {
        "name": f"{family.name}.{parameter.name}",
        "label": shown["label"],
        "tooltip": shown["help"],
    }
    if parameter.name == KERNELS:
        return path_field(FileDialogMode.EXISTING_DIRECTORY, **options)
    options |= {name: shown[name] for name in ("low", "high", "step")}
    if isinstance(default, float):
        return number(default, **options)
    options["tooltip"] += AUTOMATIC if default is None else ""
    return Span(default if isinstance(default, tuple) else None, **options)


def family_forms() -> dict[str, FamilyForm]:
    """Return a form for each family, by its name."""
    return {family.name: FamilyForm(family) for family in FAMILIES}
