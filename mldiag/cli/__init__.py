"""The command line: ``mldiag check``, ``explain``, ``serve``, ``sync``, ``manage``, ``demo``.

Nothing heavy is imported before the command is known: judging a file must not wait for Django.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mldiag.cli.arguments import build_parser

INTERRUPTED = 130
READER_LEFT = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["manage"]:
        # Everything after it is Django's, --help included.
        from mldiag.cli.server import manage

        return manage(words[1:])
    chosen = build_parser().parse_args(words)
    try:
        return int(chosen.run(chosen))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `mldiag check ... | head`. What Python would still flush at exit has no reader either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_LEFT
