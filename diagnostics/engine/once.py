"""What several checks ask of a run is worked out once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from diagnostics.engine.run import Run

Rest = ParamSpec("Rest")
Told = TypeVar("Told")


def once(function: Callable[Concatenate[Run, Rest], Told], /) -> Callable[Concatenate[Run, Rest], Told]:
    """Let what ``function`` tells of a run be remembered with the run, by its arguments.

    Arguments are told apart by who they are: thresholds are no small key. Whoever gets an array must not write to it.
    """

    @wraps(function)
    def remembered(run: Run, /, *args: Rest.args, **kwargs: Rest.kwargs) -> Told:
        key = function, *map(id, args), *kwargs.items()
        kept = run.memory.get(key)
        if kept is None:
            # The arguments are kept with it: an identity belongs to what lives.
            kept = run.memory[key] = args, function(run, *args, **kwargs)
        told: Told = kept[1]
        return told

    return remembered
