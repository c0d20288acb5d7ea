"""The last lines of the log files that the settings name.

Behind the intents of the pack `logs`, as the service `logs`. Reads from the end, so that a huge log costs no more than
a small one. What a log says is data, handed on as it is with its control characters; doors strip them where it matters.
Must not know what lines mean.
"""

import asyncio
import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmcore.adapters.host.contents import when
from llmcore.adapters.host.names import pick
from llmcore.errors import Conflict

_BLOCK_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsOptions:
    """Which logs there are and how much is read at once."""

    logs: Mapping[str, str] = field(default_factory=dict)
    """Name -> absolute path of the file."""
    max_scan_bytes: int = 32 << 20
    """How far back a search looks."""
    max_answer_bytes: int = 256 << 10
    max_line_chars: int = 4000


class Logs:
    """The service `logs`."""

    def __init__(self, options: LogsOptions) -> None:
        """Touch nothing yet."""
        self._options = options

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the logs as set."""
        return tuple(self._options.logs)

    async def list(self) -> Sequence[dict[str, Any]]:
        """`[{name, path, exists, size_bytes, modified}]`."""
        return await asyncio.to_thread(lambda: [_facts(name, path) for name, path in self._options.logs.items()])

    async def read(self, name: str, *, lines: int = 100, contains: str | None = None) -> dict[str, Any]:
        """`{name, lines, truncated}`, oldest line first.

        `truncated` is True if the file has earlier lines that are not shown, or a line was cut. NotFound for an unknown
        name; OSError if the file cannot be read.
        """
        found = pick(name, self._options.logs, "log")
        shown, truncated = await asyncio.to_thread(self._tail, self._options.logs[found], lines, contains)
        return {"name": found, "lines": [*shown], "truncated": truncated}

    def _tail(self, path: str, lines: int, contains: str | None) -> tuple[Sequence[str], bool]:
        wanted = contains.casefold() if contains else None
        shown: deque[str] = deque()
        room = self._options.max_answer_bytes
        cut = False
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Conflict(f"{path} is not a regular file.")
            start = max(0, found.st_size - self._options.max_scan_bytes)
            for raw in _lines_from_end(file.fileno(), found.st_size, start):
                text = raw.decode("utf-8", "replace")
                if wanted is not None and wanted not in text.casefold():
                    continue
                if len(shown) == lines or room <= 0:
                    return shown, True
                cut = cut or len(text) > self._options.max_line_chars
                shown.appendleft(text[: self._options.max_line_chars])
                room -= len(raw[: self._options.max_line_chars])
        return shown, cut or start > 0


def _lines_from_end(fd: int, size: int, start: int) -> Iterator[bytes]:
    """Lines of a file without their ends, the last one first; what stands before `start` is left out."""
    tail: list[bytes] = []
    position, at_end = size, True
    while position > start:
        begin = max(start, position - _BLOCK_BYTES)
        block = os.pread(fd, position - begin, begin)
        position = begin
        if at_end:
            block, at_end = block.removesuffix(b"\n"), False
        first, *rest = block.split(b"\n")
        if rest:
            yield _joined([rest.pop(), *reversed(tail)])
            yield from (line.removesuffix(b"\r") for line in reversed(rest))
            tail = []
        tail.append(first)
    if start == 0 and size > 0:
        yield _joined([*reversed(tail)])


def _joined(pieces: "list[bytes]") -> bytes:
    return b"".join(pieces).removesuffix(b"\r")


def _facts(name: str, path: str) -> dict[str, Any]:
    try:
        found = os.stat(path)
    except OSError:
        return {"name": name, "path": path, "exists": False, "size_bytes": None, "modified": None}
    return {
        "name": name,
        "path": path,
        "exists": True,
        "size_bytes": found.st_size,
        "modified": when(found.st_mtime),
    }
