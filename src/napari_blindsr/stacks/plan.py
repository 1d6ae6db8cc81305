"""A checked stack: which planes are restored, which share a kernel, and where results go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.estimation.field import check_regions
from napari_blindsr.images.axes import (
    CHANNEL,
    Index,
    Layout,
    chain_axis,
    parse_axes,
    parse_selection,
)
from napari_blindsr.images.tiling import Box, check_region, tile_side
from napari_blindsr.methods import METHOD_TABLE, method_named
from napari_blindsr.restoration.problem import Link, kernel_source
from napari_blindsr.restoration.restore import iterate
from napari_blindsr.restoration.setup import prepare
from napari_blindsr.settings import ONE_BLUR
from napari_blindsr.stacks.options import StackOptions
from napari_blindsr.stacks.outputs import PlaneTarget, result_type

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import ArrayLike, NDArray

    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.metadata import LazyArray
    from napari_blindsr.progress import Progress
    from napari_blindsr.restoration.problem import Problem
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.solvers.loop import Weights
    from napari_blindsr.stacks.outputs import StackTarget


@dataclass(frozen=True, kw_only=True, eq=False)
class StackProblem:
    """A checked stack: which planes (`selection`, by loop axis) are restored, and how.

    `found` says whether the known kernel was itself estimated by a run.
    """

    array: Any
    layout: Layout
    selection: tuple[range, ...]
    region: Box
    settings: Settings
    options: StackOptions
    known: NDArray[Any] | KernelField | None
    found: bool
    mask: ArrayLike | None

    @property
    def result(self) -> Layout:
        """The layout of the result."""
        plane = self.region.scaled(self.settings.scale).shape
        return self.layout.resized(self.selection, plane)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the result."""
        return result_type(self.options.dtype, np.dtype(self.array.dtype))

    @property
    def indices(self) -> list[Index]:
        """The planes, in order."""
        return self.layout.indices(self.selection)

    def group(self, index: Index) -> Index:
        """Return the index that all planes sharing this plane's kernel have in common."""
        if self.options.kernels == "plane":
            return index
        if self.options.kernels == "shared" or CHANNEL not in self.layout.loop_axes:
            return ()
        return (index[self.layout.loop_axes.index(CHANNEL)],)

    def position(self, index: Index) -> Index:
        """Return the position of a plane in the result."""
        return tuple(r.index(at) for r, at in zip(self.selection, index, strict=True))

    def single(self, index: Index) -> StackProblem:
        """Return this stack with one plane only."""
        return replace(self, selection=tuple(range(at, at + 1) for at in index))

    def place(self, target: StackTarget, index: Index) -> PlaneTarget:
        """Return the target that a plane is written to."""
        return PlaneTarget(
            target, layout=self.result, position=self.position(index), dtype=self.dtype
        )

    @property
    def part(self) -> Box | None:
        """The region, unless it is everything."""
        return None if self.region == Box.whole(self.layout.plane_shape) else self.region

    def settings_with(self, kernel: NDArray[Any] | KernelField | None) -> Settings:
        """Return the settings of a plane with a given kernel, or with its own."""
        return self.settings if kernel is None else replace(self.settings, kernel="known")

    @property
    def passes_weights(self) -> bool:
        """Whether a plane starts with the weights of the previous one."""
        return self.options.warm_start and method_named(self.settings.method).optimises

    @property
    def filters_kernels(self) -> bool:
        """Whether kernel estimates are filtered over neighbouring planes."""
        return self.options.warm_start and not self.passes_weights

    @property
    def chain_axis(self) -> int | None:
        """Index of the loop axis along which planes are neighbours."""
        return chain_axis(self.layout.loop_axes, self.selection)

    def run(
        self,
        index: Index,
        kernel: NDArray[Any] | KernelField | None,
        *,
        target: PlaneTarget | None = None,
        start: Weights | None = None,
    ) -> Generator[Progress, bool | None, Result]:
        """Restore one plane, with a given kernel or an estimated one.

        With `start`, the optimisation starts with the weights of another plane.
        """
        settings = self.settings_with(kernel)
        if start is not None:
            settings = replace(settings, schedule=settings.schedule.continued())
        link = Link(start=start) if self.passes_weights else None
        plane = self.layout.plane(self.array, index)
        return iterate(
            plane, settings, known_kernel=kernel, target=target, link=link, **self._given
        )

    def prepared(self, index: Index, kernel: NDArray[Any] | KernelField | None) -> Problem:
        """Prepare one plane, to be restored step by step."""
        plane = self.layout.plane(self.array, index)
        return prepare(plane, self.settings_with(kernel), known=kernel, **self._given)

    @property
    def _given(self) -> dict[str, Any]:
        """What is given of every plane."""
        return {
            "axes": self.layout.plane_axes,
            "found": self.found or self.known is None,
            "mask": self.mask,
            "region": self.part,
        }


def prepare_stack(
    image: ArrayLike | LazyArray,
    settings: Settings,
    *,
    axes: str | None,
    options: StackOptions | None = None,
    known_kernel: NDArray[Any] | KernelField | None = None,
    found: bool = False,
    mask: ArrayLike | None = None,
) -> StackProblem:
    """Check a stack before any work; parameters as in `restore_stack`."""
    options = StackOptions() if options is None else options
    array: Any = image if hasattr(image, "shape") else np.asarray(image)
    layout = parse_axes(axes, array.shape)
    kind = np.dtype(array.dtype)
    if kind.kind not in "iuf":
        raise InputError(
            f"the image has values of type {kind}; expected integers or floating point"
        )
    if settings.uncertainty:
        raise SettingsError(
            f"uncertainty is {settings.uncertainty}; stacks have none: expected 0, or one plane"
        )
    if mask is not None and not method_named(settings.method).degradations:
        raise SettingsError(f"method {settings.method!r} takes no mask; expected none")
    region = options.region
    if region is None:
        region = Box.whole(layout.plane_shape)
    check_region(region, layout.plane_shape)
    if settings.field != ONE_BLUR and settings.kernel != "known":
        check_regions(settings.field, layout.plane_shape)
    # A kernel grid of the wrong shape would fail on every plane.
    kernel_source(settings, known_kernel, layout.plane_shape)
    problem = StackProblem(
        array=array,
        layout=layout,
        selection=parse_selection(options.planes, layout),
        region=region,
        settings=settings,
        options=options,
        known=known_kernel,
        found=found,
        mask=mask,
    )
    if options.warm_start:
        _check_warm_start(problem)
    return problem


def _check_warm_start(problem: StackProblem) -> None:
    """Raise a `SettingsError` if no plane could make use of the previous one."""
    settings = problem.settings
    if problem.filters_kernels and (
        problem.known is not None or problem.options.kernels != "plane"
    ):
        sharing = (
            "known" if problem.known is not None else f"one a {problem.options.kernels} (kernels)"
        )
        raise SettingsError(
            f"warm_start is on, but method {settings.method!r} has nothing to start from where the "
            f"kernel is {sharing}; expected kernels='plane', one of "
            f"{[m.name for m in METHOD_TABLE if m.optimises]}, or no warm_start"
        )
    if problem.filters_kernels and settings.field != ONE_BLUR:
        rows, columns = settings.field
        raise SettingsError(
            f"warm_start is on and field is {rows} × {columns}: the blur is smoothed over regions "
            "or filtered over planes, not both; expected one of the two"
        )
    if problem.chain_axis is None:
        raise SettingsError(
            f"warm_start is on, but {len(problem.indices)} planes along "
            f"{problem.layout.loop_axes!r} have no neighbours; expected several along an axis "
            "other than C, or no warm_start"
        )
    height, width = problem.result.plane_shape
    if problem.passes_weights and tile_side((height, width), settings.tile) is not None:
        raise SettingsError(
            f"warm_start is on, but planes of {height} × {width} pixels are made in tiles, which "
            "have no neighbours; expected planes made in one go (tile=None), or no warm_start"
        )
