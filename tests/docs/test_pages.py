"""What the pages show exists: commands, options, imports, settings, and linked files."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer

import napari_blindsr
from napari_blindsr.cli.app import app
from napari_blindsr.settings import Settings
from napari_blindsr.stacks.options import StackOptions
from tests.docs.pages import PAGES, ROOT, blocks

COMMANDS = {
    name: {option for parameter in command.params for option in parameter.opts}
    | {option for parameter in command.params for option in parameter.secondary_opts}
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}
REFERENCE = ("command_line.md", "settings.md")


def name(page: Path) -> str:
    return page.name


def command_lines(page: Path) -> list[list[str]]:
    """Return the arguments of each use of the command on a page."""
    lines = [
        line
        for code in blocks(page.name, "sh")
        for line in code.replace("\\\n", " ").splitlines()
        if line.startswith("napari-blindsr ")
    ]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_have_the_options_that_are_shown(page: Path) -> None:
    for arguments in command_lines(page):
        command = next(word for word in arguments if not word.startswith("-"))
        used = {word for word in arguments if re.fullmatch(r"--?[a-z][a-z-]*", word)}
        assert used - {"--debug"} <= COMMANDS[command] | {"--help"}, arguments


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_examples_import_what_exists(page: Path) -> None:
    for code in blocks(page.name, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("napari_blindsr"):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), code


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_the_reference(command: str) -> None:
    text = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in REFERENCE)
    text += (ROOT / "docs" / "measure.md").read_text(encoding="utf-8") * (command == "measure")
    missing = {
        option
        for option in COMMANDS[command]
        if option.startswith("--") and not re.search(rf"`{option}\b", text)
    }
    assert not missing - {"--help"}


def test_every_public_name_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    homes = {f"{getattr(napari_blindsr, n).__module__}.{n}" for n in napari_blindsr.__all__}
    # The errors are listed as a module.
    assert {home for home in homes if home not in text} == {"napari_blindsr.errors.BlindSRError"}


@pytest.mark.parametrize("options", [Settings, StackOptions])
def test_every_setting_is_in_the_reference(options: type) -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert not {f.name for f in dataclasses.fields(options) if f"`{f.name}`" not in text}


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_of_pages_outside_the_site_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)[)#]", text)
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]
