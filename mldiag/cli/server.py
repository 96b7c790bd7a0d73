"""``mldiag serve`` and ``mldiag manage``: the doors to Django, which is imported here and nowhere else."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence

from mldiag.binding import prepare_environment


def serve(chosen: Namespace) -> int:
    """Serve until stopped."""
    if chosen.home:
        # Settings read it once, when Django is set up.
        os.environ["MLDIAG_HOME"] = chosen.home
    # And so who may come in, which depends on the address.
    prepare_environment(chosen.host)
    worker = ["--no-worker"] if chosen.no_worker else []
    return manage(["serve", "--host", chosen.host, "--port", str(chosen.port), *worker])


def manage(words: Sequence[str]) -> int:
    """Run a Django management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mldiag.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(["mldiag manage", *words])
    return 0
