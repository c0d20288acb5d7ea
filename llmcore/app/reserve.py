"""A piece of the disk kept for the day when it is full, so that an audited clean-up can still run.

Made in `app.build`, handed to the store as its `Space`. While the reserve is given away only work that frees space may
begin; once there is space again the reserve is made anew and everything goes on. Knows nothing of what is stored.
"""

import asyncio
import logging
import os
import shutil
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

NAME = "reserve"
FULL_BYTES = 16 << 20
LEAST_BYTES = 1 << 20
"""Less is no help."""
SHARE = 8
"""At most this part of a small disk is kept."""
LOOK_S = 2.0
"""How often a full disk is looked at."""

Tell = Callable[[str | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Room:
    """What a disk has for a reserve."""

    size: int
    """Bytes that the reserve should have; 0 on a disk that is too small for one."""
    free: int
    """Bytes that are free beside the reserve as it is."""
    kept: bool
    """True if the reserve is there."""

    @property
    def wanted(self) -> int:
        """Free bytes from which on the reserve is made (again), and some is left for work."""
        return self.size + self.size // 4


def room_of(folder: Path) -> Room:
    """Look at the disk of a data folder; raises OSError."""
    disk = shutil.disk_usage(folder)
    most = min(FULL_BYTES, disk.total // SHARE)
    size = most if most >= LEAST_BYTES else 0
    file = folder / NAME
    return Room(size, disk.free, kept=0 < size <= (file.stat().st_blocks * 512 if file.exists() else 0))


class Reserve:
    """`llmcore.adapters.sql.Space` of a data folder on this machine. `take` comes first."""

    def __init__(self, folder: Path) -> None:
        """Touch nothing yet."""
        self._folder = folder
        self._lock = threading.Lock()
        self._room = Room(0, 0, kept=False)
        self._given = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    @property
    def short(self) -> bool:
        """True while the disk is full and the reserve is given away."""
        return self._given

    @property
    def shortage(self) -> str | None:
        """What to do while the disk is full, None while it is not."""
        if not self._given:
            return None
        return (
            f"The disk of {self._folder} is full: only what frees space may begin (delete_file, delete_folder, "
            f"`llmcore trash purge`). Everything goes on by itself once {_mib(self._room.wanted)} are free there."
        )

    def take(self) -> None:
        """Keep the reserve, or begin as on a full disk if there is no space for it. Blocks; never raises."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make()
        except OSError as error:
            log.warning("no reserve is kept: %s", error.strerror, extra={"action": "reserve"})
            return
        if not self._room.size:
            log.warning("the disk of %s is too small for a reserve", self._folder, extra={"action": "reserve"})
        elif self._room.size < FULL_BYTES:
            log.warning("a small disk: %s are kept in reserve", _mib(self._room.size), extra={"action": "reserve"})

    def relieve(self) -> bool:
        """Give the reserve away if the disk is really full; False if there is none to give. For any thread."""
        with self._lock:
            try:
                room = room_of(self._folder)
                if self._given or not room.kept or room.free > room.size // 2:
                    return False
                (self._folder / NAME).unlink()
            except OSError:
                return False
            self._given = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.set)
        return True

    async def watch(self, tell: Tell) -> None:
        """For ever: tell of every shortage, and with None of its end, once the reserve is there again."""
        self._loop = asyncio.get_running_loop()
        while True:
            if not self._given:
                await self._changed.wait()
            self._changed.clear()
            await tell(self.shortage)
            while self._given:
                await asyncio.sleep(LOOK_S)
                await asyncio.to_thread(self._again)
            await tell(None)

    def _again(self) -> None:
        try:
            self._make()
        except OSError as error:
            log.warning("the reserve cannot be made: %s", error.strerror, extra={"action": "reserve"})

    def _make(self) -> None:
        with self._lock:
            room = self._room = room_of(self._folder)
            if room.size and not room.kept:
                self._given = room.free < room.wanted or not _allocated(self._folder / NAME, room.size)


def _allocated(file: Path, size: int) -> bool:
    """Make a file that really has its space; False if there is none after all."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        log.warning("the reserve cannot be made: %s", error.strerror, extra={"action": "reserve"})
        file.unlink()
        return False
    finally:
        os.close(descriptor)
    return True


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
