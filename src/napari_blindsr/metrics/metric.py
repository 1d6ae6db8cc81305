"""What a metric is: a function of the evidence, and what a reader has to know about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_blindsr.metrics.evidence import Evidence

LENGTH_UNIT = "px"
"""Unit of metrics that are lengths in pixels of the image; they are told in nm as well."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric, as tables, tooltips and tests see it.

    Attributes
    ----------
    name : str
        A valid identifier.
    label : str
        What a table shows.
    unit : str
        Empty for a pure number; "px" for a length in pixels of the image.
    definition : str
        What the number is, in one or two sentences.
    source : str
        Where it was published, or the program it agrees with.
    caveat : str
        What it does not say.
    needs : tuple of str
        Attributes of `Evidence` without which it cannot be told; empty for those that need
        the image alone.
    better : {"higher", "lower", "neither"}
    function : callable
        Takes an `Evidence` and returns a float; raises an `InputError` if the evidence does
        not allow it.
    """

    name: str
    label: str
    unit: str = ""
    definition: str
    source: str
    caveat: str
    needs: tuple[str, ...] = ()
    better: Literal["higher", "lower", "neither"]
    function: Callable[[Evidence], float]

    @property
    def subject(self) -> Literal["image", "kernel"]:
        """What it tells of: the kernel alone, or the image."""
        return (
            "kernel"
            if {"kernel", "true_kernel"} & {*self.needs}
            and not ({"source", "reference"} & {*self.needs})
            else "image"
        )

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better; of a metric that is a matter of better and worse."""
        return self.better == "higher"

    @property
    def tooltip(self) -> str:
        """Definition, source and caveat, a line each."""
        return f"{self.definition}\nSource: {self.source}\nCaveat: {self.caveat}"

    def __call__(self, evidence: Evidence) -> float:
        """Return the value.

        Raises
        ------
        InputError
        """
        return self.function(evidence)
