"""``mldiag sync``: the client's own delivery, with this package's manners."""

from __future__ import annotations

import sys
from argparse import Namespace

from mldiag.cli.choices import USAGE_ERROR
from mldiag.cli.untrusted import one_line
from mldiag.cli.wording import plural
from observer_client.sync import sync as deliver

UNSENT = 1


def sync(chosen: Namespace) -> int:
    """Send what lies in a folder. 0: all delivered, 1: something is left, 2: no run there."""
    try:
        result = deliver(chosen.dir, chosen.url, chosen.key, report=_tell)
    except (FileNotFoundError, ValueError) as error:
        print(f"mldiag sync: {error}", file=sys.stderr)
        return USAGE_ERROR
    if not result.runs:
        print(f"mldiag sync: {chosen.dir} holds no recorded run", file=sys.stderr)
        return USAGE_ERROR
    _tell(f"{plural(result.runs, 'run')}: {result.sent} records sent, {result.pending} left, {result.rejected} refused")
    return 0 if result.complete else UNSENT


def _tell(line: str) -> None:
    print(one_line(line, 400), flush=True)
