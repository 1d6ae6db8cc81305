"""The verdict on a result: one coloured line, and the details on a click."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout

from napari_blindsr.plugin.widgets.texts import sentence
from napari_blindsr.restoration.diagnostics import Flag

Level: TypeAlias = Literal["good", "caution", "doubtful"]
COLOURS: dict[Level, str] = {"good": "#2e9e4f", "caution": "#d98e04", "doubtful": "#d6453d"}
"""The graver levels last."""
LEVELS: dict[str, Level] = {
    "kernel_unlike_image": "doubtful",
    "residual_not_white": "doubtful",
    "saturated_or_covered": "good",
    "scale_beyond_kernel": "good",
}
"""The best level of a result with a flag, by its name; "caution" with any other."""


@dataclass(frozen=True, kw_only=True)
class Caution:
    """A sentence that says what is wrong, what it means, and what to do; both may be empty."""

    message: str
    meaning: str = ""
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How good a result is: a line with the most important, and sentences of details."""

    level: Level
    line: str
    details: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()

    @property
    def text(self) -> str:
        """All of it as one text."""
        parts = [part for c in self.cautions for part in (c.message, c.meaning, c.advice) if part]
        return " ".join([f"{self.line}.", *self.details, *parts])


def gravest(levels: Iterable[Level]) -> Level:
    """Return the gravest level; "good" if there is none."""
    return max(levels, key=list(COLOURS).index, default="good")


def cautions_of(flags: Iterable[Flag]) -> tuple[Caution, ...]:
    """Return what flags say."""
    return tuple(
        Caution(message=f"{sentence(f.message)}.", meaning=f.meaning, advice=f.advice)
        for f in flags
    )


def level_of(flags: Iterable[Flag]) -> Level:
    """Return the level of a result with flags."""
    return gravest(LEVELS.get(flag.name, "caution") for flag in flags)


def flags_verdict(record: dict[str, Any]) -> Verdict:
    """Return the verdict on a result from the flags that its metadata keep."""
    flags = [Flag(**entry) for entry in record.get("flags", [])]
    return Verdict(
        level=level_of(flags),
        line="Treat this result with caution" if flags else "No check failed",
        cautions=cautions_of(flags),
    )


class VerdictPanel(QFrame):
    """Shows a verdict; hidden without one."""

    def __init__(self) -> None:
        super().__init__()
        self.verdict: Verdict | None = None
        self.line, self.details = _label(), _label()
        self.line.setToolTip("How far the last result can be trusted. Click for details.")
        self.details.setTextFormat(Qt.TextFormat.RichText)
        self.toggle = QToolButton()
        self.toggle.setCheckable(True)
        self.toggle.setText("Details")
        self.toggle.setToolTip("Blur, noise, neural networks, and what to do about cautions.")
        self.toggle.toggled.connect(self.details.setVisible)
        top = QHBoxLayout()
        top.addWidget(self.line, 1)
        top.addWidget(self.toggle, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 4, 4)
        layout.addLayout(top)
        layout.addWidget(self.details)
        self.setObjectName("verdict")
        self.show_verdict(None)

    def show_verdict(self, verdict: Verdict | None) -> None:
        """Show a verdict, or nothing."""
        self.verdict = verdict
        self.setVisible(verdict is not None)
        self.toggle.setChecked(False)
        self.details.hide()
        if verdict is None:
            return
        colour = COLOURS[verdict.level]
        self.setStyleSheet(f"QFrame#verdict {{ border-left: 4px solid {colour}; }}")
        self.line.setText(verdict.line)
        self.line.setStyleSheet(f"color: {colour}; font-weight: bold;")
        self.details.setText(_rich(verdict))

    def mouseReleaseEvent(self, event: object) -> None:  # noqa: ARG002, N802
        """Show or hide the details, wherever the line is clicked."""
        self.toggle.toggle()


def _rich(verdict: Verdict) -> str:
    parts = [f"<p>{html.escape(detail)}</p>" for detail in verdict.details]
    for caution in verdict.cautions:
        message, meaning, advice = map(
            html.escape, (caution.message, caution.meaning, caution.advice)
        )
        lines = [f"<b>{message}</b>", meaning, f"What to do: {advice}" if advice else ""]
        parts.append(f"<p>{'<br>'.join(filter(None, lines))}</p>")
    return "".join(parts)


def _label() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label
