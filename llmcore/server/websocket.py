"""`/ws`: lets a client in or not, and hands its frames on.

Called by Tornado. Knows Tornado; what a frame means is the client object's matter.
"""

from typing import cast

from tornado.escape import utf8
from tornado.iostream import IOStream
from tornado.websocket import WebSocketHandler, WebSocketProtocol

from llmcore.errors import Forbidden, Unavailable
from llmcore.server.client import Client
from llmcore.server.web import Handler


class SocketHandler(Handler, WebSocketHandler):
    """One WebSocket."""

    methods = "GET"
    _client: Client | None = None

    async def prepare(self) -> None:
        """Let nobody in without a good token, nor a page of another origin: both are answered before the upgrade."""
        if self.origin_is_foreign():
            raise Forbidden("Pages of this origin are not allowed.")
        if self.hub.stopping:
            raise Unavailable("The server is stopping.")
        if len(self.hub.sockets) >= self.hub.options.max_sockets:
            raise Unavailable("Too many clients are connected; try again in a moment.")
        self._session = await self.session(self.get_query_argument("token", "") or self.bearer())

    def check_origin(self, origin: str) -> bool:
        """Origins were judged before."""
        return True

    async def open(self, *args: str, **kwargs: str) -> None:
        """Connect the client to its topics."""
        stream = cast(IOStream, cast(WebSocketProtocol, self.ws_connection).stream)
        self.set_nodelay(True)
        self.hub.sockets.add(self)
        client = self._client = Client(self.hub, self, stream, self._session)
        for name in self.settings["security_headers"]:  # they are sent; thousands of idle sockets need not keep them
            self.clear_header(name)
        self.hub.rooms.topics.connect(client)
        await self.hub.rooms.topics.subscribe("/ping", client)

    def on_message(self, message: str | bytes) -> None:
        """Hand a frame on; never awaits, so the next one is read at once."""
        limit = self.hub.options.max_frame_bytes
        if len(message) > limit or (len(message) * 4 > limit and len(utf8(message)) > limit):
            self.close(1009, "message too big")
            return
        cast(Client, self._client).receive(message)

    def on_close(self) -> None:
        """The socket is gone."""
        self.hub.sockets.discard(self)
        if self._client is not None:
            self._client.lost()
            self._client = None

    def abort(self) -> None:
        """Drop the connection without a handshake."""
        cast(Client, self._client).outbox.abort()
