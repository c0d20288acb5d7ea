"""llmcore.cli: reading, checking and writing out the audit trail, and replays."""

import asyncio
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmcore.adapters.sql import StoreOptions, open_store
from llmcore.audit import Verification, verify_lines
from llmcore.cli import main
from llmcore.cli.auditing import moment, records_table
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.replaying import _append, _lines
from llmcore.ports import rfc3339
from tests.terminal_kit import PASSWORD, Served, served
from tests.test_cli_server import Shell


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running server, and an administrator who is logged in."""
    with served(tmp_path_factory.mktemp("server")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
        assert main(["login", "--url", running.url]) == 0
        yield running


@pytest.fixture
def shell(server: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell of the administrator."""
    return Shell(capsys, monkeypatch)


def refused_plan(shell: Shell, server: Served, name: str) -> Any:
    """A plan that was rejected with a reason."""
    file = server.roots / name
    file.write_text("x", "utf-8")
    assert shell("ask", f"delete the file {file}", "--json") == Exit.WAITS
    plan = json.loads(shell.out)["plan"]
    assert shell("reject", plan["plan_id"], "--reason", "it is still needed") == 0
    return plan


# --- with a server ------------------------------------------------------------------------------------------------


def test_records_are_looked_for(shell: Shell, server: Served) -> None:
    """By who, what, when and about what; a table for people."""
    plan = refused_plan(shell, server, "a.txt")
    found = shell.json("audit", "query", "--plan", plan["plan_id"])["records"]
    assert [record["action"] for record in found] == ["plan.reject", "run.segment", "plan.propose"]
    assert set(found[0]) == {"seq", "time", "actor", "action", "facts", "hash"}
    assert shell("audit", "query", "--action", "plan.*", "--actor", "administrator", "--since", "1h") == 0
    assert "it is still needed" in shell.out
    assert plan["plan_id"] in shell.out
    assert shell("audit", "query", "--text", "no record has these words") == 0
    assert shell.out == "No record fits.\n"
    assert shell.json("audit", "query", "--until", "2020-01-01")["records"] == []
    assert len(shell.json("audit", "query", "--limit", "2")["records"]) == 2
    assert shell("audit", "query", "--limit", "0") == Exit.USAGE
    assert shell("audit", "query", "--since", "yesterday") == Exit.USAGE


def test_all_that_happened_to_a_plan_is_shown_in_order(shell: Shell, server: Served) -> None:
    """Or to a run; or one record in full."""
    plan = refused_plan(shell, server, "b.txt")
    assert shell("audit", "show", plan["plan_id"]) == 0
    assert shell.out.index("plan.propose") < shell.out.index("plan.reject")
    records = shell.json("audit", "show", plan["run_id"])["records"]
    assert [record["seq"] for record in records] == sorted(record["seq"] for record in records)
    assert records[0]["action"] == "chat"
    assert shell("audit", "show", str(records[0]["seq"])) == 0
    assert json.loads(shell.out) == records[0]
    for nothing in ("pl_none", "999999999"):
        assert shell("audit", "show", nothing) == Exit.FAILED


def test_an_export_through_the_server_is_that_of_its_folder(
    shell: Shell, server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, the same lines; each can be checked alone, and a changed one is found."""
    monkeypatch.setattr("llmcore.cli.auditing.PAGE", 3)
    refused_plan(shell, server, "c.txt")
    assert shell("audit", "export", "--out", tmp_path / "remote.jsonl") == 0
    assert shell("audit", "export", "--data-dir", server.roots.parent / "data", "--out", tmp_path / "local.jsonl") == 0
    remote, local = ((tmp_path / name).read_text("utf-8") for name in ("remote.jsonl", "local.jsonl"))
    lines = remote.splitlines(keepends=True)
    assert local.startswith("".join(lines[:-1]))
    assert (tmp_path / "remote.jsonl").stat().st_mode & 0o777 == 0o600
    told = shell.json("audit", "verify", "--file", tmp_path / "remote.jsonl")
    assert told == {"ok": True, "rows": len(lines), "first_bad": None}
    assert shell("audit", "export", "--since", "2020-01-01") == 0
    assert verify_lines(shell.out.splitlines(keepends=True)).ok
    (tmp_path / "remote.jsonl").write_text(remote.replace("still needed", "not needed"), "utf-8")
    assert shell("audit", "verify", "--file", tmp_path / "remote.jsonl") == Exit.FAILED
    assert "was changed, added or removed" in shell.out
    assert "llmcore audit export" in shell.out


def test_a_run_is_replayed(shell: Shell, server: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence or as data; its request becomes a case, with a word of warning where it leans on others."""
    plan = refused_plan(shell, server, "d.txt")
    cases = tmp_path / "cases.jsonl"
    assert shell("replay", plan["run_id"], "--case", cases) == 0
    assert (shell.out, shell.err) == ("The same: plan and decisions are what they were.\n", "")
    assert json.loads(cases.read_text("utf-8"))["expect"]["steps"][0]["intent"] == "delete_file"
    assert shell.json("replay", plan["run_id"])["same"] is True
    assert shell("replay", "rn_none") == Exit.FAILED
    _append(cases, {"case": {"id": 1}, "stands_alone": False})
    assert "lean on what was said before" in capsys.readouterr().err
    assert len(cases.read_text("utf-8").splitlines()) == 2


# --- without ------------------------------------------------------------------------------------------------------


def written(folder: Path, records: int = 3) -> Path:
    """A data folder with some records."""

    async def write() -> None:
        store = await open_store(StoreOptions(url=f"sqlite:///{folder}/llmcore.db"))
        for number in range(records):
            await store.audit_append({"action": "test", "facts": {}, "number": number, "time": "x"})
        await store.close()

    asyncio.run(write())
    return folder


def test_a_folder_is_exported_without_a_server(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To stdout too."""
    assert main(["audit", "export", "--data-dir", str(written(data_dir))]) == 0
    assert verify_lines(capsys.readouterr().out.splitlines(keepends=True)) == Verification(True, 3)


def test_what_to_do_is_said(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no store, and where it is not what was written."""
    assert main(["audit", "verify", "--data-dir", str(data_dir)]) == Exit.FAILED
    assert "--data-dir" in capsys.readouterr().err
    written(data_dir)
    with closing(sqlite3.connect(data_dir / "llmcore.db")) as connection, connection:
        connection.execute("DELETE FROM audit WHERE seq = 2")
    assert main(["audit", "verify", "--data-dir", str(data_dir)]) == Exit.FAILED
    said = capsys.readouterr().out
    assert "Record 2 was changed" in said
    assert "--data-dir" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", "2026-01-31T00:00:00.000Z"),
        ("2026-01-31T08:00:00+02:00", "2026-01-31T06:00:00.000Z"),
        ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00.000Z"),
    ],
)
def test_moments(text: str, expected: str) -> None:
    """As records write them."""
    assert moment(text) == expected


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)])
def test_moments_before_now(text: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted back from the present."""
    monkeypatch.setattr("llmcore.cli.auditing.SystemClock.now", lambda _: 2e9)
    assert moment(text) == rfc3339(2e9 - seconds)
    assert moment("99999w") == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize("text", ["", "soon", "5 d", "-1h", "2026-13-01"])
def test_what_is_no_moment(text: str) -> None:
    """Is wrong usage."""
    with pytest.raises(Usage):
        moment(text)


def test_every_record_has_a_row() -> None:
    """Also one that is damaged, and one with an error."""
    rows: list[dict[str, Any]] = [
        {"seq": 2, "time": "t", "actor": {"name": "anna"}, "action": "step.end", "facts": {"error": {"error": "odd"}}},
        {"seq": 1, "time": None, "actor": None, "action": "damaged", "facts": {}},
    ]
    shown = records_table(rows).splitlines()
    assert len(shown) == 3
    assert "odd" in shown[1]


def test_a_replay_says_what_is_different() -> None:
    """Step by step; what has changed; what may be the reason."""
    answer = {
        "same": False,
        "differences": [
            {"step": "s1", "what": "policy", "recorded": {"decision": "ask"}, "now": None},
            {"step": None, "what": "kind", "recorded": "plan", "now": "none"},
        ],
        "changed": {"catalog": {"recorded": "a", "now": "b"}, "odd": {"recorded": None, "now": "c"}},
        "same_prompts": False,
        "redacted": True,
        "cut": True,
    }
    assert list(_lines(answer)) == [
        "Not the same as it was:",
        '  s1 policy: {"decision": "ask"} -> nothing',
        "  kind: plan -> none",
        "Since then the catalogue has changed (a -> b).",
        "Since then odd has changed (None -> c).",
        "A model would be asked in other words now; its recorded replies were used.",
        "Secrets were taken out of the recording, so it is not quite what was planned from.",
        "The recording was too large and is cut, so it is not quite what was planned from.",
    ]
