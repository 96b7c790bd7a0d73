"""The register of recipes: how the snippet of a check's issues is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from diagnostics.engine.fixes.facts import Facts
from diagnostics.engine.issue import IssueData

Recipe = Callable[[Facts, IssueData], str | None]

Own = TypeVar("Own", bound=Recipe)

RECIPES: dict[str, Recipe] = {}
"""By the id of the check. A recipe returns None where the run tells too little."""


def recipe(*checks: str) -> Callable[[Own], Own]:
    """Register a function as the recipe of ``checks``. Raises ValueError if one of them has a recipe already."""

    def register(function: Own) -> Own:
        if taken := [check for check in checks if check in RECIPES]:
            raise ValueError(f"there is a recipe for {', '.join(taken)} already")
        RECIPES.update(dict.fromkeys(checks, function))
        return function

    return register
