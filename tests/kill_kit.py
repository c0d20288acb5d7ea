"""For tests that attack: a real server in a process of its own that may be killed and started again on its data.

Used by the flow tests about crashes, secrets, floods and other users. All that a server ever printed is kept in `said`.
"""

import asyncio
import hashlib
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from tests.machine import script
from tests.peer import LIMIT_S, Peer
from tests.processes import READY

PASSWORD = "correct horse battery"
ADMIN = "administrator"
DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""Before a command: a server ends with the tests that started it, even if those are killed."""


@dataclass
class Killable:
    """A server and its folders; `start` may be called again after `kill` or `stop`."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings beyond the usual ones."""
    model: Sequence[Mapping[str, Any]] | None = None
    """Rules of a scripted model; None: no model."""
    url: str = ""
    said: bytes = b""
    """What all lives have printed."""
    tokens: dict[str, str] = field(default_factory=dict)
    _process: asyncio.subprocess.Process | None = None
    _pump: "asyncio.Future[None] | None" = None
    _peers: list[Peer] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the folders."""
        self.data, self.roots, self.scripts = (self.folder / name for name in ("data", "files", "scripts"))
        for one in (self.roots, self.scripts):
            one.mkdir(exist_ok=True)
        if self.model is not None:
            (self.folder / "model.json").write_text(json.dumps(self.model))

    @property
    def pid(self) -> int:
        """Of the present life."""
        assert self._process
        return self._process.pid

    def script(self, name: str, text: str) -> Path:
        """Write a script that the server may run."""
        return script(self.scripts / name, text)

    def settings(self) -> dict[str, str]:
        """Its environment."""
        model = {"LLMCORE_LLM__PROVIDER": "scripted", "LLMCORE_LLM__SCRIPT": str(self.folder / "model.json")}
        return {
            "LLMCORE_ADMIN_PASSWORD": PASSWORD,
            "LLMCORE_SYSTEM__ROOTS": json.dumps([str(self.roots)]),
            "LLMCORE_SYSTEM__SCRIPTS": str(self.scripts),
            "HOME": str(self.folder),
            "PATH": "/usr/bin:/bin",
            **(model if self.model is not None else {}),
            **self.environment,
        }

    async def start(self) -> None:
        """Start and wait until it is ready."""
        command = (*DIE_WITH_US, sys.executable, "-m", "llmcore", "serve", "--port", "0", "--data-dir", str(self.data))
        self._process = await asyncio.create_subprocess_exec(
            *command,
            env=self.settings(),
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = self._process.stdout
        assert output
        async with asyncio.timeout(60):
            while line := await output.readline():
                self.said += line
                if line.startswith(READY.encode()):
                    self.url = line.decode().removeprefix(READY).strip()
                    break
            else:
                raise AssertionError(self.said.decode())
        self._pump = asyncio.ensure_future(self._listen(output))

    async def _listen(self, output: asyncio.StreamReader) -> None:
        while piece := await output.read(1 << 16):
            self.said += piece

    async def kill(self) -> None:
        """End it as a power failure would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Ask it to end; its exit code."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        assert self._process
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        code = await self._process.wait()
        if self._pump is not None:
            await self._pump
        for peer in self._peers:
            await peer.close()
        self._peers.clear()
        return code

    @property
    def running(self) -> bool:
        """False once the process has ended."""
        return self._process is not None and self._process.returncode is None

    # --- clients ---

    async def fetch(self, path: str, form: Mapping[str, str] | None = None, **options: Any) -> HTTPResponse:
        """One HTTP request; errors are answers too."""
        if form is not None:
            options |= {"method": "POST", "body": urlencode(form)}
        return await AsyncHTTPClient().fetch(self.url + path, raise_error=False, **options)

    async def token(self, name: str = ADMIN, password: str = PASSWORD) -> str:
        """An access token; it outlives restarts, so one login a user is enough."""
        if name not in self.tokens:
            secret = hashlib.sha256(password.encode()).hexdigest()
            answer = await self.fetch("/authorize", {"username": name, "password": secret})
            assert answer.code == 200, answer.body
            self.tokens[name] = json.loads(answer.body)["data"]["access"]["token"]
        return self.tokens[name]

    async def add_user(self, name: str, role: str) -> None:
        """Add a user and keep a token of theirs."""
        admin = await self.peer()
        await data_of(admin, "user_add", {"name": name, "role": role, "password": PASSWORD})
        self.tokens[name] = (await data_of(admin, "user_token", {"name": name, "days": 1}))["token"]

    async def peer(self, name: str = ADMIN) -> Peer:
        """A connected client."""
        peer = await Peer.connect(f"{self.url.replace('http', 'ws', 1)}/ws?token={await self.token(name)}")
        self._peers.append(peer)
        return peer


@asynccontextmanager
async def killable(folder: Path, **options: Any) -> AsyncIterator[Killable]:
    """A started server, ended at the end whatever happens."""
    async with started(Killable(folder, **options)) as server:
        yield server


@asynccontextmanager
async def started(server: Killable) -> AsyncIterator[Killable]:
    """The same for one that was prepared."""
    await server.start()
    try:
        yield server
    finally:
        if server.running:
            await server.stop()


async def data_of(peer: Peer, intent: str, params: Mapping[str, Any] | None = None) -> Any:
    """The data of a successful RPC."""
    answer = await peer.call(intent, params)
    assert answer["status"] == "success", answer
    return answer["data"]


async def run_until(peer: Peer, run_id: str, good: Callable[[Mapping[str, Any]], object]) -> Mapping[str, Any]:
    """A run as soon as it is as wanted; runs may go on in a server that this peer did not see start."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            run: Mapping[str, Any] = (await data_of(peer, "run_get", {"run_id": run_id}))["run"]
            if good(run):
                return run
            await asyncio.sleep(0.02)


def events_of(peer: Peer, run_id: str | None = None, kind: str | None = None) -> list[dict[str, Any]]:
    """The AG-UI events that a peer got, of one run or one type."""
    found = [item["data"] for item in peer.events if item["topic"].startswith("/ui/updates/llm/")]
    return [
        data["event"] for data in found if run_id in (None, data["run_id"]) and kind in (None, data["event"]["type"])
    ]


async def ended(peer: Peer, run_id: str) -> dict[str, Any]:
    """The event that ends a run's segment."""

    def ends() -> list[dict[str, Any]]:
        return [event for event in events_of(peer, run_id) if event["type"] in ("RUN_FINISHED", "RUN_ERROR")]

    await peer.until(lambda: bool(ends()))
    return ends()[-1]
