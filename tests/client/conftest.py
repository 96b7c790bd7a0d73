"""A client whose own errors are loud, a folder for its runs, and a server to talk to."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch

from observer_client import Observer, ObserverConfig, guard, sender
from tests.client.server import IngestServer

torch.set_num_threads(1)

FRAMEWORKS = Path(__file__).parents[2] / "docs" / "frameworks.md"


def pytest_configure():
    # The first use in a process prints a line otherwise.
    from observer_client.profiler import silence_kineto

    silence_kineto()
    # Read when Keras is imported.
    os.environ["KERAS_BACKEND"] = "torch"


@pytest.fixture(autouse=True)
def _own_errors_are_loud(request, monkeypatch):
    def raise_it(place, error):
        raise error

    monkeypatch.setattr(guard, "_said", set())
    if "forgiving" not in request.fixturenames:
        monkeypatch.setattr(guard, "reporter", raise_it)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch, tmp_path):
    for name in ("URL", "API_KEY", "PROJECT", "MODE", "QUIET", "RUN_KEY", "RANKS_DIRECTORY"):
        monkeypatch.delenv(f"MLDIAG_{name}", raising=False)
    monkeypatch.setenv("MLDIAG_DIR", str(tmp_path / "runs"))
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def seeded():
    """Models begin with the same weights each time."""
    torch.manual_seed(0)


@pytest.fixture
def forgiving():
    """Errors of the client are swallowed and logged, as in a real training."""


@pytest.fixture
def server():
    running = IngestServer()
    yield running
    running.stop()


@pytest.fixture
def hasty(monkeypatch):
    """Waits between attempts are short."""
    monkeypatch.setattr(sender, "SHORTEST_WAIT", 0.01)
    monkeypatch.setattr(sender, "LONGEST_WAIT", 0.05)


@pytest.fixture
def observe(tmp_path):
    """``observe()`` is an Observer that only records; ``observe(server)`` one that sends. Closed in the end."""
    made = []

    def start(server=None, *, run_name="digits", project_id=None, optimizer=None, **settings):
        if server is not None:
            settings = {"url": server.url, **settings}
        settings.setdefault("mode", "offline" if server is None else "online")
        settings.setdefault("directory", str(tmp_path / "runs"))
        config = ObserverConfig(**settings)
        made.append(Observer(project_id, config, run_name, optimizer=optimizer))
        return made[-1]

    yield start
    for each in made:
        each.close()


def records(observer, kind=None):
    """What the observer recorded, as data; of one kind if told."""
    found = observer._recording.spool.everything()
    return [entry.data for entry in found if kind in (None, entry.kind)]


def example(section):
    """The code that docs/frameworks.md shows under that heading."""
    _, _, text = FRAMEWORKS.read_text().partition(f"\n## {section}\n")
    return text.partition("```python\n")[2].partition("```")[0]


def recorded(folder):
    """How the runs in ``folder`` ended, and how many epochs they have together."""
    lines = [json.loads(line) for each in folder.glob("*/records.jsonl") for line in each.read_text().splitlines()]
    return [each["data"]["status"] for each in lines if each["kind"] == "ending"], sum(
        each["kind"] == "epoch" for each in lines
    )


def wait_until(condition, seconds=20):
    """Wait for a background thread; fail when it takes far too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def net(*, inplace=False):
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(inplace=inplace), torch.nn.Linear(8, 3))


def batches(count=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(6, 4, generator=generator), torch.randint(0, 3, (6,), generator=generator)) for _ in range(count)
    ]
