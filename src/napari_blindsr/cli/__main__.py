"""``python -m napari_blindsr.cli``."""

from __future__ import annotations

from napari_blindsr.cli.app import main

main()
