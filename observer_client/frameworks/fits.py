"""The runs that one adapter observes: a new one for each fit, or the one that it was given."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from observer_client import ranks
from observer_client.config import ObserverConfig
from observer_client.observer import Observer


def missing(library: str, extra: str) -> ImportError:
    """Return the error that says what to install."""
    return ImportError(f"This adapter needs {library}: pip install 'mldiag-observer[{extra}]'", name=library)


class Fits:
    """What all adapters share. The arguments are those of `Observer`.

    Given an ``observer`` the adapter records into that one and leaves its end to whoever made it; else each fit is a
    run of its own. As a context manager it records the exception that ends a fit, which not every framework tells its
    callbacks; an exception that nobody catches is recorded without it, too.

    Raises ValueError for a config that makes no sense.
    """

    def __init__(
        self,
        observer: Observer | None = None,
        *,
        project_id: int | None = None,
        config: ObserverConfig | None = None,
        run_name: str | None = None,
        project: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.observer = observer or _silent()
        """Where this fit, or the last one, is recorded."""
        self._is_given = observer is not None
        self._is_open = False
        self._config = config or ObserverConfig()
        self._names = {"project_id": project_id, "run_name": run_name, "project": project, "tags": tags}
        self._arguments: dict[str, Any] = {"observer": observer, "config": config, **self._names}

    def _begin_fit(self, rank: int) -> Observer:
        """Return the Observer of a fit that begins in the process of this ``rank``: one of them speaks for the run.

        The others are compared with it where torch knows of them, and silent elsewhere.
        """
        if not self._is_given:
            self._fail(RuntimeError("the fit ended without a word: the next one has begun"))
            config = replace(self._config, mode="disabled") if rank and not ranks.rank() else self._config
            self.observer = Observer(config=config, **self._names)  # type: ignore[arg-type]
            self._is_open = True
        return self.observer

    def _count_from(self, steps: int) -> None:
        """Number the steps on from ``steps``, which a checkpoint or an earlier fit has behind it."""
        self.observer._epochs.steps_before = max(0, steps - self.observer._steps.total)

    def _end_fit(self) -> None:
        """Close the run, if it is this adapter's own."""
        if self._is_open:
            self._is_open = False
            self.observer.close()

    def _fail(self, error: BaseException) -> None:
        """Close the run as one that ``error`` ended."""
        if self._is_open:
            self._is_open = False
            self.observer.__exit__(type(error), error, error.__traceback__)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._end_fit()
        else:
            self._fail(error)


def _silent() -> Observer:
    return Observer(config=ObserverConfig(mode="disabled"))
