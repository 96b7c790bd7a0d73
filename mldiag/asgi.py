from __future__ import annotations

import os

import django
from channels.routing import ProtocolTypeRouter, URLRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mldiag.settings")
django.setup(set_prefix=False)

from diagnostics.routing import websocket_urlpatterns  # noqa: E402 - models can be imported only now
from mldiag.handler import OneThreadHandler  # noqa: E402
from mldiag.sockets import OwnPagesOnly  # noqa: E402

application = ProtocolTypeRouter(
    {"http": OneThreadHandler(), "websocket": OwnPagesOnly(URLRouter(websocket_urlpatterns))}
)
