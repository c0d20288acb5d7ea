"""A small real machine for tests: folders, logs, services and scripts below one folder, called as in the product."""

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmcore.adapters import host
from llmcore.adapters.local import SystemClock
from llmcore.adapters.packs import PackCaller
from llmcore.catalog import Catalog, load_packs
from llmcore.plan import Preview, Principal, Undo
from llmcore.ports import Call, Clock

ANNA = Principal(name="anna", role="admin")


def script(file: Path, text: str, *, executable: bool = True) -> Path:
    """Write a script."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755 if executable else 0o644)
    return file


async def until(happened: Callable[[], object]) -> None:
    """Wait for something of the outside world that tells nobody."""
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110 - files and processes set no event
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """True for a process that runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass
class Machine:
    """Services over a folder, and the packs in front of them."""

    folder: Path
    clock: Clock = field(default_factory=SystemClock)
    options: dict[str, Any] = field(default_factory=dict)
    """Option name of `HostOptions` -> the fields that a test sets."""
    progress: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the folders and the services."""
        self.share = self.folder / "share"
        self.scripts = self.folder / "scripts"
        self.data = self.folder / "data"
        for one in (self.share, self.scripts, self.data):
            one.mkdir(exist_ok=True)
        self.services = host.services(
            host.HostOptions(
                files=host.FilesOptions(
                    **{
                        "roots": (str(self.share),),
                        "trash": self.data / "trash",
                        "private": (str(self.data),),
                        **self.options.get("files", {}),
                    }
                ),
                targets=host.TargetsOptions(output=self.data / "targets", **self.options.get("targets", {})),
                logs=host.LogsOptions(**self.options.get("logs", {})),
                scripts=host.ScriptsOptions(**{"folder": self.scripts, **self.options.get("scripts", {})}),
                notify=host.NotifyOptions(**self.options.get("notify", {})),
            ),
            self.clock,
        )
        self.caller = PackCaller(Catalog(load_packs()), self.services)

    async def do(self, intent: str, /, **params: Any) -> Any:
        """Run an intent."""
        call = Call(intent=intent, params=params, principal=ANNA, idempotency_key="k", progress=self.progress.append)
        return json.loads(json.dumps(await self.caller.call(call)))

    async def preview(self, intent: str, /, **params: Any) -> Preview:
        """What an intent would touch; it has to be able to tell."""
        found = await self.caller.preview(intent, params, ANNA)
        assert found is not None
        json.dumps([found.before, found.after])
        return found

    async def undo_of(self, intent: str, result: Any, /, **params: Any) -> Undo | None:
        """The call that takes it back."""
        return await self.caller.undo_of(intent, params, None, result, ANNA)

    async def there_and_back(self, intent: str, /, **params: Any) -> tuple[Any, Undo]:
        """Preview (which must change nothing), run, verify, then undo."""
        before = self.state()
        preview = await self.preview(intent, **params)
        assert self.state() == before, "the preview changed something"
        result = await self.do(intent, **params)
        assert await self.caller.verify(intent, params, ANNA) in (True, None)
        undo = await self.caller.undo_of(intent, params, preview.before, result, ANNA)
        assert undo is not None
        await self.do(undo.intent, **undo.params)
        assert self.state() == before, "the undo left a difference"
        return result, undo

    def state(self) -> dict[str, str]:
        """Everything below the share: path -> content."""
        return {
            str(one.relative_to(self.share)): one.read_bytes().hex() if one.is_file() else "folder"
            for one in sorted(self.share.rglob("*"))
        }


@dataclass
class Heard:
    """A request that the web server got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def web_server(statuses: Mapping[str, int] | None = None) -> Iterator[tuple[str, list[Heard]]]:
    """A server on loopback: its `host:port` and what it heard.

    A path not in `statuses` is answered 200; a status of 0 is silence.
    """
    heard: list[Heard] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            heard.append(Heard(self.command, self.path, dict(self.headers), body))
            status = (statuses or {}).get(self.path.partition("?")[0], 200)
            if status == 0:
                return
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = handle_any

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", heard
        finally:
            server.shutdown()
            thread.join()
