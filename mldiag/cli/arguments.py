"""What the command line understands. Handlers import what they need when they are called."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from mldiag.cli.choices import FAIL_ON, FORMATS, PROFILES, USAGE_ERROR

MOST_JOBS = 61
"""What Windows can wait for."""

Handler = Callable[[argparse.Namespace], int]

_EPILOG = """\
examples:
  mldiag demo                                see it work: two real trainings, judged
  mldiag check mldiag_runs/                  judge every run in a folder
  mldiag check outputs/checkpoint-500/       judge what a Hugging Face Trainer logged
  mldiag explain loss-explosion              what a finding means and how to fix it
  mldiag serve                               the dashboard, on http://127.0.0.1:8000
"""
_CHECK_EPILOG = """\
FILE may be a file written by Observer.export, a run folder of the observer (or
a folder of them), its records.jsonl, a JSON list of epochs, an object
{"epochs": [...], "logs": [...], "architecture": {...}}, JSON lines with one
epoch each, any of them gzipped, or - for standard input.

mldiag.toml, in the working directory or above, sets what holds for a project:

  profile = "robust"
  disable = ["slow-epoch", "memory"]      # checks, or whole categories
  baseline = "mnist_cnn"                  # for runs that name no task
  [thresholds]
  loss_explosion_ratio = 3.0
  [severity]
  overfitting = "critical"
  [baselines.digits]                      # a run names it: task = "digits"
  metric = "accuracy"
  value = 0.97
  epochs = 5

exit codes:
  0  nothing at or above --fail-on
  1  something at or above --fail-on (default: critical)
  2  wrong usage, or a file that could not be read (the others are still judged)

examples:
  mldiag check runs/resnet.json
  mldiag check mldiag_runs/ --fail-on warning --format github
  mldiag check a.json --threshold loss_explosion_ratio=3 --disable slow-epoch
  mldiag check a.json --baseline mnist_cnn --severity overfitting=critical
  mldiag check sweeps/ -j 8 --format json --config ci/mldiag.toml
  curl -s https://example.org/run.json.gz | mldiag check - --format json
"""
_EXPLAIN_EPILOG = """\
examples:
  mldiag explain loss-explosion
  mldiag explain --list
  mldiag explain thresholds
  mldiag explain loss_explosion_ratio
"""
_SERVE_EPILOG = """\
On this machine's own address everybody on the machine may read and write; any
other address needs logins and API keys (MLDIAG_AUTH=required) and names to be
reached by (ALLOWED_HOSTS). Data lies in MLDIAG_HOME (default ~/.mldiag);
DATABASE_URL and REDIS_URL switch to PostgreSQL and Redis.

examples:
  mldiag serve
  mldiag serve --port 8080
  ALLOWED_HOSTS=ml.example.org mldiag serve --host 0.0.0.0 --home /srv/mldiag
"""
_SYNC_EPILOG = """\
Sends what a training could not send while it ran. What the server already has
is not stored twice, so it can be repeated at will.

exit codes: 0 all delivered, 1 something is left, 2 wrong usage or no run there

examples:
  mldiag sync mldiag_runs/
  mldiag sync mldiag_runs/ --url https://ml.example.org --key $KEY
"""
_DEMO_EPILOG = """\
Starts a real server, trains a small CNN on scikit-learn's handwritten digits
twice (once well, once with planted faults), prints both diagnoses and goes on
serving until Ctrl-C. Takes about a minute; downloads nothing.

examples:
  mldiag demo
  mldiag demo --exit
  mldiag demo --home .demo --port 8100
"""


class _Parser(argparse.ArgumentParser):
    """Says how to get help when it refuses."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\nTry: {self.prog} --help\n")


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        # Importing the engine costs NumPy: only for those who ask.
        from mldiag.cli.version import version

        print(version())
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the namespace that it makes holds the handler as ``run``."""
    parser = _Parser(
        prog="mldiag",
        description="Says what is wrong with a training run, where, why, and how to fix it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the versions and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_check(_command(commands, "check", "judge runs that lie in files; needs no server", _CHECK_EPILOG, _check))
    _add_explain(
        _command(commands, "explain", "say what a check looks for and how to fix it", _EXPLAIN_EPILOG, _explain)
    )
    _add_serve(_command(commands, "serve", "start the dashboard and API in one process", _SERVE_EPILOG, _serve))
    _add_sync(_command(commands, "sync", "send recorded runs to the server", _SYNC_EPILOG, _sync))
    _add_demo(_command(commands, "demo", "train, diagnose and show two real runs", _DEMO_EPILOG, _demo))
    _command(commands, "manage", "run a Django management command: mldiag manage migrate", "", _manage)
    return parser


def _command(commands: Any, name: str, purpose: str, epilog: str, run: Handler) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command


def _add_check(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("files", nargs="+", metavar="FILE", help="what to judge")
    add("--profile", choices=PROFILES, help="robust: only what noise does not explain (default)")
    add("--format", choices=FORMATS, default="text", help="github: annotations for a workflow")
    add("--fail-on", choices=FAIL_ON, default="critical", help="least severity that makes the exit code 1")
    add("--threshold", action="append", default=[], metavar="NAME=VALUE", help="change one threshold; repeatable")
    add("--disable", action="append", default=[], metavar="ID", help="leave out a check or category; repeatable")
    add("--severity", action="append", default=[], metavar="ID=SEVERITY", help="grade a check anew; repeatable")
    add("--baseline", metavar="NAME", help="compare runs that name no task with this baseline")
    config = command.add_mutually_exclusive_group()
    config.add_argument("--config", metavar="FILE", help="read these settings (default: mldiag.toml here or above)")
    config.add_argument("--no-config", action="store_true", help="read no mldiag.toml")
    add("-j", "--jobs", type=_jobs, default=1, metavar="N", help="judge N files at once; auto: one per CPU")
    add("--no-fix", action="store_true", help="print the advice, but no code")
    add("--verbose", action="store_true", help="also list held-back findings and skipped checks")


def _add_explain(command: argparse.ArgumentParser) -> None:
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("id", nargs="?", metavar="ID", help="a check or a threshold, as a report prints it")
    what.add_argument("--list", action="store_true", help="list all checks")
    what.add_argument("--thresholds", action="store_true", help="list all thresholds with defaults and reasons")


def _add_serve(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    command.add_argument("--port", type=_port, default=8000, help="0 takes any free one (default: %(default)s)")
    command.add_argument("--no-worker", action="store_true", help="leave diagnoses to other processes")
    command.add_argument("--home", metavar="DIR", help="where data lies (default: MLDIAG_HOME, else ~/.mldiag)")


def _add_sync(command: argparse.ArgumentParser) -> None:
    command.add_argument("dir", metavar="DIR", help="a run's folder, or a folder of them")
    command.add_argument("--url", help="address of the server (default: MLDIAG_URL, else http://127.0.0.1:8000)")
    command.add_argument("--key", help="API key of the project (default: MLDIAG_API_KEY)")


def _add_demo(command: argparse.ArgumentParser) -> None:
    command.add_argument("--exit", action="store_true", help="end after the reports instead of serving on")
    command.add_argument("--port", type=_port, help="port of the server (default: 8000, or a free one)")
    command.add_argument("--home", metavar="DIR", help="keep the demo's data here (default: a temporary folder)")


def _jobs(text: str) -> int:
    if text == "auto":
        return os.cpu_count() or 1
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= MOST_JOBS):
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number from 1 to {MOST_JOBS}")
    return int(text)


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port (0 to 65535)")
    return port


def _check(chosen: argparse.Namespace) -> int:
    from mldiag.cli.check import check

    return check(chosen)


def _explain(chosen: argparse.Namespace) -> int:
    from mldiag.cli.explain import explain

    return explain(chosen)


def _serve(chosen: argparse.Namespace) -> int:
    from mldiag.cli.server import serve

    return serve(chosen)


def _sync(chosen: argparse.Namespace) -> int:
    from mldiag.cli.sync import sync

    return sync(chosen)


def _demo(chosen: argparse.Namespace) -> int:
    from mldiag.cli.demo import run_demo

    return run_demo(chosen)


def _manage(chosen: argparse.Namespace) -> int:
    from mldiag.cli.server import manage

    return manage([])
