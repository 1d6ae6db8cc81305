"""Write the files that ship from a joint training: ``python -m training.split IN OUT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

PARTS = {"estimator": "kernel", "prior": "image"}


def split(joint: Path, folder: Path) -> None:
    """Write one file of half-precision tensors for each of the networks."""
    with safe_open(joint, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        record = (file.metadata() or {}).get("training", json.dumps({}))
    for part, name in PARTS.items():
        own = {
            key.removeprefix(f"{part}."): value.half().contiguous()
            for key, value in tensors.items()
            if key.startswith(f"{part}.")
        }
        save_file(own, folder / f"{name}.safetensors", metadata={"training": record})


if __name__ == "__main__":
    split(Path(sys.argv[1]), Path(sys.argv[2]))
