from __future__ import annotations

from channels.security.websocket import WebsocketDenier
from django.urls import re_path

from diagnostics.consumers import NewsConsumer

websocket_urlpatterns = [
    # Digits that fit a database's integer: a longer number is nobody's.
    re_path(r"^ws/(?P<kind>sessions|projects)/(?P<pk>[0-9]{1,18})$", NewsConsumer.as_asgi()),
    re_path(r"^", WebsocketDenier.as_asgi()),
]
