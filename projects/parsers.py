"""What a request carries: its body, read within limits and unpacked, and what it prefers."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Self

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from projects.services.documents import loads, storable

CHUNK_BYTES = 2**16
FREE_RATIO_BYTES = 2**20
"""Up to this size a body may be compressed as well as it likes."""
RATIO = 100
LONGEST_WAIT_SECONDS = 30.0


class TooLarge(APIException):
    """413: the body is over a limit. The sentence names it, so that a client can send smaller batches."""

    status_code = 413
    default_code = "too_large"


class JSONParser(BaseParser):
    """JSON as Python objects, with the limits of `read_body` and the repairs of `storable`."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return storable(loads(read_body(stream, _headers(parser_context))))


def _headers(parser_context: Mapping[str, Any] | None) -> Mapping[str, str]:
    headers: Mapping[str, str] = parser_context["request"].headers if parser_context else {}
    return headers


def sent(request: Request) -> Any:
    """Return ``request.data``, also of a chunked request: REST framework reads nothing without a Content-Length."""
    if "Content-Length" in request.headers or "Transfer-Encoding" not in request.headers:
        return request.data
    parser = request.negotiator.select_parser(request, request.parsers)
    if parser is None:
        raise UnsupportedMediaType(request.content_type)
    return parser.parse(request._request, request.content_type, request.parser_context)


def read_body(stream: IO[bytes], headers: Mapping[str, str]) -> bytes:
    """Return a request's body, unpacked if it is gzip.

    Raises TooLarge, UnsupportedMediaType for another encoding and ParseError for a damaged one. Stops reading
    as soon as a limit is passed, whatever Content-Length says.
    """
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return b"".join(_within(_chunks(stream), settings.MLDIAG_MAX_BODY_BYTES, "request body"))
    if encoding not in ("gzip", "x-gzip"):
        raise UnsupportedMediaType(
            encoding, detail=f"Content-Encoding {encoding!r} is not understood; send gzip or none."
        )
    compressed = _within(_chunks(stream), settings.MLDIAG_MAX_COMPRESSED_BYTES, "compressed request body")
    try:
        return b"".join(_within(_unpacked(compressed), settings.MLDIAG_MAX_BODY_BYTES, "decompressed request body"))
    except (zlib.error, EOFError) as error:
        raise ParseError(f"The body is not gzip, or damaged: {error}.")


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def _within(chunks: Iterator[bytes], limit: int, what: str) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"The {what} is over {limit:,} bytes. Send it in smaller parts.")
        yield chunk


def _unpacked(compressed: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the contents of a gzip file, which may have several members, never much at once."""
    member = zlib.decompressobj(wbits=31)
    received = given = 0
    for chunk in compressed:
        received += len(chunk)
        rest = chunk
        while rest:
            if member.eof:
                member = zlib.decompressobj(wbits=31)
            piece = member.decompress(rest, CHUNK_BYTES)
            rest = member.unused_data if member.eof else member.unconsumed_tail
            given += len(piece)
            if given > max(FREE_RATIO_BYTES, RATIO * received):
                raise TooLarge(f"The body unpacks to more than {RATIO} times its size. Send it in smaller parts.")
            yield piece
    if not member.eof:
        raise EOFError("it ends too early")


@dataclass(frozen=True, slots=True)
class Preference:
    """What a `Prefer` header (RFC 7240) asks for: seconds to wait, and the words that were understood."""

    wait: float
    applied: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: Request, default_wait: float) -> Self:
        words = [each.strip().lower() for each in request.headers.get("Prefer", "").split(",")]
        waits = [wait for word in words if (wait := _seconds(word)) is not None]
        promptly = ("respond-async",) if "respond-async" in words else ()
        if waits:
            # The first of two that contradict each other counts (RFC 7240, section 2).
            wait = min(waits[0], LONGEST_WAIT_SECONDS)
            return cls(wait, (*promptly, f"wait={wait:g}"))
        return cls(0.0 if promptly else default_wait, promptly)


def _seconds(word: str) -> float | None:
    name, _, value = word.partition("=")
    try:
        seconds = float(value.strip().strip('"'))
    except ValueError:
        return None
    return seconds if name.strip() == "wait" and math.isfinite(seconds) and seconds >= 0 else None
