"""The pages of the documentation, and the examples in them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def section(text: str, heading: str) -> str:
    """Return the text of a section of second level."""
    _, _, rest = text.partition(f"\n## {heading}\n")
    assert rest, heading
    return rest.partition("\n## ")[0]


def blocks(page: str, language: str, heading: str | None = None) -> list[str]:
    """Return the code blocks of a page, or of one of its sections."""
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    text = path.read_text(encoding="utf-8")
    part = text if heading is None else section(text, heading)
    return [code for kind, code in _FENCE.findall(part) if kind == language]


def namespace(page: str, heading: str) -> dict[str, Any]:
    """Return the names that the Python examples of a section define."""
    module = ModuleType(f"example of {heading}")
    # Dataclasses look their module up there.
    sys.modules[module.__name__] = module
    for code in blocks(page, "python", heading):
        run(code, vars(module))
    return vars(module)


def run(code: str, names: dict[str, Any]) -> None:
    """Run an example with some names, to which it adds its own."""
    exec(compile(code, "example", "exec", dont_inherit=True), names)  # noqa: S102
