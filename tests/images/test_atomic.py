"""Files take their names together; nothing that is not ours is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_blindsr.errors import FileError
from napari_blindsr.images import atomic
from napari_blindsr.images.atomic import (
    Bundle,
    check_output,
    complete,
    part_of,
    record_of,
    remove_leftovers,
    replacing,
)
from napari_blindsr.images.files import create_image, open_image
from napari_blindsr.images.metadata import Description
from napari_blindsr.images.ome_zarr import part_name

NAMES = ("image.tif", "image.kernel.npy", "image.json")
IMAGE = np.arange(64.0, dtype=np.float32).reshape(8, 8)


def bundled(folder: Path) -> tuple[Bundle, list[Path]]:
    """Return a bundle of new files that replace old ones."""
    files = [folder / name for name in NAMES]
    bundle = Bundle(files[0])
    for path in files:
        path.write_text("old", encoding="ascii")
        with replacing(path, force=True, bundle=bundle) as stream:
            stream.write(b"new")
    return bundle, files


def read(files: list[Path]) -> set[str]:
    return {path.read_text(encoding="ascii") for path in files}


def test_files_are_replaced_together(tmp_path: Path) -> None:
    bundle, files = bundled(tmp_path)
    assert read(files) == {"old"}
    bundle.commit()
    assert read(files) == {"new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


def test_files_that_are_dropped_leave_nothing(tmp_path: Path) -> None:
    bundle, files = bundled(tmp_path)
    bundle.discard()
    assert read(files) == {"old"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("after", range(4))
def test_a_process_killed_while_it_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    bundle, files = bundled(tmp_path)
    real, moved = atomic._take_name, 0

    def take(part: Path, path: Path, old: Path) -> None:
        nonlocal moved
        if moved == after:
            raise Killed
        moved += 1
        real(part, path, old)

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "_take_name", take)
        if after < 3:
            with pytest.raises(Killed):
                bundle.commit()
        else:
            bundle.commit()
    assert complete(files[0], files) == (after < 3)
    assert read(files) == {"new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


def test_a_name_that_cannot_be_taken_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, files = bundled(tmp_path)

    def full(*_: Path) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "_take_name", full)
        with pytest.raises(FileError, match="no space"):
            bundle.commit()
    assert read(files) == {"old"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize(
    "record",
    [
        [
            [
                ".blindsr-00000000-1-0123456789ab.part",
                "precious.txt",
                ".blindsr-00000000-1-0123456789ac.part",
            ]
        ],
        [["precious.txt", "image.tif", ".blindsr-00000000-1-0123456789ac.part"]],
        [["../x.part", "image.tif", "../../x"]],
        [[1, 2, 3]],
        {"a": 1},
        5,
    ],
)
def test_records_of_others_move_nothing(tmp_path: Path, record: object) -> None:
    for name in ("precious.txt", "image.tif", ".blindsr-00000000-1-0123456789ab.part"):
        (tmp_path / name).write_text(name, encoding="ascii")
    main = tmp_path / "image.tif"
    record_of(main).write_text(json.dumps(record), encoding="ascii")
    assert not complete(main, [main])
    assert (tmp_path / "precious.txt").read_text(encoding="ascii") == "precious.txt"
    assert main.read_text(encoding="ascii") == "image.tif"


def test_leftovers_of_dead_processes_alone_are_removed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from napari_blindsr.images.atomic import part_of; "
        "part_of(Path(sys.argv[1]) / 'x').write_bytes(b'half')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    mine = part_of(tmp_path / "y")
    mine.write_bytes(b"half")
    others = tmp_path / ".blindsr-ffffffff-1-0123456789ab.part"
    others.write_bytes(b"of another machine")
    (tmp_path / "other.part").write_bytes(b"not ours")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, others.name, "other.part"}


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(FileError, match="it is a pipe"):
        check_output(tmp_path / "a.tif", suffixes=[".tif"], force=True)


def zarr_of(path: Path, *, force: bool = False, finished: bool = True) -> Path:
    description = Description(axes="YX")
    writer = create_image(
        path, shape=IMAGE.shape, dtype=IMAGE.dtype, description=description, force=force
    )
    writer[(slice(None), slice(None))] = IMAGE
    if finished:
        writer.finish()
    return path


@pytest.mark.parametrize("foreign", ["notes.txt", "labels/0/.zarray", "0/notes.txt", "1/0/0"])
@pytest.mark.parametrize("finished", [True, False])
def test_foreign_files_in_zarr_folders_are_kept(
    tmp_path: Path, foreign: str, finished: bool
) -> None:
    path = zarr_of(tmp_path / "a.zarr", finished=finished)
    held = (path if finished else part_name(path)) / foreign
    held.parent.mkdir(parents=True, exist_ok=True)
    held.write_text("precious", encoding="ascii")
    with pytest.raises(FileError, match="was not made by this program"):
        zarr_of(path, force=True)
    assert held.read_text(encoding="ascii") == "precious"


def test_folders_that_only_look_like_ours_are_kept(tmp_path: Path) -> None:
    part = tmp_path / "a.zarr.part"
    part.mkdir()
    (part / "thesis.tex").write_text("precious", encoding="ascii")
    with pytest.raises(FileError, match="was not made by this program"):
        zarr_of(tmp_path / "a.zarr")
    assert (part / "thesis.tex").exists()
    (tmp_path / "b.zarr").symlink_to(part, target_is_directory=True)
    with pytest.raises(FileError, match="was not made by this program"):
        zarr_of(tmp_path / "b.zarr", force=True)
    assert (part / "thesis.tex").exists()


def test_our_own_folders_are_replaced(tmp_path: Path) -> None:
    path = zarr_of(tmp_path / "a.zarr")
    zarr_of(path, force=True)
    np.testing.assert_array_equal(open_image(path).array[...], IMAGE)
    zarr_of(tmp_path / "b.zarr", finished=False)
    zarr_of(tmp_path / "b.zarr")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.zarr", "b.zarr"}
