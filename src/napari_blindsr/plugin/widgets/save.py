"""Text in small files, and results in image files, which are written in the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Image, Layer
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_blindsr.errors import BlindSRError
from napari_blindsr.images.atomic import check_free, check_output, replacing
from napari_blindsr.plugin.layers.outputs import is_restored
from napari_blindsr.plugin.widgets.dock import report_errors

if TYPE_CHECKING:
    from napari.components import ViewerModel


def ask_and_export(parent: QWidget, title: str, name: str, export: Callable[[Path], None]) -> None:
    """Ask for a file, propose a name, and export to it; errors are shown."""
    suffix = Path(name).suffix
    kind = f"{suffix[1:].upper()} (*{suffix})"
    answer, _ = QFileDialog.getSaveFileName(parent, title, name, kind)
    if not answer:
        return
    path = Path(answer)
    path = path if path.suffix else path.with_suffix(suffix)
    try:
        check_asked(path, answer)
        export(path)
    except BlindSRError as error:
        show_error(str(error))
    else:
        show_info(f"Saved {path}")


def check_asked(path: Path, answer: str) -> None:
    """Refuse to replace a file that the dialogue did not ask about: it was answered otherwise."""
    if str(path) != str(Path(answer)):
        check_free(path, force=False)


def save_csv(path: Path, text: str) -> None:
    """Write a CSV file, and replace an existing one. Raises a `FileError` if that fails."""
    check_output(path, suffixes=(".csv",), force=True)
    with replacing(path, force=True) as stream:
        stream.write(text.encode("utf-8"))


TITLE = "Save result"
NOTHING = "There is no result yet: press Run first."


def results_to_save(viewer: ViewerModel, last: Sequence[Layer]) -> list[Image]:
    """Return the selected restored images or, without any, the last result.

    `last` holds the source and the last result, or nothing.
    """
    chosen = [layer for layer in viewer.layers if layer in viewer.layers.selection]
    images = [layer for layer in chosen if is_restored(layer)]
    if images:
        return images
    left = [layer for layer in last if is_restored(layer) and layer in viewer.layers]
    return left or [layer for layer in reversed(viewer.layers) if is_restored(layer)][:1]


def ask_and_save(
    parent: QWidget,
    layers: Sequence[Image],
    *,
    saved: Callable[[Path], None],
    failed: Callable[[Exception], None],
) -> None:
    """Ask for a file, and write layers to it in the background, several as its channels.

    `saved` or `failed` is called on the main thread at the end.
    """
    # Not before now: this imports tifffile, which takes a while.
    from napari_blindsr.plugin.layers.save_files import (  # noqa: PLC0415
        FILTERS,
        chosen_path,
        layer_data,
        write_image,
    )

    names = " + ".join(str(layer.name) for layer in layers)
    plain = "".join(part if part.isalnum() or part in " -_.×+()" else "_" for part in names)
    answer, chosen = QFileDialog.getSaveFileName(parent, TITLE, plain, ";;".join(FILTERS))
    if not answer:
        return
    path = chosen_path(answer, chosen)
    try:
        check_asked(path, answer)
    except BlindSRError as error:
        failed(error)
        return
    worker = create_worker(
        write_image, str(path), layer_data(layers), _start_thread=False, _ignore_errors=True
    )
    worker.returned.connect(lambda _: saved(path))
    report_errors(worker, failed)
    worker.start()
