"""The store takes no writes: nothing new begins, everybody is told why, and it goes on by itself afterwards."""

import asyncio
import json
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from tests.flow.test_crashes import verified
from tests.kill_kit import Killable, data_of, events_of, killable, run_until
from tests.machine import until
from tests.peer import LIMIT_S, Peer

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

DISK_MIB = 64
"""An eighth of it is the reserve."""


@asynccontextmanager
async def serving(folder: Path, marks: Path) -> AsyncIterator[Killable]:
    """A server with a script that leaves a mark, and one that first waits for a word."""
    async with killable(folder) as server:
        server.script("mark.sh", f'#!/bin/sh\necho "$1" >> {marks}/marks\n')
        wait = f"while ! test -e {marks}/go; do sleep 0.05; done"
        server.script("wait.sh", f'#!/bin/sh\n{wait}\necho "$1" >> {marks}/marks\n')
        yield server


def step(number: int, script: str, mark: str, needs: tuple[str, ...] = ()) -> dict[str, Any]:
    """A step that runs a script."""
    params = {"name": script, "args": mark}
    return {"id": f"s{number}", "intent": "start_script_execution", "params": params, "needs": list(needs)}


async def proposed(peer: Peer, *steps: Mapping[str, Any]) -> dict[str, str]:
    """A waiting plan, as `plan_approve` wants it."""
    plan = await data_of(peer, "chain", {"steps": list(steps)})
    return {"plan_id": plan["plan_id"], "digest": plan["digest"]}


async def running(peer: Peer) -> str:
    """A run with two steps side by side that wait for a word, and one that comes after the first of them."""
    plan = await proposed(
        peer, step(1, "wait.sh", "first"), step(2, "wait.sh", "beside"), step(3, "mark.sh", "after", ("s1",))
    )
    run_id = str((await data_of(peer, "plan_approve", plan))["plan"]["run_id"])
    await peer.until(lambda: len(events_of(peer, run_id, "STEP_STARTED")) == 2)
    return run_id


def marks_in(folder: Path) -> Counter[str]:
    """What was really done."""
    file = folder / "marks"
    return Counter(file.read_text().split() if file.exists() else [])


async def ready(server: Killable, code: int) -> dict[str, Any]:
    """The component `store` of `/readyz` once that answers so."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            answer = await server.fetch("/readyz")
            if answer.code == code:
                found: dict[str, Any] = json.loads(answer.body)["components"]["store"]
                return found


async def settled(peer: Peer, run_id: str, states: Mapping[str, str]) -> None:
    """Wait until the steps of a run are in these states."""
    await run_until(peer, run_id, lambda run: states == {step["id"]: step["state"] for step in run["steps"]})


async def test_locked_by_another_program(tmp_path: Path) -> None:
    """A chat, a proposal and an approval are refused with a reason; what was running is told once it can be."""
    async with serving(tmp_path, tmp_path) as server:
        peer = await server.peer()
        waits = await proposed(peer, step(1, "mark.sh", "waits"))
        run_id = await running(peer)
        with closing(sqlite3.connect(server.data / "llmcore.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            refused = [
                await peer.ask("chat_llm", {"prompt": "what time is it?"}),
                await peer.ask("plan_approve", waits),
                await peer.ask("chain", {"steps": [{"id": "s1", "intent": "get_system_time", "params": {}}]}),
            ]
            (tmp_path / "go").touch()
            answers = [await peer.answer_to(request) for request in refused]
            assert [(answer["code"], answer["data"]["error"]) for answer in answers] == [(503, "unavailable")] * 3
            assert any("locked by another program: end it" in answer["message"] for answer in answers)
            assert "locked" in (await ready(server, 503))["reason"]
            assert (await server.fetch("/healthz")).code == 200
            assert await data_of(peer, "get_system_time")
            assert (await data_of(peer, "plan_list"))["plans"]
            await until(lambda: marks_in(tmp_path) == {"first": 1, "beside": 1})
        await ready(server, 200)
        await settled(peer, run_id, {"s1": "done", "s2": "done", "s3": "done"})
        await data_of(peer, "plan_approve", waits)
        await until(lambda: marks_in(tmp_path)["waits"] == 1)
        assert (await peer.call("chat_llm", {"prompt": "what time is it?"}))["status"] == "success"
        assert await server.stop() == 0
        assert marks_in(tmp_path) == {"first": 1, "beside": 1, "after": 1, "waits": 1}
        assert verified(server.data)["ok"]


def fill(file: Path) -> None:
    """Take all that is left of a disk."""
    with file.open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(1 << 16))
        except OSError:
            left = os.statvfs(file.parent)
            assert left.f_bavail * left.f_frsize < 1 << 16


async def refusal(peer: Peer) -> dict[str, Any]:
    """Propose until the disk is full; the first answer that says so."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            steps = [{"id": "s1", "intent": "create_folder", "params": {"path": "x" * 200}}]
            answer = await peer.call("chain", {"steps": steps, "title": "fill " * 30})
            if answer["status"] == "error" and answer["code"] == 503:
                return answer


async def test_a_full_disk_is_cleaned_up(tmp_path: Path, small_disk: Callable[[int], Path]) -> None:
    """Only what frees space begins, audited, and for good; everything else is refused, and goes on afterwards."""
    disk = small_disk(DISK_MIB)
    async with serving(disk, tmp_path) as server:
        assert (server.data / "reserve").stat().st_size == DISK_MIB << 17
        peer = await server.peer()
        waits = await proposed(peer, step(1, "mark.sh", "waits"))
        run_id = await running(peer)
        ballast = server.roots / "ballast"
        fill(ballast)
        answer = await refusal(peer)
        assert answer["data"] == {"error": "unavailable", "component": "disk", "reason": "full"}
        assert "is full: only what frees space may begin (delete_file" in answer["message"]
        assert not (server.data / "reserve").exists()
        await peer.until(lambda: any("is full" in json.dumps(event) for event in peer.events))
        assert "is full" in (await ready(server, 503))["reason"]
        await _only_looking_goes_on(peer, waits)
        (tmp_path / "go").touch()
        await settled(peer, run_id, {"s1": "done", "s2": "done", "s3": "pending"})
        assert marks_in(tmp_path) == {"first": 1, "beside": 1}
        await _delete(peer, ballast)
        assert (await ready(server, 200))["status"] == "ok"
        assert (server.data / "reserve").stat().st_size == DISK_MIB << 17
        await settled(peer, run_id, {"s1": "done", "s2": "done", "s3": "done"})
        await data_of(peer, "plan_approve", waits)
        await until(lambda: marks_in(tmp_path)["waits"] == 1)
        assert await server.stop() == 0
        assert marks_in(tmp_path) == {"first": 1, "beside": 1, "after": 1, "waits": 1}
        assert verified(server.data)["ok"]


async def _only_looking_goes_on(peer: Peer, waits: Mapping[str, str]) -> None:
    """Reads by name are answered; a chat, an approval and a change are refused with what to do."""
    assert await data_of(peer, "get_disk_stats")
    for intent, params in (
        ("plan_approve", waits),
        ("create_folder", {"path": "x"}),
        ("chat_llm", {"prompt": "hello", "params": {"mode": "answer"}}),
    ):
        answer = await peer.call(intent, params)
        assert (answer["code"], "frees space" in answer["message"]) == (503, True), answer
    chat = await data_of(peer, "chat_llm", {"prompt": "what time is it?"})
    await peer.until(lambda: bool(events_of(peer, chat["run_id"], "RUN_ERROR")))
    error = events_of(peer, chat["run_id"], "RUN_ERROR")[-1]
    assert (error["code"], "frees space" in error["message"]) == ("unavailable", True)


async def _delete(peer: Peer, file: Path) -> None:
    """In words: the plan says that it is for good, and it is."""
    told = await data_of(peer, "chat_llm", {"prompt": f"delete the file {file}", "params": {"stream": False}})
    plan = told["plan"]
    assert plan["steps"][0]["preview"]["after"]["note"] == "Deleted for good: this cannot be taken back."
    assert plan["steps"][0]["undo"] is None
    await data_of(peer, "plan_approve", {"plan_id": plan["plan_id"], "digest": plan["digest"]})
    run = await run_until(peer, told["run_id"], lambda run: run["status"] == "done")
    assert run["steps"][0]["result"] == {"path": str(file), "trash_id": None}
    await until(lambda: not file.exists())


async def test_a_deletion_approved_as_undoable_stays_undoable(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    """The disk has become full since it was shown: the file goes to the trash all the same, which is then purged."""
    disk = small_disk(DISK_MIB)
    async with serving(disk, tmp_path) as server:
        peer = await server.peer()
        kept, ballast = server.roots / "kept", server.roots / "ballast"
        kept.write_bytes(bytes(30 << 20))
        plan = await proposed(peer, {"id": "s1", "intent": "delete_file", "params": {"path": str(kept)}})
        fill(ballast)
        await refusal(peer)
        run_id = (await data_of(peer, "plan_approve", plan))["plan"]["run_id"]
        run = await run_until(peer, run_id, lambda run: run["status"] == "done")
        assert run["steps"][0]["result"]["trash_id"]
        purged = await data_of(peer, "trash_purge")
        assert (purged["items"], purged["bytes"], purged["plans"]) == (1, 30 << 20, [])
        await ready(server, 200)
        back = (await data_of(peer, "run_undo", {"run_id": run_id}))["plan"]
        assert back["steps"][0]["preview"] is None
        approved = await data_of(peer, "plan_approve", {"plan_id": back["plan_id"], "digest": back["digest"]})
        undo = await run_until(
            peer, approved["plan"]["run_id"], lambda run: run["status"] not in ("running", "approved")
        )
        assert "it may have been purged" in undo["steps"][0]["error"]["message"]
        assert await server.stop() == 0
        assert verified(server.data)["ok"]


async def test_a_full_disk_at_the_start(tmp_path: Path, small_disk: Callable[[int], Path]) -> None:
    """The reserve had been given away when the power failed: the next life begins with the clean-up."""
    disk = small_disk(DISK_MIB)
    async with serving(disk, tmp_path) as server:
        peer = await server.peer()
        fill(server.roots / "ballast")
        await refusal(peer)
        await server.kill()
        await server.start()
        assert "is full" in (await ready(server, 503))["reason"]
        peer = await server.peer()
        await _delete(peer, server.roots / "ballast")
        await ready(server, 200)
        assert await server.stop() == 0
