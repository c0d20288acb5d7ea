"""An operator at a real terminal: logs in, asks, decides, stops, leaves and comes back, all against a real server."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.terminal_kit import PASSWORD, Served, Terminal, served

PROMPT = "llmcore>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running server."""
    with served(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def environment(tmp_path: Path, server: Served) -> Mapping[str, str]:
    """What the operator's shell has: a folder of their own, the server's address."""
    mine = {"XDG_CONFIG_HOME": str(tmp_path), "LLMCORE_URL": server.url}
    return {**os.environ, **mine}  # noqa: TID251 - for children


def llmcore(environment: Mapping[str, str], *argv: str) -> Terminal:
    """A command typed at a terminal."""
    command: Sequence[str] = [sys.executable, "-m", "llmcore", *argv]
    return Terminal(command, environment)


@pytest.fixture
def logged_in(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The same after `llmcore login`, with the password typed unseen."""
    with llmcore(environment, "login") as terminal:
        terminal.until("Password of administrator")
        terminal.type(f"{PASSWORD}\r")
        terminal.until("Logged in")
        assert terminal.left() == 0
        assert PASSWORD not in terminal.seen
    return environment


def test_a_morning_at_the_terminal(logged_in: Mapping[str, str], server: Served) -> None:
    """Ask, look, approve by typing the digest, reject by not typing it, leave, come back."""
    file = server.roots / "old report.txt"
    file.write_text("x", "utf-8")
    with llmcore(logged_in, "chat") as terminal:
        terminal.until(PROMPT)
        terminal.type("which processes eat the memory?\r")
        terminal.until(rf"(?i)pid(.|\n)*?{PROMPT}")
        terminal.type(f'delete the file "{file}"\r')
        card = terminal.until(r"Type [0-9a-f]{8} to approve.*leaves it:")
        assert "delete_file [destructive]" in card
        assert str(file) in card
        terminal.type("\r")
        terminal.until(rf"It waits(.|\n)*?{PROMPT}")
        assert file.exists()
        terminal.type("/approve\r")
        digest = terminal.until(r"Type [0-9a-f]{8} to").split()[-2]
        terminal.type(f"{digest}\r")
        terminal.until(rf"done(.|\n)*?{PROMPT}")
        assert not file.exists()
        terminal.type("/quit\r")
        assert terminal.left() == 0
    with llmcore(logged_in, "chat") as terminal:
        terminal.until(r"Going on with: which processes eat the memory\?")
        terminal.until(PROMPT)
        terminal.type("\x04")
        assert terminal.left() == 0


def test_ctrl_c_stops_the_reply_first_and_the_chat_second(logged_in: Mapping[str, str]) -> None:
    """As users of terminals expect."""
    with llmcore(logged_in, "chat", "--new") as terminal:
        terminal.until(PROMPT)
        terminal.type("tell me slowly\r")
        terminal.until("word word")
        terminal.type("\x03")
        terminal.until(PROMPT)
        terminal.type("show me the memory usage\r")
        terminal.until(rf"(?i)used(.|\n)*?{PROMPT}")
        terminal.type("\x03")
        assert terminal.left() == 0


def test_ask_stops_on_ctrl_c(logged_in: Mapping[str, str]) -> None:
    """The run ends on the server too; the exit code is the shell's own for it."""
    with llmcore(logged_in, "ask", "tell me slowly") as terminal:
        terminal.until("word word")
        terminal.type("\x03")
        assert terminal.left() == 130
    with llmcore(logged_in, "runs") as terminal:
        assert terminal.left() == 0
        assert "cancelled" in terminal.seen.split("rn_")[1]


def test_colour_only_where_it_is_wanted(logged_in: Mapping[str, str]) -> None:
    """NO_COLOR leaves the words; a pipe gets no escape at all."""
    with llmcore({**logged_in, "NO_COLOR": "1"}, "ask", "show me the memory usage") as terminal:
        assert terminal.left() == 0
        assert "\x1b[3" not in terminal.seen
    command = f"{sys.executable} -m llmcore ask show me the memory usage | cat -v"
    with Terminal(["bash", "-c", command], logged_in) as terminal:
        assert terminal.left() == 0
        assert "^[" not in terminal.seen


def test_text_of_others_cannot_control_the_terminal(logged_in: Mapping[str, str], server: Served) -> None:
    """A file with a title, a link, the clipboard and a cleared screen in it is shown as words."""
    file = server.roots / "evil.txt"
    file.write_text("\x1b]0;owned\x07\x1b[2J\x1b]52;c;cm0=\x07harmless \u202ewords", "utf-8")
    with llmcore(logged_in, "ask", f"read the file {file}") as terminal:
        assert terminal.left() == 0
    assert "harmless words" in terminal.seen
    for sequence in ("\x1b]", "\x1b[2J", "\u202e", "owned"):
        assert sequence not in terminal.seen


def test_a_chat_needs_a_terminal_and_a_login(environment: Mapping[str, str]) -> None:
    """The error says what to do."""
    with llmcore(environment, "chat") as terminal:
        terminal.until("run `llmcore login")
        assert terminal.left() == 1
