from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mldiag.settings")
pages = get_asgi_application()

from diagnostics.routing import websocket_urlpatterns  # noqa: E402 - models can be imported only now
from mldiag.sockets import OwnPagesOnly  # noqa: E402

application = ProtocolTypeRouter({"http": pages, "websocket": OwnPagesOnly(URLRouter(websocket_urlpatterns))})
