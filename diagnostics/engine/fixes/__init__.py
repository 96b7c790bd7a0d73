"""Fixes: snippets of Python made of a run's own facts, one for each issue for which one can be computed.

A snippet speaks of the names that a training loop has anyway: ``model``, ``optimizer``, ``loss``, ``criterion``,
``train_loader``, ``epochs``, of one batch ``x``, ``y`` and ``output``, and ``torch``. Its first line is a comment that
says where it belongs. Names that a run brought along are quoted and never put into comments.
"""

from __future__ import annotations

from collections.abc import Iterable

from diagnostics.engine.fixes import architecture, dynamics, layers, logs, mistakes, systems
from diagnostics.engine.fixes.facts import Facts
from diagnostics.engine.fixes.recipes import RECIPES
from diagnostics.engine.issue import IssueData
from diagnostics.engine.run import Run

__all__ = ["RECIPES", "architecture", "dynamics", "layers", "logs", "mistakes", "systems", "write_fixes"]


def write_fixes(run: Run, issues: Iterable[IssueData]) -> None:
    """Set ``fix`` of each of ``issues``, which were found in ``run``; what cannot be computed stays None.

    What follows from another issue is mended with it: where that one has a fix, it has none of its own.
    """
    facts, told = Facts(run), list(issues)
    for issue in told:
        recipe = RECIPES.get(issue.check_id)
        issue.fix = recipe(facts, issue) if recipe else None
    mended = {issue.check_id for issue in told if issue.fix is not None}
    for issue in told:
        if issue.caused_by in mended:
            issue.fix = None
