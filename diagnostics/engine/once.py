"""What several checks ask of a run is worked out once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from diagnostics.engine.run import Run

Rest = ParamSpec("Rest")
Told = TypeVar("Told")


def once(function: Callable[Concatenate[Run, Rest], Told]) -> Callable[Concatenate[Run, Rest], Told]:
    """Let what ``function`` tells of a run be remembered with the run, by its arguments.

    Thresholds, which are no small key, are told apart by who they are. Whoever gets an array must not write to it.
    """

    @wraps(function)
    def remembered(run: Run, *args: Rest.args, **kwargs: Rest.kwargs) -> Told:
        memory: dict[Any, Any] = run.memory
        key = function, *map(_identity, args)
        if kwargs:
            return function(run, *args, **kwargs)
        if key not in memory:
            # The arguments are kept with it: an identity belongs to what lives.
            memory[key] = args, function(run, *args)
        told: Told = memory[key][1]
        return told

    return remembered


def _identity(argument: Any) -> Any:
    return argument if isinstance(argument, (str, int)) else id(argument)
