"""What a Tornado developer would write without us, as a process of its own.

`/relay`: server-sent events read by hand, a WebSocket message a token. `/sdk`: the same on AsyncOpenAI. `/echo`: JSON
in, JSON out. `/hub`: what one says goes to all. Started by the benchmarks with the vendor's address.
"""

import asyncio
import json
import sys
from typing import Any
from urllib.parse import urlsplit

from openai import AsyncOpenAI
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler


class Chat(WebSocketHandler):
    """A socket that streams the vendor's answer; the two ways of reading it differ."""

    vendor: str
    sdk: AsyncOpenAI

    def initialize(self, vendor: str, sdk: AsyncOpenAI) -> None:
        """Know the vendor."""
        self.vendor, self.sdk = vendor, sdk

    def on_message(self, message: str | bytes) -> None:
        """Stream without holding up the socket."""
        self._task = asyncio.ensure_future(self.stream(json.loads(message)["model"]))

    async def stream(self, model: str) -> None:
        """Send each token as it comes, then the end."""
        raise ValueError(model)


class Relay(Chat):
    """Reads the wire by hand."""

    async def stream(self, model: str) -> None:
        """One message a token."""
        url = urlsplit(self.vendor)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "go"}]})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        async for line in reader:
            if line.startswith(b"data: {"):
                text = json.loads(line[6:])["choices"][0]["delta"].get("content")
                if text:
                    await self.write_message(json.dumps({"text": text}))
            elif line.startswith(b"data: [DONE]"):
                break
        await self.write_message('{"done":true}')
        writer.close()


class Sdk(Chat):
    """Reads by the vendor's SDK, as its README shows."""

    async def stream(self, model: str) -> None:
        """One message a token."""
        chunks = await self.sdk.chat.completions.create(
            model=model, stream=True, messages=[{"role": "user", "content": "go"}]
        )
        async for chunk in chunks:
            text = chunk.choices[0].delta.content
            if text:
                await self.write_message(json.dumps({"text": text}))
        await self.write_message('{"done":true}')


class Echo(WebSocketHandler):
    """Answers a request with its own params."""

    def on_message(self, message: str | bytes) -> None:
        """Read it, answer it."""
        request = json.loads(message)
        answer = {"requestid": request["requestid"], "status": "success", "data": request["params"]}
        self.write_message(json.dumps(answer))


class Hub(WebSocketHandler):
    """What one client says goes to all, itself included."""

    members: set["Hub"]

    def initialize(self, members: set["Hub"]) -> None:
        """Know the others."""
        self.members = members

    def open(self, *args: str, **kwargs: str) -> None:
        """Join."""
        self.members.add(self)

    def on_close(self) -> None:
        """Leave."""
        self.members.discard(self)

    def on_message(self, message: str | bytes) -> None:
        """Tell all."""
        event: Any = json.loads(message)
        for member in self.members:
            member.write_message(json.dumps(event))


async def main() -> None:
    """Serve all of them on a free port of loopback and name it."""
    vendor = sys.argv[1]
    known = {"vendor": vendor, "sdk": AsyncOpenAI(base_url=f"{vendor}/v1", api_key="none", max_retries=0)}
    routes: list[Any] = [
        (r"/relay", Relay, known),
        (r"/sdk", Sdk, known),
        (r"/echo", Echo),
        (r"/hub", Hub, {"members": set()}),
    ]
    sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
    HTTPServer(Application(routes)).add_sockets(sockets)
    print(f"ready on http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
