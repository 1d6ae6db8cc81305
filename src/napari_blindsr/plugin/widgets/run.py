"""Work on a thread of its own, and all that it holds in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from napari_blindsr.errors import BlindSRError, EngineError

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_blindsr.progress import Progress


Returned = TypeVar("Returned")


class Run(ABC, Generic[Returned]):
    """Work for a generator worker; `close` frees its memory.

    napari keeps every worker, and with it a suspended generator, until its window closes. What is
    large is therefore held here.
    """

    kind: ClassVar[str]

    def __init__(self, name: str) -> None:
        self._name = name
        self._engine: Generator[Progress, bool | None, Returned] | None = None

    def __repr__(self) -> str:
        # napari shows this when it is closed during a run.
        return f"{self.kind} of '{self._name}'"

    def steps(self) -> Generator[Progress, bool | None, Returned]:
        """Run step by step; a true value that is sent stops the run and keeps its result.

        Every failure is raised as a `BlindSRError`: a worker swallows RuntimeErrors, torch's among
        them, and then never ends.
        """
        try:
            self._engine = self._work()
            return (yield from self._engine)
        except BlindSRError:
            raise
        except Exception as error:
            text = " ".join(str(error).split()) or "no message"
            raise EngineError(f"the {self!r} failed with {type(error).__name__}: {text}") from error
        finally:
            self._engine = None

    @abstractmethod
    def _work(self) -> Generator[Progress, bool | None, Returned]:
        """Do the work."""

    def close(self) -> None:
        """Free all memory. Only while no step is being executed."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
