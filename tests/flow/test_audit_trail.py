"""What happened on a real server can be proved: every decision and deed is a record, and no record can be changed."""

import asyncio
import hashlib
import json
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from llmcore.audit import canonical
from tests.kill_kit import PASSWORD, Killable, data_of, ended, killable
from tests.peer import Peer

pytestmark = pytest.mark.asyncio

EXPECTED = {
    "chat",
    "conversation.delete",
    "intent",
    "intent.denied",
    "login",
    "login.failed",
    "login.refresh",
    "login.revoke",
    "plan.approve",
    "plan.approve.refused",
    "plan.denied",
    "plan.edit",
    "plan.propose",
    "plan.reject",
    "refused",
    "run.segment",
    "server.start",
    "step.begin",
    "step.end",
    "user.add",
    "user.passwd",
    "user.token",
}
"""What the day below has to leave behind."""


LIE = (
    """UPDATE audit SET record = replace(record, 'not today', 'gladly') WHERE record LIKE '{"action":"plan.reject"%'"""
)


async def post(server: Killable, path: str, **form: str) -> tuple[int, Any]:
    """A form, and what is answered."""
    answer = await server.fetch(path, form)
    return answer.code, json.loads(answer.body)


async def logins(server: Killable) -> None:
    """Right, wrong, renewed, ended."""
    secret = hashlib.sha256(PASSWORD.encode()).hexdigest()
    code, body = await post(server, "/authorize", username="administrator", password=secret)
    assert code == 200
    assert (await post(server, "/authorize", username="administrator", password="0" * 64))[0] == 403
    code, body = await post(server, "/authorize/refresh", token=body["data"]["refresh"]["token"])
    assert code == 200
    assert (await post(server, "/authorize/revoke", token=body["data"]["access"]["token"]))[0] == 200


async def proposed(peer: Peer, server: Killable, name: str) -> dict[str, Any]:
    """A plan to write a file."""
    params = {"path": str(server.roots / name), "content": "x"}
    steps = [{"id": "s1", "intent": "write_file", "params": params}]
    plan: dict[str, Any] = await data_of(peer, "chain", {"steps": steps, "title": f"write {name}"})
    return plan


async def decisions(peer: Peer, server: Killable) -> str:
    """Approved after an edit, rejected, refused; the run of the approved one."""
    plan = await proposed(peer, server, "a.txt")
    stale = {"plan_id": plan["plan_id"], "digest": plan["digest"], "comment": "go"}
    steps = [{**plan["plan"]["steps"][0], "timeout_s": 30}]
    kept = [{key: step[key] for key in ("id", "intent", "params", "timeout_s")} for step in steps]
    edited = (await data_of(peer, "plan_edit", {"plan_id": plan["plan_id"], "steps": kept}))["plan"]
    assert (await peer.call("plan_approve", stale))["code"] == 409
    run_id: str = (await data_of(peer, "plan_approve", {**stale, "digest": edited["digest"]}))["plan"]["run_id"]
    await ended(peer, run_id)
    other = await proposed(peer, server, "b.txt")
    await data_of(peer, "plan_reject", {"plan_id": other["plan_id"], "reason": "not today"})
    return run_id


async def a_day(server: Killable) -> str:
    """People come, ask, decide and are refused; the run that changed something."""
    await logins(server)
    peer = await server.peer()
    await server.add_user("olga", "observer")
    await data_of(peer, "user_passwd", {"name": "olga", "password": f"{PASSWORD}!"})
    server.tokens["olga"] = (await data_of(peer, "user_token", {"name": "olga"}))["token"]
    olga = await server.peer("olga")
    assert (await olga.call("user_list"))["code"] == 403
    assert (await olga.call("create_folder", {"path": str(server.roots / "no")}))["code"] == 403
    steps = [{"id": "s1", "intent": "create_folder", "params": {"path": str(server.roots / "no")}}]
    assert (await olga.call("chain", {"steps": steps}))["code"] == 403
    await data_of(peer, "get_cpu_stats")
    chat = await data_of(peer, "chat_llm", {"prompt": "how much memory is free?"})
    await ended(peer, chat["run_id"])
    await data_of(peer, "conversation_delete", {"conversation_id": chat["conversation_id"]})
    return await decisions(peer, server)


async def records(server: Killable, **asked: Any) -> list[dict[str, Any]]:
    """What an admin finds, newest first."""
    found: list[dict[str, Any]] = (await data_of(await server.peer(), "audit_query", asked))["records"]
    return found


async def command(server: Killable, *words: str | Path) -> tuple[int, str]:
    """A command that needs no server: exit code and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "llmcore", *map(str, words), "--data-dir", str(server.data)),
        env=server.settings(),
        cwd=server.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode is not None
    return process.returncode, said


def change(server: Killable, statement: str) -> None:
    """Somebody edits the database behind the server's back."""
    url = server.environment.get("LLMCORE_STORE__URL")
    if url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())
        return
    with closing(sqlite3.connect(server.data / "llmcore.db", isolation_level=None)) as connection:
        connection.execute(statement)


def check_story(found: list[dict[str, Any]], run: Mapping[str, Any]) -> None:
    """Who, what, why, digest, versions, and what came of it."""
    by_action = {record["action"]: record for record in reversed(found)}
    approve = by_action["plan.approve"]
    assert (approve["actor"]["name"], approve["facts"]["comment"]) == ("administrator", "go")
    proposals = [record["facts"] for record in found if record["action"] == "plan.propose"]
    assert {"write a.txt", "write b.txt"} <= {facts["request"] for facts in proposals}
    assert all(facts["digest"].startswith("sha256:") for facts in proposals)
    edit = by_action["plan.edit"]["facts"]
    assert (edit["digest"], edit["digest_before"]) != (edit["digest_before"], edit["digest"])
    assert "timeout_s" in str(edit["diff"])
    assert approve["facts"]["digest"] == edit["digest"] == by_action["step.begin"]["facts"]["digest"]
    assert by_action["plan.reject"]["facts"]["reason"] == "not today"
    assert by_action["plan.approve.refused"]["facts"]["digest"] == edit["digest_before"]
    assert set(approve["facts"]["versions"]) == {"catalog", "policy"}
    end = next(record["facts"] for record in found if record["action"] == "step.end" and record["facts"]["state"])
    (step,) = run["steps"]
    assert end["result"]["sha256"] == hashlib.sha256(canonical(step["result"])).hexdigest()
    assert by_action["refused"]["actor"]["name"] == "olga"
    assert by_action["login.failed"]["facts"]["remote"] == "127.0.0.1"


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)])
async def test_a_day_is_told_and_cannot_be_told_otherwise(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    """Complete, found by questions, exported while the server runs, and every tampering found in both."""
    url = {"LLMCORE_STORE__URL": request.getfixturevalue("postgres_url")} if database == "postgres" else {}
    async with killable(tmp_path, environment=url) as server:
        run_id = await a_day(server)
        peer = await server.peer()
        run = (await data_of(peer, "run_get", {"run_id": run_id}))["run"]
        found = await records(server, limit=5000)
        assert {record["action"] for record in found} >= EXPECTED
        assert all(record["time"] and record["actor"]["name"] for record in found)
        check_story(found, run)
        about = await records(server, plan_id=run["plan_id"])
        assert {"plan.propose", "plan.edit", "plan.approve", "step.begin", "step.end"} <= {
            record["action"] for record in about
        }
        assert [record["seq"] for record in about] == sorted((record["seq"] for record in about), reverse=True)
        assert await records(server, text="NOT TODAY") != []
        export = tmp_path / "export.jsonl"
        assert (await command(server, "audit", "export", "--out", export))[0] == 0
        code, said = await command(server, "audit", "verify", "--file", export, "--json")
        assert (code, json.loads(said)["ok"]) == (0, True)
        code, said = await command(server, "audit", "verify", "--json")
        assert (code, json.loads(said)["ok"]) == (0, True)
        victim = next(record["seq"] for record in found if record["action"] == "plan.reject")
        await asyncio.to_thread(change, server, LIE)
        code, said = await command(server, "audit", "verify", "--json")
        assert (code, json.loads(said)["first_bad"]) == (1, victim)
        assert (await command(server, "audit", "export", "--out", export))[0] == 0
        code, said = await command(server, "audit", "verify", "--file", export, "--json")
        assert (code, json.loads(said)["first_bad"]) == (1, victim)
