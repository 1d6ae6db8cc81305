"""The field of the seed, with a button that repeats the run with another one."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import PushButton, SpinBox
from magicgui.widgets.bases import ValuedContainerWidget

LARGEST = 2**31 - 1


class SeedField(ValuedContainerWidget[Any]):
    """A seed of random numbers.

    Attributes
    ----------
    another : PushButton
        Repeats the run with another seed; the dock does so.
    """

    def __init__(self, *, tooltip: str, **options: Any) -> None:
        self.number = SpinBox(value=0, min=0, max=LARGEST, step=1, tooltip=tooltip)
        self.another = PushButton(
            text="Another",
            tooltip="Run with the next seed: what differs between the results depends on chance.",
        )
        super().__init__(
            widgets=[self.number, self.another],
            layout="horizontal",
            labels=False,
            tooltip=tooltip,
            **options,
        )
        self.margins = (0, 0, 0, 0)
        self.number.changed.connect(lambda _: self.changed.emit(self.value))

    def get_value(self) -> int:
        """Return the seed."""
        return int(self.number.value)

    def set_value(self, value: int) -> None:
        """Set the seed."""
        self.number.value = value

    def set_next(self) -> None:
        """Set another seed, the same after the same one."""
        self.value = (self.value + 1) % (LARGEST + 1)
