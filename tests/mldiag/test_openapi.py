from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command


@pytest.fixture(scope="module")
def document():
    out = StringIO()
    # Raises on any warning, and if the document is no valid OpenAPI 3.1.
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=out)
    return json.loads(out.getvalue())


def test_the_document_is_valid(document):
    assert document["openapi"].startswith("3.1")


def test_the_wire_format_is_described(document):
    schemas = document["components"]["schemas"]
    assert {"Opening", "Architecture", "Epoch", "LogLine", "Ending", "Loss", "LayerStats"} <= schemas.keys()
    assert {"$ref": "#/components/schemas/NonFinite"} in schemas["Loss"]["properties"]["train_mean"]["anyOf"]


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= document["components"]["schemas"].keys()


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/api/projects", "post"),
        ("/api/sessions/{key}", "put"),
        ("/api/sessions/{key}", "patch"),
        ("/api/sessions/{key}/model", "put"),
        ("/api/sessions/{key}/epochs", "post"),
        ("/api/sessions/{key}/logs", "post"),
        ("/api/sessions/{key}/finish", "post"),
    ],
)
def test_a_write_says_what_it_takes(document, path, method):
    body = document["paths"][path][method]["requestBody"]
    assert body["required"]
    assert list(body["content"]) == ["application/json"]


def test_the_document_is_served(client, open_mode, db):
    assert client.get("/api/schema", headers={"Accept": "application/json"}).status_code == 200
