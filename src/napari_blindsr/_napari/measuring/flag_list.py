"""Reasons not to believe a result, as its run found them."""

from __future__ import annotations

import html
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QSizePolicy

from napari_blindsr._napari.measuring.partners import is_restored, record_of

MOST_HEIGHT = 170


class FlagList(QScrollArea):
    """The flags of a result: what was found, what it means, what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.label = QLabel()
        self.label.setTextFormat(Qt.TextFormat.RichText)
        self.label.setWordWrap(True)
        self.label.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setWidget(self.label)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def show_flags(self, layer: Any) -> None:
        """Show what speaks against a layer; nothing if there is none, or it is no result."""
        self.setVisible(is_restored(layer))
        if is_restored(layer):
            self.label.setText(flags_text(record_of(layer).get("flags", [])))
            self._fit()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Take as much height as the lines need at another width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        viewport = self.viewport()
        width = self.width() if viewport is None else viewport.width()
        self.setFixedHeight(min(self.label.heightForWidth(width) + 6, MOST_HEIGHT))


def flags_text(flags: list[dict[str, str]]) -> str:
    """Return flags as rich text."""
    if not flags:
        return "No flag was raised by the run."
    lines = ["<b>Do not believe all of it:</b>"]
    for flag in flags:
        message, meaning, advice = (
            html.escape(flag.get(part, "")) for part in ("message", "meaning", "advice")
        )
        lines.append(
            f"<p style='margin: 4px 0 0 0'><b>⚠ {_sentence(message)}</b><br>"
            f"{meaning}<br><i>{advice}</i></p>"
        )
    return "".join(lines)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
