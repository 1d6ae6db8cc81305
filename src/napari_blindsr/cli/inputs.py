"""Options of ``restore``: files, planes and regions, and workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_blindsr.cli.options import IMAGE_SUFFIXES, READ_SUFFIXES
from napari_blindsr.errors import BlindSRError, FileError, SettingsError
from napari_blindsr.images.atomic import check_suffix
from napari_blindsr.images.tiling import Box
from napari_blindsr.stacks.dask_client import ClusterChoice
from napari_blindsr.stacks.options import StackOptions
from napari_blindsr.types import FileFormat, OutputType, Sharing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_blindsr.stacks.batch import FileJob


OUTPUT_SUFFIXES = (*IMAGE_SUFFIXES, ".zarr")


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How files are read, and where the results go."""

    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where the result of one INPUT goes: .png, .tif, .zarr or .npy."
        ),
    ] = None
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            "-d",
            help="Folder for the results of all INPUTs, with kernels and reports; files that are "
            "complete there are skipped.",
        ),
    ] = None
    file_format: Annotated[
        FileFormat,
        typer.Option(
            "--format", help="Format of the results in --output-dir; same is that of the INPUT."
        ),
    ] = "same"
    axes: Annotated[
        str | None,
        typer.Option(
            help="Axes of the INPUT, a letter each, such as TCYX; S stands for RGB.",
            show_default="the file's axes",
        ),
    ] = None
    series: Annotated[
        int | None,
        typer.Option(
            help="Which image of an INPUT with several, from 0; without it such a file is refused "
            "with the list of its images.",
            min=0,
            show_default="the only one",
        ),
    ] = None

    def check(self, images: Sequence[Path]) -> None:
        """Raise a `FileError` unless exactly one output is given, and fits the inputs."""
        if (self.output is None) == (self.output_dir is None):
            given = "neither of --output and --output-dir is"
            if self.output is not None:
                given = "both of --output and --output-dir are"
            raise FileError(f"{given} given; expected --output for one INPUT, or --output-dir")
        if self.output is not None and len(images) > 1:
            raise FileError(
                f"--output is {self.output}, one file, for {len(images)} INPUTs; expected "
                "--output-dir"
            )
        if self.output is not None:
            check_suffix(self.output, OUTPUT_SUFFIXES, "write")

    def single_image(self, images: Sequence[Path], options: StackOptions) -> Path | None:
        """Return the INPUT if it is one grey or RGB image in a plain file, or seems to be one."""
        own = (self.axes, self.series, options.planes)
        if self.output is None or any(choice is not None for choice in own):
            return None
        path = images[0]
        plain = (
            path.suffix.lower() in READ_SUFFIXES and self.output.suffix.lower() in IMAGE_SUFFIXES
        )
        ome = self.output.name.lower().endswith((".ome.tif", ".ome.tiff"))
        if (
            options.warm_start
            or options.dtype == "source"
            or (path.exists() and not plain)
            or ome
            or path.is_dir()
        ):
            return None
        from napari_blindsr.images.files import open_image  # noqa: PLC0415

        try:
            axes = open_image(path).description.axes
        except BlindSRError:
            # Reading it raises the error again.
            return path
        return path if axes in ("YX", "YXS") else None

    def jobs(self, images: Sequence[Path], *, scale: int) -> list[FileJob]:
        """Return the files that are read, with those that their results are written to."""
        from napari_blindsr.images.files import find_images  # noqa: PLC0415
        from napari_blindsr.stacks.batch import file_job, plan_files  # noqa: PLC0415

        sources = find_images(images)
        if self.output is not None:
            if len(sources) != 1:
                raise FileError(
                    f"--output is {self.output}, one file, for {len(sources)} images; expected "
                    "--output-dir"
                )
            jobs = [file_job(sources[0], self.output)]
        else:
            assert self.output_dir is not None
            jobs = plan_files(sources, self.output_dir, scale=scale, file_format=self.file_format)
        return [replace(job, series=self.series) for job in jobs]


@dataclass(frozen=True, kw_only=True)
class PlaneOptions:
    """Which planes of a stack are restored, and how."""

    planes: Annotated[
        str | None,
        typer.Option(
            help="Planes to restore, such as T=0:10,C=1.", show_default="all", metavar="AXIS=…"
        ),
    ] = None
    kernels: Annotated[
        Sharing,
        typer.Option(
            help="Which planes share a kernel: none, those of one channel, or all of them."
        ),
    ] = "channel"
    warm_start: Annotated[
        bool,
        typer.Option(
            "--warm-start",
            help="Start from the previous plane, in time or in depth: MLMC and DDSR start with its "
            "result, and take a third of the steps; fast, with --kernels plane, filters the blur "
            "estimates over such planes.",
        ),
    ] = False
    roi: Annotated[
        str | None,
        typer.Option(
            metavar="ROWS,COLUMNS",
            help="Region to restore, in pixels of the INPUT, such as 100:200,50:150.",
        ),
    ] = None
    dtype: Annotated[
        OutputType,
        typer.Option(
            help="Type of the results: float32, or that of the source, rounded and clipped."
        ),
    ] = "float32"

    def stack_options(self) -> StackOptions:
        """Return the options of a stack."""
        values: dict[str, Any] = dict(vars(self))
        roi = values.pop("roi")
        return StackOptions(**values, region=None if roi is None else parse_roi(roi))


_PANEL = "Clusters"


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Which processes restore."""

    workers: Annotated[
        int | None,
        typer.Option(
            help="Share planes, tiles and files among so many processes of this machine, of one "
            "CPU thread each unless --threads is given.",
            show_default="this process",
            rich_help_panel=_PANEL,
        ),
    ] = None
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Share them among the workers of a Dask scheduler, such as tcp://10.0.0.1:8786.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def cluster(self, threads: int | None) -> ClusterChoice | None:
        """Return the cluster to use; None is this process."""
        if self.workers is None and self.dask is None:
            return None
        return ClusterChoice(workers=self.workers, address=self.dask, threads=threads)


def parse_roi(text: str) -> Box:
    """Return the region that ROWS,COLUMNS names, such as 100:200,50:150."""
    try:
        rows, columns = (part.split(":") for part in text.split(","))
        top, bottom = map(int, rows)
        left, right = map(int, columns)
    except ValueError:
        raise SettingsError(
            f"roi is {text!r}; expected rows and columns such as 100:200,50:150"
        ) from None
    return Box(top=top, left=left, bottom=bottom, right=right)


def parse_tile(text: str) -> int | Literal["auto"] | None:
    """Return the value of --tile."""
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"tile is {text!r}; expected a number, 'auto' or 'none'") from None
