"""Reads an OpenAPI document for people: one entry an operation, one a type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.text import slugify

register = template.Library()

METHODS = ("get", "post", "put", "patch", "delete")
LONGEST_ENUM = 12


@register.filter
def operations(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List what can be done, in the order of the paths."""
    return [
        {
            "id": slugify(operation.get("operationId", path)),
            "method": method.upper(),
            "path": path,
            "summary": operation.get("summary") or operation.get("description", "").partition("\n")[0],
            "description": operation.get("description", "") if "\n" in operation.get("description", "") else "",
            "parameters": [_parameter(each) for each in operation.get("parameters", ())],
            "body": _content(operation.get("requestBody", {})),
            "answers": [
                {"status": status, "type": _content(answer), "description": answer.get("description", "")}
                for status, answer in operation.get("responses", {}).items()
            ],
        }
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


@register.filter
def types(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the named types with their fields."""
    return [
        {
            "name": name,
            "description": body.get("description", ""),
            "type": None if "properties" in body else _type(body),
            "fields": [
                {
                    "name": field,
                    "type": _type(of),
                    "description": of.get("description", ""),
                    "required": field in body.get("required", ()),
                }
                for field, of in body.get("properties", {}).items()
            ],
        }
        for name, body in schema.get("components", {}).get("schemas", {}).items()
    ]


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    return {**parameter, "type": _type(parameter.get("schema", {}))["text"]}


def _content(message: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the type of the first representation of a request or an answer."""
    for representation in message.get("content", {}).values():
        return _type(representation.get("schema", {}))
    return None


def _type(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return a schema in words, and the named type that it leads to."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {"text": name, "link": name}
    if "items" in schema:
        item = _type(schema["items"])
        return {"text": f"list of {item['text']}", "link": item["link"]}
    for combination in ("allOf", "anyOf", "oneOf"):
        if combination in schema:
            parts = [_type(part) for part in schema[combination]]
            return {"text": " or ".join(part["text"] for part in parts), "link": parts[0]["link"]}
    if "enum" in schema and len(schema["enum"]) <= LONGEST_ENUM:
        return {"text": ", ".join(repr(value) for value in schema["enum"]), "link": ""}
    kind = schema.get("type", "anything")
    return {"text": " or ".join(kind) if isinstance(kind, list) else str(kind), "link": ""}
