"""Answers HTTP requests under ASGI, each in one thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.signals import request_started
from django.db import close_old_connections
from django.http import FileResponse, HttpResponseBase
from django.urls import set_script_prefix

MOST_THREADS = 128
"""Requests that are answered at once. Most of them wait: for the database, or for a diagnosis that was asked for."""
Scope = dict[str, Any]


class OneThreadHandler(ASGIHandler):
    """Django's handler for an application whose views are all synchronous.

    Django changes threads for the signals, the view, each middleware, and starts a thread for each request: several
    times what a short answer costs. Here a request enters one thread, of those that stand ready, and comes back with
    the answer. The threads last, and with them their connections to the database, if those may (CONN_MAX_AGE).
    """

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="request")

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    def close(self) -> None:
        """Let the threads end, and their connections with them."""
        self._threads.shutdown()

    async def handle(self, scope: Scope, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        try:
            response = await self._in_thread(self._answer, scope, body)
            try:
                await self.send_response(response, send)
            finally:
                if response.streaming:
                    await self._in_thread(response.close)
        finally:
            body.close()

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await sync_to_async(function, thread_sensitive=False, executor=self._threads)(*arguments)

    def _answer(self, scope: Scope, body: Any) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        response: HttpResponseBase = refusal if request is None else self.get_response(request)
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        # The connections to the database belong to this thread, and whoever closes a stream is in any other.
        if response.streaming:
            close_old_connections()
        else:
            # What it holds can still be sent.
            response.close()
        return response
