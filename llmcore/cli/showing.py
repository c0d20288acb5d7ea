"""What a turn looks like: plain text for pipes, Markdown with a live last block for terminals.

Used by ask, approve and chat. Everything shown passes the sanitizer.
"""

import re
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from llmcore.cli.cards import MARKS
from llmcore.cli.terminal import Sanitizer, is_terminal, sanitize
from llmcore.cli.turns import View

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)


class Plain:
    """The reply as it comes, without any decoration."""

    def __init__(self) -> None:
        """Write to stdout."""
        self._clean = Sanitizer()
        self._last = "\n"

    def text(self, piece: str) -> None:
        """Write it through."""
        self._write(self._clean.feed(piece))

    def plan(self, plan: Mapping[str, Any]) -> None:
        """Nothing: a plan that waits is shown at the end."""

    def progress(self, intent: str, text: str) -> None:
        """Nothing: the result has the output."""

    def end(self) -> None:
        """End the line."""
        self._write(self._clean.flush())
        if self._last != "\n":
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._last = text[-1]
            sys.stdout.write(text)
            sys.stdout.flush()


class Rich:
    """Markdown: blocks that are finished are printed once, the last one is drawn again as it grows."""

    def __init__(self, console: Console | None = None) -> None:
        """Draw on a console; NO_COLOR is honoured by it."""
        self._console = console or Console(highlight=False)
        self._clean = Sanitizer()
        self._tail = ""
        self._live: Live | None = None
        self._states: dict[str, str] = {}

    def text(self, piece: str) -> None:
        """Print what is finished, show the rest."""
        self._tail += self._clean.feed(piece)
        done, self._tail = finished_blocks(self._tail)
        if done.strip():
            self._stop()
            self._console.print(_markdown(done))
        if self._tail.strip():
            self._show()

    def plan(self, plan: Mapping[str, Any]) -> None:
        """A line for each step of a changing plan that has ended."""
        for step in plan["steps"]:
            state, before = step["state"], self._states.get(step["id"])
            self._states[step["id"]] = state
            if plan["effect"] != "read" and state not in ("pending", "running", before):
                self._line(f"{MARKS.get(state, '·')} {step['intent']} {state}")

    def progress(self, intent: str, text: str) -> None:
        """Output while it is written."""
        self._line(sanitize(text).rstrip("\n"))

    def end(self) -> None:
        """Print what is left."""
        self._tail += self._clean.flush()
        self._stop()
        if self._tail.strip():
            self._console.print(_markdown(self._tail))
        self._tail = ""
        self._states.clear()

    def _line(self, text: str) -> None:
        self._stop()
        self._console.print(Text(text, style="dim"))

    def _show(self) -> None:
        if self._live is None:
            self._live = Live(console=self._console, get_renderable=self._last, refresh_per_second=12, transient=True)
            self._live.start()

    def _last(self) -> Markdown:
        return _markdown(self._tail)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def view() -> View:
    """What fits stdout."""
    return Rich() if is_terminal() else Plain()


def finished_blocks(text: str) -> tuple[str, str]:
    """The blocks of Markdown that nothing to come can change, and the rest; fences stay whole."""
    end = 0
    fence = ""
    for line in re.finditer(r"[^\n]*\n", text):
        mark = _FENCE.match(line.group())
        if mark and not fence:
            fence = mark.group(1)
        elif mark and mark.group(1).startswith(fence) and line.group().strip() == mark.group(1):
            fence = ""
        elif not fence and not line.group().strip():
            end = line.end()
    return text[:end], text[end:]


def _markdown(text: str) -> Markdown:
    return Markdown(text, hyperlinks=False)
