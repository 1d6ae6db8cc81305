"""Saving what a dock tells as a file."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_blindsr.images.atomic import check_output, replacing


def ask_for_csv(parent: QWidget, title: str, name: str) -> Path | None:
    """Ask for the name of a CSV file, and return None if there is no answer.

    Parameters
    ----------
    parent : QWidget
        Of the dialogue, which asks before it names a file that exists.
    title : str
    name : str
        That is proposed.
    """
    answer, _ = QFileDialog.getSaveFileName(parent, title, name, "CSV (*.csv)")
    if not answer:
        return None
    path = Path(answer)
    return path if path.suffix else path.with_suffix(".csv")


def save_csv(path: Path, text: str) -> None:
    """Write a CSV file, in place of what was there.

    Raises
    ------
    FileError
    """
    check_output(path, suffixes=(".csv",), force=True)
    with replacing(path, force=True) as stream:
        stream.write(text.encode("utf-8"))
