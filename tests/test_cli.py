"""llmcore.cli: the command line itself, exit codes, credentials."""

import json
import subprocess
import sys
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from llmcore import __version__
from llmcore.cli import main
from llmcore.cli.arguments import parser
from llmcore.cli.credentials import Credentials, Login, credentials
from llmcore.cli.exits import Exit, Unreachable, Usage, exit_of, report
from llmcore.errors import ApprovalRequired, BadParams, Conflict, Forbidden, Unauthorized
from llmcore.settings import ClientSettings

SLOW = ("openai", "anthropic", "sqlalchemy", "redis", "tornado", "pydantic", "rich", "prompt_toolkit", "jsonschema")
"""What `--help` must not wait for."""
COMMANDS = """
    login chat ask plan plans approve reject runs alerts status intents eval policy audit doctor providers user new-pack
"""
"""Of the contract, as far as their servers are built."""


def commands(found: ArgumentParser, name: str = "") -> Iterator[tuple[str, ArgumentParser]]:
    """Every command that does something, with its whole name."""
    inner = [action for action in found._actions if isinstance(action, _SubParsersAction)]
    if not inner:
        yield name, found
    for action in inner:
        for word, command in action.choices.items():
            yield from commands(command, f"{name} {word}".strip())


ALL = dict(commands(parser("0")))


def run(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command run in this process."""
    code = main([str(part) for part in argv])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


# --- the command line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    """They answer at once because the work's modules are imported only for the work."""
    command = [sys.executable, "-X", "importtime", "-m", "llmcore", option]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert {name for name in imported if name.partition(".")[0] in SLOW} == set()
    assert __version__ in done.stdout or "exit codes" in done.stdout


def test_the_commands_of_the_contract_are_there() -> None:
    """None is missing, and none is only a promise: each names a function that exists."""
    assert set(COMMANDS.split()) <= {name.split()[0] for name in ALL}
    for name, command in ALL.items():
        module, _, function = command.get_default("handler").partition(":")
        assert callable(getattr(import_module(f"llmcore.cli.{module}"), function)), name


@pytest.mark.parametrize("name", ALL)
def test_every_command_takes_json_and_says_what_it_does(name: str) -> None:
    """`--json` everywhere; a help text for the command and for each option."""
    command = ALL[name]
    assert any("--json" in action.option_strings for action in command._actions)
    assert command.description
    assert all(action.help for action in command._actions)


@pytest.mark.parametrize("argv", [[], ["fly"], ["approve", "pl_1"], ["serve", "--port", "many"], ["user"]])
def test_wrong_usage_leaves_with_two(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Argparse says what is wrong."""
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == Exit.USAGE
    assert "usage: llmcore" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Usage("x"), 2),
        (BadParams("x", [{"pointer": "/a", "message": "is missing"}]), 2),
        (Forbidden("x"), 3),
        (ApprovalRequired("x"), 4),
        (Unreachable("x"), 6),
        (Conflict("x"), 1),
        (Unauthorized("x"), 1),
    ],
)
def test_errors_become_exit_codes(error: Any, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """As the contract names them; the sentence goes to stderr, with --json the data to stdout."""
    assert report(error, as_json=True) == code == exit_of(error.code)
    shown = capsys.readouterr()
    assert shown.err.startswith("llmcore: x")
    assert json.loads(shown.out)["error"] == error.code
    assert ("/a: is missing" in shown.err) == isinstance(error, BadParams)


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (FileNotFoundError(2, "No such file or directory", "cases.jsonl"), 1, "cases.jsonl: No such file"),
    ],
)
def test_what_else_may_end_a_command(
    raised: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C and files that are not there are no tracebacks."""

    def fail(_: Any) -> int:
        raise raised

    monkeypatch.setattr("llmcore.cli.looking.runs", fail)
    assert run(capsys, "runs") == (code, "", f"llmcore: {said} or directory\n" if said else "")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """`llmcore intents | head -1` ends quietly."""
    command = f"{sys.executable} -m llmcore intents --json --data-dir {tmp_path} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# --- credentials --------------------------------------------------------------------------------------------------

TOKENS = {"access": {"token": "a1"}, "refresh": {"token": "r1"}}


def of_person(tmp_path: Path, url: str | None = None, token: str | None = None) -> Credentials:
    """The credentials of somebody with these variables."""
    return Credentials(ClientSettings(url=url, token=token, folder=tmp_path / "config", password=None))


def test_tokens_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    """Mode 600 in a folder of mode 700, one login for each server, the last one is the usual."""
    kept = of_person(tmp_path)
    kept.keep("http://one:1", TOKENS)
    kept.keep("http://two:2", {"access": {"token": "a2"}, "refresh": {"token": "r2"}})
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert kept.path.parent.stat().st_mode & 0o777 == 0o700
    assert kept.login(None) == Login("http://two:2", "a2", "r2")
    assert kept.login("http://one:1/") == Login("http://one:1", "a1", "r1")


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    """LLMCORE_URL names the server, LLMCORE_TOKEN stands for a login."""
    of_person(tmp_path).keep("http://one:1", TOKENS)
    assert of_person(tmp_path, url="http://one:1").login(None).access == "a1"
    assert of_person(tmp_path, token="t").login(None) == Login("http://one:1", "t", None)
    assert of_person(tmp_path, token="t").named(None)
    assert not of_person(tmp_path).named(None)


def test_without_a_login_the_way_to_one_is_told(tmp_path: Path) -> None:
    """The usual address is this machine's."""
    with pytest.raises(Unauthorized, match=r"llmcore login --url http://127\.0\.0\.1:8000"):
        of_person(tmp_path).login(None)


def test_an_address_that_is_none_and_a_file_that_is_broken(tmp_path: Path) -> None:
    """Both are told apart from a missing login."""
    with pytest.raises(Usage, match="no address"):
        of_person(tmp_path, url="localhost:8000").url(None)
    kept = of_person(tmp_path)
    kept.keep("http://one:1", TOKENS)
    kept.path.write_bytes(b"{")
    with pytest.raises(Usage, match="delete it"):
        kept.login(None)
    kept.path.write_bytes(b"[]")
    with pytest.raises(Unauthorized):
        kept.login(None)


def test_a_folder_that_was_open_is_written_all_the_same(tmp_path: Path) -> None:
    """A left-over of a crash is no obstacle."""
    kept = of_person(tmp_path)
    kept.path.parent.mkdir(parents=True)
    kept.path.with_suffix(".new").touch(mode=0o644)
    kept.keep("http://one:1", TOKENS)
    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_the_persons_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Below XDG_CONFIG_HOME."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert credentials().path == tmp_path / "llmcore" / "credentials.json"
