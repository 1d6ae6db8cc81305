"""Text in CSV files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_blindsr.errors import BlindSRError
from napari_blindsr.images.atomic import check_output, replacing


def ask_and_export(parent: QWidget, title: str, name: str, export: Callable[[Path], None]) -> None:
    """Ask for a CSV file, propose a name, and export to it; errors are shown."""
    answer, _ = QFileDialog.getSaveFileName(parent, title, name, "CSV (*.csv)")
    if not answer:
        return
    path = Path(answer)
    path = path if path.suffix else path.with_suffix(".csv")
    try:
        export(path)
    except BlindSRError as error:
        show_error(str(error))
    else:
        show_info(f"Saved {path}")


def save_csv(path: Path, text: str) -> None:
    """Write a CSV file, and replace an existing one. Raises a `FileError` if that fails."""
    check_output(path, suffixes=(".csv",), force=True)
    with replacing(path, force=True) as stream:
        stream.write(text.encode("utf-8"))
