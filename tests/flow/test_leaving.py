"""Whoever leaves or stops: the vendor is asked no further, a script dies with all it started, a plan waits no more."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from tornado.iostream import IOStream
from tornado.websocket import WebSocketProtocol

from tests.kill_kit import Killable, data_of, ended, events_of, killable, run_until
from tests.machine import alive, until
from tests.peer import Peer
from tests.vendor_server import Answer, VendorServer

pytestmark = pytest.mark.asyncio

SLOW = Answer("word " * 600, chunks=600, delay_s=0.05)
ANSWER = {"prompt": "tell me", "params": {"mode": "answer"}}


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[VendorServer]:
    """A model that talks for half a minute."""
    async with VendorServer(SLOW) as running:
        yield running


@pytest_asyncio.fixture
async def server(tmp_path: Path, vendor: VendorServer) -> AsyncIterator[Killable]:
    """A server that asks it."""
    environment = {"LLMCORE_LLM__PROVIDER": "local", "LLMCORE_LLM__BASE_URL": vendor.openai_url}
    async with killable(tmp_path, environment=environment) as running:
        yield running


async def leave(peer: Peer, how: str) -> None:
    """Close a socket as browsers do (1000, 1001), or as a broken network does."""
    if how != "reset":
        peer.socket.close(int(how))
        return
    stream = cast(IOStream, cast(WebSocketProtocol, peer.socket.protocol).stream)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


async def talking(peer: Peer) -> str:
    """Ask, and wait until the first words are there."""
    run_id: str = (await data_of(peer, "chat_llm", ANSWER))["run_id"]
    await peer.until(lambda: bool(events_of(peer, run_id, "TEXT_MESSAGE_CONTENT")))
    return run_id


@pytest.mark.parametrize("how", ["1000", "1001", "reset"])
async def test_only_reader_leaves(server: Killable, vendor: VendorServer, how: str) -> None:
    """The request to the vendor is closed; the run says so; its words so far are kept."""
    peer = await server.peer()
    run_id = await talking(peer)
    await leave(peer, how)
    async with asyncio.timeout(20):
        await vendor.left.wait()
    back = await server.peer()
    run = await run_until(back, run_id, lambda run: run["status"] == "cancelled")
    assert run["text"].startswith("word ")


async def test_one_of_two_readers_leaves(server: Killable, vendor: VendorServer) -> None:
    """The other one goes on reading."""
    first, second = await server.peer(), await server.peer()
    run_id = await talking(first)
    await leave(first, "1001")
    seen = len(events_of(second, run_id))
    await second.until(lambda: len(events_of(second, run_id)) > seen + 3)
    assert not vendor.left.is_set()
    await leave(second, "reset")
    async with asyncio.timeout(20):
        await vendor.left.wait()


@pytest.mark.parametrize("answer", [SLOW, Answer("x", first_delay_s=60), Answer("a b c", stall_after=2)])
async def test_stopped_while_the_model_is_asked(server: Killable, vendor: VendorServer, answer: Answer) -> None:
    """Streaming, not answering at all, or stalled half-way."""
    vendor._answers[:] = [answer]
    peer = await server.peer()
    run_id = (await data_of(peer, "chat_llm", ANSWER))["run_id"]
    await vendor.asked.wait()
    run = (await data_of(peer, "run_cancel", {"run_id": run_id}))["run"]
    assert run["status"] == "cancelled"
    assert (await ended(peer, run_id))["outcome"] == {"type": "cancelled"}
    async with asyncio.timeout(20):
        await vendor.left.wait()


async def test_stopped_while_a_script_runs(server: Killable) -> None:
    """The script, its children and grandchildren are gone; what did not begin is not begun."""
    pids = server.folder / "pids"
    children = f"(sleep 300 & echo $! >> {pids}; sleep 301) & echo $! $$ >> {pids}"
    server.script("family.sh", f"#!/bin/sh\ntrap '' TERM\n{children}\nwait\nsleep 300\n")
    after = server.script("after.sh", f"#!/bin/sh\ntouch {server.folder}/after\n")
    peer = await server.peer()
    chain = [
        {"id": "s1", "intent": "start_script_execution", "params": {"name": "family.sh"}},
        {"id": "s2", "intent": "start_script_execution", "params": {"name": after.name}, "needs": ["s1"]},
    ]
    plan = await data_of(peer, "chain", {"steps": chain})
    decision = {"plan_id": plan["plan_id"], "digest": plan["digest"]}
    run_id = (await data_of(peer, "plan_approve", decision))["plan"]["run_id"]
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    await data_of(peer, "run_cancel", {"run_id": run_id})
    assert (await ended(peer, run_id))["outcome"] == {"type": "cancelled"}
    family = [int(pid) for pid in pids.read_text().split()]
    await until(lambda: not any(map(alive, family)))
    run = (await data_of(peer, "run_get", {"run_id": run_id}))["run"]
    assert run["status"] == "cancelled"
    assert [step["state"] for step in run["steps"]] == ["unknown", "pending"]
    assert not (server.folder / "after").exists()


async def test_stopped_while_it_waits(server: Killable) -> None:
    """Nobody can approve it afterwards."""
    server.script("never.sh", f"#!/bin/sh\ntouch {server.folder}/never\n")
    peer = await server.peer()
    told = await data_of(peer, "chat_llm", {"prompt": "run never.sh", "params": {"stream": False}})
    assert told["status"] == "proposed"
    run = (await data_of(peer, "run_cancel", {"run_id": told["run_id"]}))["run"]
    assert run["status"] == "cancelled"
    decision = {"plan_id": told["plan"]["plan_id"], "digest": told["plan"]["digest"]}
    refused = await peer.call("plan_approve", decision)
    assert (refused["code"], refused["data"]["error"]) == (409, "conflict"), json.dumps(refused)
    assert not (server.folder / "never").exists()
