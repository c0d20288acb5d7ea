"""A model vendor that only speaks: OpenAI's chat completions over SSE, as fast as asked.

Started as a process of its own by the benchmarks. The model's name says what it streams: `mock-n4000-r50` is 4,000
tokens at 50 a second, `r0` as fast as the reader takes them. Each token has 20 characters: its number and its time.
"""

import asyncio
import json
import re
import sys
import time

TOKEN = 20
"""Characters of one token: six digits of number, thirteen of the monotonic clock in nanoseconds, a space."""
CLOCK = 10**13
BURST = 32
"""Tokens a write of an unpaced stream."""
CHUNK = (
    'data: {"id":"chatcmpl-0123456789abcdef0123456789","object":"chat.completion.chunk","created":1790000000,'
    '"model":"mock","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":'
    '{"content":"%s"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abcdefghij"}\n\n'
)
LAST = (
    'data: {"id":"chatcmpl-0123456789abcdef0123456789","object":"chat.completion.chunk","created":1790000000,'
    '"model":"mock","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\ndata: [DONE]\n\n'
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
MODELS = b'{"object":"list","data":[{"id":"mock","object":"model","created":1790000000,"owned_by":"mock"}]}'


def token(number: int) -> str:
    """The token with this number, sent now."""
    return f"{number:06d}{time.monotonic_ns() % CLOCK:013d} "


class Vendor(asyncio.Protocol):
    """One connection; requests follow each other on it."""

    def __init__(self) -> None:
        """Wait for a request."""
        self._buffer = b""
        self._room = asyncio.Event()
        self._room.set()
        self._stream: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop talking."""
        if self._stream:
            self._stream.cancel()

    def pause_writing(self) -> None:
        """The reader is behind."""
        self._room.clear()

    def resume_writing(self) -> None:
        """The reader has caught up."""
        self._room.set()

    def data_received(self, data: bytes) -> None:
        """Answer a request that is complete."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        needed = int(length[1]) if length else 0
        if not found or len(body) < needed:
            return
        self._buffer = body[needed:]
        if head.startswith(b"GET"):
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(answer % len(MODELS) + MODELS)
            return
        asked = re.fullmatch(r"mock-n(\d+)-r(\d+)", json.loads(body[:needed])["model"])
        count, rate = (int(asked[1]), int(asked[2])) if asked else (1, 0)
        self._stream = asyncio.ensure_future(self._speak(count, rate))

    async def _speak(self, count: int, rate: int) -> None:
        self._transport.write(HEAD)
        loop = asyncio.get_running_loop()
        start = loop.time()
        burst = 1 if rate else BURST
        for first in range(0, count, burst):
            await self._room.wait()
            if rate:
                await asyncio.sleep(start + first / rate - loop.time())
            self._write("".join(CHUNK % token(number) for number in range(first, min(first + burst, count))))
            if not rate:
                await asyncio.sleep(0)
        self._write(LAST)
        self._transport.write(b"0\r\n\r\n")

    def _write(self, text: str) -> None:
        self._transport.write(b"%x\r\n%s\r\n" % (len(text), text.encode()))


async def main() -> None:
    """Listen on a free port of loopback and name it."""
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", 0, backlog=1024)
    print(f"ready on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
