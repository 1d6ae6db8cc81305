"""Stacks of any axes: every plane in its place, with the kernel that it shares."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_blindsr import Box, Settings, StackOptions, restore, restore_stack
from napari_blindsr.errors import InputError, SettingsError
from napari_blindsr.evaluation.samples import Camera, fluorescent_cells
from napari_blindsr.images.axes import Layout, parse_axes, parse_selection
from napari_blindsr.methods import Schedule
from napari_blindsr.physics.kernels import Disk, Gaussian
from napari_blindsr.progress import Progress, StopReason
from napari_blindsr.restoration.diagnostics import Flag
from napari_blindsr.stacks.result import PlaneRecord

KERNEL = np.full((5, 5), 1 / 25)
HELD = Settings(scale=2, kernel="known", finish="measurement")


def planes(count: int, side: int = 32) -> NDArray[np.uint16]:
    """Return different pictures of cells, (count, side, side)."""
    return np.stack(
        [
            Camera().expose(fluorescent_cells((side, side), seed=seed), seed=seed)
            for seed in range(count)
        ]
    )


AXES = ["TCYX", "CTYX", "ZYX", "YXZ", "TYXS", "YX", "YXS", "XYT", "TSYX", "QYXC"]


@pytest.mark.parametrize("axes", AXES)
def test_every_plane_is_restored_in_its_place(axes: str) -> None:
    lengths = {"T": 2, "C": 3, "Z": 2, "Q": 2, "S": 3, "Y": 24, "X": 30}
    shape = tuple(lengths[axis] for axis in axes)
    layout = parse_axes(axes, shape)
    image = np.zeros(shape, dtype=np.uint16)
    flat = planes(18, side=32)[:, :24, :30]
    for number, index in enumerate(np.ndindex(*layout.loop_shape)):
        plane = flat[number]
        if "S" in axes:
            plane = np.stack([flat[number], flat[number + 5], flat[number + 9]], axis=-1)
        place = layout.place(index, slice(None), slice(None))
        image[place] = layout.arranged(plane)
    result = restore_stack(image, HELD, axes=axes, known_kernel=KERNEL)
    expected = tuple(2 * n if axis in "YX" else n for axis, n in zip(axes, shape, strict=True))
    assert result.image.shape == expected
    assert result.image.dtype == np.float32
    whole = Layout(axes=axes, shape=expected)
    for index in np.ndindex(*layout.loop_shape):
        alone = restore(
            np.asarray(layout.plane(image, index)),
            scale=2,
            axes=layout.plane_axes,
            kernel=KERNEL,
            finish="measurement",
        )
        block = result.image[whole.place(index, slice(None), slice(None))]
        np.testing.assert_array_equal(block, whole.arranged(alone.image))


@pytest.mark.parametrize("method", ["fast", "mlmc"])
def test_a_plane_that_shares_with_none_is_restored_as_an_image_is(method: str) -> None:
    image = planes(2, side=32)
    settings = Settings(
        scale=2,
        method=method,
        kernel=Disk(),
        schedule=Schedule(image_steps=6, warmup_steps=5, structural_steps=3, channels=32),
        device="cpu",
        threads=1,
    )
    stages: list[str] = []
    stack = restore_stack(
        image, settings, axes="CYX", progress=lambda report: stages.append(report.stage)
    )
    for plane, found, entry in zip(image, stack.image, stack.kernels, strict=True):
        alone = restore(plane, settings)
        np.testing.assert_array_equal(found, alone.image)
        np.testing.assert_array_equal(entry.kernel, alone.kernel)
    # Each is optimised once.
    assert not any(stage.startswith("estimating the blur, kernel") for stage in stages)


def test_planes_of_a_channel_share_a_kernel_that_is_read_once() -> None:
    image = planes(6, side=48).reshape(3, 2, 48, 48)
    stages: list[Progress] = []
    result = restore_stack(
        image, Settings(scale=2, finish="measurement"), axes="TCYX", progress=stages.append
    )
    assert [entry.indices for entry in result.kernels] == [
        ((0, 0), (1, 0), (2, 0)),
        ((0, 1), (1, 1), (2, 1)),
    ]
    reads = [report for report in stages if "estimating the blur" in report.stage]
    assert len(reads) == 2
    assert all(entry.blur is not None for entry in result.kernels)
    assert result.learned_priors == ("kernel estimator",)
    assert stages[-1].step == stages[-1].total == 6
    assert stages[-1].unit == "plane"
    together = restore_stack(
        image,
        Settings(scale=2, finish="measurement"),
        axes="TCYX",
        options=StackOptions(kernels="shared"),
    )
    assert len(together.kernels) == 1
    apart = restore_stack(
        image[:1],
        Settings(scale=2, finish="measurement"),
        axes="TCYX",
        options=StackOptions(kernels="plane"),
    )
    assert len(apart.kernels) == 2
    own = restore(image[0, 1], scale=2, finish="measurement")
    np.testing.assert_array_equal(apart.image[0, 1], own.image)
    np.testing.assert_array_equal(apart.kernels[1].kernel, own.kernel)


def test_a_shared_kernel_comes_from_the_planes_that_tell_most() -> None:
    clear = planes(1, side=64)[0]
    dull = np.random.default_rng(0).poisson(20, (7, 64, 64)).astype(np.uint16)
    image = np.concatenate([dull[:4], clear[None], dull[4:]])
    settings = Settings(scale=2, finish="measurement")
    shared = restore_stack(image, settings, axes="ZYX")
    alone = restore(clear, scale=2, finish="measurement")
    assert shared.kernels[0].blur is not None
    assert alone.blur is not None
    ratio = shared.kernels[0].blur.widths[0] / alone.blur.widths[0]
    assert 0.8 < ratio < 1.25
    assert any("along Z" in note for note in shared.notes)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (None, [(0, 1, 2), (0, 1)]),
        ("T=1", [(1,), (0, 1)]),
        ("T=1:,C=0", [(1, 2), (0,)]),
        ("T=-1, C=-2:", [(2,), (0, 1)]),
    ],
)
def test_planes_can_be_selected(selection: str | None, expected: list[tuple[int, ...]]) -> None:
    layout = parse_axes("TCYX", (3, 2, 20, 20))
    assert [tuple(chosen) for chosen in parse_selection(selection, layout)] == expected


@pytest.mark.parametrize("selection", ["Q=1", "T=7", "T=2:2", "T=a", "T", "T=1:2:3", "C=-5"])
def test_selections_of_nothing_are_refused(selection: str) -> None:
    with pytest.raises(InputError, match="planes are"):
        parse_selection(selection, parse_axes("TCYX", (3, 2, 20, 20)))


def test_a_selection_and_a_region_are_cut_out() -> None:
    image = planes(4, side=64)
    options = StackOptions(planes="T=1:3", region=Box(top=10, left=20, bottom=40, right=60))
    result = restore_stack(image, HELD, axes="TYX", options=options, known_kernel=KERNEL)
    assert result.image.shape == (2, 60, 80)
    alone = restore(
        image[2],
        scale=2,
        kernel=KERNEL,
        finish="measurement",
        region=Box(top=10, left=20, bottom=40, right=60),
    )
    np.testing.assert_array_equal(result.image[1], alone.image)
    assert [record.index for record in result.records] == [(1,), (2,)]


TYPES = ["u1", "u2", "u4", "i2", "i4", "f2", "f4", "f8", ">u2", ">f4", "i8", "u8"]


@pytest.mark.parametrize("kind", TYPES)
def test_every_number_type_comes_back(kind: str) -> None:
    image = (planes(2) // 8).astype(np.uint8).astype(kind)
    plain = restore_stack(image, HELD, axes="TYX", known_kernel=KERNEL)
    assert plain.image.dtype == np.float32
    result = restore_stack(
        image, HELD, axes="TYX", known_kernel=KERNEL, options=StackOptions(dtype="source")
    )
    assert result.image.dtype == np.dtype(kind).newbyteorder("=")
    inside = np.clip(plain.image, 0, 255 if kind == "u1" else None)
    half = 0.51 if np.dtype(kind).kind in "iu" else 0.0
    if np.dtype(kind).kind == "i" or np.dtype(kind).kind == "f":
        inside = plain.image
    # A half-precision number has 11 bits.
    digits = 2.0**-11 if kind == "f2" else 1e-6
    np.testing.assert_allclose(result.image.astype(float), inside, atol=half, rtol=digits)


def test_values_that_a_type_cannot_hold_are_counted() -> None:
    image = np.zeros((2, 32, 32), dtype=np.uint8)
    image[:, 10:14, 10:14] = 255
    image[:, 20, 20] = 200
    result = restore_stack(
        image, HELD, axes="TYX", known_kernel=KERNEL, options=StackOptions(dtype="source")
    )
    assert sum(record.clipped for record in result.records) > 0
    assert any("clipped" in note for note in result.notes)


class Lazy:
    """An array that counts what is read of it."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.read = 0

    def __getitem__(self, index: Any) -> NDArray[Any]:
        block: NDArray[Any] = self._array[index]
        self.read += block.size
        return block


def test_only_what_is_needed_is_read() -> None:
    array = Lazy(planes(6, side=64))
    options = StackOptions(planes="T=2:4")
    restore_stack(array, HELD, axes="TYX", options=options, known_kernel=KERNEL)
    assert array.read == 2 * 64 * 64


def test_a_damaged_plane_is_reported_and_the_rest_delivered() -> None:
    image = planes(3).astype(np.float32)
    image[1] = np.nan
    result = restore_stack(image, Settings(scale=2, finish="measurement"), axes="TYX", options=None)
    assert [record.index for record in result.failures] == [(1,)]
    assert "no valid pixels" in str(result.failures[0].error)
    assert np.isnan(result.image[1]).all()
    assert np.isfinite(result.image[[0, 2]]).all()
    assert result.report()["failed"] == 1
    json.dumps(result.report(), allow_nan=False)


@pytest.mark.parametrize("sharing", ["plane", "channel"])
@pytest.mark.parametrize("dtype", ["float32", "source"])
def test_the_restoration_of_a_constant_plane_is_that_constant(sharing: Any, dtype: Any) -> None:
    image = planes(3, side=48)
    image[1] = 1234
    settings = replace(HELD, kernel=Gaussian()) if sharing == "plane" else HELD
    result = restore_stack(
        image,
        settings,
        axes="ZYX",
        options=StackOptions(dtype=dtype, kernels=sharing),
        known_kernel=None if sharing == "plane" else KERNEL,
    )
    assert result.reason == "completed"
    assert result.failures == ()
    assert (result.image[1] == 1234).all()
    assert np.isfinite(result.image).all()
    assert "1 plane is constant, and so is its restoration" in result.notes
    assert "constant" in result.records[1].notes[0]


def test_a_stack_of_which_nothing_can_be_restored_fails() -> None:
    with pytest.raises(InputError, match="constant"):
        restore_stack(np.ones((3, 32, 32)), Settings(scale=2), axes="TYX")


def test_planes_with_a_shared_kernel_say_how_sure_it_is() -> None:
    """A stack deserves the same caution as its planes do one by one."""
    image = planes(3, side=48).astype(np.float32)
    soft = np.stack([gaussian_filter(plane, 2.0) for plane in image])
    alone = restore(soft[0], scale=2, finish="measurement")
    together = restore_stack(soft, Settings(scale=2, finish="measurement"), axes="TYX")
    assert "blur_not_identifiable" in {flag.name for flag in alone.flags}
    flags = {flag.name: flag for flag in together.flags}
    shared = flags["blur_not_identifiable"]
    assert shared.advice
    assert shared.message.startswith("the width of the blur is uncertain")
    assert shared.report() in together.report()["flags"]
    again = [PlaneRecord.from_json(record.to_json()) for record in together.records]
    assert again == list(together.records)


def test_a_flag_of_many_planes_is_one_flag() -> None:
    result = restore_stack(planes(2), HELD, axes="TYX", known_kernel=KERNEL)
    about = {"name": "scale_beyond_kernel", "meaning": "m.", "advice": "a."}
    records = tuple(
        replace(record, flags=(Flag(message=f"{n} px", **about),))
        for n, record in enumerate(result.records)
    )
    assert replace(result, records=records).flags == (
        Flag(message="in 2 of 2 planes, such as T=0: 0 px", **about),
    )
    one = (replace(records[0], flags=()), records[1])
    (flag,) = replace(result, records=one).flags
    assert flag.message == "in 1 of 2 planes, such as T=1: 1 px"


def test_covered_pixels_are_shown_plane_by_plane() -> None:
    image = planes(3).astype(np.float32)
    image[1, 10:20, 10:20] = np.nan
    result = restore_stack(image, HELD, axes="TYX", known_kernel=KERNEL)
    assert result.covered is not None
    assert result.covered.shape == (3, 64, 64)
    assert [bool(plane.any()) for plane in result.covered] == [False, True, False]


def test_a_stop_keeps_the_planes_that_are_done() -> None:
    image = planes(4)
    result = restore_stack(
        image, HELD, axes="TYX", known_kernel=KERNEL, progress=lambda report: report.step == 2
    )
    assert result.reason is StopReason.STOPPED
    # A stop that comes with the report of a plane's end takes effect after the next report.
    done = len(result.records)
    assert done in (2, 3)
    assert np.isfinite(result.image[:done]).all()
    assert np.isnan(result.image[done:]).all()


def test_an_optimisation_shares_the_kernel_of_the_best_plane() -> None:
    schedule = Schedule(image_steps=2, inner_steps=1, warmup_steps=2, channels=8)
    settings = Settings(scale=2, method="mlmc", schedule=schedule)
    result = restore_stack(planes(2), settings, axes="TYX")
    assert len(result.kernels) == 1
    assert len(result.kernels[0].indices) == 2


@pytest.mark.parametrize(
    ("shape", "axes", "words"),
    [
        ((3, 20, 20), "YX", "mean 2 dimensions"),
        ((3, 20, 20), "TYY", "different capital letters"),
        ((3, 20, 20), "tyx", "capital letters"),
        ((3, 20, 20), "TCX", "Y and X"),
        ((20, 20, 4), "YXS", "3 samples"),
        ((0, 20, 20), "TYX", "empty"),
    ],
)
def test_axes_that_do_not_fit_are_refused(shape: tuple[int, ...], axes: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        restore_stack(np.zeros(shape), HELD, axes=axes, known_kernel=KERNEL)


def test_other_bad_input_is_refused_before_any_work() -> None:
    with pytest.raises(InputError, match="type bool"):
        restore_stack(np.zeros((2, 20, 20), dtype=bool), Settings(scale=2), axes="TYX")
    with pytest.raises(InputError, match="known_kernel is missing"):
        restore_stack(planes(2), HELD, axes="TYX")
    options = StackOptions(region=Box(top=0, left=0, bottom=99, right=9))
    with pytest.raises(InputError, match="region"):
        restore_stack(planes(2), HELD, axes="TYX", known_kernel=KERNEL, options=options)
    with pytest.raises(SettingsError, match="kernels is"):
        StackOptions(kernels="some")  # type: ignore[arg-type]
    mlmc = replace(HELD, method="mlmc")
    mask = np.zeros((32, 32))
    with pytest.raises(SettingsError, match="takes no mask"):
        restore_stack(planes(2), mlmc, axes="TYX", known_kernel=KERNEL, mask=mask)


def test_axes_are_guessed_where_there_is_no_doubt() -> None:
    assert parse_axes(None, (20, 30)).axes == "YX"
    assert parse_axes(None, (20, 30, 3)).axes == "YXS"
    with pytest.raises(InputError, match="nothing tells"):
        parse_axes(None, (4, 20, 30))


def test_every_order_of_axes_reads_and_writes_the_same_plane() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 99, (2, 3, 4, 5))
    for order in itertools.permutations(range(4)):
        axes = "".join("TCYX"[n] for n in order)
        array = base.transpose(order)
        layout = parse_axes(axes, array.shape)
        index = tuple({"T": 1, "C": 2}[axis] for axis in layout.loop_axes)
        plane = layout.plane(array, index)
        np.testing.assert_array_equal(plane[:, :], base[1, 2])
        np.testing.assert_array_equal(plane[1:3, 2:5], base[1, 2, 1:3, 2:5])
        out = np.zeros_like(array)
        out[layout.place(index, slice(None), slice(None))] = layout.arranged(base[1, 2])
        np.testing.assert_array_equal(np.moveaxis(out, range(4), order)[1, 2], base[1, 2])
