"""The contract of the commands as a shell runs them: exit codes, JSON, and the predictions of `eval`."""

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract_kit import PASSWORD, House
from tests.servers import free_port

DONE, FAILED, USAGE, REFUSED, WAITS, NOT_UNDERSTOOD, UNREACHABLE = range(7)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server without a model, and the administrator logged in."""
    house = House(tmp_path_factory.mktemp("cli") / "house")
    with house.open():
        assert house.command("login", "--url", house.url, stdin=PASSWORD + "\n").returncode == DONE
        yield house


def told(house: House, *args: str | Path, code: int = DONE, **environment: str) -> Any:
    """What a command prints with `--json`."""
    answer = house.command(*args, "--json", **environment)
    assert answer.returncode == code, answer.stdout + answer.stderr
    return json.loads(answer.stdout)


def test_credentials_are_kept_for_their_owner_alone(house: House) -> None:
    """In a file of mode 600 that later commands use without any variable."""
    (kept,) = [path for path in (house.folder / "home").rglob("*") if path.is_file()]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert PASSWORD not in kept.read_text()
    assert told(house, "status", LLMCORE_URL="")["user"]["name"] == "administrator"


def test_ask_ends_with_the_code_of_what_became_of_it(house: House) -> None:
    """0 done, 1 failed, 4 waits for approval, 5 not understood; 2 without words."""
    answer = told(house, "ask", "which processes eat the memory?")
    assert {"conversation_id", "run_id", "status", "text", "usage", "plan", "results"} <= set(answer)
    assert told(house, "ask", "read the file absent.txt", code=FAILED)["status"] == "failed"
    assert told(house, "ask", f"delete the file {house.roots}/x", code=WAITS)["plan"]["status"] == "proposed"
    told(house, "ask", "what is the meaning of love", code=NOT_UNDERSTOOD)
    assert house.command("ask").returncode == USAGE


def test_a_plan_goes_from_ask_to_approve(house: House) -> None:
    """By the first eight digits of its digest; another digest does nothing."""
    file = house.roots / "doomed.txt"
    file.write_text("x")
    plan = told(house, "ask", f"delete the file {file}", code=WAITS)["plan"]
    assert plan["plan_id"] in [one["plan_id"] for one in told(house, "plans")["plans"]]
    digits = plan["digest"].removeprefix("sha256:")
    other = digits[:7] + ("0" if digits[7] != "0" else "1")
    assert house.command("approve", plan["plan_id"], "--digest", other).returncode == FAILED
    assert house.command("approve", plan["plan_id"], "--digest", digits[:7]).returncode == USAGE
    assert file.exists()
    assert house.command("approve", plan["plan_id"], "--digest", digits[:8]).returncode == DONE
    assert not file.exists()
    runs = told(house, "runs")["runs"]
    assert (runs[0]["run_id"], runs[0]["status"]) == (plan["run_id"], "done")


def test_a_plan_is_rejected_or_fails(house: House) -> None:
    """Rejecting is done; approving what then fails is not."""
    plan = told(house, "ask", f"delete the file {house.roots}/absent.txt", code=WAITS)["plan"]
    assert house.command("approve", plan["plan_id"], "--digest", plan["digest"]).returncode == FAILED
    plan = told(house, "ask", f"delete the file {house.roots}/absent.txt", code=WAITS)["plan"]
    assert told(house, "reject", plan["plan_id"], "--reason", "no")["plan"]["status"] == "rejected"
    assert house.command("reject", plan["plan_id"]).returncode == FAILED


def test_an_observer_is_refused(house: House) -> None:
    """3 for what policy forbids."""
    assert house.command("user", "add", "watcher", "--role", "observer", stdin="only looking\n").returncode == DONE
    assert "watcher" in [user["name"] for user in told(house, "user", "list")["users"]]
    token = told(house, "user", "token", "watcher")["token"]
    plan = told(house, "ask", f"delete the file {house.roots}/x", code=WAITS)["plan"]
    told(house, "user", "list", code=REFUSED, LLMCORE_TOKEN=token)
    approving = house.command("approve", plan["plan_id"], "--digest", plan["digest"], LLMCORE_TOKEN=token)
    assert approving.returncode in (FAILED, REFUSED)
    told(house, "ask", "which processes eat the memory?", LLMCORE_TOKEN=token)


def test_plan_runs_nothing_with_or_without_a_server(house: House) -> None:
    """The same plan; 5 where nothing was understood."""
    file = house.roots / "kept.txt"
    file.write_text("x")
    alone = {"LLMCORE_URL": "", "HOME": str(house.folder / "scripts")}
    places: list[dict[str, Any]] = [{}, alone]
    for place in places:
        answer = told(house, "plan", f"delete the file {file}", **place)
        (step,) = answer["plan"]["steps"]
        assert (step["intent"], step["params"]) == ("delete_file", {"path": str(file)})
        assert house.command("plan", "what is the meaning of love", **place).returncode == NOT_UNDERSTOOD
    assert file.exists()


def test_a_server_that_is_not_there(house: House) -> None:
    """6 for every command that needs one; those that do not work all the same."""
    nobody = f"http://127.0.0.1:{free_port()}"
    for command in (["status"], ["ask", "hello"], ["plans"]):
        assert house.command(*command, LLMCORE_URL=nobody, LLMCORE_TOKEN="x").returncode == UNREACHABLE
    for command in (["intents"], ["intents", "lint"], ["policy", "check"]):
        assert house.command(*command, LLMCORE_URL="", HOME=str(house.folder / "scripts")).returncode == DONE


def test_json_is_the_data_of_the_rpc(house: House) -> None:
    """With the keys of the RPC."""
    assert set(told(house, "plans")) == {"plans"}
    assert set(told(house, "runs")) == {"runs"}
    assert set(told(house, "alerts")) == {"alerts"}
    (intent, *_) = told(house, "intents")["intents"]
    assert {"name", "description", "schema", "effect", "examples"} <= set(intent)
    assert told(house, "audit", "verify", "--data-dir", house.data)["ok"] is True


@pytest.mark.parametrize(
    "argv", [[], ["nonsense"], ["ask", "--nonsense"], ["approve", "pl_x"], ["eval"], ["--nonsense"]]
)
def test_wrong_usage_is_two(house: House, argv: list[str]) -> None:
    """On stderr."""
    answer = house.command(*argv)
    assert answer.returncode == USAGE
    assert answer.stderr
    assert not answer.stdout


def test_the_version(house: House) -> None:
    """Its name and number."""
    assert re.fullmatch(r"llmcore \d+\.\d+\.\d+\n", house.command("--version").stdout)


# --- eval ---------------------------------------------------------------------------------------------------------

CASES: list[dict[str, Any]] = [
    {"id": "a", "text": "which processes eat the memory?", "unknown": 1},
    {"id": "b", "text": "restart nginx", "expect": {"kind": "plan", "steps": [{"intent": "stop_target"}]}},
    {"id": 3, "text": "what is the meaning of love"},
    {"id": "d", "text": "copy /a/b.txt to /c/d.txt then delete /a/b.txt", "tags": ["chain"]},
    {"id": "e", "text": "show me the last 20 lines of the log nginx"},
    {"id": "f", "text": "how do I delete a file?", "expect": {"kind": "answer", "steps": []}},
]


def test_predictions_have_the_format_of_the_contract(house: House, tmp_path: Path) -> None:
    """In order, one a line, exactly these keys; names need not exist; nothing runs."""
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in CASES))
    out = tmp_path / "predictions.jsonl"
    told(house, "eval", tmp_path / "cases.jsonl", "--out", out, LLMCORE_URL="")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == [case["id"] for case in CASES]
    for line in lines:
        assert set(line) == {"id", "kind", "steps", "answered_by", "confidence", "latency_s"}
        assert line["kind"] in ("plan", "clarify", "none", "answer")
        assert bool(line["steps"]) is (line["kind"] == "plan")
        assert line["answered_by"] in ("local", None)
        assert isinstance(line["latency_s"], float)
        assert 0 <= line["confidence"] <= 1
        for number, step in enumerate(line["steps"]):
            assert set(step) == {"intent", "params", "needs", "when"}
            assert all(0 <= need < number for need in step["needs"])
    found = {line["id"]: line for line in lines}
    assert found["a"]["steps"] == [
        {"intent": "list_processes", "params": {"sort_by": "memory"}, "needs": [], "when": None}
    ]
    (restart,) = found["b"]["steps"]
    assert (restart["intent"], restart["params"]) == ("restart_target", {"module": "nginx"})
    assert (found[3]["kind"], found[3]["answered_by"], found[3]["steps"]) == ("none", None, [])
    assert [step["intent"] for step in found["d"]["steps"]] == ["copy_file", "delete_file"]
    assert [step["needs"] for step in found["d"]["steps"]] == [[], [0]]
    assert found["e"]["steps"][0]["params"] == {"name": "nginx", "lines": 20}
    assert found["f"]["kind"] != "plan"


def test_min_is_the_share_that_has_to_be_right(house: House, tmp_path: Path) -> None:
    """From 0 to 1; 1 below it."""
    restart = [{"intent": "restart_target", "params": {"module": "nginx"}}]
    stop = [{"intent": "stop_target", "params": {"module": "nginx"}}]
    expected: list[dict[str, Any]] = [
        {"kind": "plan", "steps": restart},
        {"kind": "plan", "steps": stop},
        {"kind": "plan", "steps": stop, "alternatives": [restart]},
        {"kind": "plan", "steps": restart},
    ]
    cases = [{"id": str(n), "text": "restart nginx", "expect": expect} for n, expect in enumerate(expected)]
    file = tmp_path / "cases.jsonl"
    file.write_text("".join(json.dumps(case) + "\n" for case in cases))
    assert house.command("eval", file, "--min", "0.75").returncode == DONE
    assert house.command("eval", file, "--min", "0.76").returncode == FAILED
    assert house.command("eval", file, "--min", "2").returncode == USAGE
