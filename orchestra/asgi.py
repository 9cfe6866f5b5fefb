"""daphne's entry: HTTP and WebSockets."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestra.settings")
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402  needs the apps
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402  needs the apps
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402  needs the apps
from django.urls import path, re_path  # noqa: E402  needs the apps

from runs.feed.consumers import LiveConsumer, Nowhere  # noqa: E402  needs the apps

sockets = URLRouter([path("ws/live", LiveConsumer.as_asgi()), re_path("", Nowhere.as_asgi())])
application = ProtocolTypeRouter({"http": http, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets))})
