"""llmcore.cli: the policy: explained and shown without a server, allowed from now on with one."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.cli import main
from llmcore.cli.exits import Exit
from tests.terminal_kit import PASSWORD, Served, served
from tests.test_cli_alone import run

SITE = """restart_target: yes
restart_target@production: 2 approvals
scale_target: {ask: 1, role: admin, hours: "08-18", days: mon-fri, max_blast: 3, exclude_requester: yes}
stop_target: own
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short policy in use, on a machine with a service in production."""
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    monkeypatch.setenv("LLMCORE_POLICY__FILE", str(file))
    monkeypatch.setenv("LLMCORE_POLICY__TIMEZONE", "Europe/Berlin")
    targets = {"shop": {"status": ["true"], "attributes": {"production": True}}}
    monkeypatch.setenv("LLMCORE_SYSTEM__TARGETS", json.dumps(targets))
    monkeypatch.setenv("LLMCORE_DATA_DIR", str(tmp_path / "data"))
    return file


SCALE = ["scale_target", "--params", '{"module": "web", "replicas": 2}']


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["restart_target", "--target", "web"], 0, "allow: The policy says yes."),
        (["restart_target", "--target", "web", "--target", "shop"], 4, "Approval by 2 people"),
        (["restart_target", "--target", "shop", "--approvals", "2"], 0, "rules: restart_target@production"),
        ([*SCALE, "--time", "2026-11-23T10:00"], 4, "other than who asked with the role admin."),
        ([*SCALE, "--time", "2026-11-23T06:30:00+00:00"], 3, "would pass: From 08:00, with approval by"),
        ([*SCALE, "--time", "2026-11-23T10:00", "--blast", "4"], 3, "rules: scale_target/max_blast"),
        (["stop_target", "--owner", "anna", "--user", "anna", "--target", "job"], 0, "rules: stop_target"),
        (["stop_target", "--owner", "anna", "--user", "bo"], 3, "would pass: On what belongs to bo."),
        (["start_target", "--kind", "agent", "--autonomy", "3", "--origin", "agent"], 4, "write-ask"),
        (["start_target", "--role", "observer"], 3, "observer-reads-only"),
        (["start_target", "--confidence", "20", "--tainted"], 4, "tainted-needs-person"),
    ],
)
def test_decision_is_explained_for_any_facts(
    argv: list[str], code: int, words: str, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Role, kind, targets, owner, time in the zone of the policy, and what would do."""
    found, out, _ = run(capsys, "policy", "explain", *argv)
    assert (found, words in out) == (code, True), out
    found, out, _ = run(capsys, "policy", "explain", *argv, "--json")
    assert set(json.loads(out)) == {
        "decision",
        "rules",
        "reason",
        "would_allow",
        "approvals",
        "roles",
        "excludes_requester",
    }


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["scale_target", "--params", '{"module": "web"}'], "replicas is missing"),
        (["scale_target", "--time", "noon"], "--time takes a moment"),
    ],
)
def test_wrong_questions_are_wrong_usage(
    argv: list[str], words: str, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Params are checked as for a call."""
    code, _, err = run(capsys, "policy", "explain", *argv)
    assert (code, words in err) == (Exit.USAGE, True)


def test_cedar_of_a_short_policy_is_shown(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that decides: the lines, the default policy, and what holds under every policy."""
    code, out, _ = run(capsys, "policy", "check", site, "--show")
    assert code == 0
    for rule in ("restart_target@production/ask", "destructive-ask", "standing-rule-needs-admin"):
        assert f'@id("{rule}")' in out
    code, shown, _ = run(capsys, "policy", "check", "--show", "--json")
    assert json.loads(shown)["cedar"] == out
    code, out, _ = run(capsys, "policy", "check")
    assert out.startswith(f"{site} is right: ")
    site.write_text("restart_target@prodution: yes")
    code, _, err = run(capsys, "policy", "check")
    assert (code, f"{site}:1: restart_target@prodution: " in err) == (Exit.USAGE, True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running server, and an administrator who is logged in."""
    with served(tmp_path_factory.mktemp("policy")) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
        assert main(["login", "--url", running.url]) == 0
        yield running


def test_allowed_from_now_on_in_the_terminal(server: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Propose, approve, list, withdraw; a developer's withdrawal waits for somebody."""
    code, out, _ = run(capsys, "ask", f"create the folder {server.roots}/standing", "--json")
    plan = json.loads(out)["plan"]
    code, out, _ = run(capsys, "policy", "allow", plan["plan_id"], "--days", "3", "--role", "developer")
    assert code == Exit.WAITS
    assert "without being asked" in out
    code, out, _ = run(capsys, "policy", "allow", plan["plan_id"], "--step", "s1", "--json")
    assert code == Exit.WAITS
    wanted = json.loads(out)["plan"]
    assert run(capsys, "policy", "rules")[1] == "Nothing is allowed besides the policy.\n"
    assert run(capsys, "approve", wanted["plan_id"], "--digest", wanted["digest"])[0] == 0
    code, out, _ = run(capsys, "policy", "rules", "--json")
    (rule,) = json.loads(out)["rules"]
    assert (rule["intent"], rule["role"]) == ("create_folder", "admin")
    assert rule["rule_id"][:20] in run(capsys, "policy", "rules")[1]
    code, out, _ = run(capsys, "policy", "withdraw", rule["rule_id"])
    assert (code, out) == (0, "Withdrawn.\n")
    assert run(capsys, "policy", "withdraw", rule["rule_id"])[0] == Exit.FAILED
