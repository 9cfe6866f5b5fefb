"""daphne's entry: HTTP and WebSockets."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestra.settings")
django.setup(set_prefix=False)

from channels.auth import AuthMiddlewareStack  # noqa: E402  needs the apps
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402  needs the apps
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402  needs the apps
from django.conf import settings  # noqa: E402  needs the apps
from django.urls import path, re_path  # noqa: E402  needs the apps

from orchestra import gate, urls  # noqa: E402, F401  all addresses: the first request would load them
from orchestra.handler import PooledHandler  # noqa: E402  needs the apps
from runs.feed.consumers import LiveConsumer, Nowhere  # noqa: E402  needs the apps

http = PooledHandler(threads=settings.WEB_THREADS)
sockets = URLRouter([path("ws/live", LiveConsumer.as_asgi()), re_path("", Nowhere.as_asgi())])
application = ProtocolTypeRouter({"http": http, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets))})
gate.loaded("web")
