"""llmcore.cli: the commands that need no server: packs, policy, audit, doctor, eval, plan."""

import asyncio
import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore.adapters.sql import StoreOptions, open_store
from llmcore.cli import main
from llmcore.cli.exits import Exit


def run(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command run in this process."""
    code = main([str(part) for part in argv])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


# --- packs --------------------------------------------------------------------------------------------------------


def test_a_new_pack_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written passes lint without a warning, its own tests pass, and it is listed."""
    code, out, _ = run(capsys, "new-pack", "lights", "--into", tmp_path)
    assert (code, "intents lint" in out) == (0, True)
    code, out, _ = run(capsys, "intents", "lint", tmp_path / "lights", "--json")
    assert (code, json.loads(out)) == (0, {"ok": True, "intents": 2, "problems": []})
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"packs": {"path": "lights"}}), "utf-8")
    code, out, _ = run(capsys, "intents", "--config", config)
    assert code == 0
    assert "set_lights_switch" in out
    code, out, _ = run(capsys, "intents", "list", "--config", config, "--json")
    assert {"get_cpu_stats", "get_lights_switch"} <= {found["name"] for found in json.loads(out)["intents"]}


def test_a_new_pack_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither what is there, nor with a name that is none."""
    assert run(capsys, "new-pack", "lights", "--into", tmp_path, "--json")[0] == 0
    assert run(capsys, "new-pack", "lights", "--into", tmp_path)[0] == Exit.USAGE
    assert run(capsys, "new-pack", "../up", "--into", tmp_path)[0] == Exit.USAGE


def test_bundled_packs_pass_lint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """No error and no warning in what is shipped."""
    code, out, _ = run(capsys, "intents", "lint", "--data-dir", tmp_path)
    assert (code, out.splitlines()[-1].partition(",")[2]) == (0, " 0 problems")


def test_lint_tells_errors_from_warnings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One broken pack does not hide the next; names may not clash; warnings alone do not fail."""
    (tmp_path / "broken.yaml").write_text("intents: [{name: x}]", "utf-8")
    poor = [{"name": "reboot", "description": "Reboot it.", "effect": "destructive"}]
    (tmp_path / "poor.json").write_text(json.dumps(poor), "utf-8")
    code, out, _ = run(capsys, "intents", "lint", tmp_path / "poor.json")
    assert (code, "warning" in out, "0 examples" in out) == (0, True, True)
    code, out, _ = run(capsys, "intents", "lint", tmp_path / "broken.yaml", tmp_path / "poor.json", "--json")
    assert (code, [problem["level"] for problem in json.loads(out)["problems"]]) == (1, ["error", "warning"])
    code, out, _ = run(capsys, "intents", "lint", tmp_path / "poor.json", tmp_path / "poor.json")
    assert (code, "registered twice" in out) == (1, True)
    assert run(capsys, "intents", "list", tmp_path)[0] == Exit.USAGE


def test_lint_warns_of_a_change_nobody_can_foresee(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A mutating intent without preview."""
    source = (
        "from llmcore.intent import Context, Effect, intent\n\n\n"
        "@intent(effect=Effect.WRITE)\nasync def blink(*, ctx: Context) -> dict:\n    'Blink.'\n    return {}\n"
    )
    (tmp_path / "blink.py").write_text(source, "utf-8")
    code, out, _ = run(capsys, "intents", "lint", tmp_path)
    assert (code, "no preview" in out) == (0, True)


# --- policy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "code", "decision"),
    [
        (["get_cpu_stats", "--role", "observer"], 0, "allow"),
        (["restart_target", "--params", '{"module": "web"}'], 4, "ask"),
        (["restart_target", "--approvals", "1"], 0, "allow"),
        (["delete_file", "--role", "observer"], 3, "deny"),
        (["delete_file", "--tainted"], 4, "ask"),
    ],
)
def test_policy_explains_its_decision(
    argv: list[str], code: int, decision: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The exit code is that of the act itself; rules and reason are named."""
    found, out, _ = run(capsys, "policy", "explain", *argv, "--data-dir", tmp_path, "--json")
    assert (found, json.loads(out)["decision"]) == (code, decision)
    found, out, _ = run(capsys, "policy", "explain", *argv, "--data-dir", tmp_path)
    assert out.startswith(f"{decision}: ")
    assert "rules: " in out


def test_policy_check_names_the_rule_that_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A typo in a file is found before it is in use."""
    code, out, _ = run(capsys, "policy", "check", "--data-dir", tmp_path)
    assert (code, out.startswith("the default policy is right")) == (0, True)
    wrong = tmp_path / "p.cedar"
    wrong.write_text('@id("typo")\npermit (principal, action == Action::"restart_targt", resource);', "utf-8")
    code, _, err = run(capsys, "policy", "check", wrong)
    assert (code, "typo" in err) == (Exit.USAGE, True)
    wrong.write_text('@id("fine")\npermit (principal, action == Action::"restart_target", resource);', "utf-8")
    code, out, _ = run(capsys, "policy", "check", wrong, "--json")
    assert (code, json.loads(out)["file"]) == (0, str(wrong))
    assert run(capsys, "policy", "check", tmp_path / "absent.cedar")[0] == Exit.USAGE


def test_policy_explain_takes_an_object_and_a_known_intent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Anything else is wrong usage."""
    for argv in (["restart_target", "--params", "[1]"], ["restart_target", "--params", "{"], ["restart_targe"]):
        assert run(capsys, "policy", "explain", *argv, "--data-dir", tmp_path)[0] == Exit.USAGE


# --- audit --------------------------------------------------------------------------------------------------------


def written(folder: Path) -> Path:
    """A data folder with a store of three records."""

    async def write() -> None:
        store = await open_store(StoreOptions(url=f"sqlite:///{folder}/llmcore.db"))
        for number in range(3):
            await store.audit_append({"action": "test", "number": number})
        await store.close()

    asyncio.run(write())
    return folder


def change(folder: Path, statement: str) -> None:
    """Meddle with the store behind its back."""
    connection = sqlite3.connect(folder / "llmcore.db")
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_audit_trail_that_is_whole(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, how many records there are."""
    written(data_dir)
    code, out, _ = run(capsys, "audit", "verify", "--data-dir", data_dir)
    assert (code, out) == (0, "All 3 records are as they were written.\n")
    code, out, _ = run(capsys, "audit", "verify", "--data-dir", data_dir, "--json")
    assert (code, json.loads(out)) == (0, {"ok": True, "rows": 3, "first_bad": None})


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE audit SET record = replace(record, '1', '7') WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = 1", 1),
        ("DELETE FROM audit WHERE seq = 3", 3),
        ("INSERT INTO audit SELECT 4, record, hash FROM audit WHERE seq = 3", 4),
    ],
)
def test_an_audit_trail_that_was_changed(
    statement: str, first_bad: int, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1, and which record is the first that is wrong; the last ones are covered too."""
    change(written(data_dir), statement)
    code, out, _ = run(capsys, "audit", "verify", "--data-dir", data_dir, "--json")
    assert (code, json.loads(out)["first_bad"]) == (1, first_bad)
    code, out, _ = run(capsys, "audit", "verify", "--data-dir", data_dir)
    assert (code, f"Record {first_bad} was changed" in out) == (1, True)


def test_no_audit_trail_at_all(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong folder is no clean bill of health."""
    assert run(capsys, "audit", "verify", "--data-dir", data_dir)[0] == Exit.FAILED


# --- doctor -------------------------------------------------------------------------------------------------------


def checks(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, dict[str, tuple[str, str]]]:
    """Exit code, and status and message by name."""
    code, out, _ = run(capsys, "doctor", "--json", *argv)
    found = json.loads(out)
    assert found["ok"] == (code == 0)
    return code, {one["name"]: (one["status"], one["message"]) for one in found["checks"]}


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


def configured(tmp_path: Path, **sections: Any) -> Path:
    """A settings file."""
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(sections), "utf-8")
    return file


def test_a_fresh_machine_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is made by looking; every line is good."""
    code, out, _ = run(capsys, "doctor", "--data-dir", tmp_path / "new")
    assert code == 0
    assert "FAIL" not in out
    assert "will be made at the first start" in out
    assert not (tmp_path / "new").exists()


def test_settings_that_are_wrong_are_the_only_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest would make no sense."""
    code, found = checks(capsys, "--config", configured(tmp_path, sever={}))
    assert (code, list(found), found["settings"][0]) == (1, ["settings"], "fail")


def test_what_is_missing_on_the_machine_is_told_with_the_way_out(
    tmp_path: Path, taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Roots, scripts, logs, targets, port, open data folder, secrets in the clear."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (tmp_path / "log").write_text("line\n", "utf-8")
    config = configured(
        tmp_path,
        data_dir=str(data),
        system={
            "roots": [str(tmp_path), str(tmp_path / "absent")],
            "scripts": str(tmp_path / "absent"),
            "logs": {"there": str(tmp_path / "log"), "gone": str(tmp_path / "absent")},
            "targets": {"web": {"status": ["no-such-program"]}, "job": {"status": ["true"], "start": ["true"]}},
        },
        server={"host": "0.0.0.0", "port": taken},  # noqa: S104 - looked at, not listened on
    )
    code, found = checks(capsys, "--config", config)
    assert code == 0
    status = {name: state for name, (state, _) in found.items()}
    assert status["log there"] == status["target job"] == "ok"
    assert [status[name] for name in ("root", "scripts", "log gone", "target web", "address", "tls")] == ["warn"] * 6
    assert "no-such-program is not installed" in found["target web"][1]
    assert "LLMCORE_SYSTEM__SCRIPTS" in found["scripts"][1]


def test_what_keeps_a_server_from_working_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where the folder should be, keys that cannot be read, a policy that is absent."""
    (tmp_path / "data").write_text("", "utf-8")
    config = configured(
        tmp_path,
        data_dir=str(tmp_path / "data"),
        policy={"file": str(tmp_path / "absent")},
        server={"tls": {"cert": str(tmp_path / "absent"), "key": str(tmp_path / "absent")}, "port": 0},
    )
    code, found = checks(capsys, "--config", config)
    assert code == 1
    failed = {name for name, (status, _) in found.items() if status == "fail"}
    assert {"data folder", "policy", "tls cert", "tls key"} <= failed


def test_a_broken_pack_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the file and the field."""
    (tmp_path / "x.yaml").write_text("intents: [{name: x}]", "utf-8")
    code, found = checks(capsys, "--config", configured(tmp_path, packs={"path": "x.yaml"}))
    assert (code, found["catalog"][0]) == (1, "fail")


def test_the_store_and_its_audit_are_looked_at(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Readable and whole, changed, or no store at all."""
    written(data_dir)
    code, found = checks(capsys, "--data-dir", data_dir)
    assert (code, found["store"]) == (0, ("ok", "readable, 3 audit records"))
    change(data_dir, "DELETE FROM audit WHERE seq = 3")
    code, found = checks(capsys, "--data-dir", data_dir)
    assert (code, found["audit"][0]) == (1, "fail")
    (data_dir / "llmcore.db").write_bytes(b"this is no database at all" * 100)
    code, found = checks(capsys, "--data-dir", data_dir)
    assert (code, found["store"][0]) == (1, "fail")


def test_the_bus_is_looked_for(tmp_path: Path, taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    """By address; the password of the address is never shown."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "redis.sock"))
        for url, status in (
            (f"redis://:hidden@127.0.0.1:{taken}", "ok"),
            ("redis://:hidden@127.0.0.1:9/0", "warn"),
            (f"unix://{tmp_path}/redis.sock", "ok"),
            (f"unix://{tmp_path}/absent.sock", "warn"),
        ):
            code, found = checks(capsys, "--config", configured(tmp_path, bus={"url": url}, data_dir=str(tmp_path)))
            assert (code, found["bus"][0]) == (0, status)
            assert "hidden" not in str(found)


SCRIPT = [{"match": "Reply with", "reply": "ready"}, {"match": "", "error": 503}]


def scripted(tmp_path: Path, rules: Any = SCRIPT) -> Path:
    """Settings with the scripted provider."""
    (tmp_path / "script.json").write_text(json.dumps(rules), "utf-8")
    return configured(tmp_path, llm={"provider": "scripted", "script": "script.json", "retries": 0})


def test_providers_are_asked_only_if_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A question costs; offline there is nobody to ask."""
    data = ["--data-dir", str(tmp_path / "data")]
    code, found = checks(capsys, "--config", scripted(tmp_path), *data)
    assert (code, found["provider scripted"][0], "--online" in found["provider scripted"][1]) == (0, "ok", True)
    code, found = checks(capsys, "--config", scripted(tmp_path), "--online", *data)
    assert (code, found["provider scripted"]) == (0, ("ok", "answers: ready"))
    code, found = checks(capsys, *data)
    assert found["providers"][0] == "ok"


def test_providers_test_tells_who_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 and the reason; settings that make no provider too."""
    code, out, _ = run(capsys, "providers", "test", "--config", scripted(tmp_path))
    assert (code, "answers: ready" in out) == (0, True)
    code, out, _ = run(capsys, "providers", "test", "--config", scripted(tmp_path, SCRIPT[1:]))
    assert (code, "FAIL  provider scripted" in out) == (1, True)
    code, out, _ = run(capsys, "providers", "test", "--config", scripted(tmp_path, {"no": "list"}))
    assert (code, "FAIL  providers" in out) == (1, True)
    code, out, _ = run(capsys, "providers", "test", "--data-dir", tmp_path)
    assert (code, out.startswith("ok")) == (0, True)


# --- eval ---------------------------------------------------------------------------------------------------------

CASES: list[dict[str, Any]] = [
    {"id": "a", "text": "cpu usage?", "expect": {"kind": "plan", "steps": [{"intent": "get_cpu_stats", "params": {}}]}},
    {"id": "b", "text": "please compose an opera about herons", "expect": {"kind": "none", "steps": []}},
    {"id": "c", "text": "cpu usage?", "expect": {"kind": "plan", "steps": [{"intent": "restart_target"}]}, "more": 1},
    {"id": "d", "text": "delete the file /srv/never/there.txt"},
]
KEYS = ["id", "kind", "steps", "answered_by", "confidence", "latency_s"]


def cases(tmp_path: Path, lines: list[dict[str, Any]]) -> Path:
    """An eval file."""
    file = tmp_path / "cases.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return file


def test_eval_writes_predictions_in_order_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The contract's lines; nothing has to exist on this machine, nothing runs."""
    out_file = tmp_path / "predictions.jsonl"
    file = cases(tmp_path, CASES)
    code, out, _ = run(capsys, "eval", file, "--out", out_file, "--json", "--data-dir", tmp_path)
    report = json.loads(out)
    assert (code, report["cases"], report["judged"], report["unsafe"]) == (0, 4, 3, 0)
    assert report["right"] == pytest.approx(2 / 3, abs=0.001)
    lines = [json.loads(line) for line in out_file.read_text("utf-8").splitlines()]
    assert [list(line) for line in lines] == [KEYS] * 4
    assert [line["id"] for line in lines] == ["a", "b", "c", "d"]
    assert lines[0]["steps"] == [{"intent": "get_cpu_stats", "params": {}, "needs": [], "when": None}]
    assert (lines[1]["kind"], lines[1]["steps"], lines[1]["answered_by"]) == ("none", [], None)
    assert lines[3]["steps"][0]["params"] == {"path": "/srv/never/there.txt"}


def test_eval_fails_below_the_share_that_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For CI; without any expectation nothing is right."""
    file = cases(tmp_path, CASES)
    code, out, _ = run(capsys, "eval", file, "--min", "0.5", "--data-dir", tmp_path)
    assert (code, "66.7%" in out, "restart_target" in out) == (0, True, True)
    assert run(capsys, "eval", file, "--min", "0.7", "--data-dir", tmp_path)[0] == Exit.FAILED
    file = cases(tmp_path, CASES[3:])
    code, out, _ = run(capsys, "eval", file, "--min", "0.1", "--data-dir", tmp_path)
    assert (code, "no such request" in out) == (Exit.FAILED, True)


def test_eval_shows_the_first_of_many_confusions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is counted."""
    file = cases(tmp_path, [{**CASES[2], "id": str(number)} for number in range(60)])
    code, out, _ = run(capsys, "eval", file, "--data-dir", tmp_path)
    assert (code, "10 more are wrong" in out) == (0, True)


def test_eval_with_a_model_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the matcher is not sure of goes to the model, masked where that is set."""
    steps = [{"intent": "get_disk_stats", "params": {}}]
    config = scripted(tmp_path, [{"match": "opera", "schema": True, "reply": {"kind": "plan", "steps": steps}}])
    settings = json.loads(config.read_text("utf-8"))
    settings["llm"]["masking"] = {"enabled": True}
    config.write_text(json.dumps(settings), "utf-8")
    out_file = tmp_path / "predictions.jsonl"
    argv: list[str | Path] = ["eval", cases(tmp_path, CASES[1:2]), "--out", out_file, "--config", config]
    assert run(capsys, *argv)[0] == 0
    assert json.loads(out_file.read_text("utf-8"))["answered_by"] == "scripted"
    assert run(capsys, *argv, "--provider", "offline")[0] == 0
    assert json.loads(out_file.read_text("utf-8"))["answered_by"] is None


def test_eval_of_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Absent, binary, not JSON, and a share that is none."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "text").write_text("hello", "utf-8")
    assert run(capsys, "eval", tmp_path / "absent")[0] == Exit.FAILED
    assert run(capsys, "eval", tmp_path / "binary")[0] == Exit.USAGE
    assert run(capsys, "eval", tmp_path / "text")[0] == Exit.USAGE
    assert run(capsys, "eval", cases(tmp_path, CASES), "--min", "70")[0] == Exit.USAGE
