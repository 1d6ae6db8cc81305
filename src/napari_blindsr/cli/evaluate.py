"""``napari-blindsr evaluate``: score a method on a prepared data set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_blindsr.cli.options import (
    FAILED,
    MethodOptions,
    QuietOption,
    ScaleOption,
    error_console,
    flattened,
    number_or_auto,
    print_tables,
    say,
)
from napari_blindsr.cli.prepare import DatasetArgument, ModelOption
from napari_blindsr.errors import FileError, SettingsError
from napari_blindsr.evaluation.dataset import MODEL
from napari_blindsr.images.atomic import check_output
from napari_blindsr.physics.kernels import FAMILY_NAMES, Airy
from napari_blindsr.settings import kernel_family

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from napari_blindsr.evaluation.dataset import Case, DataSet, Manifest
    from napari_blindsr.evaluation.evaluate import Row
    from napari_blindsr.physics.kernels import KernelFamily
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Which images are evaluated with which settings, and where the results go."""

    images: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Names of the images to evaluate.", show_default="all of them"
        ),
    ] = None
    csv: Annotated[Path | None, typer.Option(help="File for the table: .csv.")] = None
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the results. Images that are in it are scored, and nothing is run; "
            "otherwise each set of settings gets a subfolder.",
            show_default="DATASET/<MODEL>_results_x<SCALE>",
        ),
    ] = None
    kernel: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILY|known",
            help=f"Family that the blur is from ({', '.join(FAMILY_NAMES)}), or known: the true "
            "kernel is given.",
            show_default="the manifest's family, or gaussian",
        ),
    ] = None
    gain: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|auto", help="As for restore.", show_default="the manifest's"),
    ] = None
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="As for restore.",
            show_default="auto if the manifest has noise, else 0",
        ),
    ] = None


@flattened
def evaluate(
    dataset: DatasetArgument,
    *,
    scale: ScaleOption,
    model: ModelOption = MODEL,
    given: EvaluationOptions,
    chosen: MethodOptions,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing CSV file.")] = False,
    quiet: QuietOption = False,
) -> int:
    """Restore the images of a prepared data set and score them against the truth.

    Each image's result is written once it is complete, so the same command resumes an interrupted
    evaluation. The table also has cubic interpolation and, if its weights are on this machine,
    USRNet with the true kernel.
    """
    if given.csv is not None:
        check_output(given.csv, suffixes=(".csv",), force=force)
    asked = chosen.settings(scale=scale, kernel="known")
    gain = None if given.gain is None else number_or_auto("gain", given.gain)
    noise = None if given.noise is None else number_or_auto("noise", given.noise)
    if not dataset.is_dir():
        raise FileError(f"there is no data set {dataset}; expected a folder")
    from napari_blindsr.evaluation.dataset import open_dataset  # noqa: PLC0415
    from napari_blindsr.evaluation.evaluate import settings_for  # noqa: PLC0415

    names = None if given.images is None else [n.strip() for n in given.images.split(",")]
    data = open_dataset(dataset, scale=scale, model=model, images=names)
    wanted = _family(given.kernel, data.manifest)
    for name in data.names:
        # Damaged images are reported before hours of work.
        data.load(name)
    settings = settings_for(data, asked, kernel=wanted, gain=gain, noise=noise)
    # The schedule depends on the kernel family.
    schedule = chosen.settings(scale=scale, kernel=settings.kernel).schedule
    settings = replace(settings, schedule=schedule)
    console = error_console(quiet=quiet)
    root = given.results if given.results is not None else dataset / f"{model}_results_x{scale}"
    title, rows, count = _rows(data, settings, root, chosen.usrnet_weights, console)
    done: list[Row] = []
    with suppress(KeyboardInterrupt):
        for row in rows:
            done.append(row)  # noqa: PERF402  (an interrupt keeps those before it)
    from napari_blindsr.evaluation.evaluate import evaluation_table, write_csv  # noqa: PLC0415

    if done:
        print_tables(evaluation_table(done, title=f"{dataset.resolve().name} ×{scale}, {title}"))
    if len(done) < count:
        console.print(f"stopped after {len(done)} of {count} images; the same command resumes")
        return FAILED
    if given.csv is not None:
        write_csv(given.csv, done, force=force)
        say(console, f"wrote {given.csv}")
    return 0


def _rows(
    data: DataSet, settings: Settings, root: Path, weights: Path | None, console: Console
) -> tuple[str, Iterator[Row], int]:
    """Return a title, the rows of the table as they are computed, and how many there will be."""
    from napari_blindsr.evaluation.evaluate import restored_rows, scored_rows  # noqa: PLC0415
    from napari_blindsr.evaluation.results import others_results, run_folder  # noqa: PLC0415
    from napari_blindsr.solvers.nonblind.usrnet import read_usrnet  # noqa: PLC0415
    from napari_blindsr.weights import find_usrnet, local_usrnet  # noqa: PLC0415

    # The baseline alone is no reason to download the weights.
    local = local_usrnet(weights)
    network = None if local is None else read_usrnet(local)
    others = others_results(root, data.names)
    if others:
        count = f"{len(others)} of {len(data.names)}"
        say(console, f"scoring the results in {root}, {count} images; nothing is run")
        rows = scored_rows(replace(data, names=others), root, network=network)
        return f"results in {root}", rows, len(others)
    if settings.used_finish == "usrnet":
        # Without its weights, the scores would be those of the first stage alone.
        settings = replace(settings, usrnet_weights=str(find_usrnet(weights)))
    folder = run_folder(root, settings)
    say(console, f"results in {folder}")

    def run(case: Case, settings: Settings, known: NDArray[np.float32] | None) -> Result:
        from napari_blindsr.cli import terminal  # noqa: PLC0415

        notes = [f"restoring {case.name}"]
        return terminal.run(case.coarse, settings, known=known, notes=notes, console=console)

    rows = restored_rows(data, settings, folder, run=run, network=network)
    return settings.method, rows, len(data.names)


def _family(
    kernel: str | None, manifest: Manifest | None
) -> KernelFamily | Literal["known"] | None:
    if kernel is None:
        return None
    if kernel == "known":
        return "known"
    if kernel not in FAMILY_NAMES:
        raise SettingsError(f"kernel is {kernel!r}; expected one of {[*FAMILY_NAMES, 'known']}")
    if kernel != Airy.name:
        return kernel_family(kernel)
    family = None if manifest is None else manifest.family
    if not isinstance(family, Airy):
        raise SettingsError(
            "--kernel airy needs the optics, which this data set does not have; expected one that "
            "was prepared with --kernel airy, or another family"
        )
    return family
