"""The line on the installed package."""

from __future__ import annotations

from html import escape
from importlib.metadata import metadata

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

PACKAGE = "napari-blindsr"


def about_line() -> QLabel:
    """Return a line with the version and, if the package names it, a link to its documentation."""
    package = metadata(PACKAGE)
    entries = package.get_all("Project-URL") or []
    addresses = dict(entry.split(", ", 1) for entry in entries)
    address = addresses.get("Documentation")
    text = escape(f"{PACKAGE} {package['Version']}")
    if address is not None:
        text += f' · <a href="{escape(address)}">Documentation</a>'
    line = QLabel(text)
    line.setTextFormat(Qt.TextFormat.RichText)
    line.setOpenExternalLinks(True)
    line.setToolTip("The installed version. Nothing is opened unless you click.")
    return line
