"""A part of the dock that scrolls when the window is low."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QFrame,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

LEAST_HEIGHT = 120
"""Pixels of the content that stay in sight."""


class Scroll(QScrollArea):
    """Shows a widget in full if there is room, and scrolls it otherwise; `grows` fills the room."""

    def __init__(self, content: QWidget, *, grows: bool = False) -> None:
        super().__init__()
        self._content = content
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        upright = QSizePolicy.Policy.Expanding if grows else QSizePolicy.Policy.Maximum
        self.setSizePolicy(QSizePolicy.Policy.Preferred, upright)
        self.setMinimumHeight(LEAST_HEIGHT)
        guard = _WheelGuard(self)
        for kind in (QComboBox, QAbstractSpinBox):
            for field in content.findChildren(kind):
                field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                field.installEventFilter(guard)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the size of the content."""
        content = self._content
        hint = content.sizeHint()
        # Texts that take several lines make it higher than its hint.
        least = max(content.heightForWidth(content.width()), content.minimumSizeHint().height())
        # napari's style draws a line around it.
        around = self.contentsMargins()
        height = max(hint.height(), least) + around.top() + around.bottom()
        return QSize(hint.width() + self._bar_width(), height)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return the width of the content: nothing scrolls sideways."""
        width = self._content.minimumSizeHint().width()
        return QSize(width + self._bar_width(), LEAST_HEIGHT)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Update the height when rows appear or vanish, or lines break."""
        handled = bool(super().eventFilter(watched, event))
        if event is not None and event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize):
            self.updateGeometry()
        return handled

    def _bar_width(self) -> int:
        # Kept free, so that rows do not move sideways when the bar comes.
        bar = self.verticalScrollBar()
        return 0 if bar is None else bar.sizeHint().width()


def column(*widgets: QWidget) -> QWidget:
    """Return widgets in a column; the remaining height belongs to the last one."""
    content = QWidget()
    layout = QVBoxLayout(content)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget, int(widget is widgets[-1]))
    return content


class _WheelGuard(QObject):
    """Keeps the wheel, which scrolls, from changing a field under the pointer."""

    def eventFilter(self, field: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        if isinstance(field, QWidget) and field.hasFocus():
            return False
        event.ignore()
        return True
