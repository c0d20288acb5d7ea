"""The name of this process among the nodes that share a store.

Used by `app.build`. The name is kept in the data folder, so that a process that is started again takes up at once what
it left; a second process on the same folder gets a name of its own for as long as it lives.
"""

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

NAME = re.compile(r"nd_[0-9a-f]{32}")
_FILE = "node"


@dataclass(frozen=True, slots=True)
class Node:
    """A name that no other living process has."""

    name: str
    _lock: int

    def leave(self) -> None:
        """Let the next process have the name."""
        os.close(self._lock)


def take_name(folder: Path) -> Node:
    """The name kept in a data folder, or a new one if another process uses that. Blocks; raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Node(_new_name(), file)
    kept = os.read(file, 100).decode("ascii", "replace").strip()
    if NAME.fullmatch(kept):
        return Node(kept, file)
    name = _new_name()
    os.ftruncate(file, 0)
    os.pwrite(file, f"{name}\n".encode(), 0)
    return Node(name, file)


def _new_name() -> str:
    return f"nd_{uuid4().hex}"
