"""A local server that speaks the wire of OpenAI's chat completions and of Anthropic's messages, faults included.

In tests, in the test's own event loop:

    async with VendorServer(Answer("Hello"), Answer(status=429, headers={"Retry-After": "2"})) as server:
        ...                        # server.url (Anthropic), server.openai_url (OpenAI and local)
        server.requests            # what was asked, headers included
        await server.left.wait()   # a client went before its answer was complete; server.closed_early counts them

Answers are used up in order, the last one again and again; instead of them a function from Request to Answer may be
given. A model named `mock-n4000-r50` is answered with 4,000 tokens of 20 characters at 50 a second (`r0`: as fast as
they go); paced tokens are their own send time, CLOCK_MONOTONIC in ns. For benchmarks as a process of its own:

    python tests/vendor_server.py [--port N]      # prints "listening on http://127.0.0.1:PORT"

Must not import llmcore: it stands for the other side.
"""

import argparse
import asyncio
import json
import re
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

MOCK = re.compile(r"mock-n(\d+)-r(\d+)")
BATCH = 64
"""Tokens of an unpaced stream that are written at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any

    @property
    def anthropic(self) -> bool:
        """True for Anthropic's wire."""
        return self.path.endswith("/messages")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says to one request. All offsets are bytes of the event stream, before HTTP framing."""

    text: str = "Hello from the vendor."
    _: KW_ONLY
    chunks: int = 3
    """Events the text comes in."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    """The vendor's error object of a status that is not 200; None: one that fits."""
    finish: str | None = ""
    """The finish or stop reason; empty: the vendor's usual one; None: the stream ends without."""
    usage: bool = True
    cached_tokens: int = 0
    first_delay_s: float = 0.0
    delay_s: float = 0.0
    """Before each next event."""
    stall_after: int | None = None
    """Events after which nothing more comes until the client leaves."""
    cut_after: int | None = None
    """Bytes after which the connection is closed in the middle of the response."""
    end_after: int | None = None
    """Bytes after which the response ends, well-formed as HTTP."""
    malformed_after: int | None = None
    """Events after which one comes that is no JSON."""
    linger: bool = False
    """After the last event the response is not ended until the client leaves."""
    extra: bytes = b""
    """Bytes put in front of the last events, such as an error in the stream."""
    read_size: int = 0
    """Bytes written at a time; 0: event by event."""
    crlf: bool = False
    gzip: bool = False


Script = Callable[[Request], Answer]


def pieces(text: str, number: int) -> list[str]:
    """The text in `number` parts of about the same length."""
    size = max(1, -(-len(text) // max(1, number)))
    return [text[start : start + size] for start in range(0, len(text), size)]


def words(request: Request) -> int:
    """A count of input tokens that can be foretold: the words of all messages."""
    system = [str(block["text"]) for block in request.body.get("system", [])]
    said = [str(message.get("content")) for message in request.body.get("messages", [])]
    return sum(len(text.split()) for text in (*system, *said))


# --- OpenAI ---------------------------------------------------------------------------------------------------------


def openai_chunk(model: str, **rest: Any) -> bytes:
    """One chunk with the fields that the real one has."""
    chunk = {
        "id": "chatcmpl-CkJ5mWq0yFv3gP2xT7aBnZr1sLd8H",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_50cad350e4",
        **rest,
    }
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def openai_choice(model: str, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    """A chunk with one choice."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return openai_chunk(model, choices=[choice], usage=None)


def openai_usage(answer: Answer, request: Request) -> dict[str, Any]:
    """The usage object."""
    asked, said = words(request), len(answer.text.split())
    details = {"cached_tokens": answer.cached_tokens, "audio_tokens": 0}
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": details,
    }


def openai_events(answer: Answer, request: Request) -> Iterator[bytes]:
    """A whole stream."""
    model = request.body.get("model", "")
    yield openai_choice(model, {"role": "assistant", "content": "", "refusal": None})
    for piece in pieces(answer.text, answer.chunks):
        yield openai_choice(model, {"content": piece})
    if answer.extra:
        yield answer.extra
    if answer.finish is None:
        return
    yield openai_choice(model, {}, answer.finish or "stop")
    if answer.usage and (request.body.get("stream_options") or {}).get("include_usage"):
        yield openai_chunk(model, choices=[], usage=openai_usage(answer, request))
    yield b"data: [DONE]\n\n"


def openai_whole(answer: Answer, request: Request) -> dict[str, Any]:
    """An answer that is not streamed."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish or "stop"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1760000000,
        "model": request.body.get("model", ""),
        "choices": [choice],
        "usage": openai_usage(answer, request),
    }


# --- Anthropic ------------------------------------------------------------------------------------------------------


def anthropic_event(kind: str, **rest: Any) -> bytes:
    """One named event."""
    data = json.dumps({"type": kind, **rest}, ensure_ascii=False, separators=(",", ":")).encode()
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def anthropic_message(answer: Answer, request: Request, *, whole: bool) -> dict[str, Any]:
    """The message object; without `whole` as it stands at the start of a stream."""
    usage = {
        "input_tokens": words(request) - answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
        "output_tokens": len(answer.text.split()) if whole else 1,
    }
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": request.body.get("model", ""),
        "content": [{"type": "text", "text": answer.text}] if whole else [],
        "stop_reason": (answer.finish or "end_turn") if whole else None,
        "stop_sequence": None,
        "usage": usage,
    }


def anthropic_events(answer: Answer, request: Request) -> Iterator[bytes]:
    """A whole stream."""
    yield anthropic_event("message_start", message=anthropic_message(answer, request, whole=False))
    yield anthropic_event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield anthropic_event("ping")
    for piece in pieces(answer.text, answer.chunks):
        yield anthropic_event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
    if answer.extra:
        yield answer.extra
    yield anthropic_event("content_block_stop", index=0)
    if answer.finish is None:
        return
    usage = {"output_tokens": len(answer.text.split())} if answer.usage else None
    delta = {"stop_reason": answer.finish or "end_turn", "stop_sequence": None}
    yield anthropic_event("message_delta", delta=delta, usage=usage)
    yield anthropic_event("message_stop")


# --- both -----------------------------------------------------------------------------------------------------------


def stream_of(answer: Answer, request: Request) -> bytes:
    """All bytes of a stream, for tests that cut it."""
    events = anthropic_events if request.anthropic else openai_events
    return b"".join(events(answer, request))


def whole_of(answer: Answer, request: Request) -> dict[str, Any]:
    """The vendor's answer to a request that does not want a stream."""
    return anthropic_message(answer, request, whole=True) if request.anthropic else openai_whole(answer, request)


def error_body(answer: Answer, request: Request) -> dict[str, Any]:
    """The vendor's error answer."""
    kind = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}.get(
        answer.status, "api_error"
    )
    error = answer.error or {"type": kind, "message": f"The vendor says {answer.status}."}
    if request.anthropic:
        return {"type": "error", "error": error, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}
    return {"error": {"param": None, "code": None, **error}}


class VendorServer:
    """The server; an async context manager that listens on a free port of loopback."""

    def __init__(self, *answers: Answer, script: Script | None = None, key: str | None = None, port: int = 0) -> None:
        """`key`: what every request has to bring as bearer token, else 401."""
        self.requests: list[Request] = []
        self.closed_early = 0
        """Clients that left before their answer was complete."""
        self.left = asyncio.Event()
        """Set with the first of them."""
        self.asked = asyncio.Event()
        """Set with the first request."""
        self.connections = 0
        """Sockets opened so far."""
        self.models: Sequence[str] = ("vendor-model", "another-model")
        self._answers = list(answers) or [Answer()]
        self._script = script
        self._key = key
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._idle = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every socket."""
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()
        if self._writers:
            self._idle.clear()
            await self._idle.wait()

    @property
    def url(self) -> str:
        """Base URL for Anthropic's SDK."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def openai_url(self) -> str:
        """Base URL for OpenAI's SDK."""
        return f"{self.url}/v1"

    base_url = url

    async def serve_forever(self) -> None:
        """Until cancelled."""
        await self._server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            begun = b""
            while (request := await self._read(reader, begun)) is not None:
                begun = await self._answer_or_notice(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)
            if not self._writers:
                self._idle.set()

    @staticmethod
    async def _read(reader: asyncio.StreamReader, begun: bytes) -> Request | None:
        head = begun + await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().strip().split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        return Request(method=method, path=path, headers=headers, body=json.loads(raw) if raw else {})

    async def _answer_or_notice(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        """Answer while watching for the client to leave; returns what it has already sent of its next request."""
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._respond_unless_left(request, writer))
            watching = group.create_task(_next_byte(reader))
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            answering.cancel()
            watching.cancel()
        if answering.cancelled() or answering.result() is None:
            self.closed_early += 1
            self.left.set()
            raise ConnectionResetError
        if not answering.result():
            raise ConnectionResetError
        return b"" if watching.cancelled() else watching.result()

    async def _respond_unless_left(self, request: Request, writer: asyncio.StreamWriter) -> bool | None:
        try:
            return await self._respond(request, writer)
        except ConnectionError:
            return None

    async def _respond(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Send the answer; False if the connection may not be used again."""
        self.requests.append(request)
        self.asked.set()
        if request.path.endswith("/models"):
            offered = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self.models]
            return self._json(writer, 200, {"object": "list", "data": offered})
        answer = self._chosen(request)
        if answer.status != 200:
            await asyncio.sleep(answer.first_delay_s)
            return self._json(writer, answer.status, error_body(answer, request), answer.headers)
        if not request.body.get("stream"):
            return self._json(writer, 200, whole_of(answer, request), answer.headers)
        packer = zlib.compressobj(wbits=31) if answer.gzip else None
        packed = {"Content-Encoding": "gzip"} if packer else {}
        stream = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        _head(writer, 200, {**stream, **packed, **answer.headers})
        async for plain in _paced(answer, request):
            data = packer.compress(plain) + packer.flush(zlib.Z_SYNC_FLUSH) if packer else plain
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
        if answer.linger:
            await asyncio.Event().wait()
        if answer.cut_after is None:
            writer.write(b"0\r\n\r\n")
        return answer.cut_after is None

    def _chosen(self, request: Request) -> Answer:
        if self._key is not None and request.headers.get("authorization") != f"Bearer {self._key}":
            return Answer(status=401)
        if self._script is not None:
            return self._script(request)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    @staticmethod
    def _json(writer: asyncio.StreamWriter, status: int, body: Any, headers: Mapping[str, str] | None = None) -> bool:
        data = json.dumps(body).encode()
        length = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        _head(writer, status, {**length, **(headers or {})})
        writer.write(data)
        return True


def _head(writer: asyncio.StreamWriter, status: int, headers: Mapping[str, str]) -> None:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Overloaded"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")


async def _next_byte(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1)
    except ConnectionError:
        return b""


async def _paced(answer: Answer, request: Request) -> AsyncIterator[bytes]:
    """The stream as it is written, piece by piece."""
    if found := MOCK.fullmatch(str(request.body.get("model"))):
        async for data in _tokens(request, int(found[1]), int(found[2])):
            yield data
        return
    sent = 0
    limit = answer.cut_after if answer.cut_after is not None else answer.end_after
    async for data in _events(answer, request):
        if limit is not None and sent + len(data) >= limit:
            if limit > sent:
                yield data[: limit - sent]
            return
        sent += len(data)
        yield data


async def _events(answer: Answer, request: Request) -> AsyncIterator[bytes]:
    events = anthropic_events if request.anthropic else openai_events
    await asyncio.sleep(answer.first_delay_s)
    for index, event in enumerate(events(answer, request)):
        if index == answer.stall_after:
            await asyncio.Event().wait()
        if index == answer.malformed_after:
            yield b'data: {"broken": \n\n'
        data = event.replace(b"\n", b"\r\n") if answer.crlf else event
        size = answer.read_size or len(data)
        for start in range(0, len(data), size):
            await asyncio.sleep(answer.delay_s if start == 0 and index else 0)
            yield data[start : start + size]


async def _tokens(request: Request, number: int, rate: int) -> AsyncIterator[bytes]:
    """`number` tokens of 20 characters, `rate` a second, all at once for 0."""
    answer = Answer("?", chunks=1)
    events = list((anthropic_events if request.anthropic else openai_events)(answer, request))
    at = next(index for index, event in enumerate(events) if b'"?"' in event)
    before, after = events[at].split(b"?")
    yield b"".join(events[:at])
    start = time.monotonic()
    step = 1 if rate else BATCH
    for first in range(0, number, step):
        if rate:
            await asyncio.sleep(start + first / rate - time.monotonic())
            yield before + b"%019d " % time.monotonic_ns() + after
        else:
            yield b"".join([before + b"%019d " % token + after for token in range(first, min(first + step, number))])
            await asyncio.sleep(0)
    yield b"".join(events[at + 1 :])


async def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(description="A model vendor for benchmarks")
    parser.add_argument("--port", type=int, default=0)
    async with VendorServer(port=parser.parse_args().port) as server:
        print(f"listening on {server.url}", flush=True)  # noqa: T201 - read by who started it
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
