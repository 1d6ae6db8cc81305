"""Options of ``restore``: files, planes and regions, workers, and what is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_blindsr.cli.options import (
    FLOAT_SUFFIXES,
    IMAGE_SUFFIXES,
    KERNEL_SUFFIXES,
    MASK_SUFFIXES,
    READ_SUFFIXES,
    REPORT_SUFFIXES,
    KernelOutOption,
    check_files,
    parsed,
)
from napari_blindsr.errors import BlindSRError, FileError, SettingsError
from napari_blindsr.images.atomic import Bundle, check_suffix, complete
from napari_blindsr.images.tiling import Box
from napari_blindsr.settings import FEWEST_RESTORATIONS
from napari_blindsr.stacks.dask_client import ClusterChoice
from napari_blindsr.stacks.options import StackOptions
from napari_blindsr.types import FileFormat, OutputType, Sharing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from napari_blindsr.images.files import LoadedImage
    from napari_blindsr.restoration.result import Result
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
        folder = self.output_dir
        if folder is not None and folder.exists() and not folder.is_dir():
            raise FileError(f"cannot write to {folder}: it is a file; expected a folder")

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

    def convert(text: str) -> Box:
        rows, columns = (part.split(":") for part in text.split(","))
        top, bottom = map(int, rows)
        left, right = map(int, columns)
        return Box(top=top, left=left, bottom=bottom, right=right)

    return parsed("roi", text, convert, "rows and columns such as 100:200,50:150")


def parse_tile(text: str) -> int | Literal["auto"] | None:
    """Return the value of --tile."""
    if text == "auto":
        return "auto"
    return None if text == "none" else parsed("tile", text, int, "a number, 'auto' or 'none'")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written beside the image."""

    kernel_out: KernelOutOption = None
    mask_out: Annotated[
        Path | None,
        typer.Option(
            help="Where the mask of the filled-in pixels of the result goes, 255 where filled "
            "in: .png or .tif."
        ),
    ] = None
    uncertainty: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Compute the standard deviation of each pixel from so many additional "
            f"restorations: 1 with the image prior, at least {FEWEST_RESTORATIONS} without; 0 is "
            "off. Not where an optimisation would be repeated.",
        ),
    ] = 0
    uncertainty_out: Annotated[
        Path | None,
        typer.Option(
            help="Where the standard deviation of each pixel goes, in the input's intensities: "
            ".tif or .npy."
        ),
    ] = None
    report: Annotated[Path | None, typer.Option(help="Where a report of the run goes: .json.")] = (
        None
    )

    def __post_init__(self) -> None:
        if (self.uncertainty > 0) != (self.uncertainty_out is not None):
            raise SettingsError(
                f"--uncertainty is {self.uncertainty} and --uncertainty-out is "
                f"{'missing' if self.uncertainty_out is None else 'given'}; expected both or none"
            )

    def _files(self, image: Path) -> tuple[tuple[Path | None, tuple[str, ...]], ...]:
        """Return the files in the order in which they are written, and their extensions."""
        return (
            (image, IMAGE_SUFFIXES),
            (self.kernel_out, KERNEL_SUFFIXES),
            (self.mask_out, MASK_SUFFIXES),
            (self.uncertainty_out, FLOAT_SUFFIXES),
            (self.report, REPORT_SUFFIXES),
        )

    def written(self, image: Path) -> list[Path]:
        """Return the files that are asked for."""
        return [path for path, _ in self._files(image) if path is not None]

    def check(self, image: Path, *inputs: Path | None, force: bool) -> None:
        """Check that all outputs can be written before any input is read."""
        # An earlier run may have been killed while it renamed its files.
        complete(image, self.written(image))
        check_files(*inputs, outputs=self._files(image), force=force)

    def check_none(self) -> None:
        """Raise a `FileError` if any is given; they are written for a single image only."""
        for name in ("kernel_out", "mask_out", "uncertainty_out", "report"):
            path = getattr(self, name)
            if path is not None:
                raise FileError(
                    f"--{name.replace('_', '-')} is {path}, which goes with one grey or RGB image "
                    "that this process restores; kernels and report of a stack, of files in "
                    "--output-dir, and of what a cluster restores, are written beside the results"
                )

    def write(
        self,
        image: Path,
        result: Result,
        loaded: LoadedImage,
        *,
        about: Mapping[str, Any],
        force: bool,
        console: Console,
    ) -> list[Path]:
        """Write a result; returns the files. The report has `about` as well."""
        import numpy as np  # noqa: PLC0415

        from napari_blindsr.images import files, plain  # noqa: PLC0415
        from napari_blindsr.physics import kernel_files  # noqa: PLC0415

        dtype, size = loaded.array.dtype, loaded.pixel_size
        fine = None if size is None else size.divided(result.settings.scale)
        written = self.written(image)
        with Bundle(image) as bundle:
            options: dict[str, Any] = {"force": force, "bundle": bundle}
            clipped = plain.write_image(
                image,
                result.image,
                dtype=dtype,
                pixel_size=fine,
                description=loaded.description,
                **options,
            )
            if self.kernel_out is not None:
                kernel_files.write_kernel(self.kernel_out, result.kernels, **options)
            if self.mask_out is not None:
                covered = result.covered
                if covered is None:
                    covered = np.zeros(result.support.shape, dtype=bool)
                files.write_mask(self.mask_out, covered, **options)
            if self.uncertainty_out is not None and result.uncertainty is None:
                # The run was stopped before it had one.
                written.remove(self.uncertainty_out)
            elif self.uncertainty_out is not None:
                spread = result.uncertainty
                assert spread is not None
                plain.write_image(
                    self.uncertainty_out, spread, dtype=spread.dtype, pixel_size=fine, **options
                )
            if self.report is not None:
                plain.write_report(self.report, {**result.report(), **about}, **options)
        bundle.commit()
        if clipped:
            console.print(
                f"clipped {clipped} of {result.support.size} pixels to the range of {dtype}; "
                ".tif and .npy keep them"
            )
        return written
