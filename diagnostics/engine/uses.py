"""Which thresholds a check reads, found in its code: documentation that cannot go stale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from inspect import unwrap
from types import CodeType, FunctionType
from typing import Any

from diagnostics.engine.registry import CHECKS, Check
from diagnostics.engine.thresholds import DiagnosticThresholds

_NAMES = {each.name for each in fields(DiagnosticThresholds)}


@cache
def thresholds_of(check: Check) -> Mapping[str, bool]:
    """Return the thresholds that a check reads, in the order of their declaration, and whether its rule does so; the
    others belong to the evidence that the robust profile asks for."""
    by_rule = _read_by(check.rule, set())
    by_gate = _read_by(check.gated, set()) if check.gated else set()
    return {name: name in by_rule for name in _in_order() if name in by_rule | by_gate}


def readers_of(threshold: str) -> list[str]:
    """Return the ids of the checks that read a threshold."""
    return [check.id for check in CHECKS.values() if threshold in thresholds_of(check)]


def _in_order() -> list[str]:
    return [each.name for each in fields(DiagnosticThresholds)]


def _read_by(function: Any, seen: set[Any]) -> set[str]:
    """Return the thresholds named in a function and in the engine's functions that it calls."""
    function = unwrap(function)
    if not isinstance(function, FunctionType) or function in seen:
        return set()
    seen.add(function)
    found: set[str] = set()
    for code in _codes(function.__code__):
        named = {*code.co_names, *(each for each in code.co_consts if isinstance(each, str))}
        found |= named & _NAMES
        for called in (function.__globals__.get(name) for name in code.co_names):
            # A gate that begins with what its rule, or another check's, has found.
            callee = called.rule if isinstance(called, Check) else called
            if getattr(callee, "__module__", "").startswith("diagnostics.engine"):
                found |= _read_by(callee, seen)
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)
