"""Imports point one way, and what a menu needs costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import napari_blindsr

SOURCE = Path(napari_blindsr.__file__).parent
ENGINE_MAY_USE = {"torch", "numpy", "lazy_loader", "napari_blindsr"}


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
        "import napari_blindsr.cli",
        "import napari_blindsr.measure",
    ],
)
def test_torch_is_not_loaded_before_it_is_needed(statement: str) -> None:
    assert "torch" not in loaded_after(statement)


@pytest.mark.parametrize(
    "statement", ["import napari_blindsr.cli", "import napari_blindsr.commands.many"]
)
def test_clusters_are_an_extra(statement: str) -> None:
    assert "distributed" not in loaded_after(statement)


@pytest.mark.parametrize("statement", ["import napari_blindsr.api", "import napari_blindsr.cli"])
def test_the_library_knows_no_viewer(statement: str) -> None:
    assert not loaded_after(statement) & {"napari", "qtpy", "PyQt6", "PySide6", "magicgui"}


def imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return names


@pytest.mark.parametrize("file", sorted((SOURCE / "engine").rglob("*.py")), ids=str)
def test_the_engine_knows_torch_only(file: Path) -> None:
    outside = {name for name in imports(file) if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name.split(".")[0] for name in outside} <= ENGINE_MAY_USE
    ours = {name for name in outside if name.startswith("napari_blindsr")}
    options = ("napari_blindsr.schedule", "napari_blindsr.settings")
    allowed = ("napari_blindsr.engine", "napari_blindsr.errors", *options)
    assert all(name.startswith(allowed) for name in ours)
    assert "print(" not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=str)
def test_nothing_imports_the_training(file: Path) -> None:
    # Imports within functions are found as well; `from napari_blindsr import …` has its own rule.
    names = imports(file)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert not {name for name in names if "training" in name.split(".")}


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
    assert "napari_blindsr.engine.nonblind.unfolded" in loaded
    assert not {name for name in loaded if name.split(".")[0] == "training"}
