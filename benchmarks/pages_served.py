"""Filled databases, served, and who asks for pages of them. For `benchmarks.pages`."""

from __future__ import annotations

import contextlib
import http.client
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.ingest import server

WARM_UP = 3
APPLICATION, FLOOR = "mldiag.asgi:application", "benchmarks.pages_floor:application"
Who = TypeVar("Who")


@dataclass(frozen=True)
class Store:
    """A filled database. ``facts`` is what `benchmarks.pages_store` printed of it."""

    environment: dict[str, str]
    facts: dict[str, Any]

    def path(self, page: str) -> str:
        return page.format(**self.facts)


class Reader:
    """A browser of few words, or a program: one connection, with a login or a key in its headers."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.headers = dict(headers)

    def get(self, path: str) -> bytes:
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: str | None = None) -> bytes:
        try:
            self.connection.request(method, path, body, self.headers)
            answer = self.connection.getresponse()
        except http.client.RemoteDisconnected:
            # A server ends a connection that was idle for some seconds, as while others were asked.
            self.connection.close()
            return self.ask(method, path, body)
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {path}: {text[:300]!r}")
        return text


@contextlib.contextmanager
def serving(stores: Mapping[int, Store], application: str = APPLICATION) -> Iterator[dict[int, int]]:
    """Serve each database by one process; yields the ports."""
    with contextlib.ExitStack() as stack:
        yield {
            size: stack.enter_context(server(store.environment, 1, application))[0] for size, store in stores.items()
        }


def in_turns(
    questions: Mapping[Who, Callable[[], object]], requests: int, warm_up: int = WARM_UP
) -> dict[Who, list[float]]:
    """Return the milliseconds of each request, by whom was asked."""
    times: dict[Who, list[float]] = {who: [] for who in questions}
    for number in range(-warm_up, requests):
        # Whoever comes after an expensive one must not always be the same.
        for who in list(questions) if number % 2 else list(reversed(questions)):
            began = time.perf_counter()
            questions[who]()
            if number >= 0:
                times[who].append(1000 * (time.perf_counter() - began))
    return times


def ratio(times: list[float], base: list[float]) -> float:
    """Return the median of the ratios within each turn, in which both met the same load."""
    return statistics.median(own / other for own, other in zip(times, base, strict=True))


def percentile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]
