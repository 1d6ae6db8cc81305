"""The result of a stack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_blindsr.restoration.diagnostics import Flag

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_blindsr.estimation.estimate import BlurEstimate
    from napari_blindsr.estimation.kernel_field import KernelField
    from napari_blindsr.images.axes import Index
    from napari_blindsr.images.tiling import Box
    from napari_blindsr.progress import StopReason
    from napari_blindsr.restoration.result import Result
    from napari_blindsr.settings import Settings
    from napari_blindsr.stacks.options import StackOptions


@dataclass(frozen=True, kw_only=True, eq=False)
class StackKernel:
    """A kernel, and the planes that were restored with it.

    Attributes
    ----------
    kernel : ndarray, float32, (K, K)
        As in `Result`; if it varies across the image, the one in the middle.
    center : float
        Row and column in it that correspond to the position of an LR pixel.
    indices : tuple of tuple of int
        The planes, by their indices along the axes of the input.
    blur : BlurEstimate or None
        The blur estimate.
    field : KernelField or None
        The kernels of the planes' regions, if the blur varies.
    """

    kernel: NDArray[np.float32]
    center: float
    indices: tuple[Index, ...]
    blur: BlurEstimate | None = None
    field: KernelField | None = None

    @property
    def kernels(self) -> NDArray[np.float32]:
        """The kernel (K, K), or all of them (R, C, K, K) if it varies."""
        return self.kernel if self.field is None else self.field.kernels


@dataclass(frozen=True, kw_only=True)
class PlaneRecord:
    """The record of one plane.

    Attributes
    ----------
    index : tuple of int
        Along the axes of the input that have planes, in their order.
    seconds : float
    noise : float
        Standard deviation of the noise that was assumed, in the input's unit.
    clipped : int
        Values clipped to the range of the result's type.
    flags : tuple of Flag
        Warnings about the result, those of a shared blur estimate included.
    notes : tuple of str
        Other remarks.
    error : str or None
        Why it could not be restored; it then has no values.
    """

    index: Index
    seconds: float = 0.0
    noise: float = 0.0
    clipped: int = 0
    flags: tuple[Flag, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None

    @classmethod
    def of(
        cls, index: Index, result: Result, *, clipped: int, shared: tuple[Flag, ...] = ()
    ) -> PlaneRecord:
        """Return the record of a plane that was restored; `shared` are flags of its kernel."""
        own = {flag.name for flag in result.flags}
        return cls(
            index=index,
            seconds=result.seconds,
            noise=result.noise,
            clipped=clipped,
            flags=(*(flag for flag in shared if flag.name not in own), *result.flags),
            notes=result.notes,
        )

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> PlaneRecord:
        """Return a record from the output of `to_json`."""
        flags = tuple(Flag(**flag) for flag in entry["flags"])
        lists = {name: tuple(entry[name]) for name in ("index", "notes")}
        return cls(**{**entry, **lists, "flags": flags})

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON types."""
        lists = {name: list(getattr(self, name)) for name in ("index", "notes")}
        return {**vars(self), **lists, "flags": [flag.report() for flag in self.flags]}


@dataclass(frozen=True, kw_only=True, eq=False)
class StackResult:
    """The result of `napari_blindsr.restore_stack`.

    Attributes
    ----------
    image : ndarray
        The restored planes in the axes of the input, in its intensity unit; NaN, or 0 in integer
        types, where a plane could not be restored. Empty if a target took the pixels.
    axes : str
        Axes of the input and the result.
    loop_axes : str
        Axes along which there are planes.
    selection : tuple of range
        Which planes along each such axis were restored.
    region : Box or None
        Region of each plane that was restored, in pixels of the input.
    kernels : tuple of StackKernel
    covered : ndarray, bool, or None
        Where pixels are filled in: shape of the planes' axes, then (H, W). None if nowhere.
    records : tuple of PlaneRecord
        Of the planes that this run restored, or tried to.
    kept : int
        Planes that an earlier run completed.
    earlier : tuple of PlaneRecord
        Records of these planes, as far as that run saved them.
    offset : float
        δ, as in `Result`.
    settings : Settings
    options : StackOptions
    example : Result or None
        Result of the first plane, without its pixels: device, versions and the like.
    notes : tuple of str
    seconds : float
    reason : StopReason
    """

    image: NDArray[Any]
    axes: str
    loop_axes: str
    selection: tuple[range, ...]
    region: Box | None
    kernels: tuple[StackKernel, ...]
    covered: NDArray[np.bool_] | None
    records: tuple[PlaneRecord, ...]
    kept: int
    offset: float
    settings: Settings
    options: StackOptions
    example: Result | None
    notes: tuple[str, ...]
    seconds: float
    reason: StopReason
    earlier: tuple[PlaneRecord, ...] = ()

    @property
    def failures(self) -> tuple[PlaneRecord, ...]:
        """The planes that could not be restored."""
        return tuple(record for record in self.records if record.error is not None)

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Each flag of the planes once; its message says in how many of them it was raised."""
        records = sorted((*self.earlier, *self.records), key=lambda record: record.index)
        raised: dict[str, list[tuple[PlaneRecord, Flag]]] = {}
        for record in records:
            for flag in record.flags:
                raised.setdefault(flag.name, []).append((record, flag))
        flags = []
        for found in raised.values():
            record, flag = found[0]
            message = flag.message
            alike = all(other.message == message for _, other in found)
            if len(found) < len(records) or not alike:
                place = ", ".join(
                    f"{axis}={at}" for axis, at in zip(self.loop_axes, record.index, strict=True)
                )
                message = f"in {len(found)} of {len(records)} planes, such as {place}: {message}"
            flags.append(replace(flag, message=message))
        return tuple(flags)

    @property
    def learned_priors(self) -> tuple[str, ...]:
        """Names of the neural networks used, as in `Result`."""
        names = () if self.example is None else self.example.learned_priors
        read = any(entry.blur is not None for entry in self.kernels)
        return ("kernel estimator", *names) if read and "kernel estimator" not in names else names

    def report(self) -> dict[str, Any]:
        """Return everything but the pixels, as plain JSON types."""
        example = {} if self.example is None else self.example.report()
        shared = ("method", "scale", "seed", "finish", "gain", "device", "dtype", "kernel_size")
        return {
            **{key: example[key] for key in shared if key in example},
            "learned_priors": list(self.learned_priors),
            "axes": self.axes,
            "selection": {
                axis: [chosen.start, chosen.stop]
                for axis, chosen in zip(self.loop_axes, self.selection, strict=True)
            },
            "region": None if self.region is None else self.region.to_json(),
            "kernels": [
                {
                    "indices": [list(index) for index in entry.indices],
                    "blur": None if entry.blur is None else entry.blur.report(),
                    "field": None if entry.field is None else entry.field.report(),
                    "size": len(entry.kernel),
                    "center": entry.center,
                }
                for entry in self.kernels
            ],
            "flags": [flag.report() for flag in self.flags],
            "planes": [
                record.to_json()
                for record in sorted((*self.earlier, *self.records), key=lambda r: r.index)
            ],
            "kept": self.kept,
            "failed": len(self.failures),
            "offset": self.offset,
            "notes": list(self.notes),
            "seconds": self.seconds,
            "reason": str(self.reason),
            "options": self.options.to_json(),
            "settings": self.settings.to_json(),
            "versions": example.get("versions", {}),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupKernel:
    """A kernel (K, K), or a grid or field of them, that planes share, and its blur estimate.

    A field contains its own blur estimates.
    """

    kernel: NDArray[Any] | KernelField
    blur: BlurEstimate | None = None
