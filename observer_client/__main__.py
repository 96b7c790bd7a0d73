"""The command ``mldiag-observer``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from observer_client import __version__
from observer_client.sync import SyncResult, sync

_EXAMPLE = """example:
  mldiag-observer sync mldiag_runs --url http://127.0.0.1:8000

The directory is one run's folder or one that holds several. Records that the server already has are not doubled,
and nothing is deleted. MLDIAG_URL and MLDIAG_API_KEY are used where no option is given.
Exit code: 0 all delivered, 1 something could not be sent, 2 wrong usage.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="mldiag-observer", description="Work with runs recorded for mldiag.")
    parser.add_argument("--version", action="version", version=f"mldiag-observer {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser(
        "sync",
        help="send recorded runs to the server",
        description="Send recorded runs to the server.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("directory", metavar="DIR", help="a run's folder, or a directory of them")
    command.add_argument("--url", help="address of the server (default: MLDIAG_URL or http://127.0.0.1:8000)")
    command.add_argument("--key", metavar="KEY", help="API key of the project (default: MLDIAG_API_KEY)")
    options = parser.parse_args(arguments)
    try:
        result = sync(options.directory, options.url, options.key, report=_say)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    return _conclude(result, options.directory)


def _conclude(result: SyncResult, directory: str) -> int:
    if not result.runs:
        _say(f"no recorded runs in {directory}")
        return 1
    if result.complete:
        _say(f"{result.runs} runs, {result.sent} records sent, nothing left to send")
        return 0
    _say(f"{result.sent} records sent, {result.pending} still to send: try again later")
    return 1


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
