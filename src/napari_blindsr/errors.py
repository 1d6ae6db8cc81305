"""The errors the project raises on purpose.

None of them is a ``RuntimeError``: napari's generator workers swallow those, and so a
failure would never reach the user.
"""

from __future__ import annotations

import difflib
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class BlindSRError(Exception):
    """Base of all errors raised on purpose; its text is one line, fit to be shown."""


class InputError(BlindSRError, ValueError):
    """The image, kernel or mask cannot be used; names the value and what is expected."""


class NoContrastError(InputError):
    """Every valid pixel of an image has the same value, and so has its restoration.

    Parameters
    ----------
    value : float
    """

    def __init__(self, value: float) -> None:
        super().__init__(
            f"the image is constant (every value is {value:g}); there is nothing to restore"
        )
        self.value = value

    def __reduce__(self) -> tuple[type[NoContrastError], tuple[float]]:
        # Workers of a cluster send this error back.
        return NoContrastError, (self.value,)


class SettingsError(BlindSRError, ValueError):
    """A setting is out of its range or does not fit another; names both."""


class FileError(BlindSRError):
    """A file cannot be read or written, or must not be overwritten."""


class DeviceError(BlindSRError):
    """The device asked for does not exist on this machine."""


class ClusterError(BlindSRError):
    """A cluster cannot be reached or used, or was lost."""


class EngineError(BlindSRError):
    """The computation failed; carries the text of the library's own error."""


class OutOfMemoryError(EngineError):
    """The device ran out of memory; says what may help."""


class WeightsError(BlindSRError):
    """The weights of a network are not there, are damaged, or belong to another network."""


def needs(what: str, extra: str) -> str:
    """Return the sentence that says how to install the packages of an extra."""
    return f'{what} needs packages that are not installed: pip install "napari-blindsr[{extra}]"'


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class if it has none."""
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


@contextmanager
def reading(path: Path, problem: str = "{}") -> Iterator[None]:
    """Turn any error of a library, which fails in its own ways, into a `FileError`.

    `problem` says what is wrong with the file; the error's first line takes the place of the
    braces.
    """
    try:
        yield
    except BlindSRError:
        raise
    except Exception as error:
        text = problem.format(first_line(error))
        raise FileError(f"cannot read {path}: {text}") from error


def near(name: str, known: Sequence[str]) -> str:
    """Return which of some known names might be meant by an unknown one."""
    alike = " or ".join(map(repr, difflib.get_close_matches(name, known)))
    return f"did you mean {alike}?" if alike else f"expected one of {list(known)}"


def require(condition: bool, message: str) -> None:
    """Raise a `SettingsError` with this message unless the condition holds."""
    if not condition:
        raise SettingsError(message)


def require_choices(options: object, **choices: Sequence[object]) -> None:
    """Raise a `SettingsError` unless each named attribute has one of its allowed values."""
    for name, allowed in choices.items():
        value = getattr(options, name)
        require(value in allowed, f"{name} is {value!r}; expected one of {list(allowed)}")
