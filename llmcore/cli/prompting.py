"""What the chat reads from a person: lines with history and completion, single keys, typed digests.

Used by the chat.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output
from prompt_toolkit.patch_stdout import patch_stdout

from llmcore.cli.terminal import one_line


class Words(Completer):
    """Completes commands at the beginning of a line and intents anywhere."""

    def __init__(self, commands: Mapping[str, str], intents: Sequence[Mapping[str, Any]]) -> None:
        """Name -> help of each command; the intents as `intents_list` has them."""
        self._commands = commands
        self._intents = intents

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What the word before the cursor may become."""
        line = document.text_before_cursor
        if line.startswith("/"):
            for name, help_text in self._commands.items():
                if name.startswith(line):
                    yield Completion(name, -len(line), display_meta=help_text)
            return
        word = line.rpartition(" ")[2]
        if len(word) < 2:
            return
        for intent in self._intents:
            if word.lower() in intent["name"]:
                yield Completion(intent["name"], -len(word), display_meta=one_line(intent["description"], 60))


class Prompt:
    """A person at a terminal."""

    def __init__(
        self, history: Path, words: Completer, source: Input | None = None, shown: Output | None = None
    ) -> None:
        """Keep lines in a file that only its owner may read; `source` and `shown` None: the terminal."""
        history.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(history, os.O_WRONLY | os.O_CREAT, 0o600))
        self._lines: PromptSession[str] = PromptSession(
            history=FileHistory(str(history)),
            completer=words,
            complete_while_typing=True,
            key_bindings=_ctrl_c_clears(),
            input=source,
            output=shown,
        )
        self._source = source
        self._shown = shown

    async def line(self) -> str:
        """The next line; EOFError at its end, KeyboardInterrupt for Ctrl-C on an empty line.

        What is printed meanwhile appears above.
        """
        with patch_stdout(raw=True):
            return await self._lines.prompt_async("llmcore> ", handle_sigint=False)

    async def key(self, question: str, keys: Sequence[str]) -> str:
        """One of some keys, or "" for every other one: Enter never means yes."""
        return await self._ask(question, _one_of(keys))

    async def typed(self, question: str) -> str:
        """What is typed, not kept in the history."""
        return (await self._ask(question, None)).strip()

    async def _ask(self, question: str, bindings: KeyBindings | None) -> str:
        asking: PromptSession[str] = PromptSession(key_bindings=bindings, input=self._source, output=self._shown)
        try:
            with patch_stdout(raw=True):
                return await asking.prompt_async(question, handle_sigint=False)
        except (EOFError, KeyboardInterrupt):
            return ""


def _ctrl_c_clears() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("c-c")
    def clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    return bindings


def _one_of(keys: Sequence[str]) -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add(Keys.Any)
    def take(event: KeyPressEvent) -> None:
        event.app.exit(result=event.data if event.data in keys else "")

    @bindings.add("enter")
    @bindings.add("c-c")
    @bindings.add("c-d")
    def none(event: KeyPressEvent) -> None:
        event.app.exit(result="")

    return bindings
