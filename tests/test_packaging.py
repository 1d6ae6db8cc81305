"""What is said twice about the package says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def requirements() -> dict[str, str]:
    """Return the lowest version of each dependency of the library."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    return dict(re.findall(r'"([a-z0-9-]+)>=([0-9.]+)"', block[1]))


def test_the_recipe_needs_what_the_package_needs() -> None:
    recipe = yaml.safe_load((ROOT / "recipe/recipe.yaml").read_text(encoding="utf-8"))
    wanted = [line.split(" >=") for line in recipe["requirements"]["run"]]
    found = {"torch" if name == "pytorch" else name: version for name, version in wanted}
    assert found.pop("python") == "${{ python_min }}"
    assert found == requirements()


def test_the_floors_are_those_of_the_documentation() -> None:
    page = (ROOT / "docs/installation.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([a-z-]+) \| ([0-9.]+) \|", page, re.MULTILINE))
    assert rows.items() >= requirements().items()


@pytest.mark.parametrize(
    "file", sorted([*ROOT.glob(".github/**/*.yml"), *ROOT.glob(".napari-hub/*.yml")]), ids=str
)
def test_workflows_and_forms_are_yaml(file: Path) -> None:
    assert yaml.safe_load(file.read_text(encoding="utf-8"))
