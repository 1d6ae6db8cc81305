"""Layers that are shown alike: contrast limits, gamma and colormap, linked while asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from napari.experimental import layers_linked
from napari.layers import Image

from napari_blindsr._napari.layers import quoted

LOOKS = ("contrast_limits", "gamma", "colormap")
MOST_APART = 10
"""Largest ratio of two layers' contrast ranges for which one serves both."""


class LookLink:
    """Gives layers the same looks and keeps them alike, until it is undone.

    Colormap and gamma are those of the first one, contrast limits span those of all.

    Only what makes sense is linked: RGB layers have no such looks, and where values differ
    by an order of magnitude, common contrast limits would show one of the layers black.

    Parameters
    ----------
    layers : sequence of Image
        Those that are compared.

    Attributes
    ----------
    attributes : tuple of str
        What is linked.
    note : str
        What is not, and why; empty if all is.
    """

    def __init__(self, layers: Sequence[Image]) -> None:
        grey = [layer for layer in layers if not layer.rgb]
        notes = []
        if len(grey) < len(layers):
            names = ", ".join(quoted(layer) for layer in layers if layer.rgb)
            notes.append(f"RGB has no contrast limits or colormap to link: {names}.")
        attributes: tuple[str, ...] = LOOKS if len(grey) > 1 else ()
        if attributes and (why := _why_apart(grey)):
            attributes = ("gamma", "colormap")
            notes.append(why)
        self.attributes, self.note = attributes, " ".join(notes)
        self._before = {layer: _looks(layer) for layer in grey} if attributes else {}
        self._links = ExitStack()
        if attributes:
            looks: dict[str, Any] = {name: getattr(grey[0], name) for name in attributes}
            if "contrast_limits" in looks:
                # Of all together: what was in sight before is so still.
                lows, highs = zip(*(layer.contrast_limits for layer in grey), strict=True)
                looks["contrast_limits"] = (min(lows), max(highs))
            for layer in grey:
                for name, value in looks.items():
                    setattr(layer, name, value)
            # Links that were there before are not taken, and so stay afterwards.
            self._links.enter_context(layers_linked(grey, attributes))

    def undo(self) -> None:
        """End the links made here, and give each layer the looks that it had before."""
        self._links.close()
        for layer, looks in self._before.items():
            for name, value in looks.items():
                setattr(layer, name, value)
        self._before = {}


def _looks(layer: Image) -> dict[str, Any]:
    # The range of the slider goes last: limits may widen it.
    return {
        **{name: getattr(layer, name) for name in LOOKS},
        "contrast_limits_range": list(layer.contrast_limits_range),
    }


def _why_apart(layers: Sequence[Image]) -> str | None:
    low, high = layers[0].contrast_limits
    for layer in layers[1:]:
        other_low, other_high = layer.contrast_limits
        ratio = (other_high - other_low) / (high - low)
        overlap = min(high, other_high) > max(low, other_low)
        if not (overlap and 1 / MOST_APART <= ratio <= MOST_APART):
            return (
                f"Contrast limits are not linked: {quoted(layers[0])} shows {low:g} to {high:g}, "
                f"{quoted(layer)} {other_low:g} to {other_high:g}."
            )
    return None
