"""``mldiag check``: judge runs that lie in files, without a server."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from diagnostics.engine import Policy
from mldiag.cli.choices import FAIL_ON, USAGE_ERROR
from mldiag.cli.judging import Judged, Unread, judge_all, runs_in
from mldiag.cli.policy import WrongUsage, policy_of

FOUND = 1


def check(chosen: Namespace) -> int:
    """Judge what the command line names, print it, and return the exit code."""
    try:
        policy = policy_of(chosen)
    except WrongUsage as error:
        print(f"mldiag check: {error}", file=sys.stderr)
        return USAGE_ERROR
    code = 0
    write = _writer(chosen)
    for outcome in _outcomes(chosen, policy):
        write.add(outcome)
        code = max(code, _code(outcome, chosen.fail_on))
    write.finish()
    return code


def _outcomes(chosen: Namespace, policy: Policy) -> Iterator[Judged | Unread]:
    found = runs_in(chosen.files)
    if chosen.jobs == 1:
        return judge_all(found, policy)
    # Whoever judges one file does not pay for what it takes to judge many.
    from mldiag.cli.parallel import Judges

    return Judges(policy, chosen.jobs).judge_all(found)


def _code(outcome: Judged | Unread, fail_on: str) -> int:
    if isinstance(outcome, Unread):
        return USAGE_ERROR
    failing = FAIL_ON[: FAIL_ON.index(fail_on) + 1] if fail_on != "never" else ()
    return FOUND if any(str(issue.severity) in failing for issue in outcome.report.issues) else 0


def _writer(chosen: Namespace) -> Any:
    # Each format imports its own libraries only.
    if chosen.format == "json":
        from mldiag.cli.machine import JsonWriter

        return JsonWriter(sys.stdout)
    if chosen.format == "github":
        from mldiag.cli.machine import GithubWriter

        return GithubWriter(sys.stdout)
    from mldiag.cli.sheet import brief, full, without_fixes
    from mldiag.cli.text import TextWriter

    layout = full if chosen.verbose else brief
    return TextWriter((lambda sheet: layout(without_fixes(sheet))) if chosen.no_fix else layout)
