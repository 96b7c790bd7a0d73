"""Who is told of signals beside us."""

from __future__ import annotations

import signal
import socket

import pytest

from observer_client import wakeup
from tests.client.test_never_lose import nobody_else

__all__ = ["nobody_else"]


@pytest.fixture
def somebody_s(nobody_else):
    """Where somebody else, an event loop perhaps, wants to be told of signals."""
    pair = socket.socketpair()
    for each in pair:
        each.setblocking(False)
    before = signal.set_wakeup_fd(-1)
    yield pair[1].fileno()
    signal.set_wakeup_fd(before)
    for each in pair:
        each.close()


def test_whoever_wants_signals_meanwhile_may_put_back_what_was_before(observe, somebody_s):
    first = observe()
    ours = signal.set_wakeup_fd(somebody_s)
    first.close()
    assert signal.set_wakeup_fd(ours) == somebody_s
    second = observe()
    assert signal.set_wakeup_fd(ours) == ours
    second.close()
    assert signal.set_wakeup_fd(-1) == -1


def test_runs_inside_an_event_loop_open_no_sockets_on_and_on(observe, somebody_s):
    signal.set_wakeup_fd(somebody_s)
    observe().close()
    numbers = wakeup._lent
    observe().close()
    assert wakeup._lent == numbers
    assert signal.set_wakeup_fd(-1) == somebody_s
