"""Batches of records: split into items without decoding them, so that each is judged by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, ClassVar

import msgspec
from rest_framework.parsers import BaseParser

from projects.parsers import TooLarge, read_body
from projects.services.documents import loads
from projects.services.refusals import Refused

MAX_ITEMS = 1_000
Items = list[msgspec.Raw] | list[bytes]


class _Batch(msgspec.Struct):
    epochs: list[msgspec.Raw] | None = None
    logs: list[msgspec.Raw] | None = None


class BatchParser(BaseParser):
    """``{"<field>": [...]}`` or the bare list, as a list of raw items."""

    media_type = "application/json"
    field: ClassVar[str]
    _decoder = msgspec.json.Decoder(_Batch | list[msgspec.Raw])

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Items:
        items = self.split(read_body(stream, parser_context["request"].headers if parser_context else {}))
        if len(items) > MAX_ITEMS:
            raise TooLarge(f"At most {MAX_ITEMS:,} items in one request; here are {len(items):,}.")
        return items

    def split(self, body: bytes) -> Items:
        try:
            batch = self._decoder.decode(body)
            items = batch if isinstance(batch, list) else getattr(batch, self.field)
            if items is not None:
                return items
        except (ValueError, RecursionError):
            pass
        return self._split_slowly(loads(body))

    def _split_slowly(self, document: Any) -> list[bytes]:
        """Split what is not quite JSON (bare NaN, a byte order mark), or say what is missing."""
        items = document.get(self.field) if isinstance(document, dict) else document
        if not isinstance(items, list):
            raise Refused(f'The body is {{"{self.field}": [...]}} or a list.', f"$.{self.field}")
        return [json.dumps(item).encode() for item in items]


class EpochsParser(BatchParser):
    field = "epochs"


class LogsParser(BatchParser):
    field = "logs"
