"""One item of a batch: decoded by itself, so that a bad one never rejects its neighbors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from projects.services.documents import DEPTH, loads, storable
from projects.services.refusals import Refused

T = TypeVar("T")
LARGEST_NUMBER = 2**31 - 1
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Status(StrEnum):
    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """What became of one item. ``number`` is its epoch or ``seq``, None where it could not be read."""

    number: int | None
    status: Status
    attempt: int = 0
    error: str | None = None


class _Named(msgspec.Struct):
    epoch: Any = None
    attempt: Any = 0
    seq: Any = None


def decode(raw: bytes | msgspec.Raw, kind: type[T]) -> tuple[T, str]:
    """Return the record in ``raw`` and its JSON text, compact.

    What msgspec refuses but a human would understand (bare NaN, 1e400, a byte order mark, lone surrogates) is
    repaired and tried again. Raises Refused.
    """
    sent = bytes(raw)
    try:
        compact = msgspec.json.format(sent, indent=-1)
        # Two escapes that decode well and then break a database or a page.
        if b"\\u0000" not in compact and b"\\ud" not in compact and b"\\uD" not in compact:
            text = compact.decode()
            record = _decoder(kind).decode(compact)
            _refuse_depth(compact)
            return record, text
    except (ValueError, RecursionError):
        pass
    return _decode_repaired(sent, kind)


def _decode_repaired(sent: bytes, kind: type[T]) -> tuple[T, str]:
    document = storable(loads(sent))
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return convert(document, kind), text


def convert(document: Any, kind: type[T]) -> T:
    """Return a decoded JSON value as a record. Raises Refused with the path of what does not fit."""
    try:
        return msgspec.convert(document, kind, strict=False)
    except msgspec.ValidationError as error:
        sentence, _, path = str(error).partition(" - at ")
        raise Refused(f"{sentence}.", path.strip("`") or None)


def refused(raw: bytes | msgspec.Raw, refusal: Refused) -> ItemResult:
    """Return the result of an item that cannot be stored, with its number if that much can be read."""
    try:
        named = msgspec.json.decode(raw, type=_Named)
    except (ValueError, RecursionError):
        named = _Named()
    number = named.epoch if isinstance(named.epoch, int) else named.seq
    return ItemResult(
        number=number if isinstance(number, int) else None,
        attempt=named.attempt if isinstance(named.attempt, int) else 0,
        status=Status.REJECTED,
        error=f"{refusal} (at {refusal.path})" if refusal.path else str(refusal),
    )


@lru_cache
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind, strict=False)


def _refuse_depth(compact: bytes) -> None:
    """Raise Refused for JSON that a recursive reader could choke on, without reading it.

    Brackets inside of texts may mislead the quick way; then the document is walked.
    """
    brackets = compact.translate(None, NOT_BRACKETS)
    for _ in range(DEPTH):
        shorter = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    if brackets:
        storable(loads(compact))
