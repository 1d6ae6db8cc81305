"""The list of modes; one that is appended is offered by the dock and run by the tests."""

from __future__ import annotations

from napari_blindsr._napari.comparing.blink import Blink
from napari_blindsr._napari.comparing.curtain import Curtain
from napari_blindsr._napari.comparing.difference import Difference
from napari_blindsr._napari.comparing.mode import Mode
from napari_blindsr._napari.comparing.side_by_side import SideBySide

MODES: tuple[type[Mode], ...] = (SideBySide, Blink, Curtain, Difference)


def mode_named(name: str) -> type[Mode]:
    """Return the mode of a name."""
    return next(mode for mode in MODES if mode.name == name)
