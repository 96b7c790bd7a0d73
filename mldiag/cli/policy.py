"""By what ``mldiag check`` judges: ``mldiag.toml``, and the options of the command line put over it."""

from __future__ import annotations

import tomllib
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diagnostics.engine import CHECKS, DiagnosticThresholds, InvalidSetting, IssueCategory, IssueSeverity, Policy, alike

NAME = "mldiag.toml"


class WrongUsage(Exception):
    """An argument, or the configuration, names something that does not exist or makes no sense."""


def policy_of(chosen: Namespace) -> Policy:
    """Return the policy that the configuration and the options make. Raises WrongUsage."""
    path = _config_path(chosen)
    config = {} if path is None else _read(path)
    over = {
        "profile": chosen.profile,
        "baseline": chosen.baseline,
        "thresholds": _thresholds(chosen.threshold),
        "severity": _severities(chosen.severity),
        "disable": _disabled(chosen.disable),
    }
    try:
        return Policy.from_mapping(_merged(config, over))
    except InvalidSetting as error:
        raise WrongUsage(f"--{error.place.partition('.')[0]}: {error}") from error


def find_config(folder: Path) -> Path | None:
    """Return the nearest ``mldiag.toml`` in ``folder`` or above it."""
    return next((each / NAME for each in (folder, *folder.parents) if (each / NAME).is_file()), None)


def _config_path(chosen: Namespace) -> Path | None:
    if chosen.no_config:
        return None
    return Path(chosen.config) if chosen.config else find_config(Path.cwd())


def _read(path: Path) -> dict[str, Any]:
    """Return the settings in a file that can be used as they stand. Raises WrongUsage with the key's path."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        Policy.from_mapping(found)
    except OSError as error:
        raise WrongUsage(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{path}: is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise WrongUsage(f"{path}: is not TOML: {error}") from error
    except InvalidSetting as error:
        raise WrongUsage(f"{path}: {error.place}: {error}") from error
    return found


def _merged(config: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(config)
    for name, value in over.items():
        if isinstance(value, dict):
            merged[name] = {**config.get(name, {}), **value}
        elif isinstance(value, list):
            merged[name] = [*config.get(name, []), *value]
        elif value is not None:
            merged[name] = value
    return merged


def _thresholds(pairs: list[str]) -> dict[str, Any]:
    known = DiagnosticThresholds.__dataclass_fields__
    values = dict(_pair("--threshold", "NAME=VALUE", pair) for pair in pairs)
    for name in values:
        if name not in known:
            raise WrongUsage(f"--threshold {name}: no such threshold{alike(name, known)}")
    return {name: _number(name, text, type(known[name].default)) for name, text in values.items()}


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return int(text) if kind is int else float(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise WrongUsage(f"--threshold {name}: {text!r} is not {wanted}") from error


def _severities(pairs: list[str]) -> dict[str, str]:
    chosen = dict(_pair("--severity", "ID=SEVERITY", pair) for pair in pairs)
    for check, severity in chosen.items():
        if check not in CHECKS:
            raise WrongUsage(f"--severity {check}: no such check{alike(check, CHECKS)}")
        if severity not in list(IssueSeverity):
            raise WrongUsage(f"--severity {check}: {severity!r} is none of {', '.join(IssueSeverity)}")
    return chosen


def _disabled(names: list[str]) -> list[str]:
    known = [*CHECKS, *IssueCategory]
    for each in names:
        if each not in known:
            raise WrongUsage(f"--disable {each}: no such check or category{alike(each, known)}")
    return names


def _pair(option: str, form: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise WrongUsage(f"{option} {text}: write it as {form}")
    return name, value
