"""llmcore.cli: `chain` and `undo`, against a real server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore.cli.chaining import read_chain
from llmcore.cli.exits import Exit, Usage
from tests.terminal_kit import Served
from tests.test_cli_server import Shell, server, shell

__all__ = ["server", "shell"]


@pytest.fixture
def folder(server: Served) -> Iterator[Path]:
    """Where a chain may work."""
    made = server.roots / "chain"
    made.mkdir()
    yield made
    made.rmdir()


def made_of(shell: Shell, file: Path, *more: str) -> dict[str, Any]:
    """The plan that a chain becomes."""
    assert shell("chain", file, "--json", *more) == Exit.WAITS, shell.err
    answer: dict[str, Any] = json.loads(shell.out)
    return answer


def test_a_chain_of_a_file_waits_runs_and_is_taken_back(shell: Shell, tmp_path: Path, folder: Path) -> None:
    """Two folders, one in the other; the inner one goes first."""
    file = tmp_path / "chain.yaml"
    file.write_text(
        f"title: Folders\nsteps:\n- intent: create_folder\n  params: {{path: {folder}/a}}\n"
        f"- intent: create_folder\n  params: {{path: {folder}/a/b}}\n  needs: [s1]\n",
        "utf-8",
    )
    assert shell("chain", file) == Exit.WAITS
    assert "Folders" in shell.out
    assert "Approve: llmcore approve" in shell.out
    answer = made_of(shell, file, "--title", "Other words")
    assert answer["plan"]["title"] == "Other words"
    assert shell("approve", answer["plan_id"], "--digest", answer["digest"]) == Exit.DONE
    assert (folder / "a" / "b").is_dir()
    run_id = shell.json("plans", answer["plan_id"])["plan"]["run_id"]
    assert shell("undo", run_id) == Exit.WAITS
    assert "Take back: Other words" in shell.out
    plans = shell.json("plans")["plans"]
    back = next(plan for plan in plans if plan["undoes"] == run_id)
    alone = ("--break-glass", "--comment", "two people are asked for folders, and one is awake")
    assert shell("approve", back["plan_id"], "--digest", back["digest"], *alone) == Exit.DONE
    assert not (folder / "a").exists()
    assert shell("undo", run_id) == Exit.FAILED
    assert "taken back already" in shell.err


def test_reads_run_at_once_where_that_is_asked(shell: Shell, tmp_path: Path) -> None:
    """Nobody has to be asked, so nothing waits."""
    file = tmp_path / "reads.json"
    file.write_text(json.dumps([{"intent": "get_system_time"}]), "utf-8")
    assert shell("chain", file, "--run") == Exit.DONE
    assert shell.out
    assert shell("chain", "-", "--run", "--json", stdin=file.read_text("utf-8")) == Exit.DONE
    assert json.loads(shell.out)["run_id"]


def test_a_chain_that_is_refused_names_the_field(shell: Shell, tmp_path: Path) -> None:
    """Where it stands in the file."""
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps([{"intent": "get_system_time", "when": "steps.s9.state == 'done'"}]), "utf-8")
    assert shell("chain", file) == Exit.USAGE
    assert "/steps/0/when" in shell.err


def test_a_run_is_told_and_what_cannot_be_done_with_it_too(shell: Shell, tmp_path: Path) -> None:
    """Its steps with what went wrong; nothing is unknown, and nothing is left to stop."""
    file = tmp_path / "reads.json"
    steps = [{"intent": "get_system_time"}, {"intent": "get_cpu_stats", "when": "steps.s1.result.gone == 1"}]
    file.write_text(json.dumps(steps), "utf-8")
    assert shell("chain", file, "--run") == Exit.USAGE  # what the step says of its condition
    run_id = shell.json("runs")["runs"][0]["run_id"]
    assert shell("runs", run_id) == Exit.DONE
    assert "get_cpu_stats" in shell.out
    assert "KeyError" in shell.out
    assert shell("resolve", run_id, "s2", "done") == Exit.FAILED
    assert "no step that waits" in shell.err
    assert shell("cancel", run_id) == Exit.DONE
    assert "failed" in shell.out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("steps: {", "neither YAML nor JSON"),
        ("just words", "list of steps"),
        ("steps: 3", "list of steps"),
        ("{steps: [], mode: run}", "unknown key 'mode'"),
        ("[" + "1," * 600_000 + "1]", "larger"),
    ],
)
def test_a_file_that_is_no_chain_says_what_is_wrong(tmp_path: Path, text: str, why: str) -> None:
    """Before anything is sent."""
    file = tmp_path / "chain.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(Usage, match=why):
        read_chain(file)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, or no text."""
    with pytest.raises(Usage, match="No such file"):
        read_chain(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Usage, match="UTF-8"):
        read_chain(tmp_path / "bytes")
