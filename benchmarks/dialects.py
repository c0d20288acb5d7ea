"""How to ask each server for a stream, and how to read what it says.

Used by the benchmarks of streams. A reader never loses count: `Answer` checks number, order and time of every token.
"""

import asyncio
import hashlib
import json
import time
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.processes import Process
from benchmarks.vendor import CLOCK, TOKEN
from benchmarks.wire import Socket, connect

PASSWORD = "benchmark-password"


@dataclass
class Answer:
    """One streamed answer, checked while it arrives."""

    expected: int
    done: asyncio.Future[None]
    lags_ns: list[int] = field(default_factory=list)
    first_ns: int = 0
    _tokens: int = 0
    _rest: str = ""

    def add(self, text: str) -> None:
        """More text: whole tokens are checked, the rest waits."""
        now = time.monotonic_ns()
        self.first_ns = self.first_ns or now
        text = self._rest + text
        whole = len(text) - len(text) % TOKEN
        for at in range(0, whole, TOKEN):
            if int(text[at : at + 6]) != self._tokens:
                self.fail(f"token {self._tokens} expected, {text[at : at + TOKEN]!r} came")
                return
            self._tokens += 1
            self.lags_ns.append((now - int(text[at + 6 : at + 19])) % CLOCK)
        self._rest = text[whole:]

    def end(self) -> None:
        """The answer is complete, or should be."""
        if self._tokens == self.expected and not self._rest:
            self.done.set_result(None)
        else:
            self.fail(f"{self._tokens} of {self.expected} tokens came, and {self._rest!r}")

    def fail(self, reason: str) -> None:
        """The server lost or disordered something, or said that it failed."""
        if not self.done.done():
            self.done.set_exception(AssertionError(reason))


class Dialect(ABC):
    """One server that streams a model's answer."""

    name: str

    def __init__(self, process: Process) -> None:
        """Talk to this process."""
        self.process = process

    @abstractmethod
    async def connect(self) -> Socket:
        """A socket to chat on."""

    @abstractmethod
    def request(self, model: str) -> str:
        """What asks for an answer of this model."""

    @abstractmethod
    def read(self, frame: Any, answer: Answer) -> None:
        """Hand on what a frame brings."""

    async def chat(self, socket: Socket, count: int, rate: int) -> Answer:
        """One whole answer; raises AssertionError if a token is lost, doubled or out of order."""
        answer = Answer(count, asyncio.get_running_loop().create_future())
        socket.on_text = lambda text: self.read(orjson.loads(text), answer)
        socket.send(self.request(f"mock-n{count}-r{rate}"))
        await answer.done
        return answer


class Peer(Dialect):
    """One of the hand-written handlers of `peers`."""

    def __init__(self, process: Process, path: str) -> None:
        """Talk to the handler at `path`."""
        super().__init__(process)
        self.name = path

    async def connect(self) -> Socket:
        """A socket of that handler."""
        return await connect(self.process.port, f"/{self.name}")

    def request(self, model: str) -> str:
        """The model is all it needs."""
        return json.dumps({"model": model})

    def read(self, frame: Any, answer: Answer) -> None:
        """A token a frame, then the end."""
        if "text" in frame:
            answer.add(frame["text"])
        else:
            answer.end()


class Ours(Dialect):
    """The product. Each socket has a user of its own: all sockets of a user get the events of that user's runs."""

    name = "llmcore"

    def __init__(self, process: Process) -> None:
        """Log in as the administrator."""
        super().__init__(process)
        digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
        form = urllib.parse.urlencode({"username": "administrator", "password": digest}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/authorize", form) as answer:
            self.token: str = json.load(answer)["data"]["access"]["token"]
        self._users: list[str] = []
        self._taken = 0

    async def prepare(self, users: int) -> None:
        """Make users and their tokens."""
        socket = await self.connect_as(self.token)
        for number in range(len(self._users), users):
            name = f"user{number}"
            await self._ask(socket, "user_add", {"name": name, "role": "observer", "password": PASSWORD})
            self._users.append((await self._ask(socket, "user_token", {"name": name}))["token"])
        socket.close()

    async def _ask(self, socket: Socket, intent: str, params: dict[str, Any]) -> Any:
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        socket.on_text = answers.put_nowait
        socket.send(self.rpc(intent, params))
        answer: dict[str, Any] = {}
        while "requestid" not in answer:
            answer = orjson.loads(await answers.get())
        assert answer["status"] == "success", answer
        return answer["data"]

    async def connect(self) -> Socket:
        """A socket of the next user in turn."""
        self._taken += 1
        return await self.connect_as(self._users[self._taken % len(self._users)])

    async def connect_as(self, token: str) -> Socket:
        """A socket of whoever has this token."""
        return await connect(self.process.port, f"/ws?token={token}")

    @staticmethod
    def rpc(intent: str, params: dict[str, Any], request_id: str = "1") -> str:
        """A call as the wire has it."""
        return json.dumps({"type": "rpc", "requestid": request_id, "intent": intent, "params": params})

    def request(self, model: str) -> str:
        """A chat turn that is answered in prose."""
        return self.rpc("chat_llm", {"prompt": "go", "params": {"model": model, "mode": "answer"}})

    def read(self, frame: Any, answer: Answer) -> None:
        """Events, alone or in batches; the acknowledgement says nothing of tokens."""
        for message in frame if isinstance(frame, list) else [frame]:
            if message["type"] != "event":
                if message["status"] == "error":
                    answer.fail(str(message))
                continue
            event = message["data"].get("event") or {}
            kind = event.get("type")
            if kind == "TEXT_MESSAGE_CONTENT":
                answer.add(event["delta"])
            elif kind == "RUN_FINISHED":
                answer.end()
            elif kind == "RUN_ERROR":
                answer.fail(str(event))
