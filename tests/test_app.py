"""The app room: one process from settings to a clean end, and what it tells of itself."""

import asyncio
import gc
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmcore.api import Caller
from llmcore.app import Built, build, options, serve
from llmcore.errors import BadParams
from llmcore.plan import Principal
from llmcore.settings import Settings, load
from tests.servers import free_port
from tests.turns import Watcher

ADMIN = Principal(name="administrator", role="admin")


def settings_of(folder: Path, **environ: str) -> Settings:
    """Settings of a process whose data is in `folder`."""
    return load(None, environ, {"data_dir": str(folder / "data"), "server.port": free_port()})


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Built]:
    """Everything built and at work, but not listening."""
    async with asyncio.TaskGroup() as tasks:
        built = await build(settings, tasks)
        await built.house.begin()
        try:
            yield built
        finally:
            await built.stop(1.0)


def get(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def served(settings: Settings, look: Callable[[str], Any]) -> tuple[int, Any]:
    """Serve in this thread until `look` at the URL, in another, is done; exit code and what it saw."""
    url = f"http://127.0.0.1:{settings.server.port}"
    seen: list[Any] = []
    retry = threading.Event()

    def watch() -> None:
        try:
            deadline = time.monotonic() + 50
            while time.monotonic() < deadline:
                try:
                    if get(f"{url}/healthz")[0] == 200:
                        break
                except OSError:
                    retry.wait(0.05)
            seen.append(look(url))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return serve(settings), seen[0]
    finally:
        watcher.join()


def test_process_serves_and_ends_cleanly_on_sigterm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The made password is told once, the ready line names the address, all components answer."""
    settings = settings_of(tmp_path)

    def look(url: str) -> Any:
        return get(f"{url}/readyz"), get(f"{url}/metrics"), get(f"{url}/")

    code, (ready, metrics, page) = served(settings, look)
    out = capsys.readouterr().out
    assert code == 0
    assert f"llmcore ready on http://127.0.0.1:{settings.server.port}" in out.splitlines()
    assert "User administrator was made with the password " in out
    assert ready[0] == 200
    assert set(json.loads(ready[1])["components"]) == {"store", "bus", "providers", "policy", "queue"}
    assert "llmcore_queue_depth" in metrics[1]
    assert "gen_ai_client_operations" in metrics[1]
    assert "<html" in page[1]
    assert (tmp_path / "data" / "llmcore.db").stat().st_mode & 0o077 == 0


@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_taken_port_stops_the_start_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, and the line says which address."""
    settings = settings_of(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.server.port))
        taken.listen()
        assert serve(settings) == 1
    gc.collect()  # Tornado leaves the socket that it could not bind to the collector, which complains
    err = capsys.readouterr().err
    assert f"llmcore: 127.0.0.1:{settings.server.port}: " in err
    assert "Traceback" not in err


def test_wrong_policy_stops_the_start_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file and the rule are named."""
    policy = tmp_path / "site.cedar"
    policy.write_text('@id("typo") permit (principal, action == Action::"restrt_target", resource);')
    assert serve(settings_of(tmp_path, LLMCORE_POLICY__FILE=str(policy))) == 2
    assert f"llmcore: {policy}:1: rule typo: " in capsys.readouterr().err


def test_policy_that_cannot_be_read_stops_the_start_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Absent, or no text."""
    binary = tmp_path / "binary.cedar"
    binary.write_bytes(b"\xff")
    for file, why in ((tmp_path / "absent.cedar", "No such file"), (binary, "it is not text")):
        assert serve(settings_of(tmp_path, LLMCORE_POLICY__FILE=str(file))) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"llmcore: policy.file: {file} cannot be read ({why}")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "No model is asked"),
        ({"OPENAI_API_KEY": "sk-canary"}, "LLMCORE_LLM__PROVIDER=openai switches it on"),
    ],
)
def test_start_says_whether_a_model_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], environ: dict[str, str], words: str
) -> None:
    """A key alone sends nothing out, and is never shown."""
    code, _ = served(settings_of(tmp_path, LLMCORE_ADMIN_PASSWORD="correct horse", **environ), lambda _: None)
    said = capsys.readouterr()
    assert code == 0
    assert words in said.out
    assert "password" not in said.out
    assert "sk-canary" not in said.out + said.err


@pytest.mark.asyncio
async def test_everything_is_connected(tmp_path: Path) -> None:
    """A chat over the api reaches the machine and comes back; the masked model never sees names."""
    script = tmp_path / "script.json"
    rules = [{"match": "", "reply": "the host is up"}]
    await asyncio.to_thread(script.write_text, json.dumps(rules))
    settings = await asyncio.to_thread(
        settings_of,
        tmp_path,
        LLMCORE_LLM__PROVIDER="scripted",
        LLMCORE_LLM__SCRIPT=str(script),
        LLMCORE_LLM__MASKING__ENABLED="true",
        LLMCORE_LLM__MASKING__NAMES='["shop"]',
    )
    async with running(settings) as built:
        screen = Watcher(ADMIN)
        built.house.base.topics.connect(screen)
        caller = Caller(ADMIN, screen)
        asked = {"prompt": "which processes eat the memory?", "params": {"stream": False}}
        answer = await built.house.api.call("chat_llm", asked, caller)
        assert answer["status"] == "done"
        assert answer["results"][0]["result"]["processes"]
        free = {"prompt": "how is shop?", "params": {"stream": False, "mode": "answer"}}
        assert (await built.house.api.call("chat_llm", free, caller))["text"] == "the host is up"
        named = {"prompt": "how is shop?", "params": {"mode": "answer", "provider": "nobody"}}
        with pytest.raises(BadParams):
            await built.house.api.call("chat_llm", named, caller)
        status = await built.house.api.call("status", {}, caller)
        assert (status["provider"], status["model_available"]) == ("scripted", True)
        assert await built.stats()


def test_options_know_every_secret(tmp_path: Path) -> None:
    """Passwords inside addresses too."""
    settings = settings_of(
        tmp_path,
        OPENAI_API_KEY="sk-one",
        LLMCORE_BUS__URL="redis://user:pass-two@127.0.0.1:1/0",
        LLMCORE_BUS__KEYS='{"prom": "key-three"}',
        LLMCORE_SERVER__WEBHOOK_TOKEN="hook-four",
        LLMCORE_STORE__URL="postgresql://me:pg-five@127.0.0.1/x",
    )
    assert {"sk-one", "pass-two", "key-three", "hook-four", "pg-five"} <= set(options.secrets(settings))


def test_targets_keep_their_attributes_for_policy(tmp_path: Path) -> None:
    """And unknown ones have none."""
    targets: dict[str, Any] = {"shop": {"status": ["true"], "attributes": {"production": True}}}
    targets["web@"] = {"unit": "web@%i.service", "attributes": {"owner": "anna"}}
    settings = settings_of(tmp_path, LLMCORE_SYSTEM__TARGETS=json.dumps(targets))
    attributes = options.attributes(settings)
    assert attributes("shop") == {"production": True}
    assert attributes("SHOP") == {"production": True}
    assert attributes("web@blog") == {"owner": "anna"}
    assert attributes("other") == {}
    assert options.host(settings).targets.targets["shop"].status == ("true",)
