"""``python -m napari_blindsr`` is the command ``napari-blindsr``."""

from __future__ import annotations

from napari_blindsr.cli.app import main

main()
