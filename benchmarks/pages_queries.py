"""How many queries pages need: ``python -m benchmarks.pages_queries PERSON PATH...`` prints a JSON list."""

from __future__ import annotations

import json
import sys


def main() -> None:
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(get_user_model().objects.get(username=sys.argv[1]))
    counts = []
    for path in sys.argv[2:]:
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(path)
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code}: {path}")
        counts.append(len(queries))
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
