"""What the embedded server consists of: its broker, its sweeper, its address. Whole it runs in tests/processes."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from kombu import Connection

import mldiag.transport
from diagnostics import services
from mldiag import binding
from mldiag.embedded import Sweeper


@pytest.fixture
def broker():
    """A queue of its own on the broker in memory."""
    with Connection("memwake://") as connection, connection.SimpleQueue(str(uuid4())) as queue:
        yield queue


def test_message_wakes_whoever_waits(broker):
    with Connection("memwake://") as other, other.SimpleQueue(broker.queue.name) as there:
        later = threading.Timer(0.05, there.put, args=({"run": 1},))
        later.start()
        assert broker.get(timeout=30).payload == {"run": 1}
        later.join()


def test_waiting_for_nothing_ends(broker):
    with pytest.raises(broker.Empty):
        broker.get(timeout=0.05)


def test_bell_heard_before_the_wait_is_not_missed():
    bell = mldiag.transport.Bell()
    known = bell.arrivals
    bell.strike()
    assert bell.wait(known, 30)
    assert not bell.wait(bell.arrivals, 0)


def test_sweeper_sweeps_until_it_is_stopped(monkeypatch):
    swept = threading.Semaphore(0)
    monkeypatch.setattr(services, "sweep", swept.release)
    sweeper = Sweeper(0.01)
    sweeper.start()
    assert swept.acquire(timeout=30)
    assert swept.acquire(timeout=30)
    sweeper.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"])
def test_this_machine_alone_needs_no_login(host):
    assert binding.default_access(host) == "open"
    binding.check_access(host, "open")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "", "10.0.0.1"])
def test_other_machines_need_a_login(host):
    assert binding.default_access(host) == "required"
    with pytest.raises(binding.BindingError, match="refused"):
        binding.check_access(host, "open")
    binding.check_access(host, "required")


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        pytest.param({}, "open", id="nothing said"),
        pytest.param({"MLDIAG_AUTH": "required"}, "required", id="said"),
    ],
)
def test_environment_keeps_what_the_user_chose(monkeypatch, chosen, expected):
    monkeypatch.setattr(binding.os, "environ", dict(chosen))
    binding.prepare_environment("127.0.0.1")
    assert binding.os.environ == {"MLDIAG_AUTH": expected, "DJANGO_SETTINGS_MODULE": "mldiag.settings"}


def test_unknown_address_is_explained():
    with pytest.raises(binding.BindingError, match="There is no address"):
        binding.listen("no-such-host.invalid", 0)


@pytest.mark.parametrize(
    ("host", "start"),
    [("127.0.0.1", "http://127.0.0.1:"), ("0.0.0.0", "http://127.0.0.1:"), ("localhost", "http://localhost:")],
)
def test_url_can_be_opened(host, start):
    with binding.listen(host, 0) as bound:
        assert binding.url(host, bound) == f"{start}{bound.getsockname()[1]}"
