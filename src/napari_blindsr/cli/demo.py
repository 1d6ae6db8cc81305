"""``napari-blindsr demo``: restores a bundled sample whose true image is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_blindsr.cli.options import (
    DeviceOption,
    MethodOption,
    UsrnetOption,
    error_console,
    print_tables,
    say,
)
from napari_blindsr.cli.restore import conclude
from napari_blindsr.images.atomic import check_output, make_folder
from napari_blindsr.methods import METHODS
from napari_blindsr.settings import Settings
from napari_blindsr.types import SCALES


def demo(
    *,
    method: MethodOption = METHODS[0],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the picture; one of an earlier demonstration is replaced.",
        ),
    ] = Path("napari-blindsr-demo"),
    device: DeviceOption = "auto",
    usrnet_weights: UsrnetOption = None,
    viewer: Annotated[
        bool, typer.Option("--viewer/--no-viewer", help="Open napari at the end, if possible.")
    ] = True,
) -> int:
    """Restore a bundled sample whose true image is known, within minutes.

    For DDSR some of its pixels are missing, and it is dark and noisy. Prints scores, writes a
    picture and opens napari.
    """
    # Checked before torch is imported, and before a folder is made.
    Settings(scale=SCALES[0], method=method)
    picture = output / "comparison.png"
    make_folder(output, parents=False)
    check_output(picture, suffixes=(".png",), force=True)
    from napari_blindsr.cli.terminal import run, score_table  # noqa: PLC0415
    from napari_blindsr.evaluation.demo import (  # noqa: PLC0415
        demo_case,
        demo_scores,
        demo_settings,
        side_by_side,
    )
    from napari_blindsr.images.plain import write_image  # noqa: PLC0415

    console = error_console()
    case = demo_case(method)
    settings = demo_settings(case, method, device=device, usrnet_weights=usrnet_weights)
    result = run(case.sample.image, settings, mask=case.mask, notes=case.notes, console=console)
    print_tables(score_table(demo_scores(case, result)))
    write_image(picture, side_by_side(case, result), dtype="uint8", force=True)
    code = conclude(result, [picture], console)
    if viewer:
        from napari_blindsr.plugin.restore.viewer import open_viewer, why_not  # noqa: PLC0415

        reason = why_not()
        if reason is None:
            open_viewer(case.sample, result)
        else:
            say(console, f"napari is not opened: {reason}")
    return code
