"""``napari-blindsr evaluate``: score a method on a prepared data set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from napari_blindsr.cli.options import (
    FAILED,
    DeviceOption,
    MethodOption,
    PrecisionOption,
    QualityOption,
    QuietOption,
    ScaleOption,
    ScheduleOption,
    SeedOption,
    StepsOption,
    ThreadsOption,
    UsrnetOption,
    number_or_auto,
)
from napari_blindsr.cli.prepare import DatasetArgument, ModelOption
from napari_blindsr.errors import FileError, SettingsError
from napari_blindsr.evaluation.dataset import MODEL
from napari_blindsr.images.atomic import check_output
from napari_blindsr.methods import METHODS, Schedule, ScheduleName, plan_schedule
from napari_blindsr.physics.kernels import FAMILY_NAMES
from napari_blindsr.settings import Settings, kernel_family
from napari_blindsr.types import Finish

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_blindsr.evaluation.dataset import Case, DataSet
    from napari_blindsr.evaluation.evaluate import Row
    from napari_blindsr.physics.kernels import KernelFamily
    from napari_blindsr.restoration.result import Result


def evaluate(
    dataset: DatasetArgument,
    *,
    scale: ScaleOption,
    method: MethodOption = METHODS[0],
    model: ModelOption = MODEL,
    images: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Names of the images wanted.", show_default="all of them"),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Where the table goes as well: .csv.")] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the results. Images in it are scored as they are, without a run; "
            "otherwise each set of settings gets a subfolder.",
            show_default="DATASET/<MODEL>_results_x<SCALE>",
        ),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILY|known",
            help=f"Family that the blur is from ({', '.join(FAMILY_NAMES)}), or known: the true "
            "kernel is held.",
            show_default="the manifest's family, or gaussian",
        ),
    ] = None,
    gain: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|auto", help="As for restore.", show_default="the manifest's"),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|auto",
            help="As for restore.",
            show_default="auto if the manifest tells of noise, else 0",
        ),
    ] = None,
    finish: Annotated[
        Finish | None,
        typer.Option(
            help="What follows once the kernel is known.", show_default="the method's own"
        ),
    ] = None,
    usrnet_weights: UsrnetOption = None,
    quality: QualityOption = "fast",
    schedule: ScheduleOption = "published",
    steps: StepsOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing CSV file.")] = False,
    quiet: QuietOption = False,
) -> int:
    """Restore the images of a prepared data set and score them against the truth.

    Each image's result is written as it is finished, so the same command goes on where it was
    interrupted. Cubic interpolation, and USRNet with the true kernel if its weights are on this
    machine, stand beside it.
    """
    if csv is not None:
        check_output(csv, suffixes=(".csv",), force=force)
    asked = Settings(
        scale=scale,
        method=method,
        finish=finish,
        usrnet_weights=None if usrnet_weights is None else str(usrnet_weights),
        quality=quality,
        schedule=_schedule(schedule, method, steps, "known"),
        seed=seed,
        device=device,
        precision=precision,
        threads=threads,
    )
    wanted = _family(kernel)
    brightness = None if gain is None else number_or_auto("gain", gain)
    deviation = None if noise is None else number_or_auto("noise", noise)
    if not dataset.is_dir():
        raise FileError(f"there is no data set {dataset}; expected a folder")
    from napari_blindsr.evaluation.dataset import open_dataset  # noqa: PLC0415
    from napari_blindsr.evaluation.evaluate import settings_for  # noqa: PLC0415

    names = None if images is None else [name.strip() for name in images.split(",")]
    data = open_dataset(dataset, scale=scale, model=model, images=names)
    for name in data.names:
        # What is wrong with the last image shows before hours of work.
        data.load(name)
    settings = settings_for(data, asked, kernel=wanted, gain=brightness, noise=deviation)
    settings = replace(settings, schedule=_schedule(schedule, method, steps, settings.kernel))
    console = Console(stderr=True, quiet=quiet, highlight=False)
    root = results if results is not None else dataset / f"{model}_results_x{scale}"
    title, rows, count = _rows(data, settings, root, usrnet_weights, console)
    done = _drain(rows)
    _show(done, f"{dataset.resolve().name} ×{scale}, {title}")
    if len(done) < count:
        console.print(f"stopped after {len(done)} of {count} images; the same command goes on")
        return FAILED
    if csv is not None:
        from napari_blindsr.evaluation.table import write_csv  # noqa: PLC0415

        write_csv(csv, done, force=force)
        console.print(f"wrote {csv}", markup=False, soft_wrap=True)
    return 0


def _rows(
    data: DataSet, settings: Settings, root: Path, weights: Path | None, console: Console
) -> tuple[str, Iterator[Row], int]:
    """Return what is scored, its rows as they are computed, and how many there will be."""
    from napari_blindsr.evaluation.evaluate import restored_rows, scored_rows  # noqa: PLC0415
    from napari_blindsr.evaluation.results import others_results, run_folder  # noqa: PLC0415
    from napari_blindsr.solvers.nonblind.usrnet import read_usrnet  # noqa: PLC0415
    from napari_blindsr.weights import find_usrnet, local_usrnet  # noqa: PLC0415

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    # A mere baseline is no reason to fetch anything.
    local = local_usrnet(weights)
    network = None if local is None else read_usrnet(local)
    others = others_results(root, data.names)
    if others:
        say(f"scoring what is in {root}, {len(others)} of {len(data.names)} images; nothing is run")
        rows = scored_rows(replace(data, names=others), root, network=network)
        return f"results in {root}", rows, len(others)
    if settings.used_finish == "usrnet":
        # Scores of a first stage alone must not pass for those of the whole.
        settings = replace(settings, usrnet_weights=str(find_usrnet(weights)))
    folder = run_folder(root, settings)
    say(f"results in {folder}")

    def run(case: Case, settings: Settings, known: NDArray[np.float32] | None) -> Result:
        from napari_blindsr.cli import terminal  # noqa: PLC0415

        notes = [f"restoring {case.name}"]
        return terminal.run(case.coarse, settings, known=known, notes=notes, console=console)

    rows = restored_rows(data, settings, folder, run=run, network=network)
    return settings.method, rows, len(data.names)


def _drain(rows: Iterator[Row]) -> list[Row]:
    """Return the rows that are finished, all of them unless the user interrupts."""
    done = []
    with suppress(KeyboardInterrupt):
        for row in rows:
            done.append(row)  # noqa: PERF402  (an interrupt keeps those before it)
    return done


def _show(rows: list[Row], title: str) -> None:
    from napari_blindsr.evaluation.table import evaluation_table  # noqa: PLC0415

    if not rows:
        return
    table = evaluation_table(rows, title=title)
    console = Console(highlight=False)
    if not console.is_terminal:
        # In a file a line may be as long as it takes.
        wide = Console(width=1000)
        console.width = max(console.width, wide.measure(table).maximum)
    console.print(table)


def _schedule(
    name: ScheduleName, method: str, steps: int | None, kernel: KernelFamily | Literal["known"]
) -> Schedule:
    family = kernel if kernel == "known" else kernel.name
    return plan_schedule(name, method=method, kernel=family, steps=steps)


def _family(kernel: str | None) -> KernelFamily | Literal["known"] | None:
    if kernel is None:
        return None
    if kernel == "known":
        return "known"
    if kernel not in FAMILY_NAMES:
        raise SettingsError(f"kernel is {kernel!r}; expected one of {[*FAMILY_NAMES, 'known']}")
    return kernel_family(kernel)
