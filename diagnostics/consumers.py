"""WebSockets of open pages: a session's or a project's news, as they happen.

A connection gets one message at once and one whenever there are news, each shaped as `session_news` or
`project_news`. It says nothing itself. ``?after=N`` asks for the alerts that were missed since number N.
"""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, parse_cookie

from diagnostics import channel
from diagnostics.services import number_in, project_news, session_news
from projects.authentication import find_key
from projects.models import ApiKey, KeyKind, Project
from sessions.models import TrainSession

NOT_HERE = 4404
"""What strangers get, and whoever asks for what is not there: the two look alike."""
TRY_AGAIN = 1013
SHORTEST_PAUSE = 0.1
"""Seconds between two messages, alerts aside. Twenty busy sessions ring more often than a page can show."""


class NewsConsumer(AsyncWebsocketConsumer):
    """Who may see a page may hear its news, asked anew for each message: access that ends, ends here, too."""

    async def connect(self) -> None:
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()
        self._after = number_in(parse_qs(self.scope["query_string"].decode("latin-1")).get("after", [""])[0])
        self._told_at = float("-inf")
        await self.accept()
        channel.keep_loop()
        # Before the first look, so that nothing falls between the two.
        await self.channel_layer.group_add(self._group, self.channel_name)
        await self._tell()

    async def disconnect(self, code: int) -> None:
        for look in self._looks.values():
            look.cancel()
        await self.channel_layer.group_discard(self._group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Leave unread what a page says: it has nothing to say."""

    async def news_ring(self, event: dict[str, Any]) -> None:
        self._look(event["type"], self._told_at + SHORTEST_PAUSE)

    async def news_alarm(self, event: dict[str, Any]) -> None:
        self._look(event["type"], 0.0)

    def _look(self, kind: str, moment: float) -> None:
        # One look covers every ring of its kind before it.
        if kind not in self._looks:
            self._looks[kind] = asyncio.create_task(self._tell_at(kind, moment))

    async def _tell_at(self, kind: str, moment: float) -> None:
        """Tell the news at ``moment`` of the loop's clock. In turns, so that nothing is told twice."""
        await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))
        async with self._turn:
            del self._looks[kind]
            await self._tell()

    async def _tell(self) -> None:
        self._told_at = asyncio.get_running_loop().time()
        try:
            news = await database_sync_to_async(self._news)()
        except (DatabaseError, InterfaceError):
            await self.close(TRY_AGAIN)
            return
        if news is None:
            await self.close(NOT_HERE)
            return
        self._after = news["seq"]
        await self.send(json.dumps(news))

    @property
    def _pk(self) -> int:
        return int(self.scope["url_route"]["kwargs"]["pk"])

    @property
    def _group(self) -> str:
        name = (
            channel.project_group if self.scope["url_route"]["kwargs"]["kind"] == "projects" else channel.session_group
        )
        return name(self._pk)

    def _news(self) -> dict[str, Any] | None:
        user, key = _who(dict(self.scope["headers"]))
        if key is not None and key.kind == KeyKind.INGEST:
            return None
        if self.scope["url_route"]["kwargs"]["kind"] == "projects":
            project = Project.objects.visible_to(user, key).filter(pk=self._pk).first()
            return project and project_news(project, self._after)
        session = TrainSession.objects.visible_to(user, key).filter(pk=self._pk).first()
        return session and session_news(session, self._after)


def _who(headers: dict[bytes, bytes]) -> tuple[AbstractBaseUser | AnonymousUser, ApiKey | None]:
    """Return whose login the cookie is, or which key: browsers send the one, programs the other."""
    scheme, _, text = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    key = find_key(text.strip()) if scheme.lower() == "bearer" else None
    if key is not None:
        return AnonymousUser(), key
    cookies = parse_cookie(headers.get(b"cookie", b"").decode("latin-1"))
    request = HttpRequest()
    store = import_module(settings.SESSION_ENGINE).SessionStore
    request.session = store(cookies.get(settings.SESSION_COOKIE_NAME))
    return auth.get_user(request), None
