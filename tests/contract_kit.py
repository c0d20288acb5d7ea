"""For the tests of the contract: a real `llmcore serve` that stops and starts again, and people on its sockets.

Used by `tests/flow/test_contract_*.py`. Everything goes through the doors that users have: the command, HTTP, `/ws`.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.peer import Frame, Peer
from tests.processes import ROOT, serving

PASSWORD = "correct horse battery"
HOOK = "the-token-of-the-alert-manager"
PREFIX = "/ui/updates/llm/"
SCRIPTS = {
    "greet.sh": "#!/bin/sh\necho hello $1\n",
    "broken.sh": "#!/bin/sh\necho on the way; echo oops >&2; exit 3\n",
    "endless.sh": "#!/bin/sh\necho begun; exec sleep 600\n",
}
ENDS = ("RUN_FINISHED", "RUN_ERROR")


@dataclass(frozen=True)
class Answer:
    """What HTTP answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as strict JSON."""
        return json.loads(self.body)


def http(url: str, data: bytes | None = None, **headers: str) -> Answer:
    """GET, or POST with a body; errors are answers too."""
    request = Request(url, data, {name.replace("_", "-"): value for name, value in headers.items()})  # noqa: S310
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            return Answer(answer.status, dict(answer.headers), answer.read())
    except HTTPError as refused:
        with refused:
            return Answer(refused.code, dict(refused.headers), refused.read())


def hashed(password: str) -> str:
    """The password as it goes over the wire."""
    return hashlib.sha256(password.encode()).hexdigest()


@dataclass
class House:
    """A machine with llmcore: folders, settings, and the server while it runs."""

    folder: Path
    more: Mapping[str, str] = field(default_factory=dict)
    """Further settings by environment."""
    url: str = ""
    said: str = ""
    """What the server printed until it was ready."""

    def __post_init__(self) -> None:
        """Make the folders."""
        for name in ("roots", "scripts", "home"):
            (self.folder / name).mkdir(parents=True)
        for name, text in SCRIPTS.items():
            (self.folder / "scripts" / name).write_text(text)
            (self.folder / "scripts" / name).chmod(0o755)
        (self.folder / "app.log").write_text("one\ntwo ERROR\nthree\n")

    @property
    def roots(self) -> Path:
        """What the file intents may touch."""
        return self.folder / "roots"

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def environment(self) -> dict[str, str]:
        """The settings of this house and no other."""
        state = self.folder / "target.state"
        target = {
            "status": ["cat", str(state)],
            "start": ["sh", "-c", f"echo running > {state}"],
            "stop": ["sh", "-c", f"echo stopped > {state}"],
        }
        return {
            "PATH": os.defpath,
            "HOME": str(self.folder / "home"),
            "LLMCORE_ADMIN_PASSWORD": PASSWORD,
            "LLMCORE_SYSTEM__ROOTS": json.dumps([str(self.roots)]),
            "LLMCORE_SYSTEM__SCRIPTS": str(self.folder / "scripts"),
            "LLMCORE_SYSTEM__LOGS": json.dumps({"app": str(self.folder / "app.log")}),
            "LLMCORE_SYSTEM__TARGETS": json.dumps({"web": target}),
            "LLMCORE_SERVER__WEBHOOK_TOKEN": HOOK,
            **self.more,
        }

    def scripted(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Have a model that says what these rules say."""
        (self.folder / "rules.json").write_text(json.dumps(rules))
        model = {"LLMCORE_LLM__PROVIDER": "scripted", "LLMCORE_LLM__SCRIPT": str(self.folder / "rules.json")}
        self.more = {**self.more, **model}

    @contextmanager
    def open(self, *args: str) -> Iterator["House"]:
        """Serve; the end is SIGTERM and must be exit 0."""
        command = [sys.executable, "-m", "llmcore", "serve", "--port", "0", "--data-dir", str(self.data), *args]
        with serving(*command, environment=self.environment(), cwd=self.folder) as (self.url, self.said):
            yield self

    def command(self, *args: str | Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `llmcore ARGS` as a person of this machine would."""
        known = {"LLMCORE_URL": self.url} if self.url else {}
        return subprocess.run(
            [sys.executable, "-m", "llmcore", *map(str, args)],
            env={**self.environment(), **known, **environment},
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    # --- doors ---

    def get(self, path: str, **headers: str) -> Answer:
        """GET a route."""
        return http(self.url + path, None, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """POST JSON."""
        return http(self.url + path, json.dumps(body).encode(), Content_Type="application/json", **headers)

    def form(self, path: str, **fields: str) -> Answer:
        """POST a form."""
        return http(self.url + path, urlencode(fields).encode())

    def token(self, name: str = "administrator", password: str = PASSWORD) -> str:
        """Log in; the access token."""
        answer = self.form("/authorize", username=name, password=hashed(password))
        assert answer.status == 200, answer.body
        return str(answer.json["data"]["access"]["token"])

    @asynccontextmanager
    async def person(self, token: str) -> AsyncIterator["Person"]:
        """Somebody on a socket."""
        peer = await Peer.connect(f"{self.url.replace('http', 'ws', 1)}/ws?token={token}")
        try:
            yield Person(peer)
        finally:
            await peer.close()


@dataclass
class Person:
    """One connected socket: RPCs by name, events by topic."""

    peer: Peer

    async def data(self, intent: str, /, **params: Any) -> Any:
        """The `data` of an RPC that must succeed."""
        answer = await self.peer.call(intent, params)
        assert answer["status"] == "success", answer
        assert (answer["type"], answer["code"]) == ("rpc_response", 200)
        assert set(answer) == {"requestid", "type", "status", "code", "data", "timestamp"}
        return answer["data"]

    async def error(self, intent: str, /, **params: Any) -> Frame:
        """The answer to an RPC that must be refused; its shape is checked."""
        answer = await self.peer.call(intent, params)
        assert answer["status"] == "error", answer
        assert set(answer) == {"requestid", "type", "status", "code", "message", "data", "timestamp"}
        assert answer["message"]
        assert isinstance(answer["data"]["error"], str)
        return answer

    def seen(self, topic: str) -> list[Frame]:
        """`data` of what came on a topic, in order."""
        return [event["data"] for event in self.peer.events if event["topic"] == topic]

    def events(self, topic: str, *types: str) -> list[Frame]:
        """The AG-UI events of a topic, of these types or all."""
        found = [data["event"] for data in self.seen(topic)]
        return [event for event in found if not types or event["type"] in types]

    async def end(self, topic: str, count: int = 1) -> Frame:
        """Wait for the end of the `count`-th segment; the event that ends it."""
        await self.peer.until(lambda: len(self.events(topic, *ENDS)) >= count)
        return self.events(topic, *ENDS)[count - 1]

    async def plan_until(self, plan_id: str, status: str) -> Frame:
        """Wait until a plan has a status; the plan."""
        topic = (await self.data("plan_get", plan_id=plan_id))["plan"]["topic"]
        await self.data("subscribe_channel", topic=topic)
        while True:
            plan: Frame = (await self.data("plan_get", plan_id=plan_id))["plan"]
            if plan["status"] == status:
                return plan
            assert plan["status"] not in ("done", "failed", "cancelled", "rejected"), plan
            async with asyncio.timeout(1):
                await self.peer.until(partial(self._more_events, len(self.peer.events)))

    def _more_events(self, known: int) -> bool:
        return len(self.peer.events) > known


def check_numbers(seen: Sequence[Frame], epoch: int = 1) -> None:
    """`seq` begins with 1 and has no gap within the epoch; nothing comes twice."""
    expected = 1
    for data in seen:
        assert data["epoch"] == epoch
        assert data.get("first_seq", data["seq"]) == expected, [one["seq"] for one in seen]
        expected = data["seq"] + 1


__all__ = ["ENDS", "HOOK", "PASSWORD", "PREFIX", "ROOT", "Answer", "House", "Person", "check_numbers", "hashed", "http"]
