"""The settings of the form in a JSON file; the report of a run is one, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_blindsr.errors import SettingsError, near, reading, require
from napari_blindsr.images.atomic import check_readable, check_suffix
from napari_blindsr.plugin.layers.outputs import record_of
from napari_blindsr.settings import Settings

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Layer

    from napari_blindsr.plugin.restore.form import RunForm


SUFFIX = ".json"
BESIDE = ("sharing", "warm_start", "lacking", "dtype")
"""Fields of the form that are no settings, and say nothing of one image or machine."""


def settings_layer(layers: LayerList) -> Layer | None:
    """Return the selected layer, or the topmost one, that keeps the settings of its run."""
    active = layers.selection.active
    ordered = [*layers, *([] if active is None else [active])]
    return next((layer for layer in reversed(ordered) if "settings" in record_of(layer)), None)


def save_preset(path: Path, form: RunForm) -> None:
    """Write the settings of a form; raises a `BlindSRError` if they do not fit, or it cannot."""
    # Not before now: this imports what reads and writes files.
    from napari_blindsr.images.plain import write_report  # noqa: PLC0415

    beside = {name: form.fields[name].value for name in BESIDE}
    write_report(path, {"settings": form.settings().to_json(), "form": beside}, force=True)


def load_preset(path: Path, form: RunForm) -> list[str]:
    """Set a form as a file says; returns the names of the settings that no field can hold.

    Raises a `BlindSRError`, before anything is set, if the file is none or has wrong values.
    """
    record = _read(path)
    try:
        settings = Settings.from_json(record.get("settings", record))
        beside = _fields(record.get("form", {}), form)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    missing = form.take(settings)
    for name, value in beside.items():
        form.fields[name].value = value
    return missing


def _read(path: Path) -> dict[str, Any]:
    check_suffix(path, (SUFFIX,), "read")
    check_readable(path)
    with reading(path, "it is no JSON file ({})"):
        record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict):
        raise SettingsError(f"{path}: it holds {record!r:.60}; expected an object with settings")
    return record


def _fields(record: Any, form: RunForm) -> dict[str, Any]:
    """Return the values of fields that are no settings."""
    require(isinstance(record, dict), f"form is {record!r:.60}; expected an object")
    for name, value in record.items():
        require(name in BESIDE, f"form has {name!r}, which is unknown; {near(name, BESIDE)}")
        choices = getattr(form.fields[name], "choices", (False, True))
        require(value in choices, f"{name} is {value!r}; expected one of {list(choices)}")
    return dict(record)
