"""Plain asyncio sockets under the connection pool of the vendors' SDKs.

Used by `HTTPProvider`, which hands `Network` to httpcore's pool (it has the shape of httpcore's network backend, and
raises its errors). Must not know HTTP or vendors. The backend that comes with httpcore makes a time-out and stops and
starts the reading of the socket for every read: more work than all the rest of a streamed token.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

CONNECTIONS, KEPT_ALIVE, KEEP_ALIVE_S = 1000, 100, 30.0
HIGH_WATER = 1 << 18
"""Bytes that wait to be read before the socket is read no further."""


class _Buffer(asyncio.Protocol):
    """What came from a socket and was not read yet."""

    def __init__(self) -> None:
        self.closed = False
        self.error: Exception | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def readable(self) -> bool:
        """True if a read would not wait."""
        return self.closed or bool(self._chunks)

    def attach(self, transport: asyncio.Transport) -> None:
        """Use this transport for back-pressure: the socket's, then that of TLS over it."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.closed = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.error = exc
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> bytes:
        """What has come since; empty once the other side has closed. Raises the error that broke the connection."""
        while not self._chunks:
            if self.error is not None:
                raise self.error
            if self.closed:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._chunks.popleft()
        self._size -= len(data)
        if self._paused and not self._chunks and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data


class Stream:
    """A connection; has the shape of `httpcore2.AsyncNetworkStream`."""

    def __init__(self, transport: asyncio.Transport, buffer: _Buffer) -> None:
        """Take over an open connection."""
        self._transport = transport
        self._buffer = buffer
        buffer.attach(transport)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's shape
        """What one read of the socket brought; never waits in vain, as time-outs are made one floor up."""
        try:
            return await self._buffer.read()
        except OSError as error:
            import httpcore2

            raise httpcore2.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's shape
        """Send a request or a part of one."""
        if self._buffer.closed:
            import httpcore2

            raise httpcore2.WriteError("the other side has closed the connection")
        self._transport.write(buffer)

    async def aclose(self) -> None:
        """Close at once, without waiting for anybody."""
        self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's shape
    ) -> "Stream":
        """The same connection, encrypted."""
        loop = asyncio.get_running_loop()
        async with _connecting(timeout):
            transport = await loop.start_tls(
                self._transport, self._buffer, ssl_context, server_hostname=server_hostname
            )
        return Stream(cast(asyncio.Transport, transport), self._buffer)

    def get_extra_info(self, info: str) -> Any:
        """As httpcore asks: `ssl_object`, `is_readable` and the like."""
        return self._buffer.readable if info == "is_readable" else self._transport.get_extra_info(info)


class Network:
    """Opens connections; has the shape of `httpcore2.AsyncNetworkBackend`."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's shape
        **_: Any,
    ) -> Stream:
        """A connection; httpcore's ConnectError or ConnectTimeout if there is none."""
        loop = asyncio.get_running_loop()
        async with _connecting(timeout):
            transport, buffer = await loop.create_connection(_Buffer, host, port, happy_eyeballs_delay=0.25)
        return Stream(transport, buffer)


@asynccontextmanager
async def _connecting(limit_s: float | None) -> AsyncIterator[None]:
    import httpcore2

    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError as error:
        raise httpcore2.ConnectTimeout(str(error)) from error
    except OSError as error:
        raise httpcore2.ConnectError(str(error)) from error


def direct_transport() -> Any:
    """A transport for an SDK's HTTP client that goes by `Network`, without proxies. Reads certificates: in a thread."""
    import httpcore2
    import httpx2

    context = httpx2.create_ssl_context()
    transport = httpx2.AsyncHTTPTransport(verify=context)
    # httpx2 has no option for the backend; were the attribute renamed, its own pool would go on working, only slower
    transport._pool = httpcore2.AsyncConnectionPool(
        ssl_context=context,
        max_connections=CONNECTIONS,
        max_keepalive_connections=KEPT_ALIVE,
        keepalive_expiry=KEEP_ALIVE_S,
        network_backend=cast(httpcore2.AsyncNetworkBackend, Network()),
    )
    return transport
