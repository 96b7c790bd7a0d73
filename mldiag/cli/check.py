"""``mldiag check``: judge runs that lie in files, without a server."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from diagnostics.engine import CHECKS, DiagnosticThresholds
from mldiag.cli.choices import FAIL_ON, USAGE_ERROR
from mldiag.cli.judging import Judged, Settings, Unread, judge_all
from mldiag.cli.wording import alike

FOUND = 1


class WrongUsage(Exception):
    """An argument names something that does not exist."""


def check(chosen: Namespace) -> int:
    """Judge what the command line names, print it, and return the exit code."""
    try:
        settings = Settings(chosen.profile, _thresholds(chosen.threshold), _disabled(chosen.disable))
    except WrongUsage as error:
        print(f"mldiag check: {error}", file=sys.stderr)
        return USAGE_ERROR
    code = 0
    write = _writer(chosen)
    for outcome in judge_all(chosen.files, settings):
        write.add(outcome)
        code = max(code, _code(outcome, chosen.fail_on))
    write.finish()
    return code


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


def _thresholds(pairs: list[str]) -> DiagnosticThresholds:
    values: dict[str, Any] = {}
    known = DiagnosticThresholds.__dataclass_fields__
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise WrongUsage(f"--threshold {pair}: write it as NAME=VALUE")
        if name not in known:
            raise WrongUsage(f"--threshold {name}: no such threshold{alike(name, known)}")
        values[name] = _number(name, text, type(known[name].default))
    try:
        return DiagnosticThresholds(**values)
    except ValueError as error:
        raise WrongUsage(f"--threshold: {error}") from error


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return int(text) if kind is int else float(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise WrongUsage(f"--threshold {name}: {text!r} is not {wanted}") from error


def _disabled(ids: list[str]) -> frozenset[str]:
    for each in ids:
        if each not in CHECKS:
            raise WrongUsage(f"--disable {each}: no such check{alike(each, CHECKS)}")
    return frozenset(ids)
