"""What becomes of findings on a loss that is no measure of progress."""

from __future__ import annotations

from collections.abc import Iterator
from functools import wraps

from diagnostics.engine.issue import IssueSeverity
from diagnostics.engine.registry import Finding, Rule
from diagnostics.engine.run import Run
from diagnostics.engine.task import game_of
from diagnostics.engine.thresholds import DiagnosticThresholds


def mild_in_games(rule: Rule) -> Rule:
    """Let what ``rule`` finds be information in adversarial and reinforcement training (`game_of`): there a loss that
    jumps may mean that the other player, or the policy, has got better."""

    @wraps(rule)
    def milder(run: Run, limits: DiagnosticThresholds) -> Iterator[Finding]:
        game = game_of(run)
        for found in rule(run, limits):
            if game is not None and found.suppressed is None:
                found.severity = IssueSeverity.info
            yield found

    return milder
