"""``napari-blindsr prepare``: degrade the sharp images of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_blindsr.cli.options import (
    FamilyOptions,
    ForceOption,
    GeometryOption,
    QuietOption,
    ScaleOption,
    SeedOption,
    choose_kernel,
    error_console,
    flattened,
    say,
)
from napari_blindsr.errors import FileError
from napari_blindsr.evaluation.dataset import MODEL
from napari_blindsr.physics.kernels import FAMILY_NAMES
from napari_blindsr.settings import Settings
from napari_blindsr.types import Border

DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder with the sharp images in HR/.")
]
ModelOption = Annotated[str, typer.Option(help="Name that the folders of the data set begin with.")]


@flattened
def prepare(
    dataset: DatasetArgument,
    *,
    scale: ScaleOption,
    kernel: Annotated[
        str,
        typer.Option(
            metavar="FAMILY|FILE|FOLDER",
            help=f"Family that each image's kernel is drawn from ({', '.join(FAMILY_NAMES)}), a "
            "folder that it is drawn from (.npy or .mat), or a file with one kernel for all.",
        ),
    ] = "gaussian",
    noise: Annotated[
        float,
        typer.Option(
            help="Largest standard deviation of the noise, in 8-bit levels; each image's is "
            "drawn from 0 to this."
        ),
    ] = 0.0,
    gain: Annotated[float, typer.Option(help="Below 1 for dark images.")] = 1.0,
    seed: SeedOption = 0,
    model: ModelOption = MODEL,
    geometry: GeometryOption = "benchmark",
    border: Annotated[
        Border,
        typer.Option(help="What lies beyond the borders; with extend they are cut off."),
    ] = "circular",
    given: FamilyOptions,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Degrade the sharp images of a data set by random kernels.

    From DATASET/HR/*.png or .tif it makes DATASET/<MODEL>_lr_x<SCALE>/*.png,
    DATASET/<MODEL>_gt_k_x<SCALE>/*.mat and DATASET/<MODEL>_manifest_x<SCALE>.json.
    """
    # Checked before torch is imported.
    Settings(scale=scale, seed=seed)
    if not dataset.is_dir():
        raise FileError(f"there is no data set {dataset}; expected a folder")
    chosen = choose_kernel(kernel, given)
    from napari_blindsr.evaluation.dataset import Layout  # noqa: PLC0415
    from napari_blindsr.evaluation.prepare import Preparation, prepare_dataset  # noqa: PLC0415

    layout = Layout(folder=dataset, scale=scale, model=model)
    preparation = Preparation(
        scale=scale,
        kernel=chosen,
        kernel_source="" if kernel in FAMILY_NAMES else kernel,
        geometry=geometry,
        border=border,
        gain=gain,
        noise=noise,
        seed=seed,
    )
    console = error_console(quiet=quiet)
    with console.status("preparing") as status:
        manifest = prepare_dataset(
            layout,
            preparation,
            force=force,
            progress=lambda name: status.update(f"preparing {name}"),
        )
    written = ", ".join(str(path) for path in (layout.coarse, layout.kernels, layout.manifest))
    say(console, f"prepared {len(manifest.images)} images; wrote {written}")
