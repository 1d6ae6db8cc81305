"""Scores a method on a prepared data set, with baselines; the scores as a table and as CSV."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from rich.table import Table

from napari_blindsr.errors import InputError
from napari_blindsr.evaluation.prepare import LEVELS, published_variances
from napari_blindsr.evaluation.results import (
    Outcome,
    load_others_outcome,
    load_outcome,
    outcome_of,
    peak_memory,
    save_outcome,
)
from napari_blindsr.images.atomic import make_folder, replacing
from napari_blindsr.metrics import SCORES, MetricInputs, to_8bit
from napari_blindsr.physics.kernel_files import check_kernel
from napari_blindsr.physics.kernels import Gaussian
from napari_blindsr.physics.observation import Observation
from napari_blindsr.physics.simulate import interpolate
from napari_blindsr.progress import drained
from napari_blindsr.restoration.restore import iterate
from napari_blindsr.solvers.device import resolve_device
from napari_blindsr.solvers.nonblind.usrnet import usrnet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.evaluation.dataset import Case, DataSet
    from napari_blindsr.physics.kernels import KernelFamily
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.solvers.nonblind.usrnet import USRNet

    Restoring = Callable[[Case, Settings, NDArray[np.float32] | None], Result]
    from collections.abc import Callable


Scores = dict[str, float]
"""By the names of `napari_blindsr.metrics.SCORES`; scores that cannot be computed are left out."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The scores of one image.

    Attributes
    ----------
    name : str
    restored : Scores
    seconds : float or None
    peak_memory : int or None
        In bytes.
    interpolation : Scores
        Of cubic interpolation in the right place.
    usrnet : Scores
        Of USRNet with the true kernel; empty without its weights.
    reason : str
        Why the run ended; empty if unknown.
    """

    name: str
    restored: Scores
    seconds: float | None
    peak_memory: int | None
    interpolation: Scores
    usrnet: Scores
    reason: str = ""


def settings_for(
    data: DataSet,
    asked: Settings,
    *,
    kernel: KernelFamily | Literal["known"] | None = None,
    gain: float | Literal["auto"] | None = None,
    noise: float | Literal["auto"] | None = None,
) -> Settings:
    """Return settings with the geometry and border of a data set.

    Parameters
    ----------
    data : DataSet
    asked : Settings
    kernel : KernelFamily or "known", optional
        By default the family that the kernels were drawn from; for the published Gaussians, and
        if the family is unknown, `Gaussian` with its default range.
    gain : float or "auto", optional
        By default the manifest's.
    noise : float or "auto", optional
        By default estimated if the manifest has noise.
    """
    manifest = data.manifest
    if kernel is None:
        kernel = Gaussian() if manifest is None else (manifest.family or Gaussian())
        if kernel == Gaussian(variance=published_variances(data.layout.scale)):
            kernel = Gaussian()
    if noise is None:
        noise = "auto" if manifest is not None and manifest.noise > 0 else 0.0
    return replace(
        asked,
        geometry=data.geometry,
        border=data.border,
        kernel=kernel,
        gain=data.gain if gain is None else gain,
        noise=noise,
    )


def score(
    image: ArrayLike, case: Case, *, scale: int, kernel: NDArray[np.float32] | None = None
) -> Scores:
    """Score an image, and a kernel if both it and the true one are given.

    Parameters
    ----------
    image : array_like
        uint8, or floats in [0, 1].
    case : Case
    scale : int
        Pixels left out at each border.
    kernel : ndarray, (K, K), optional
    """
    evidence = MetricInputs(
        image=to_8bit(image),
        reference=to_8bit(case.truth),
        kernel=kernel,
        true_kernel=None if case.kernel is None else check_kernel(case.kernel),
        crop=scale,
    )
    return {metric.name: metric(evidence) for metric in SCORES if evidence.allows(metric.needs)}


def restored_rows(
    data: DataSet,
    settings: Settings,
    folder: Path,
    *,
    run: Restoring | None = None,
    network: USRNet | None = None,
) -> Iterator[Row]:
    """Restore the images of a data set one by one, and score them.

    Results that the folder already has are not computed again, so an interrupted evaluation is
    resumed.

    Parameters
    ----------
    data : DataSet
    settings : Settings
        Known kernels are the data set's own.
    folder : Path
        Of the results with these settings, see `napari_blindsr.evaluation.results.run_folder`;
        made if missing.
    run : callable, optional
        Restores one image; by default without reporting progress.
    network : USRNet, optional
        For the baseline.

    Yields
    ------
    Row
        Ends early if a run was stopped; its result is not kept.
    """
    device = resolve_device(settings.device)
    make_folder(folder)
    for name in data.names:
        case = data.load(name)
        outcome = load_outcome(folder, case)
        if outcome is None:
            with peak_memory(device) as peak:
                result = (run or _restored)(case, settings, _known(case, settings))
            if result.reason == "stopped":
                return
            outcome = outcome_of(result, case, peak_memory=peak.bytes)
            scores = score(outcome.image, case, scale=settings.scale, kernel=outcome.kernel)
            save_outcome(folder, case, result, peak_memory=peak.bytes, scores=scores)
        yield _row(data, case, outcome, network)


def scored_rows(data: DataSet, folder: Path, *, network: USRNet | None = None) -> Iterator[Row]:
    """Score existing results of any program.

    Parameters
    ----------
    data : DataSet
        Its images must have results in the folder.
    folder : Path
        NAME.png or .tif, and NAME.mat or .npy for the kernels.
    network : USRNet, optional
        For the baseline.
    """
    for name in data.names:
        case = data.load(name)
        yield _row(data, case, load_others_outcome(folder, case), network)


def _restored(case: Case, settings: Settings, known: NDArray[np.float32] | None) -> Result:
    return drained(iterate(case.coarse, settings, known_kernel=known))


def _known(case: Case, settings: Settings) -> NDArray[np.float32] | None:
    if settings.kernel == "known" and case.kernel is None:
        raise InputError(f"{case.name} has no true kernel; expected one for a known kernel")
    return case.kernel if settings.kernel == "known" else None


def _row(data: DataSet, case: Case, outcome: Outcome, network: USRNet | None) -> Row:
    scale = data.layout.scale
    kernel = None if outcome.kernel is None else check_kernel(outcome.kernel)
    baseline = None if network is None else with_true_kernel(data, case, network)
    return Row(
        name=case.name,
        restored=score(outcome.image, case, scale=scale, kernel=kernel),
        seconds=outcome.seconds,
        peak_memory=outcome.peak_memory,
        interpolation=score(interpolated(data, case), case, scale=scale),
        usrnet={} if baseline is None else score(baseline, case, scale=scale),
        reason=outcome.reason,
    )


def interpolated(data: DataSet, case: Case) -> NDArray[np.float32]:
    """Return cubic interpolation in the right place and at normal brightness, in [0, 1]."""
    image = interpolate(case.coarse, data.layout.scale, geometry=data.geometry, border=data.border)
    return np.asarray(np.clip(image / (case.white * data.gain), 0, 1), dtype=np.float32)


def with_true_kernel(data: DataSet, case: Case, network: USRNet) -> NDArray[np.float32] | None:
    """Return USRNet's result with the true kernel and noise level, in [0, 1].

    None if the true kernel is unknown.
    """
    if case.kernel is None:
        return None
    kernel = torch.from_numpy(check_kernel(case.kernel))
    scaled = np.asarray(case.coarse / (case.white * data.gain), dtype=np.float32)
    planes = scaled[None] if scaled.ndim == 2 else np.moveaxis(scaled, -1, 0)
    observation = Observation(
        data=torch.from_numpy(np.ascontiguousarray(planes)),
        scale=data.layout.scale,
        kernel_size=len(kernel),
        geometry=data.geometry,
        border=data.border,
    )
    image = usrnet(observation, kernel, network, noise=case.noise / (LEVELS * data.gain))
    restored: NDArray[np.float32] = image.clamp(0, 1).numpy()
    return restored[0] if scaled.ndim == 2 else np.moveaxis(restored, 0, -1)


def mean_row(rows: list[Row]) -> Row:
    """Return the mean of each score that all images have."""
    memory = _mean([row.peak_memory for row in rows])
    return Row(
        name="mean",
        restored=_means([row.restored for row in rows]),
        seconds=_mean([row.seconds for row in rows]),
        peak_memory=None if memory is None else round(memory),
        interpolation=_means([row.interpolation for row in rows]),
        usrnet=_means([row.usrnet for row in rows]),
    )


def _means(scores: list[Scores]) -> Scores:
    means = {m.name: _mean([entry.get(m.name) for entry in scores]) for m in SCORES}
    return {name: value for name, value in means.items() if value is not None}


def _mean(values: list[Any]) -> float | None:
    if not values or None in values:
        return None
    return math.fsum(values) / len(values)


MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of numbers: `key` is its heading in a CSV file, `heading` that in a table."""

    key: str
    heading: str
    digits: int
    value: Callable[[Row], float | None]


def columns() -> list[Column]:
    """Return the columns: those of the result, then those of the baselines."""
    found = []
    parts: tuple[tuple[str, str, Callable[[Row], dict[str, float]]], ...] = (
        ("", "", lambda row: row.restored),
        ("interpolation_", "cubic\n", lambda row: row.interpolation),
        ("usrnet_true_kernel_", "USRNet,\ntrue kernel\n", lambda row: row.usrnet),
    )
    for prefix, group, pick in parts:
        for metric in SCORES:
            if prefix and metric.subject == "kernel":
                continue
            unit = f" [{metric.unit}]" if metric.unit else ""
            found.append(
                Column(
                    key=prefix + metric.name,
                    heading=group + metric.label + unit,
                    digits=2 if metric.unit == "dB" else 3,
                    value=lambda row, pick=pick, name=metric.name: pick(row).get(name),  # type: ignore[misc]
                )
            )
        if not prefix:
            found += [
                Column(key="seconds", heading="time [s]", digits=1, value=lambda row: row.seconds),
                Column(
                    key="peak_memory_mib",
                    heading="memory [MiB]",
                    digits=0,
                    value=lambda row: row.peak_memory and row.peak_memory / MEBIBYTE,
                ),
            ]
    return found


def evaluation_table(rows: list[Row], *, title: str) -> Table:
    """Return the scores of some images and their mean; columns without any are left out."""
    table = Table(title=title)
    table.add_column("image", justify="left")
    shown = [column for column in columns() if any(column.value(row) is not None for row in rows)]
    for column in shown:
        # Brackets would be taken for markup.
        table.add_column(column.heading.replace("[", r"\["), justify="right")
    for row in [*rows, mean_row(rows)]:
        if row.name == "mean":
            table.add_section()
        values = [column.value(row) for column in shown]
        cells = [
            "–" if value is None else f"{value:.{column.digits}f}"
            for column, value in zip(shown, values, strict=True)
        ]
        unusual = row.reason not in ("", "completed")
        table.add_row(f"{row.name} ({row.reason})" if unusual else row.name, *cells)
    return table


def write_csv(path: Path, rows: list[Row], *, force: bool = False) -> None:
    """Write the scores of some images and their mean; unknown values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    shown = columns()
    writer.writerow(["image", *(column.key for column in shown)])
    for row in [*rows, mean_row(rows)]:
        values = [column.value(row) for column in shown]
        writer.writerow([row.name, *("" if value is None else repr(value) for value in values)])
    with replacing(path, force=force) as stream:
        stream.write(text.getvalue().encode())
