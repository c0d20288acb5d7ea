"""llmcore.cli: the chat, with keys from a pipe and a real server behind it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from llmcore.cli.chatting import Chat, Memory, Notes, one_key_is_enough
from llmcore.cli.client import Client, authorize, connect
from llmcore.cli.commands import COMMANDS
from llmcore.cli.exits import Unreachable
from llmcore.cli.prompting import Prompt, Words
from llmcore.events import notification
from tests.terminal_kit import PASSWORD, Served, raise_alert, served

Beside = Callable[[Chat], Awaitable[None]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running server for all tests of this file."""
    with served(tmp_path_factory.mktemp("server")) as running:
        yield running


class Person:
    """Somebody at a keyboard; what they see is kept."""

    def __init__(self, server: Served, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Keys are typed ahead."""
        self.server = server
        self._folder = folder
        self._capsys = capsys
        self.memory = Memory(server.url)

    def types(self, *lines: str, resume: str | None = None, beside: Beside | None = None) -> str:
        """A chat of these lines, each followed by Enter unless it ends with a bare key; what was shown."""
        asyncio.run(self.chat("".join(lines), resume, beside))
        return self._capsys.readouterr().out

    async def chat(self, keys: str, resume: str | None, beside: Beside | None) -> None:
        """The same in an event loop."""
        notes = Notes()
        token = (await authorize(self.server.url, "administrator", PASSWORD))["access"]["token"]
        with create_pipe_input() as source:
            async with connect(self.server.url, token, None, notes.take) as client:
                source.send_text(keys)
                chat = Chat(client, self.prompt(source), notes, self.memory)
                async with asyncio.TaskGroup() as tasks:
                    if beside:
                        tasks.create_task(_waiting(beside, chat))
                    await chat.run(resume)

    def prompt(self, source: Any) -> Prompt:
        """A prompt that reads these keys."""
        return Prompt(self._folder / "config" / "history", Words(COMMANDS, []), source, DummyOutput())


async def _waiting(beside: Beside, chat: Chat) -> None:
    await beside(chat)


@pytest.fixture
def person(
    server: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Person:
    """An administrator with a folder of their own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Person(server, tmp_path, capsys)


def victim(server: Served, name: str) -> Path:
    """A file that may be deleted."""
    file = server.roots / name
    file.write_text("x", "utf-8")
    return file


QUIT = "/quit\r"


# --- talking ------------------------------------------------------------------------------------------------------


def test_a_question_is_answered_and_the_conversation_remembered(person: Person) -> None:
    """The next chat goes on with it."""
    seen = person.types("which processes eat the memory?\r", QUIT)
    assert "pid" in seen.lower()
    conversation = person.memory.last()
    assert conversation
    seen = person.types("show me the cpu usage\r", QUIT, resume=conversation)
    assert "Going on with: which processes eat the memory?" in seen
    assert "> which processes eat the memory?" in seen
    assert person.memory.last() == conversation


def test_lines_are_kept_for_their_owner_alone(person: Person, tmp_path: Path) -> None:
    """The history has mode 600."""
    person.types("/help\r", QUIT)
    file = tmp_path / "config" / "history"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "/help" in file.read_text("utf-8")


@pytest.mark.parametrize("keys", ["\x04", "\x03", "half a line\x03\x03", "\r\r/exit\r"])
def test_ways_to_leave(person: Person, keys: str) -> None:
    """Ctrl-D, Ctrl-C on an empty line (on a full one it clears), /exit; an empty line is nothing."""
    assert person.types(keys).startswith("Say what you want")


def test_errors_of_a_line_do_not_end_the_chat(person: Person, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command, a conversation that is gone, a plan that is not there."""
    asyncio.run(person.chat("/fly\r/open nothing\r/approve pl_none\r/cancel\r/help\r" + QUIT, "gone", None))
    shown = capsys.readouterr()
    assert "/fly is no command" in shown.err
    assert shown.err.count("llmcore: ") == 5
    assert "/intents" in shown.out


# --- deciding -----------------------------------------------------------------------------------------------------


def test_a_destructive_plan_needs_its_digest_typed(person: Person, server: Served) -> None:
    """Enter leaves it, a wrong digest is refused, y is no answer, the right digits run it."""
    file = victim(server, "one.txt")
    seen = person.types(f"delete the file {file}\r", "\r", "/plans\r", QUIT)
    assert f'path="{file}"' in seen
    assert "It waits; /approve" in seen
    plan = seen.split("Plan ")[1].split(" ")[0]
    digest = seen.split("digest ")[1][:8]
    for wrong in ("y\r", "00000000\r"):
        person.types(f"/approve {plan}\r", wrong, QUIT)
        assert file.exists()
    seen = person.types(f"/approve {plan}\r", f"{digest}\r", QUIT)
    assert "delete_file" in seen
    assert not file.exists()


def test_an_own_reversible_write_takes_one_key_but_never_enter(person: Person, server: Served) -> None:
    """Y approves without Enter; Enter leaves it."""
    seen = person.types(f"create the folder {server.roots}/made\r", "\r", QUIT)
    assert "It waits" in seen
    assert not (server.roots / "made").exists()
    seen = person.types("/approve\r", "y", QUIT)
    assert "done" in seen
    assert (server.roots / "made").is_dir()


def test_a_plan_is_rejected_by_a_key_or_by_name(person: Person, server: Served) -> None:
    """R at the card, /reject later."""
    file = victim(server, "two.txt")
    seen = person.types(f"delete the file {file}\r", "r\r", QUIT)
    assert "Rejected." in seen
    person.types(f"delete the file {file}\r", "\r", QUIT)
    seen = person.types("/reject\r", "/plans\r", QUIT)
    assert "Rejected pl_" in seen
    assert "No plan waits." in seen
    assert file.exists()


# --- commands -----------------------------------------------------------------------------------------------------


def test_conversations_are_listed_opened_and_begun(person: Person) -> None:
    """/open, /open ID, /new; /intents with a word."""
    seen = person.types("show me the memory usage\r", "/open\r", "/new\r", "/intents cpu\r", QUIT)
    assert "show me the memory usage" in seen
    assert "A new conversation begins." in seen
    assert "get_cpu_stats" in seen
    assert "get_memory_stats" not in seen.split("A new conversation")[1]
    assert person.memory.last() is None


def test_suggestions_become_plans_or_are_put_away(person: Person, server: Served) -> None:
    """An alert about a service suggests to restart it; accepting decides nothing yet; reads run at once."""
    assert "Nothing is suggested." in person.types("/suggestions\r", "/accept\r", QUIT)
    raise_alert(server, "ServiceDown", service="web")
    seen = person.types("/suggestions\r", "/accept\r", "r\r", QUIT)
    assert "ServiceDown" in seen
    assert 'restart_target [destructive] module="web"' in seen
    assert "Rejected." in seen
    raise_alert(server, "DiskFull")
    seen = person.types("/accept\r", QUIT)
    assert "pl_" in seen
    raise_alert(server, "OtherServiceDown", service="web")
    suggestion = person.types("/suggestions\r", QUIT).split("sg_")[1].split()[0]
    assert "Dismissed." in person.types(f"/dismiss sg_{suggestion} not now\r", QUIT)


def test_a_plan_that_needs_two_waits_for_the_other(person: Person, server: Served) -> None:
    """One's own approval is only half of it."""
    (server.roots / "two").mkdir()
    seen = person.types(f"delete the folder {server.roots}/two\r", "\r", QUIT)
    digest = seen.split("digest ")[1][:8]
    assert "the plan waits for others" in person.types("/approve\r", f"{digest}\r", QUIT)
    assert "Rejected" in person.types("/reject\r", QUIT)


def test_a_run_is_cancelled_by_name(person: Person) -> None:
    """The last one of this chat, or any other."""
    seen = person.types("show me the memory usage\r", "/cancel\r", "/cancel rn_none\r", QUIT)
    assert seen.count("Asked to stop rn_") == 2


# --- Ctrl-C and notes ---------------------------------------------------------------------------------------------


async def _press_ctrl_c(chat: Chat) -> None:
    while not chat.run_id:  # noqa: ASYNC110 - another task brings it about
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_cancels_the_turn_and_not_the_chat(person: Person) -> None:
    """The slow answer ends, the next line is read."""
    seen = person.types("tell me slowly\r", "/help\r", QUIT, beside=_press_ctrl_c)
    assert seen.count("word") < 400
    assert "what it does" in seen


async def _press_twice(chat: Chat) -> None:
    await _press_ctrl_c(chat)
    os.kill(os.getpid(), signal.SIGINT)


def test_a_second_ctrl_c_leaves(person: Person) -> None:
    """Whatever the server does."""
    with pytest.raises(KeyboardInterrupt):
        person.types("tell me slowly\r", QUIT, beside=_press_twice)


def test_ctrl_c_between_turns_is_nothing(person: Person) -> None:
    """A signal from outside while the prompt waits does no harm."""

    async def press(_: Chat) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    assert "what it does" in person.types("/help\r", QUIT, beside=press)


def test_notes_wait_for_the_end_of_a_turn(capsys: pytest.CaptureFixture[str]) -> None:
    """They never cut a reply in two; other broadcasts are dropped; nothing in them controls the terminal."""
    notes = Notes()
    notes.busy = True
    notes.take(notification("disk \x1b[31mfull", 3, 1))
    notes.take({"name": "data_generated", "topic": "/stats", "data": {}})
    assert capsys.readouterr().out == ""
    notes.busy = False
    notes.show()
    notes.take(notification("again", 1, 1))
    assert capsys.readouterr().out == "* disk full\n* again\n"


def test_a_server_that_is_gone_ends_the_chat(person: Person, server: Served) -> None:
    """The error of the line that noticed it is the chat's own."""

    async def story() -> None:
        client = Client(server.url, "t", None, lambda _: None)
        with create_pipe_input() as source:
            source.send_text("show me the memory usage\r")
            await Chat(client, person.prompt(source), Notes(), person.memory).run(None)

    with pytest.raises(Unreachable, match="lost"):
        asyncio.run(story())


# --- small things -------------------------------------------------------------------------------------------------


def test_commands_and_intents_are_completed() -> None:
    """Commands at the beginning, intents by any part of their name."""
    words = Words(COMMANDS, [{"name": "get_cpu_stats", "description": "CPU\nload"}])

    def after(text: str) -> list[str]:
        return [found.text for found in words.get_completions(Document(text), CompleteEvent())]

    assert after("/re") == ["/reject"]
    assert after("show cpu") == ["get_cpu_stats"]
    assert after("show c") == []


def test_one_key_is_for_harmless_plans_only() -> None:
    """Own, reversible, one target, not from untrusted text."""
    step = {"effect": "write", "undo": {"intent": "x"}, "preview": {"blast": 1}}
    read = {"effect": "read", "undo": None, "preview": None}
    plan: dict[str, Any] = {"effect": "write", "origin": {"tainted": False}, "steps": [read, step]}
    assert one_key_is_enough(plan)
    for change in (
        {"steps": [step, step]},
        {"steps": [{**step, "undo": None}]},
        {"steps": [{**step, "preview": None}]},
        {"steps": [{**step, "preview": {"blast": 2}}]},
        {"origin": {"tainted": True}},
        {"effect": "destructive"},
    ):
        assert not one_key_is_enough({**plan, **change}), change


def test_memory_that_is_broken_is_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No reason not to talk."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    memory = Memory("http://x")
    for text in ("{", "[]"):
        (tmp_path / "llmcore").mkdir(exist_ok=True)
        (tmp_path / "llmcore" / "conversations.json").write_text(text, "utf-8")
        assert memory.last() is None
    memory.keep("c1")
    assert memory.last() == "c1"
