"""The scores of an evaluation as a table and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from napari_blindsr.evaluation.evaluate import Row, mean_row
from napari_blindsr.images.atomic import replacing
from napari_blindsr.metrics import SCORES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
                Column(key="peak_memory_mib", heading="memory [MiB]", digits=0, value=_memory),
            ]
    return found


def _memory(row: Row) -> float | None:
    return None if row.peak_memory is None else row.peak_memory / MEBIBYTE


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
