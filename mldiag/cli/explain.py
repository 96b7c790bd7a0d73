"""``mldiag explain``: the engine's own documentation, in the terminal."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import Field
from typing import Any

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from diagnostics.engine import CHECKS, Check, DiagnosticThresholds, alike, grouped_thresholds
from diagnostics.engine.thresholds import span
from diagnostics.engine.uses import readers_of, thresholds_of
from mldiag.cli.choices import USAGE_ERROR
from mldiag.cli.sheet import STYLES
from mldiag.cli.terminal import console, show

_INDENT = (0, 2)


def explain(chosen: Namespace) -> int:
    """Print one check, all checks or all thresholds, and return the exit code."""
    if chosen.list:
        show(console(), _catalogue())
    elif chosen.thresholds or chosen.id == "thresholds":
        show(console(), Group(*_thresholds()))
    elif chosen.id in DiagnosticThresholds.__dataclass_fields__:
        show(console(), Group(*_threshold(chosen.id)))
    elif chosen.id in CHECKS:
        show(console(), Group(*_page(CHECKS[chosen.id])))
    else:
        known = [*CHECKS, *DiagnosticThresholds.__dataclass_fields__]
        print(
            f"mldiag explain: no check or threshold is called {chosen.id!r}{alike(chosen.id, known)}", file=sys.stderr
        )
        print("Try: mldiag explain --list, or mldiag explain thresholds", file=sys.stderr)
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
    if used := thresholds_of(check):
        yield "thresholds", Text(", ".join(used))


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
    for title, group in grouped_thresholds().items():
        yield Text(f"\n{title}", style="bold underline")
        for each in group:
            yield Text.assemble((each.name, "bold"), f" = {_default(each)} ", (each.metadata["unit"], "dim"))
            yield Padding(Text(each.metadata["reason"]), (0, 2, 0, 4))


def _threshold(name: str) -> Iterator[RenderableType]:
    declared = DiagnosticThresholds.__dataclass_fields__[name]
    yield Rule(Text(name, style="bold"), align="left", style="dim")
    yield Padding(Text(declared.metadata["reason"], style="bold"), (0, 2, 1, 2))
    facts = Table.grid(padding=_INDENT)
    facts.add_column(style="dim")
    facts.add_row("default", Text(f"{_default(declared)} {declared.metadata['unit']}"))
    facts.add_row("allowed", Text(span(declared.metadata)))
    facts.add_row("read by", Text(", ".join(readers_of(name))))
    facts.add_row("change it", Text(f"mldiag check RUN --threshold {name}={_default(declared)}"))
    facts.add_row("", Text("or [thresholds] of mldiag.toml, or a project's policy"))
    yield Padding(facts, _INDENT)
    yield Text()


def _default(declared: Field[Any]) -> str:
    return f"{declared.default:g}" if isinstance(declared.default, float) else str(declared.default)
