"""Makes Markdown pages of the catalogue and the thresholds: ``python -m diagnostics.engine.docs [--check] [FOLDER]``.

A page is the docstring of its check. The pages are generated, committed and compared, never edited by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from diagnostics.engine.issue import IssueSeverity
from diagnostics.engine.registry import CHECKS, Check
from diagnostics.engine.sources import SOURCES
from diagnostics.engine.thresholds import DiagnosticThresholds, grouped, span
from diagnostics.engine.uses import readers_of, thresholds_of

_MADE = "<!-- Generated from the source by `python -m diagnostics.engine.docs`. -->\n\n"


def page(check: Check) -> str:
    """Return the page of one check."""
    symptom, _, rest = check.doc.partition("\n\n")
    facts = (
        ("Check", f"`{check.id}`"),
        ("Reported as", check.title),
        ("Category", str(check.category)),
        ("Severity", str(check.severity)),
        ("Tied to", str(check.scope)),
        ("Looks at", ", ".join(_code(need) for need in check.needs)),
        ("Source", "; ".join(_sources(check))),
        ("Profiles", "the robust profile has an evidence gate" if check.gated else "the same in both profiles"),
    )
    table = "\n".join(f"| {name} | {value} |" for name, value in facts)
    told = f"# {check.title}\n\n{symptom}\n\n| | |\n| --- | --- |\n{table}\n\n{rest}\n"
    return told + _profiles(check) + _thresholds(check)


def _sources(check: Check) -> list[str]:
    own = [f"guide, section {check.section}"] if check.section else []
    return [*own, *SOURCES.get(check.id, ())] or ["beyond the guide"]


def _profiles(check: Check) -> str:
    """Return what the two profiles do differently, as far as a machine can tell: "What it does" has the rest."""
    if check.gated is None:
        said = "`guide` and `robust` judge alike: there is nothing that noise could explain."
    else:
        said = (
            "`guide` reports whatever the rule finds. `robust`, the default, also asks for the evidence told of above; "
            "what it holds back is listed with the reason (`mldiag check --verbose`)."
        )
    return f"\n## Profiles\n{said}\n"


def _thresholds(check: Check) -> str:
    used = thresholds_of(check)
    if not used:
        return "\n## Thresholds\nNone: there is no number to set.\n"
    declared = {each.name: each for each in fields(DiagnosticThresholds)}
    rows = "\n".join(
        f"| `{name}` | {_number(declared[name].default)} {declared[name].metadata['unit']} | "
        f"{'rule' if by_rule else 'evidence'} | {declared[name].metadata['reason']} |"
        for name, by_rule in used.items()
    )
    return (
        "\n## Thresholds\nThose of the rule hold in both profiles, those of evidence in `robust` only. "
        "[All thresholds](../thresholds.md)\n\n"
        f"| Name | Default | For | Meaning |\n| --- | --- | --- | --- |\n{rows}\n"
    )


def index() -> str:
    """Return the list of all checks, in the order of the guide."""
    rows = "\n".join(
        f"| {check.section or '-'} | [`{check.id}`]({check.id}.md) | {check.category} | {check.severity} | "
        f"{check.doc.partition(chr(10))[0]} |"
        for check in sorted(CHECKS.values(), key=_by_section)
    )
    weights = ", ".join(f"{severity} {severity.weight}" for severity in IssueSeverity)
    return (
        f"# Checks\n\nWhat each issue costs of the 100 points of the health score: {weights}. The limits are in "
        "[thresholds](../thresholds.md).\n\n"
        f"| Guide | Check | Category | Severity | Symptom |\n| --- | --- | --- | --- | --- |\n{rows}\n"
    )


def thresholds_page() -> str:
    """Return the list of all thresholds by group, with unit, default, limits, reason and the checks that read them."""
    return (
        "# Thresholds\n\nEvery number that decides whether something is an issue. A project, `mldiag.toml` or a call "
        "may override each. What is called evidence is read by the robust profile alone.\n"
        + "".join(_group(title, group) for title, group in grouped().items())
    )


def _group(title: str, group: Sequence[Field[Any]]) -> str:
    rows = "\n".join(
        f"| `{each.name}` | {_number(each.default)} | {each.metadata['unit']} | "
        f"{span(each.metadata)} | {each.metadata['reason']} | {', '.join(map(_linked, readers_of(each.name)))} |"
        for each in group
    )
    heads = "| Name | Default | Unit | Allowed | Reason | Read by |\n| --- | --- | --- | --- | --- | --- |"
    return f"\n## {title}\n\n{heads}\n{rows}\n"


def _linked(id: str) -> str:
    return f"[{id}](checks/{id}.md)"


def pages() -> dict[str, str]:
    """Return every generated page by its path below the documentation folder."""
    made = {f"checks/{check.id}.md": page(check) for check in CHECKS.values()}
    made |= {"checks/README.md": index(), "thresholds.md": thresholds_page()}
    return {path: _MADE + text for path, text in made.items()}


def write(folder: Path) -> list[Path]:
    """Write the pages below ``folder``, remove those of checks that are gone, and return what changed."""
    changed = outdated(folder)
    made = pages()
    for path in changed:
        name = path.relative_to(folder).as_posix()
        if name in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[name], encoding="utf-8")
        else:
            path.unlink()
    return changed


def outdated(folder: Path) -> list[Path]:
    """Return the pages below ``folder`` that are missing, differ from the source, or belong to no check."""
    made = pages()
    stale = [folder / name for name, text in made.items() if not _says(folder / name, text)]
    extra = [path for path in sorted((folder / "checks").glob("*.md")) if f"checks/{path.name}" not in made]
    return stale + extra


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` name those that are out of date and return 1 if there are any."""
    folder = Path(next((each for each in arguments if not each.startswith("-")), "docs"))
    if "--check" in arguments:
        stale = outdated(folder)
        sys.stdout.writelines(f"out of date: {path}\n" for path in stale)
        return 1 if stale else 0
    sys.stdout.writelines(f"wrote {path}\n" for path in write(folder))
    return 0


def _says(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _by_section(check: Check) -> list[int]:
    # What is beyond the guide comes after it.
    return [int(part) for part in (check.section or "99").split(".")]


def _code(need: str) -> str:
    return " or ".join(f"`{name}`" for name in need.split(" | "))


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
