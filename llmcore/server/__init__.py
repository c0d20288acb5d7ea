"""The Tornado server: `/ws`, login, dashboard, health, metrics, webhooks and the OpenAI- and AG-UI-shaped doors.

Built, started and stopped by `app`. Knows the api as a `Door`; nothing of models, policy or the store.
"""

import asyncio
import ssl

from prometheus_client import CollectorRegistry
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from llmcore.server.agui import AgentHandler
from llmcore.server.assets import AssetHandler, Assets
from llmcore.server.client import GOING_AWAY, Hub
from llmcore.server.completions import CompletionsHandler, ModelsHandler
from llmcore.server.hooks import AlertmanagerHandler
from llmcore.server.login import AuthorizeHandler, RefreshHandler, RevokeHandler
from llmcore.server.metrics import Metrics
from llmcore.server.ports import AlertHandler, Auth, Door, Rooms, ServerOptions, Subscriptions
from llmcore.server.status import HealthHandler, MetricsHandler, ReadyHandler
from llmcore.server.web import Nothing, log_request, security_headers
from llmcore.server.websocket import SocketHandler

__all__ = ["AlertHandler", "Auth", "Door", "Rooms", "Server", "ServerOptions", "Subscriptions"]

BACKLOG = 1_024
WATCH_S = 1.0
QUIET_S = 30.0
"""The token of a client that only listens is verified again after this long."""
CHECKS = 200
"""Tokens verified at once by the watch, at most."""


class Server:
    """One listening server and its connections."""

    def __init__(self, options: ServerOptions, rooms: Rooms, registry: CollectorRegistry | None = None) -> None:
        """Build everything; nothing listens yet. `registry`: where metrics are kept, one of its own by default."""
        self.options = options
        self.metrics = Metrics(registry or CollectorRegistry())
        self.hub = Hub(options, rooms, self.metrics)
        self.assets = Assets()
        self.application = _application(self.hub, self.assets)
        self._http: HTTPServer | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def registry(self) -> CollectorRegistry:
        """What `/metrics` shows; other rooms' collectors may be added."""
        return self.metrics.registry

    async def start(self) -> int:
        """Listen; returns the port. Raises OSError if the address or the certificate cannot be used."""
        await asyncio.to_thread(self.assets.load, self.options.static_root)
        context = await asyncio.to_thread(_tls, self.options)
        sockets = bind_sockets(self.options.port, self.options.host, backlog=BACKLOG)
        self._http = HTTPServer(
            self.application,
            ssl_options=context,
            max_body_size=self.options.max_body_bytes,
            max_buffer_size=self.options.max_body_bytes,
            max_header_size=32 * 1024,
            idle_connection_timeout=75,
            body_timeout=30,
        )
        self._http.add_sockets(sockets)
        self._watch = self.hub.rooms.tasks.create_task(self._watch_tokens(), name="server watches tokens")
        return int(sockets[0].getsockname()[1])

    async def stop(self, grace_s: float) -> None:
        """Accept nothing more, let running RPCs end for half of `grace_s`, then close all sockets with 1001.

        What waits for a client leaves first; whoever has not answered the closing after `grace_s` is cut off.
        """
        hub = self.hub
        hub.stopping = True
        if self._http is None or self._watch is None:
            return
        self._http.stop()
        self._watch.cancel()
        await hub.running.emptied(grace_s / 2)
        for call in hub.running:
            call.interrupt()
        await hub.running.emptied(grace_s / 4)
        for client in hub.clients:
            client.end(GOING_AWAY, "the server is stopping", by_us=True)
        await hub.sockets.emptied(grace_s / 4)
        for socket in hub.sockets:
            socket.abort()
        await hub.sockets.emptied(grace_s / 4)
        await self._http.close_all_connections()

    async def _watch_tokens(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            await self.hub.check_quiet_clients(QUIET_S, CHECKS)


def _application(hub: Hub, assets: Assets) -> Application:
    options = hub.options
    return Application(
        [
            (r"/", AssetHandler),
            (r"/static/(.+)", AssetHandler),
            (r"/ws", SocketHandler),
            (r"/authorize", AuthorizeHandler),
            (r"/authorize/refresh", RefreshHandler),
            (r"/authorize/revoke", RevokeHandler),
            (r"/healthz", HealthHandler),
            (r"/readyz", ReadyHandler),
            (r"/metrics", MetricsHandler),
            (r"/hooks/alertmanager", AlertmanagerHandler),
            (r"/v1/chat/completions", CompletionsHandler),
            (r"/v1/models", ModelsHandler),
            (r"/agui", AgentHandler),
        ],
        default_handler_class=Nothing,
        log_function=log_request,
        websocket_ping_interval=options.ping_interval_s,
        websocket_ping_timeout=options.ping_timeout_s,
        # Tornado cuts the line at its limit before the 1009 has arrived, so up to there frames are read and refused
        websocket_max_message_size=4 * options.max_frame_bytes,
        hub=hub,
        assets=assets,
        security_headers=security_headers(options.frame_ancestors),
    )


def _tls(options: ServerOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context
