"""The records of the wire format as msgspec structs, for files of many megabytes: same names, same types.

A struct is made in half the time of a dataclass, and the garbage collector need not look at it. They are derived from
the dataclasses field by field, so that there is one wire format.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from observer_client.record import Epoch, RunFile


@cache
def struct_of(kind: type[Any]) -> type[msgspec.Struct]:
    """Return a struct with the fields of the dataclass ``kind``; dataclasses within an epoch become structs, too."""
    hints = get_type_hints(kind)
    own = [(each.name, _translated(hints[each.name]), *_default(each)) for each in fields(kind)]
    return msgspec.defstruct(kind.__name__, own, gc=False, kw_only=True)


def _translated(hint: Any) -> Any:
    if is_dataclass(hint):
        # What surrounds the epochs is small, and the engine knows it by its class.
        return struct_of(hint) if hint.__module__ == Epoch.__module__ and hint in _within_an_epoch() else hint
    inner = tuple(_translated(each) for each in get_args(hint))
    if not inner:
        return hint
    origin = get_origin(hint)
    return Union[inner] if origin in (Union, UnionType) else origin[inner]  # noqa: UP007 - made of a tuple


@cache
def _within_an_epoch() -> frozenset[type[Any]]:
    found: set[Any] = set()
    waiting: list[Any] = [Epoch]
    while waiting:
        hint = waiting.pop()
        if is_dataclass(hint) and hint not in found:
            found.add(hint)
            waiting += get_type_hints(hint).values()
        else:
            waiting += get_args(hint)
    return frozenset(found)


def _default(each: Field[Any]) -> tuple[Any, ...]:
    if each.default is not MISSING:
        return (each.default,)
    if each.default_factory is not MISSING:
        return (msgspec.field(default_factory=each.default_factory),)
    return ()


EPOCH = struct_of(Epoch)
RUN_FILE = struct_of(RunFile)
