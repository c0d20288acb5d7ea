"""The processes of this machine, with the CPU each has used since the look before.

Used by the system service, inside worker threads. Must not know who asks.
"""

import os
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import psutil

from llmcore.ports import Clock

_FIELDS = ("pid", "name", "username", "cpu_times", "memory_info", "create_time")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{1,63}")
"""A process may call itself anything; only names that look like programs go into word lists."""


class ProcessList:
    """Looks at all processes and remembers enough to tell rates at the next look."""

    def __init__(self, clock: Clock) -> None:
        """Look at nothing yet."""
        self._clock = clock
        self._lock = threading.Lock()
        self._at: float | None = None
        self._used: Mapping[tuple[int, float], float] = {}
        self.names: tuple[str, ...] = ()
        """Distinct plain names as of the last look."""

    @property
    def age_s(self) -> float:
        """Seconds since the last look; infinite before the first."""
        return float("inf") if self._at is None else self._clock.monotonic() - self._at

    def look(self) -> list[dict[str, Any]]:
        """`[{pid, name, user, cpu_percent, memory_bytes}]` of all processes; 100 % is one core."""
        with self._lock:
            now, seconds, used = self._clock.monotonic(), self.age_s, self._used
            rows: list[dict[str, Any]] = []
            current: dict[tuple[int, float], float] = {}
            for process in psutil.process_iter(_FIELDS, ad_value=None):
                row, key, cpu_s = _row(process.info)
                if seconds > 0 and key in used:
                    row["cpu_percent"] = round(max(0.0, cpu_s - used[key]) / seconds * 100, 1)
                current[key] = cpu_s
                rows.append(row)
            self._at, self._used = now, current
            self.names = tuple(sorted({row["name"] for row in rows if _PLAIN_NAME.fullmatch(row["name"])}))
            return rows

    def named(self, name: str) -> list[dict[str, Any]]:
        """The processes whose program has this name."""
        wanted = name.casefold()
        found = []
        for process in psutil.process_iter((*_FIELDS, "exe", "cmdline"), ad_value=None):
            if wanted in {known.casefold() for known in _names(process.info)}:
                row, _, _ = _row(process.info)
                del row["cpu_percent"]  # not measured here
                found.append(row)
        return found


def _names(info: Mapping[str, Any]) -> Iterator[str]:
    """What a process is known by: its own name, its program's, and the script an interpreter runs."""
    command = info["cmdline"] or []
    for path in (info["name"], info["exe"], *command[:2]):
        if path and not path.startswith("-"):
            yield os.path.basename(path)


def _row(info: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, float], float]:
    times, memory = info["cpu_times"], info["memory_info"]
    row = {
        "pid": info["pid"],
        "name": info["name"] or "?",
        "user": info["username"] or "?",
        "cpu_percent": 0.0,
        "memory_bytes": memory.rss if memory else 0,
    }
    return row, (info["pid"], info["create_time"] or 0.0), times.user + times.system if times else 0.0
