"""Figures of the structure: modules, rooms, lines, the longest files and functions.

python benchmarks/structure.py
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import napari_blindsr

SOURCE = Path(napari_blindsr.__file__).parent
LONG_FUNCTION = 60


def code_lines(node: ast.AST) -> int:
    """Return how many lines a function takes, without its docstring."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        total -= (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def main() -> None:
    """Print the figures."""
    files = sorted(SOURCE.rglob("*.py"))
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    lines = {file: len(text.splitlines()) for file, text in texts.items()}
    functions = {
        f"{file.relative_to(SOURCE)}:{node.name}": code_lines(node)
        for file, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    rooms = Counter(file.relative_to(SOURCE).parts[0] for file in files)
    largest = max(lines, key=lambda file: lines[file])
    long = {name: count for name, count in functions.items() if count > LONG_FUNCTION}
    print("modules at the top:", sum(1 for f in SOURCE.glob("*.py") if f.name != "__init__.py"))
    print("rooms:", sum(1 for name in rooms if not name.endswith(".py")))
    print("files:", len(files), " lines:", sum(lines.values()))
    print("largest file:", largest.relative_to(SOURCE), lines[largest])
    print(f"functions over {LONG_FUNCTION} lines of code:", len(long))
    for name, count in sorted(long.items(), key=lambda pair: -pair[1]):
        print("   ", name, count)


if __name__ == "__main__":
    main()
