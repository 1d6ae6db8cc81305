"""Which files, planes and region a command reads, where results go, and who does the work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_blindsr.cli.options import IMAGE_SUFFIXES
from napari_blindsr.errors import BlindSRError, FileError, SettingsError
from napari_blindsr.images.atomic import check_suffix
from napari_blindsr.images.tiling import Box

if TYPE_CHECKING:
    from napari_blindsr.stacks.batch import FileJob
    from napari_blindsr.stacks.options import StackOptions


FileFormat = Literal["same", "tif", "zarr", "npy"]

_PANEL = "Clusters"
WorkersOption = Annotated[
    int | None,
    typer.Option(
        help="Share planes, tiles and files among so many processes of this machine, of one CPU "
        "thread each unless --threads tells.",
        show_default="this process",
        rich_help_panel=_PANEL,
    ),
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Share them among the workers of a Dask scheduler, such as tcp://10.0.0.1:8786.",
        rich_help_panel=_PANEL,
    ),
]

OUTPUT_SUFFIXES = (*IMAGE_SUFFIXES, ".zarr")


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Which files are read, and where the results go.

    Attributes
    ----------
    images : list of Path
        Files, folders and patterns.
    output, folder : Path or None
        One of both.
    axes : str or None
    mask : Path or None
    series : int or None
        Which image of a file with several.
    """

    images: list[Path]
    output: Path | None
    folder: Path | None
    axes: str | None
    mask: Path | None
    series: int | None = None

    def __post_init__(self) -> None:
        if (self.output is None) == (self.folder is None):
            raise FileError(
                "where the results go is given "
                f"{'twice' if self.output is not None else 'nowhere'}; "
                "expected --output for one INPUT, or --output-dir"
            )
        if self.output is not None and len(self.images) > 1:
            raise FileError(
                f"--output is {self.output}, one file, for {len(self.images)} INPUTs; expected "
                "--output-dir"
            )

        if self.output is not None:
            check_suffix(self.output, OUTPUT_SUFFIXES, "write")

    def single_image(self, options: StackOptions) -> Path | None:
        """Return the INPUT if it is one grey or RGB image in a plain file, or seems to be one."""
        own = (self.axes, self.series, options.planes)
        if self.output is None or any(choice is not None for choice in own):
            return None
        path = self.images[0]
        plain = {path.suffix.lower(), self.output.suffix.lower()} <= set(IMAGE_SUFFIXES)
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
            found = open_image(path).description.axes
        except BlindSRError:
            # What is wrong with it is said by whoever reads it.
            return path
        return path if found in ("YX", "YXS") else None

    def check_many(
        self,
        *,
        kernel_out: Path | None,
        mask_out: Path | None,
        uncertainty_out: Path | None,
        report: Path | None,
    ) -> None:
        """Raise an error for files that are written of one image only."""
        for name, path in (
            ("--kernel-out", kernel_out),
            ("--mask-out", mask_out),
            ("--uncertainty-out", uncertainty_out),
            ("--report", report),
        ):
            if path is not None:
                raise FileError(
                    f"{name} is {path}, which goes with one grey or RGB image that this process "
                    "restores; kernels and report of a stack, of files in --output-dir, and of "
                    "what a cluster restores, are written beside the results"
                )
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise FileError(f"cannot write to {self.folder}: it is a file; expected a folder")

    def jobs(self, *, scale: int, file_format: FileFormat) -> list[FileJob]:
        """Return what is read, and where what comes of it goes.

        Raises
        ------
        FileError
        """
        from napari_blindsr.images.files import find_images  # noqa: PLC0415
        from napari_blindsr.stacks.batch import file_job, plan_files  # noqa: PLC0415

        sources = find_images(self.images)
        if self.output is not None:
            if len(sources) != 1:
                raise FileError(
                    f"--output is {self.output}, one file, for {len(sources)} images; expected "
                    "--output-dir"
                )
            jobs = [file_job(sources[0], self.output)]
        else:
            assert self.folder is not None
            jobs = plan_files(sources, self.folder, scale=scale, file_format=file_format)
        return [replace(job, series=self.series) for job in jobs]


def parse_roi(text: str) -> Box:
    """Return the region that ROWS,COLUMNS stands for, such as 100:200,50:150.

    Raises
    ------
    SettingsError
    """
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
    """Return what --tile stands for.

    Raises
    ------
    SettingsError
    """
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"tile is {text!r}; expected a number, 'auto' or 'none'") from None
