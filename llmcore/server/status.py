"""`/healthz`, `/readyz`, `/metrics`: what watches over the process asks; no login needed.

Called by Tornado; the api knows how the components are.
"""

from http import HTTPStatus

from prometheus_client.exposition import choose_encoder

from llmcore.server.web import Handler


class HealthHandler(Handler):
    """`GET /healthz`: 200 while the process lives."""

    methods = "GET"

    def get(self) -> None:
        """Live."""
        self.send({"status": "ok"})

    head = get


class ReadyHandler(Handler):
    """`GET /readyz`: 503 while a component that is required is down."""

    methods = "GET"

    async def get(self) -> None:
        """Tell how the components are."""
        body = await self.hub.rooms.door.ready()
        down = any(part["required"] and part["status"] == "down" for part in body["components"].values())
        self.send(body, HTTPStatus.SERVICE_UNAVAILABLE if down or self.hub.stopping else HTTPStatus.OK)

    head = get


class MetricsHandler(Handler):
    """`GET /metrics`: Prometheus text."""

    methods = "GET"

    def get(self) -> None:
        """All that is registered, in the format that the caller accepts."""
        encoder, content_type = choose_encoder(self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", content_type)
        self.set_header("Cache-Control", "no-store")
        self.write(encoder(self.hub.metrics.registry))
