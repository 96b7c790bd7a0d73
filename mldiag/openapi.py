"""Completes the OpenAPI document with the wire format, whose records are no DRF serializers."""

from __future__ import annotations

from typing import Any

import msgspec

from observer_client.record import Architecture, Ending, Epoch, LogLine, Opening

RECORDS = (Opening, Architecture, Epoch, LogLine, Ending)
REF = "#/components/schemas/{name}"


def add_wire_format(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: add the schemas that `sessions.api.wire` refers to."""
    _, records = msgspec.json.schema_components(RECORDS, ref_template=REF)
    for schema in records.values():
        _spell_floats(schema)
    # The address has the session's key already.
    records["Opening"]["required"] = []
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas |= records | {
        "Epochs": _batch("epochs", "Epoch"),
        "Logs": _batch("logs", "LogLine"),
        "NonFinite": {"enum": ["nan", "inf", "-inf"], "description": "A number that JSON has no word for."},
    }
    for path in result["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and "requestBody" in operation:
                operation["requestBody"]["required"] = True
    return result


def _batch(field: str, record: str) -> dict[str, Any]:
    many = {"type": "array", "items": {"$ref": REF.format(name=record)}, "maxItems": 1000}
    return {"anyOf": [{"type": "object", "properties": {field: many}, "required": [field]}, many]}


def _spell_floats(schema: Any) -> None:
    """Allow the spelled forms wherever a number is allowed."""
    if isinstance(schema, list):
        for each in schema:
            _spell_floats(each)
    elif isinstance(schema, dict):
        choices = schema.get("anyOf")
        if isinstance(choices, list) and {"type": "number"} in choices:
            choices.append({"$ref": REF.format(name="NonFinite")})
        for each in schema.values():
            _spell_floats(each)
