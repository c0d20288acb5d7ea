"""Canaries: every secret has a value of its own, everything is done that could give one away, then all is searched.

All files below the data folder, all that the server prints at level debug, all frames, all answers over HTTP, all that
the vendors are sent: a secret may be seen only in the header that logs in to its vendor.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from llmcore.envelope import ALERT, sign
from tests.kill_kit import PASSWORD, Killable, data_of, ended, killable
from tests.peer import Peer
from tests.vendor_server import Answer, Request, VendorServer

pytestmark = pytest.mark.asyncio

CANARY = {
    name: f"canary.{name}.8f3a1c" for name in ("openai", "anthropic", "local", "hook", "bus", "telegram", "admin")
}
"""Shaped like nothing in particular, so that no pattern finds them."""
MARK = "canary."
VENDORS = {"openai": "authorization", "local": "authorization", "anthropic": "x-api-key"}


def vendor(request: Request) -> Answer:
    """Repeats the key it was given in every error, as careless vendors do."""
    key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
    words = str(request.body.get("messages"))
    error = {"type": "authentication_error", "code": "invalid_api_key", "message": f"Incorrect API key: {key}."}
    if "fail with 401" in words:
        return Answer(status=401, error=error)
    if "fail with 500" in words:
        return Answer(status=500, error=error, headers={"x-echo": key})
    return Answer("I was told everything and say nothing.", chunks=9)


def settings(vendors: VendorServer, folder: Path, redis_url: str) -> dict[str, str]:
    """All secrets there are, in the environment."""
    (folder / "keys.log").write_text("".join(f"{name} is {key}\n" for name, key in CANARY.items()))
    return {
        "LLMCORE_LLM__PROVIDER": "openai",
        "LLMCORE_LLM__FALLBACK": '["anthropic"]',
        "LLMCORE_LLM__RETRIES": "0",
        "LLMCORE_LLM__PROVIDERS": json.dumps(
            {
                "openai": {"base_url": vendors.openai_url},
                "anthropic": {"base_url": vendors.url},
                "local": {"base_url": vendors.openai_url, "model": "m", "api_key": CANARY["local"]},
            }
        ),
        "OPENAI_API_KEY": CANARY["openai"],
        "ANTHROPIC_API_KEY": CANARY["anthropic"],
        "LLMCORE_SERVER__WEBHOOK_TOKEN": CANARY["hook"],
        "LLMCORE_BUS__URL": redis_url,
        "LLMCORE_BUS__KEYS": json.dumps({"prom": CANARY["bus"]}),
        "LLMCORE_NOTIFY__TELEGRAM_BOTS": json.dumps({"ops": {"token": CANARY["telegram"], "chat_ids": ["1"]}}),
        "LLMCORE_ADMIN_PASSWORD": CANARY["admin"],
        "LLMCORE_SYSTEM__LOGS": json.dumps({"keys": str(folder / "keys.log")}),
        "LLMCORE_LOG__LEVEL": "debug",
    }


async def chats(server: Killable, peer: Peer) -> None:
    """Answers, plans and errors of every provider; words and files that hold the secrets."""
    leaked = " ".join(CANARY.values())
    (server.roots / "keys.txt").write_text(leaked)
    for prompt, params in (
        ("hello", {"mode": "answer"}),
        ("hello", {"mode": "answer", "provider": "anthropic"}),
        ("hello", {"mode": "answer", "provider": "local"}),
        ("fail with 401", {"mode": "answer"}),
        ("fail with 500", {"mode": "answer", "provider": "anthropic"}),
        ("fail with 500", {"mode": "auto"}),
        (f"what is {leaked}?", {"mode": "answer"}),
        (f"read the file {server.roots}/keys.txt", {"mode": "auto"}),
        ("show the log keys", {"mode": "auto"}),
        ("write something down for me", {"mode": "plan"}),
    ):
        accepted = await data_of(peer, "chat_llm", {"prompt": prompt, "params": params, "context": {"note": leaked}})
        await ended(peer, accepted["run_id"])


async def requests(server: Killable, peer: Peer) -> list[HTTPResponse]:
    """Every door, with right and wrong words; the answers."""
    leaked = " ".join(CANARY.values())
    script = server.script("leak.sh", f"#!/bin/sh\necho {leaked}\necho {leaked} >&2\nexit 3\n")
    steps = [
        {"id": "s1", "intent": "start_script_execution", "params": {"name": script.name}, "on_error": "continue"},
        {"id": "s2", "intent": "write_file", "params": {"path": f"{server.roots}/new.txt", "content": leaked}},
    ]
    proposed = await data_of(peer, "chain", {"steps": steps})
    approve = {"plan_id": proposed["plan_id"], "digest": proposed["digest"]}
    await ended(peer, (await data_of(peer, "plan_approve", approve))["plan"]["run_id"])
    for intent, params in (
        (
            "chain",
            {"steps": [{"id": "s1", "intent": "simple_telegram_notify", "params": {"message": "m", "bot": "x"}}]},
        ),
        ("chat_llm", {"prompt": 1, "params": {"provider": "nobody"}}),
        ("read_log", {"name": "keys"}),
        ("read_file", {"path": f"{server.roots}/keys.txt"}),
        *((name, {}) for name in ("status", "intents_list", "plan_list", "run_list", "conversation_list")),
        *((name, {}) for name in ("audit_query", "alert_list", "suggestion_list", "user_list", "no_such_intent")),
    ):
        await peer.call(intent, params)
    bearer = {"Authorization": f"Bearer {await server.token()}"}
    body = json.dumps({"model": "llmcore", "messages": [{"role": "user", "content": "hello"}]})
    return [
        *[await server.fetch(path) for path in ("/", "/healthz", "/readyz", "/metrics", "/nothing", "/ws?token=bad")],
        await server.fetch("/v1/models", headers=bearer),
        await server.fetch("/v1/chat/completions", method="POST", body=body, headers=bearer),
        await server.fetch("/authorize", {"username": "administrator", "password": CANARY["admin"]}),
    ]


async def alerts(server: Killable, redis_url: str) -> list[HTTPResponse]:
    """By webhook and by bus, rightly and wrongly signed, with secrets in their words."""
    words = {"summary": " ".join(CANARY.values())}
    alert = {"status": "firing", "labels": {"alertname": "HostDown", "note": CANARY["hook"]}, "annotations": words}
    body = json.dumps({"version": "4", "alerts": [{**alert, "startsAt": "2026-01-01T00:00:00Z"}]})

    async def post(token: str, text: str) -> HTTPResponse:
        headers = {"Authorization": f"Bearer {token}"}
        return await server.fetch("/hooks/alertmanager", method="POST", body=text, headers=headers)

    from redis.asyncio import Redis

    client = Redis.from_url(redis_url)
    for name, key in (("prom", CANARY["bus"]), ("prom", "wrong"), (CANARY["bus"], "x")):
        await client.publish("llmcore:alerts", sign(name, key, ALERT, "t", alert, 1_000.0))
    await client.aclose()
    return [await post(CANARY["hook"], body), await post("wrong", body), await post(CANARY["hook"], "{")]


async def commands(server: Killable) -> str:
    """What the commands print that read the same settings."""
    said = b""
    for words in (("doctor",), ("doctor", "--json", "--online"), ("providers", "test"), ("plan", "hello there")):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "llmcore", *words, "--data-dir", str(server.data)),
            env=server.settings(),
            cwd=server.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said += (await process.communicate())[0]
    return said.decode()


def seen_by_vendors(vendors: VendorServer) -> str:
    """All that they were sent, less the headers that log in."""

    def rest(headers: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in headers.items() if name not in VENDORS.values()}

    return repr([(request.path, rest(request.headers), request.body) for request in vendors.requests])


def sightings(texts: Mapping[str, Any]) -> list[str]:
    """Where a canary is, with what stands around it."""
    found = []
    for place, text in texts.items():
        data = text if isinstance(text, bytes) else str(text).encode()
        at = data.find(MARK.encode())
        if at >= 0:
            found.append(f"{place}: {data[max(0, at - 150) : at + 60]!r}")
    return found


async def test_no_secret_is_seen_anywhere(tmp_path: Path, redis_url: str) -> None:
    """Not one, in any output."""
    async with VendorServer(script=vendor) as vendors:
        environment = settings(vendors, tmp_path, redis_url)
        async with killable(tmp_path, environment=environment) as server:
            server.tokens.clear()
            await server.token(password=CANARY["admin"])
            assert (await server.fetch("/authorize", {"username": "administrator", "password": PASSWORD})).code == 403
            peer = await server.peer()
            await chats(server, peer)
            answers = [*await requests(server, peer), *await alerts(server, redis_url)]
            said = await commands(server)
            frames = json.dumps(peer.frames)
        assert {request.headers.get(VENDORS["openai"]) for request in vendors.requests} >= {
            f"Bearer {CANARY['openai']}",
            f"Bearer {CANARY['local']}",
        }
        files = {str(path): path.read_bytes() for path in server.data.rglob("*") if path.is_file()}
        assert files
        found = sightings(
            {
                **files,
                "output": server.said,
                "commands": said,
                "frames": frames,
                "vendors": seen_by_vendors(vendors),
                **{f"{answer.request.url} {answer.code}": [answer.body, dict(answer.headers)] for answer in answers},
            }
        )
        assert found == [], "\n".join(found)
