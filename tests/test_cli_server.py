"""llmcore.cli: the commands that talk to a server, against a real one."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmcore.cli import main
from llmcore.cli.exits import Exit
from llmcore.cli.stopping import stopped_text
from tests.terminal_kit import PASSWORD, Served, raise_alert, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running server for all tests of this file, and an administrator who is logged in."""
    with served(tmp_path_factory.mktemp("server")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
        assert main(["login", "--url", running.url]) == 0
        yield running


class Shell:
    """Runs commands in this process and keeps what they show."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        """Nothing ran yet."""
        self._capsys = capsys
        self._patch = patch
        self.out = ""
        self.err = ""

    def __call__(self, *argv: str | Path, stdin: str = "") -> int:
        """The exit code."""
        self._patch.setattr("sys.stdin", io.StringIO(stdin))
        code = main([str(part) for part in argv])
        self.out, self.err = self._capsys.readouterr()
        return code

    def json(self, *argv: str | Path, stdin: str = "") -> Any:
        """The data of a command that is done."""
        assert self(*argv, "--json", stdin=stdin) == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def shell(server: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell of somebody who is logged in as administrator."""
    return Shell(capsys, monkeypatch)


def waiting_plan(shell: Shell, server: Served, name: str) -> tuple[Path, Any]:
    """A file, and the plan to delete it."""
    file = server.roots / name
    file.write_text("x", "utf-8")
    assert shell("ask", f"delete the file {file}", "--json") == Exit.WAITS
    return file, json.loads(shell.out)["plan"]


# --- logging in ---------------------------------------------------------------------------------------------------


def test_the_start_says_where_it_is(server: Served) -> None:
    """The ready line is the last; a password that was given is not shown."""
    assert server.said.splitlines()[-1] == f"llmcore ready on {server.url}"
    assert PASSWORD not in server.said


def test_a_wrong_password_is_refused(shell: Shell, server: Served) -> None:
    """And nothing is kept of it; no password at all is wrong usage."""
    assert shell("login", "--url", server.url, stdin="wrong\n") == Exit.FAILED
    assert "refused" in shell.err
    assert shell("login", "--url", server.url) == Exit.USAGE
    assert shell("status") == Exit.DONE


def test_a_login_may_be_given_by_the_environment(shell: Shell, server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """LLMCORE_ADMIN_PASSWORD for scripts; --json says who and where."""
    monkeypatch.setenv("LLMCORE_ADMIN_PASSWORD", PASSWORD)
    assert shell.json("login", "--url", server.url) == {"url": server.url, "user": "administrator"}


def test_nobody_there(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 6 where a server was named; a plan goes on without one where none was."""
    monkeypatch.setenv("LLMCORE_TOKEN", "t")
    for argv in (["status"], ["ask", "x"], ["plan", "x"], ["chat"]):
        code = shell(*argv, "--url", "http://127.0.0.1:9")
        assert code == (Exit.USAGE if argv == ["chat"] else Exit.UNREACHABLE), argv


def test_a_token_that_is_void(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment: nobody can renew it."""
    monkeypatch.setenv("LLMCORE_TOKEN", "void")
    assert shell("status") == Exit.FAILED
    assert "llmcore user token" in shell.err


def test_an_expired_token_is_renewed_and_kept(shell: Shell) -> None:
    """From the refresh token of the login, without a word."""
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "llmcore" / "credentials.json"  # noqa: TID251 - set by the fixture
    document = json.loads(file.read_text("utf-8"))
    tokens = document["servers"][document["current"]]
    file.write_text(json.dumps({**document, "servers": {document["current"]: {**tokens, "access": "x.y.z"}}}), "utf-8")
    assert shell("status") == Exit.DONE
    assert json.loads(file.read_text("utf-8"))["servers"][document["current"]]["access"] != "x.y.z"


# --- looking ------------------------------------------------------------------------------------------------------


def test_status_runs_plans_and_intents(shell: Shell) -> None:
    """As tables and as the RPC's data."""
    assert shell.json("status")["ready"]["components"]["store"]["status"] == "ok"
    assert set(shell.json("runs")) == {"runs"}
    assert set(shell.json("plans")) == {"plans"}
    assert "get_cpu_stats" in {found["name"] for found in shell.json("intents")["intents"]}
    for name, word in (("status", "store"), ("runs", "run"), ("plans", "digest"), ("intents", "get_cpu_stats")):
        assert shell(name) == 0
        assert word in shell.out


def test_alerts(shell: Shell, server: Served) -> None:
    """None at first, then what the alert manager told."""
    assert shell("alerts") == 0
    assert shell.out == "There are no alerts.\n"
    raise_alert(server, "DiskFull")
    assert shell.json("alerts")["alerts"][0]["labels"]["alertname"] == "DiskFull"
    assert shell("alerts") == 0
    assert "DiskFull" in shell.out


def test_the_audit_trail_is_exported_in_order(shell: Shell, tmp_path: Path) -> None:
    """One record a line, from the first on; a file of one's own."""
    assert shell("audit", "export", "--out", tmp_path / "audit.jsonl") == 0
    records = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text("utf-8").splitlines()]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600
    assert shell("audit", "export") == 0
    assert len(shell.out.splitlines()) >= len(records)


# --- asking -------------------------------------------------------------------------------------------------------


def test_ask_is_answered_from_the_machine(shell: Shell) -> None:
    """Words of the command line, or of a pipe; nothing but the reply on stdout."""
    assert shell("ask", "which", "processes", "eat", "the", "memory?") == 0
    assert "pid" in shell.out.lower()
    assert shell("ask", "-", stdin="show me the memory usage\n") == 0
    assert shell("ask", stdin="show me the memory usage") == 0
    assert shell.err == ""
    answer = shell.json("ask", "show me the memory usage")
    assert {"conversation_id", "run_id", "status", "text", "usage", "plan", "results"} <= set(answer)
    assert (answer["status"], answer["plan"]["answered_by"]) == ("done", "local")
    again = shell.json("ask", "show me the cpu usage", "--conversation", answer["conversation_id"])
    assert again["conversation_id"] == answer["conversation_id"]


def test_ask_for_nothing_and_for_what_is_not_there(shell: Shell) -> None:
    """Wrong usage is told from a request that was not understood."""
    assert shell("ask", stdin=" \n") == Exit.USAGE
    assert shell("ask", "please compose an opera about herons") == Exit.NOT_UNDERSTOOD
    assert "cannot" in shell.out
    assert shell("ask", "please compose an opera about herons", "--json") == Exit.NOT_UNDERSTOOD


def test_an_answer_that_takes_long_comes_as_one_object_too(shell: Shell) -> None:
    """The server acknowledges after eight seconds; the command waits for the rest."""
    answer = shell.json("ask", "take your time and tell me about herons", "--provider", "scripted")
    assert (answer["status"], answer["text"].split()) == ("done", ["at", "last"] * 9)


def test_at_a_terminal_nothing_is_not_read_from_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """`llmcore ask` alone says how it is used."""
    monkeypatch.setattr("llmcore.cli.asking.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    assert shell("ask") == Exit.USAGE


def test_a_step_that_fails(shell: Shell, server: Served) -> None:
    """Exit 1, with the reason in the reply."""
    assert shell("ask", f"read the file {server.roots}/absent.txt") == Exit.FAILED
    assert "failed" in shell.out


# --- deciding -----------------------------------------------------------------------------------------------------


def test_a_plan_that_waits_is_shown_and_approved_by_its_digest(shell: Shell, server: Served) -> None:
    """Exit 4 with the card; another digest is refused; the right one runs exactly that."""
    file, _ = waiting_plan(shell, server, "one.txt")
    assert shell("ask", f"delete the file {file}") == Exit.WAITS
    seen = shell.out
    plan = shell.json("plans")["plans"][0]
    digest = plan["digest"].removeprefix("sha256:")
    assert f'path="{file}"' in seen
    assert f"--digest {digest[:8]}" in seen
    for wrong, code in (("0" * 8, Exit.FAILED), (digest[:7], Exit.USAGE), ("not hexadecimal", Exit.USAGE)):
        assert shell("approve", plan["plan_id"], "--digest", wrong) == code
    assert file.exists()
    assert shell("approve", plan["plan_id"], "--digest", digest[:8], "--comment", "fine") == 0
    assert not file.exists()
    assert shell("approve", plan["plan_id"], "--digest", digest) == Exit.FAILED


def test_approve_with_json_prints_the_answer(shell: Shell, server: Served) -> None:
    """The whole digest, with its name in front."""
    _, plan = waiting_plan(shell, server, "two.txt")
    answer = shell.json("approve", plan["plan_id"], "--digest", plan["digest"])
    assert answer["plan"]["plan_id"] == plan["plan_id"]


def test_a_plan_that_needs_two_still_waits_after_one(shell: Shell, server: Served) -> None:
    """Exit 4 and the card with the approval that was given."""
    (server.roots / "many").mkdir()
    assert shell("ask", f"delete the folder {server.roots}/many", "--json") == Exit.WAITS
    plan = json.loads(shell.out)["plan"]
    assert shell("approve", plan["plan_id"], "--digest", plan["digest"]) == Exit.WAITS
    assert "needs 2 approvals by admin or developer, 1 of 2 given" in shell.out
    assert (server.roots / "many").exists()


def test_reject_ends_a_plan(shell: Shell, server: Served) -> None:
    """The file stays; twice is once too often."""
    file, plan = waiting_plan(shell, server, "three.txt")
    assert shell("reject", plan["plan_id"], "--reason", "not today") == 0
    assert file.exists()
    assert shell("reject", plan["plan_id"]) == Exit.FAILED
    assert shell("approve", "pl_none", "--digest", "0" * 8) == Exit.FAILED


@pytest.mark.parametrize("alone", [False, True])
def test_plan_shows_and_runs_nothing(alone: bool, shell: Shell, server: Served) -> None:
    """By the server, and without one; not even reads are run."""
    more = ["--config", str(server.roots.parent / "settings.json")] if alone else []
    file = server.roots / "four.txt"
    file.write_text("x", "utf-8")
    assert shell("plan", f"delete the file {file}", *more) == 0
    assert "delete_file [destructive]" in shell.out
    plan = shell.json("plan", "show me the memory usage", *more)["plan"]
    assert [(step["intent"], step["state"]) for step in plan["steps"]] == [("get_memory_stats", "pending")]
    assert shell("plan", "please compose an opera about herons", *more) == Exit.NOT_UNDERSTOOD
    assert shell.json("plan", f"delete the file {file}", *more)["plan"]["steps"][0]["intent"] == "delete_file"
    assert file.exists()


def test_without_a_login_a_plan_is_made_here(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says that it goes on without a server."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("LLMCORE_DATA_DIR", str(tmp_path / "data"))
    assert shell("plan", "show me the memory usage") == 0
    assert "Going on without a server." in shell.err
    assert shell("status") == Exit.FAILED


def test_plan_with_a_provider_that_is_not_there(shell: Shell) -> None:
    """The server's error is the command's."""
    assert shell("plan", "take your time", "--provider", "nobody") == Exit.USAGE


# --- people -------------------------------------------------------------------------------------------------------


def test_users_are_added_listed_changed_and_given_tokens(
    shell: Shell, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An observer may look, and is refused what changes anything."""
    assert shell("user", "add", "olga", "--role", "observer", stdin="olgas password\n") == 0
    assert shell("user", "add", "olga", stdin="olgas password\n") == Exit.FAILED
    assert shell("user", "add", "otto", "--role", "king", stdin="ottos password\n") == Exit.USAGE
    assert {"name": "olga", "role": "observer"}.items() <= shell.json("user", "list")["users"][-1].items()
    assert shell("user", "list") == 0
    assert "olga" in shell.out
    assert shell("user", "passwd", "olga", stdin="another password\n") == 0
    assert shell("user", "token", "olga", "--days", "1") == 0
    monkeypatch.setenv("LLMCORE_TOKEN", shell.out.strip())
    monkeypatch.setenv("LLMCORE_URL", server.url)
    assert shell("ask", "show me the memory usage") == 0
    for command in ("ask", "plan"):  # what an observer may not do is understood, and refused
        assert shell(command, f"delete the file {server.roots}/x") == Exit.REFUSED
    assert shell("user", "list") == Exit.REFUSED


def test_everything_is_stopped_held_and_released(shell: Shell) -> None:
    """What is told of each; with nothing running there is nothing to stop."""
    assert shell("stop-all") == 0
    assert shell.out == "Nothing was running.\n"
    assert shell.json("stop-all", "--hold", "--reason", "fire")["stopped"]["reason"] == "fire"
    assert shell("stop-all", "--release") == 0
    assert shell.out == "Things may begin again.\n"
    assert shell("stop-all", "--release") == 0
    assert shell.out == "Nothing was held.\n"
    order = {"runs": ["rn_1"], "hold": True}
    assert stopped_text({"stopped": order}).splitlines() == [
        "1 run ends after the steps that are running. Nothing new begins until `llmcore stop-all --release`.",
        "  rn_1",
    ]
    assert stopped_text({"stopped": {"runs": ["rn_1", "rn_2"], "hold": False}}).startswith("2 runs end after")


def test_the_trash_is_emptied(shell: Shell, server: Served) -> None:
    """What an open plan would put back stays and is named, unless it is forced."""
    shell("trash", "purge", "--force")
    _, plan = waiting_plan(shell, server, "trashed.txt")
    assert shell("approve", plan["plan_id"], "--digest", plan["digest"]) == 0
    assert shell.json("trash", "purge", "--older-than-days", "1") == {"items": 0, "bytes": 0, "kept": 0, "plans": []}
    assert shell("undo", plan["run_id"]) == Exit.WAITS
    assert shell("trash", "purge") == 0
    assert "stay, because open plans put them back: pl_" in shell.out
    assert shell("trash", "purge", "--force") == 0
    assert "Open plans that would have put some of them back: pl_" in shell.out
    assert shell("trash", "purge") == 0
    assert shell.out == "0 items are gone for good, 0.0 MiB.\n"


def test_a_password_is_typed_twice(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a person types it, a slip must not lock them out."""
    typed = iter(["one password", "another password"])
    monkeypatch.setattr("llmcore.cli.users.read_password", lambda _: next(typed))
    monkeypatch.setattr("llmcore.cli.users.getpass", lambda _: next(typed))
    monkeypatch.setattr("llmcore.cli.users.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    assert shell("user", "passwd", "administrator") == Exit.USAGE


def test_a_server_that_cannot_start_says_why(server: Served, tmp_path: Path, shell: Shell) -> None:
    """The port is another's; settings are wrong."""
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "llmcore", "serve", "--port", port, "--data-dir", str(tmp_path / "other")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, port in done.stderr, done.stderr.count("\n")) == (Exit.FAILED, True, 1)
    assert shell("serve", "--port", "70000") == Exit.USAGE
