"""What deletions and overwrites took away, kept below the data folder so that they can be undone.

Used by the file service, inside worker threads. Small things only: an item beyond the cap is not kept, and the oldest
make room for the newest. Must not know roots or requests.
"""

import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from llmcore.adapters.host.trees import FOLDER_FLAGS, copy_file, transfer
from llmcore.errors import NotFound
from llmcore.ports import Clock

ITEM = "item"
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is known of an item."""

    path: str
    """Where it was, and the only place it may go back to."""
    kind: str
    """`file` or `folder`."""
    size_bytes: int
    at: float
    """Epoch seconds."""
    replaced_by: str | None = None
    """SHA-256 of the content that took its place, None if nothing did."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What emptying the trash did."""

    items: int = 0
    size_bytes: int = 0
    needed: tuple[str, ...] = ()
    """Items that would have gone but were to be kept."""


class Trash:
    """A folder of kept items, each in a folder of its own."""

    def __init__(self, folder: Path, clock: Clock, *, max_item_bytes: int, max_bytes: int, max_age_s: float) -> None:
        """Take the folder, which is made when first needed, and the limits."""
        self._folder = folder
        self._clock = clock
        self._max_item = max_item_bytes
        self._max = max_bytes
        self._max_age_s = max_age_s
        self._lock = threading.Lock()

    def fits(self, size_bytes: int) -> bool:
        """True if something of this size would be kept."""
        return size_bytes <= min(self._max_item, self._max)

    def keep_copy(self, folder_fd: int, name: str, kept: Kept) -> str:
        """Copy a file into the trash; returns the item's id."""
        with self._new_item(kept) as (item, item_fd):
            copy_file(folder_fd, name, item_fd, ITEM)
        return item

    def take(self, folder_fd: int, name: str, kept: Kept) -> str:
        """Move a file or a folder into the trash; returns the item's id."""
        with self._new_item(kept) as (item, item_fd):
            transfer(folder_fd, name, item_fd, ITEM, kept.kind)
        return item

    def look(self, item: str) -> Kept:
        """What an item is; NotFound if it has been purged."""
        try:
            if not _ID.fullmatch(item):
                raise FileNotFoundError
            return Kept(**json.loads((self._folder / item / "kept.json").read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise NotFound(f"The trash has no item {item!r}; it may have been purged.") from error

    @contextmanager
    def opened(self, item: str) -> Iterator[int]:
        """A descriptor of the folder that holds the item under the name `ITEM`."""
        fd = os.open(self._folder / item, FOLDER_FLAGS)
        try:
            yield fd
        finally:
            os.close(fd)

    def drop(self, item: str) -> None:
        """Forget an item for good."""
        shutil.rmtree(self._folder / item, ignore_errors=True)

    def purge(self, older_than_s: float | None = None, keep: Container[str] = ()) -> Purged:
        """Drop what is older (None: than the limit), but nothing of `keep`."""
        limit = self._max_age_s if older_than_s is None else older_than_s
        with self._lock:
            old = [(item, kept) for item, kept in self._items() if self._clock.now() - kept.at > limit]
            gone = [(item, kept) for item, kept in old if item not in keep]
            for item, _ in gone:
                self.drop(item)
        needed = tuple(item for item, _ in old if item in keep)
        return Purged(len(gone), sum(kept.size_bytes for _, kept in gone), needed)

    def _make_room(self, needed_bytes: int) -> None:
        """Drop the oldest until `needed_bytes` fit."""
        with self._lock:
            items = sorted(self._items(), key=lambda pair: pair[1].at)
            left = sum(kept.size_bytes for _, kept in items)
            for item, kept in items:
                if left + needed_bytes <= self._max:
                    break
                self.drop(item)
                left -= kept.size_bytes

    def _items(self) -> Iterator[tuple[str, Kept]]:
        for folder in self._folder.iterdir() if self._folder.exists() else ():
            try:
                yield folder.name, self.look(folder.name)
            except NotFound:
                continue  # one that is just being made, or nothing of ours

    @contextmanager
    def _new_item(self, kept: Kept) -> Iterator[tuple[str, int]]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room(kept.size_bytes)
        item = secrets.token_hex(8)
        (self._folder / item).mkdir(mode=0o700)
        (self._folder / item / "kept.json").write_text(json.dumps(asdict(kept)), "utf-8")
        try:
            with self.opened(item) as fd:
                yield item, fd
        finally:
            if not os.path.lexists(self._folder / item / ITEM):
                self.drop(item)
