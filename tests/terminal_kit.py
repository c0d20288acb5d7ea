"""For the terminal's tests: a real server with folders of its own, people who log in to it, and a real terminal.

Used by `tests/test_cli_server.py`, `tests/test_cli_chat.py` and `tests/flow/test_terminal.py`.
"""

import codecs
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from llmcore.cli.terminal import Sanitizer
from tests.processes import ROOT, serving

PASSWORD = "correct horse battery"
SLOW = "word " * 400
RULES: Sequence[Mapping[str, Any]] = (
    {"match": "take your time", "schema": True, "reply": {"kind": "answer", "text": ""}},
    {"match": "take your time", "schema": False, "reply": "at last " * 9, "chunks": 9, "delay_s": 1},
    {"match": "tell me slowly", "schema": True, "reply": {"kind": "answer", "text": ""}},
    {"match": "tell me slowly", "schema": False, "reply": SLOW, "chunks": 400, "delay_s": 0.1},
    {"match": "", "schema": True, "reply": {"kind": "none", "text": "I cannot do this here."}},
    {"match": "", "reply": "ready"},
)
"""What the scripted model says: answers that take nine or forty seconds, otherwise that it cannot."""
HOOK = "the token of the alert manager"
DESTRUCTIVE_BUT_FOLDERS = 'action in Action::"destructive", resource)\nwhen { action != Action::"delete_folder" &&'
TWO_FOR_FOLDERS = """
@id("folders-ask-two")
@reason("A folder holds the work of many.")
@approvers("2")
@role("admin,developer")
permit (principal, action == Action::"delete_folder", resource)
when { context.approvals >= 2 };
"""


@dataclass(frozen=True)
class Served:
    """A running server."""

    url: str
    roots: Path
    said: str
    """What it printed until it was ready."""


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """`llmcore serve` with a root, a script folder and a scripted model, stopped at the end."""
    for name in ("data", "roots", "scripts"):
        (folder / name).mkdir(mode=0o700)
    (folder / "scripts" / "greet.sh").write_text("#!/bin/sh\necho hello from the script\n", "utf-8")
    (folder / "scripts" / "greet.sh").chmod(0o755)
    (folder / "rules.json").write_text(json.dumps(RULES), "utf-8")
    policy = (ROOT / "config" / "policy" / "default.cedar").read_text("utf-8")
    policy = policy.replace('action in Action::"destructive", resource)\nwhen {', DESTRUCTIVE_BUT_FOLDERS)
    (folder / "policy.cedar").write_text(policy + TWO_FOR_FOLDERS, "utf-8")
    settings = {
        "data_dir": str(folder / "data"),
        "llm": {"provider": "scripted", "script": str(folder / "rules.json")},
        "policy": {"file": str(folder / "policy.cedar")},
        "system": {
            "roots": [str(folder / "roots")],
            "scripts": str(folder / "scripts"),
            "targets": {"web": {"status": ["true"], "start": ["true"], "stop": ["true"], "restart": ["true"]}},
        },
        "server": {"port": 0, "webhook_token": HOOK},
    }
    (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
    environment = {**os.environ, "LLMCORE_ADMIN_PASSWORD": PASSWORD}  # noqa: TID251 - for a child
    command: list[str | Path] = [sys.executable, "-m", "llmcore", "serve", "--config", folder / "settings.json"]
    with serving(*command, environment=environment) as (url, said):
        yield Served(url, folder / "roots", said)


def raise_alert(server: Served, name: str, **labels: str) -> None:
    """As the alert manager does it."""
    words = {"labels": {"alertname": name, **labels}, "annotations": {"summary": "look"}}
    alert = {"status": "firing", "startsAt": "2026-01-01T00:00:00Z", **words}
    body = json.dumps({"version": "4", "status": "firing", "alerts": [alert]}).encode()
    headers = {"Authorization": f"Bearer {HOOK}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}/hooks/alertmanager", body, headers)  # noqa: S310 - our own server
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own server
        assert answer.status == 202


@dataclass
class Terminal:
    """A command in a real terminal: keys in, what the screen was sent out."""

    argv: Sequence[str | Path]
    environment: Mapping[str, str]
    seen: str = ""
    """Everything that was written, escapes and all."""
    _words: str = ""
    _read: int = 0
    _clean: Sanitizer = field(default_factory=Sanitizer)
    _decoder: Any = field(default_factory=codecs.getincrementaldecoder("utf-8"))
    _master: int = -1
    _process: Any = field(default=None)

    def __enter__(self) -> Self:
        """Start the command as the leader of its own session, so that Ctrl-C reaches it."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environment = {**self.environment, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *map(str, self.argv)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
        )
        os.close(slave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up, which ends the command."""
        os.close(self._master)
        self._process.terminate()
        self._process.wait()

    def type(self, keys: str) -> None:
        """Press keys; a carriage return is Enter, ETX is Ctrl-C."""
        os.write(self._master, keys.encode())

    def until(self, pattern: str) -> str:
        """Read until something new matches; returns the words from the match before to the end of this one."""
        while not (found := re.compile(pattern).search(self._words, self._read)):
            self._more(pattern)
        start, self._read = self._read, found.end()
        return self._words[start : self._read]

    def left(self) -> int:
        """Wait for the end of the command; its exit code."""
        while self._process.poll() is None:
            if select.select([self._master], [], [], 0.05)[0]:
                self._more("the end")
        return int(self._process.returncode)

    def _more(self, wanted: str) -> None:
        assert select.select([self._master], [], [], 30)[0], f"no {wanted!r} in:\n{self.seen}"
        try:
            written = self._decoder.decode(os.read(self._master, 65536))
        except OSError:
            self._process.wait()
            assert wanted == "the end", f"ended without {wanted!r}:\n{self.seen}"
            return
        self.seen += written
        self._words += self._clean.feed(written)
