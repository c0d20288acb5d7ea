"""`llmcore templates` against a real server, and templates in `plan` and `eval` without one."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.cli import main
from llmcore.cli.exits import Exit
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
    """A shell of somebody who is logged in as administrator."""
    return Shell(capsys, monkeypatch)


def test_templates_are_listed_and_shown(shell: Shell) -> None:
    """With or without the word `list`; options before or behind it."""
    for argv in (["templates"], ["templates", "list"]):
        assert shell(*argv) == Exit.DONE
        assert "web-service" in shell.out
        assert "bundled" in shell.out
    for argv in (["templates"], ["templates", "list"]):
        assert [one["name"] for one in shell.json(*argv)["templates"]] == ["web-service"]
    assert shell("templates", "--json", "show", "web-service") == Exit.DONE
    assert json.loads(shell.out)["template"]["bundled"]
    assert shell("templates", "show", "web-service") == Exit.DONE
    for words in (
        "param replicas",
        'say "provision a small web service called {name}',
        "start start_target",
        "bundled",
    ):
        assert words in shell.out
    assert shell("templates", "show", "nothing") == Exit.FAILED


def test_a_plan_is_saved_run_and_deleted(shell: Shell, server: Served) -> None:
    """Exit 4 with the card while it waits; the data with `--json`."""
    asked = ("ask", f"create a folder {server.roots}/first", "--json")
    assert shell(*asked) == Exit.WAITS
    plan = json.loads(shell.out)["plan"]
    save = ["templates", "save", "folder", "--plan", plan["plan_id"], "--param", "name=first"]
    more = ["--title", "A folder", "--description", "Of one's own.", "--example", "make room for {name}"]
    assert shell(*save, *more) == Exit.DONE
    assert "Template folder: A folder" in shell.out
    assert "saved by administrator" in shell.out
    assert shell("templates", "run", "folder", "name=second") == Exit.WAITS
    assert "Approve: llmcore approve" in shell.out
    assert f"{server.roots}/second" in shell.out
    assert shell("templates", "run", "folder", "name=7", "--json") == Exit.WAITS
    answer = json.loads(shell.out)
    assert answer["plan"]["origin"] == {"kind": "template", "id": "folder", "tainted": False}
    assert answer["plan"]["steps"][0]["params"] == {"path": f"{server.roots}/7"}
    assert shell("ask", "make room for third", "--json") == Exit.WAITS
    assert json.loads(shell.out)["plan"]["answered_by"] == "template"
    assert shell("templates", "run", "folder") == Exit.USAGE
    assert "/params/name: is missing" in shell.err
    assert shell("templates", "delete", "folder") == Exit.DONE
    assert shell.out == "Deleted folder.\n"
    assert shell("templates", "delete", "folder", "--json") == Exit.FAILED


def test_what_may_run_runs_at_once(shell: Shell, server: Served) -> None:
    """And its end is told: reads that are done, one that fails."""
    (server.roots / "text.txt").write_text("said in a file", "utf-8")
    assert shell("ask", f"read the file {server.roots}/text.txt", "--json") == Exit.DONE
    plan = json.loads(shell.out)["plan"]
    save = ["templates", "save", "reading", "--plan", plan["plan_id"], "--param", "file=text.txt"]
    assert shell(*save) == Exit.DONE
    assert shell("templates", "run", "reading", "file=text.txt") == Exit.DONE
    assert "said in a file" in shell.out
    assert shell.json("templates", "run", "reading", "file=text.txt")["status"] == "done"
    assert shell("templates", "run", "reading", "file=absent.txt") == Exit.FAILED


def test_numbers_are_numbers_where_the_param_is_one(shell: Shell) -> None:
    """A param that is a text stays one."""
    assert shell("ask", "show the top 3 processes by memory", "--json") == Exit.DONE
    plan = json.loads(shell.out)["plan"]
    assert shell("templates", "save", "top", "--plan", plan["plan_id"], "--param", "count=3") == Exit.DONE
    steps = shell.json("templates", "run", "top", "count=5")["plan"]["steps"]
    assert steps[0]["params"]["limit"] == 5
    assert shell("templates", "run", "top", "count=many") == Exit.USAGE


@pytest.mark.parametrize("pairs", [["name"], ["=x"], ["a=1", "a=2"]])
def test_pairs_are_pairs(shell: Shell, pairs: list[str]) -> None:
    """Each once."""
    assert shell("templates", "run", "web-service", *pairs) == Exit.USAGE


def test_none_are_none(shell: Shell, server: Served) -> None:
    """An observer may use no template that changes something."""
    assert shell("user", "add", "olga", "--role", "observer", stdin="only looking\n") == Exit.DONE
    token = shell.json("user", "token", "olga")["token"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMCORE_TOKEN", token)
        assert shell("templates", "--url", server.url) == Exit.DONE
    assert "web-service" not in shell.out


def test_files_of_templates_count_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bundled ones and those of a folder, in `plan` and `eval`; a wrong file is named."""
    folder = tmp_path / "templates"
    folder.mkdir()
    steps = "steps: [{intent: get_target_status, params: {module: {$param: what}}}]"
    (folder / "look.yaml").write_text(f"name: look\nexamples: ['peep into {{what}}']\n{steps}\n", "utf-8")
    config = tmp_path / "c.json"
    settings = {"templates": {"path": "templates"}, "data_dir": str(tmp_path / "data")}
    config.write_text(json.dumps(settings), "utf-8")
    assert main(["plan", "--config", str(config), "--json", "peep", "into", "shop"]) == Exit.DONE
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert (plan["answered_by"], plan["steps"][0]["params"]) == ("template", {"module": "shop"})
    cases = tmp_path / "cases.jsonl"
    cases.write_text('{"text": "peep into shop"}\n{"text": "do not peep into shop"}\n', "utf-8")
    out = tmp_path / "out.jsonl"
    assert main(["eval", "--config", str(config), str(cases), "--out", str(out)]) == Exit.DONE
    answered = [json.loads(line)["answered_by"] for line in out.read_text("utf-8").splitlines()]
    assert (answered[0], answered[1] == "template") == ("template", False)
    assert main(["doctor", "--config", str(config), "--json"]) == Exit.DONE
    assert '"2 in files"' in capsys.readouterr().out
    (folder / "twice.yaml").write_text((folder / "look.yaml").read_text("utf-8"), "utf-8")
    assert main(["eval", "--config", str(config), str(cases)]) == Exit.USAGE
    assert "another template" in capsys.readouterr().err
    (folder / "twice.yaml").unlink()
    (folder / "wrong.yml").write_text("name: [", "utf-8")
    assert main(["eval", "--config", str(config), str(cases)]) == Exit.USAGE
    assert "wrong.yml" in capsys.readouterr().err
    assert main(["doctor", "--config", str(config), "--json"]) == Exit.FAILED
    assert "wrong.yml" in capsys.readouterr().out
    config.write_text(json.dumps({**settings, "templates": {"path": "nowhere"}}), "utf-8")
    assert main(["eval", "--config", str(config), str(cases)]) == Exit.USAGE
    assert "is no folder" in capsys.readouterr().err
