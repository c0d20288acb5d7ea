"""A WebSocket client that costs little, so that what is measured is the server.

Used by all benchmarks that need sockets. Speaks RFC 6455 without extensions; knows nothing of what is said.
"""

import asyncio
import base64
import os
import socket
import struct
from collections.abc import Callable

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Socket(asyncio.Protocol):
    """One connection. `on_text` gets every text frame; `closed` has the close code (1006: without one)."""

    def __init__(self, request: bytes) -> None:
        """Say `request` when connected."""
        self._request = request
        self._buffer = bytearray()
        self._upgraded = False
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        self.on_text: Callable[[bytes], None] = lambda text: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(bytes(self._buffer[:200]).decode(errors="replace")))
        if not self.closed.done():
            self.closed.set_result(1006)

    def data_received(self, data: bytes) -> None:
        """Take frames apart as they come."""
        self._buffer += data
        if not self._upgraded:
            head, found, _ = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.transport.close()
                return
            del self._buffer[: len(head) + 4]
            self._upgraded = True
            self.opened.set_result(None)
        self._frames()

    def _frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            size, body = buffer[at + 1], at + 2
            if size == 126 and len(buffer) - at >= 4:
                (size,), body = struct.unpack_from(">H", buffer, at + 2), at + 4
            elif size == 127 and len(buffer) - at >= 10:
                (size,), body = struct.unpack_from(">Q", buffer, at + 2), at + 10
            elif size > 125:
                break
            if len(buffer) < body + size:
                break
            self._frame(buffer[at] & 15, bytes(buffer[body : body + size]))
            at = body + size
        del buffer[:at]

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == TEXT:
            self.on_text(payload)
        elif kind == PING:
            self._write(PONG, payload)
        elif kind == CLOSE and not self.closed.done():
            self.closed.set_result(int.from_bytes(payload[:2], "big") or 1005)

    def send(self, text: str) -> None:
        """One text frame."""
        self._write(TEXT, text.encode())

    def _write(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
        self.transport.write(bytes([0x80 | kind]) + length + bytes(4) + payload)  # a mask of zeros masks nothing

    def close(self) -> None:
        """Leave without a farewell."""
        self.transport.abort()


async def connect(port: int, path: str, receive_buffer: int | None = None) -> Socket:
    """An open socket; raises ConnectionError with the server's words if it refuses."""
    raw = socket.socket()
    raw.setblocking(False)
    if receive_buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    _, connection = await loop.create_connection(lambda: Socket(request.encode()), sock=raw)
    await connection.opened
    return connection
