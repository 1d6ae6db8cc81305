"""Imports point one way, and what a menu needs costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import napari_blindsr

SOURCE = Path(napari_blindsr.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

FLOOR = {
    "__main__": 11,
    "cli": 10,
    "plugin": 9,
    "stacks": 8,
    "evaluation": 8,
    "restoration": 7,
    "estimation": 6,
    "solvers": 5,
    "metrics": 4,
    "settings": 4,
    "physics": 3,
    "images": 2,
    "methods": 2,
    "weights": 2,
    "optics": 1.5,
    "errors": 1,
    "types": 1,
    "progress": 1,
}
"""A file imports from its own room, and from rooms on lower floors."""

WITHIN_PLUGIN = {
    "restore": 4,
    "measure": 4,
    "simulate": 4,
    "compare": 3,
    "widgets": 2,
    "layers": 1,
}
"""The same for the rooms of the plugin; the others open the comparison."""

# For type checkers alone, until Python 3.10 goes.
TYPES_ONLY = "typing_extensions"
MAY_USE = {
    "solvers": {"numpy", "torch"},
    "estimation": {"numpy", "skimage", "torch"},
    "physics": {"PIL", "numpy", "scipy", "skimage", "torch", "typing_extensions"},
}
"""What rooms of pure computation import of other packages."""
READS_FILES = "physics/kernel_files.py"


def loaded_after(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after a statement."""
    script = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import napari_blindsr",
        "import napari_blindsr.settings",
        "import napari_blindsr.cli.app",
        "import napari_blindsr.metrics.measure",
    ],
)
def test_torch_is_not_loaded_before_it_is_needed(statement: str) -> None:
    assert "torch" not in loaded_after(statement)


@pytest.mark.parametrize(
    "statement", ["import napari_blindsr.cli.app", "import napari_blindsr.cli.batch"]
)
def test_clusters_are_an_extra(statement: str) -> None:
    assert "distributed" not in loaded_after(statement)


@pytest.mark.parametrize(
    "statement", ["import napari_blindsr.restoration.restore", "import napari_blindsr.cli.app"]
)
def test_the_library_knows_no_viewer(statement: str) -> None:
    assert not loaded_after(statement) & {"napari", "qtpy", "PyQt6", "PySide6", "magicgui"}


def imports(file: Path) -> set[str]:
    """Return all that a file imports, within functions and for type checkers as well."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_rooms(file: Path, parent: tuple[str, ...] = ()) -> set[str]:
    """Return the rooms below a parent, of this package, that a file imports from."""
    start = ("napari_blindsr", *parent)
    paths = [tuple(name.split(".")) for name in imports(file)]
    return {
        path[len(start)] for path in paths if len(path) > len(start) and path[: len(start)] == start
    }


def room_of(file: Path, parent: tuple[str, ...] = ()) -> str:
    return file.relative_to(SOURCE.joinpath(*parent)).parts[0].removesuffix(".py")


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.parent != SOURCE or file.stem != "__init__"], ids=str
)
def test_no_file_imports_from_a_higher_room(file: Path) -> None:
    room = room_of(file)
    others = imported_rooms(file) - {room}
    assert not {other for other in others if FLOOR[other] >= FLOOR[room]}


@pytest.mark.parametrize("file", sorted(SOURCE.glob("plugin/*/*.py")), ids=str)
def test_nor_does_the_plugin(file: Path) -> None:
    room = room_of(file, ("plugin",))
    others = imported_rooms(file, ("plugin",)) - {room}
    assert not {other for other in others if WITHIN_PLUGIN[other] >= WITHIN_PLUGIN[room]}


@pytest.mark.parametrize("file", [file for file in FILES if room_of(file) in MAY_USE], ids=str)
def test_computation_knows_no_files_and_no_viewer(file: Path) -> None:
    outside = {name.split(".")[0] for name in imports(file)} - set(sys.stdlib_module_names)
    if file != SOURCE / READS_FILES:
        assert outside <= {"napari_blindsr", TYPES_ONLY, *MAY_USE[room_of(file)]}
    assert "print(" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_nothing_imports_the_training(file: Path) -> None:
    assert not {name for name in imports(file) if "training" in name.split(".")}


def test_no_run_loads_the_training() -> None:
    script = (
        "import sys, numpy as np, napari_blindsr\n"
        "image = np.random.default_rng(0).random((24, 24))\n"
        "napari_blindsr.estimate_kernel(image, scale=2)\n"
        "napari_blindsr.restore(image, scale=2, method='fast')\n"
        "print(*(name for name in sys.modules if 'blindsr' in name or 'training' in name))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "napari_blindsr.solvers.nonblind.unfolded" in loaded
    assert not {name for name in loaded if name.split(".")[0] == "training"}
