"""``mldiag explain``: the engine's own documentation, in the terminal."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import fields

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from diagnostics.engine import CHECKS, Check, DiagnosticThresholds, alike
from mldiag.cli.choices import USAGE_ERROR
from mldiag.cli.sheet import STYLES
from mldiag.cli.terminal import console, show

_INDENT = (0, 2)


def explain(chosen: Namespace) -> int:
    """Print one check, all checks or all thresholds, and return the exit code."""
    if chosen.list:
        show(console(), _catalogue())
    elif chosen.thresholds:
        show(console(), Group(*_thresholds()))
    elif chosen.id in CHECKS:
        show(console(), Group(*_page(CHECKS[chosen.id])))
    else:
        print(f"mldiag explain: no check is called {chosen.id!r}{alike(chosen.id, CHECKS)}", file=sys.stderr)
        print("Try: mldiag explain --list", file=sys.stderr)
        return USAGE_ERROR
    return 0


def _page(check: Check) -> Iterator[RenderableType]:
    symptom, _, rest = check.doc.partition("\n\n")
    yield Rule(Text(check.id, style="bold"), align="left", style="dim")
    yield Padding(Text(symptom, style="bold"), (0, 2, 1, 2))
    facts = Table.grid(padding=_INDENT)
    facts.add_column(style="dim")
    for name, value in _facts(check):
        facts.add_row(name, value)
    yield Padding(facts, _INDENT)
    for heading, body in _sections(rest):
        yield Text(f"\n  {heading}", style="bold underline")
        yield Padding(Markdown(body, code_theme="ansi_dark"), _INDENT)
    yield Text()


def _facts(check: Check) -> Iterator[tuple[str, Text]]:
    yield "reported as", Text(check.title)
    yield "severity", Text(check.severity, style=STYLES[check.severity])
    yield "category", Text(f"{check.category}, tied to the {check.scope}")
    yield "looks at", Text(", ".join(need.replace(" | ", " or ") for need in check.needs))
    yield "profiles", Text("robust adds an evidence gate" if check.gated else "the same in both")


def _sections(text: str) -> Iterator[tuple[str, str]]:
    for section in ("\n" + text).split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        yield heading, body


def _catalogue() -> RenderableType:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for heading in ("check", "severity", "symptom"):
        table.add_column(heading, header_style="dim", no_wrap=heading != "symptom")
    for check in sorted(CHECKS.values(), key=lambda check: (check.severity.rank, check.id)):
        symptom = check.doc.partition("\n")[0]
        table.add_row(Text(check.id, style="bold"), Text(check.severity, style=STYLES[check.severity]), Text(symptom))
    return table


def _thresholds() -> Iterator[RenderableType]:
    for each in fields(DiagnosticThresholds):
        default = f"{each.default:g}" if isinstance(each.default, float) else str(each.default)
        unit = each.metadata["unit"]
        yield Text.assemble((each.name, "bold"), f" = {default} ", (unit, "dim"))
        yield Padding(Text(each.metadata["reason"]), (0, 2, 0, 4))
