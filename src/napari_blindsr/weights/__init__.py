"""The published weights of USRNet: found, downloaded once, and checked before use."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pooch

from napari_blindsr.errors import WeightsError

USRNET_VARIABLE = "NAPARI_BLINDSR_USRNET"
USRNET_FILE = "usrnet_tiny.pth"
# A commit of the authors' repository, so that the address keeps its content.
USRNET_ADDRESS = (
    "https://raw.githubusercontent.com/JingyunLiang/FKP/"
    "a52beec614e64a843395723e199af5da85a2db7a/data/pretrained_models/usrnet_tiny.pth"
)
USRNET_SHA256 = "d82929fc053d6bbe181adba9e2be3d23548eeca8b7b4232eb122f020352295cf"


def cache_folder() -> Path:
    """Return the folder of downloaded weights."""
    return Path(pooch.os_cache("napari-blindsr"))


def find_usrnet(path: str | os.PathLike[str] | None = None, *, cache: Path | None = None) -> Path:
    """Return the file with the published weights of USRNet-tiny; download it if necessary.

    It is `path`; else that of the environment variable NAPARI_BLINDSR_USRNET; else the one in the
    cache, which is downloaded once from the authors' public repository.

    Raises
    ------
    WeightsError
        If the file does not exist, has another SHA-256, or cannot be downloaded.
    """
    if path is not None:
        return _checked(Path(path), "")
    if named := os.environ.get(USRNET_VARIABLE):
        return _checked(Path(named), f" (from {USRNET_VARIABLE})")
    folder = cache if cache is not None else cache_folder()
    return _fetch(folder)


def local_usrnet(path: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the file of `find_usrnet`, or None if it would have to be downloaded.

    Raises
    ------
    WeightsError
        If a given file does not exist or has another SHA-256.
    """
    if path is not None or os.environ.get(USRNET_VARIABLE):
        return find_usrnet(path)
    return _cached(cache_folder())


def _checked(path: Path, origin: str) -> Path:
    if not path.is_file():
        raise WeightsError(
            f"USRNet weights: there is no file {path}{origin}; "
            f"expected {USRNET_FILE} from {USRNET_ADDRESS}"
        )
    try:
        found = pooch.file_hash(str(path))
    except OSError as error:
        raise WeightsError(f"USRNet weights: cannot read {path}{origin}: {error}") from error
    if found != USRNET_SHA256:
        raise WeightsError(
            f"USRNet weights: {path}{origin} has SHA-256 {found[:12]}…, expected "
            f"{USRNET_SHA256[:12]}…: not {USRNET_FILE} from {USRNET_ADDRESS}"
        )
    return path


def _cached(folder: Path) -> Path | None:
    target = folder / USRNET_FILE
    right = target.is_file() and pooch.file_hash(str(target)) == USRNET_SHA256
    return target if right else None


def _fetch(folder: Path) -> Path:
    if (cached := _cached(folder)) is not None:
        return cached
    target = folder / USRNET_FILE
    # It writes to standard error, unasked.
    pooch.get_logger().setLevel(logging.WARNING)
    # Not streamed, so that a refused request leaves no open connection behind.
    downloader = pooch.HTTPDownloader(timeout=30, stream=False)
    try:
        # Pooch writes to a temporary file and moves it once its checksum is right.
        pooch.retrieve(
            USRNET_ADDRESS,
            known_hash=f"sha256:{USRNET_SHA256}",
            fname=USRNET_FILE,
            path=folder,
            downloader=downloader,
        )
    except (OSError, ValueError) as error:
        # Network errors are OSErrors, a wrong checksum is a ValueError.
        raise WeightsError(
            f"USRNet weights cannot be fetched ({type(error).__name__}); download "
            f"{USRNET_ADDRESS} and save it as {target}, or name the file in {USRNET_VARIABLE}"
        ) from error
    return target
