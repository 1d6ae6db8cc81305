"""The verdict on a result: one coloured line, and the details on a click."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout

from napari_blindsr.plugin.widgets.advice import Level

COLOURS: dict[Level, str] = {"good": "#2e9e4f", "caution": "#d98e04", "doubtful": "#d6453d"}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What there is to say of a result.

    Attributes
    ----------
    level : {"good", "caution", "doubtful"}
    line : str
        The most important of it, in one line.
    facts : tuple of str
        Sentences.
    cautions : tuple of (str, str, str)
        What was found, what to do, and what was measured.
    """

    level: Level
    line: str
    facts: tuple[str, ...] = ()
    cautions: tuple[tuple[str, str, str], ...] = field(default=())

    @property
    def text(self) -> str:
        """All of it as one text."""
        cautions = (f"{finding} {action}" for finding, action, _ in self.cautions)
        return " ".join([f"{self.line}.", *self.facts, *cautions])


class VerdictPanel(QFrame):
    """Shows a verdict; hidden as long as there is none."""

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
    parts = [f"<p>{html.escape(fact)}</p>" for fact in verdict.facts]
    for finding, action, measured in verdict.cautions:
        small = f"<br><small>{html.escape(measured)}</small>" if measured else ""
        parts.append(
            f"<p><b>{html.escape(finding)}</b><br>What to do: {html.escape(action)}{small}</p>"
            if action
            else f"<p><b>{html.escape(finding)}</b>{small}</p>"
        )
    return "".join(parts)


def _label() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label
