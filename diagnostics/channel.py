"""The bell of open pages: tells whoever watches a session or a project that something is new there.

Only a bell. What is new stands in the database, where a consumer reads it; a ring that gets lost makes a page late.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer

from diagnostics.queue import Breaker

logger = logging.getLogger(__name__)

RING = "news.ring"
ALARM = "news.alarm"
PAUSE = 30.0
"""Seconds without a ring after Redis failed: ingest and diagnoses must not wait for it each time."""

breaker = Breaker(PAUSE)


class _Server:
    """The event loop on which this process keeps its WebSockets, once there is one."""

    loop: asyncio.AbstractEventLoop | None = None


def keep_loop() -> None:
    """Remember the running loop as the one that serves WebSockets."""
    _Server.loop = asyncio.get_running_loop()


def session_group(session_id: int) -> str:
    return f"session.{session_id}"


def project_group(project_id: int) -> str:
    return f"project.{project_id}"


def ring(*groups: str) -> bool:
    """Tell the consumers of these groups to look soon. Returns False if none can be told."""
    return _tell(RING, groups)


def alarm(*groups: str) -> bool:
    """Tell the consumers of these groups to look at once: there is an alert. Returns False if none can be told."""
    return _tell(ALARM, groups)


def _tell(kind: str, groups: tuple[str, ...]) -> bool:
    layer = get_channel_layer()
    if isinstance(layer, InMemoryChannelLayer):
        return _tell_here(layer, kind, groups)
    if layer is None or breaker.is_open():
        return False
    from redis.exceptions import RedisError  # What this layer needs, and only this one.

    try:
        async_to_sync(_send)(layer, kind, groups)
    except (RedisError, OSError) as error:
        breaker.trip()
        logger.warning("No news to open pages for %g s, Redis does not answer: %s", PAUSE, error)
        return False
    return True


def _tell_here(layer: InMemoryChannelLayer, kind: str, groups: tuple[str, ...]) -> bool:
    # Its queues belong to the loop of the server: put there from another thread, a message wakes nobody.
    loop = _Server.loop
    if loop is None or loop.is_closed():
        return False
    asyncio.run_coroutine_threadsafe(_send(layer, kind, groups), loop)
    return True


async def _send(layer: Any, kind: str, groups: tuple[str, ...]) -> None:
    for group in groups:
        await layer.group_send(group, {"type": kind})
