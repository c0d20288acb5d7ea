"""Copying and measuring files and folders by descriptor, without following links, until somebody says stop.

Used by the file service and its trash, inside worker threads. Must not know roots or requests.
"""

import asyncio
import errno
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from llmcore.errors import BadParams, Conflict, LLMCoreError

CHUNK_BYTES = 1 << 20
MAX_ENTRIES = 20_000
MAX_DEPTH = 64
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})

Stopped = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Tree:
    """What is below a folder."""

    files: int = 0
    folders: int = 0
    size_bytes: int = 0
    whole: bool = True
    """False if something in it cannot be kept: devices, too deep, too much."""

    def plus(self, other: "Tree") -> "Tree":
        """Both together."""
        return Tree(
            self.files + other.files,
            self.folders + other.folders,
            self.size_bytes + other.size_bytes,
            self.whole and other.whole,
        )


def measure(folder_fd: int, depth: int = MAX_DEPTH) -> Tree:
    """Count what is below a folder; gives up politely on very large trees."""
    total = Tree(whole=depth > 0)
    if depth <= 0:
        return total
    with os.scandir(folder_fd) as entries:
        for item in entries:
            total = total.plus(_measure_entry(folder_fd, item, depth))
            if total.files + total.folders > MAX_ENTRIES:
                return replace(total, whole=False)
    return total


def _measure_entry(folder_fd: int, item: "os.DirEntry[str]", depth: int) -> Tree:
    if item.is_dir(follow_symlinks=False):
        with _opened(folder_fd, item.name) as inner:
            return Tree(folders=1).plus(measure(inner, depth - 1))
    found = item.stat(follow_symlinks=False)
    return Tree(files=1, size_bytes=found.st_size, whole=stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode))


def open_file(folder_fd: int, name: str) -> int:
    """A descriptor of a regular file for reading; Conflict if it has become something else."""
    fd = os.open(name, READ_FLAGS, dir_fd=folder_fd)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise Conflict(f"{name} is not a regular file.")


def copy_file(from_fd: int, name: str, to_fd: int, new_name: str, stopped: Stopped = lambda: False) -> int:
    """Copy a regular file to a name that does not exist, whole or not at all; returns its size in bytes."""
    source = open_file(from_fd, name)
    try:
        found = os.fstat(source)
        with Draft(to_fd, found) as draft:
            while chunk := os.read(source, CHUNK_BYTES):
                if stopped():
                    raise LLMCoreError("The copy was stopped.")
                draft.write(chunk)
            draft.publish(new_name)
        return draft.size
    finally:
        os.close(source)


def copy_tree(from_fd: int, to_fd: int, stopped: Stopped = lambda: False) -> None:
    """Copy everything below a folder into an empty one, links as links; BadParams for devices and the like."""
    with os.scandir(from_fd) as entries:
        names = [(item.name, item.stat(follow_symlinks=False).st_mode) for item in entries]
    for name, mode in names:
        if stat.S_ISREG(mode):
            copy_file(from_fd, name, to_fd, name, stopped)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=from_fd), name, dir_fd=to_fd)
        elif stat.S_ISDIR(mode):
            _copy_inner(from_fd, name, to_fd, name, stopped)
        else:
            raise BadParams(f"{name} is neither file nor folder and cannot be copied.")


def _copy_inner(from_fd: int, name: str, to_fd: int, new_name: str, stopped: Stopped) -> None:
    with _opened(from_fd, name) as source:
        os.mkdir(new_name, stat.S_IMODE(os.fstat(source).st_mode) | stat.S_IRWXU, dir_fd=to_fd)
        with _opened(to_fd, new_name) as target:
            copy_tree(source, target, stopped)


@contextmanager
def _opened(folder_fd: int, name: str) -> Iterator[int]:
    fd = os.open(name, FOLDER_FLAGS, dir_fd=folder_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def rename_new(from_fd: int, name: str, to_fd: int, new_name: str) -> None:
    """Rename a file to a name that must not exist yet (FileExistsError); OSError EXDEV on another file system."""
    try:
        os.link(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if _taken(to_fd, new_name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name) from None
        os.rename(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    else:
        os.unlink(name, dir_fd=from_fd)


def transfer(from_fd: int, name: str, to_fd: int, new_name: str, kind: str, stopped: Stopped = lambda: False) -> None:
    """Move a file or a folder to a name that must not exist yet, across file systems too."""
    try:
        if kind == "file":
            rename_new(from_fd, name, to_fd, new_name)
        elif _taken(to_fd, new_name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
        else:
            os.rename(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _carry(from_fd, name, to_fd, new_name, kind, stopped)


def _carry(from_fd: int, name: str, to_fd: int, new_name: str, kind: str, stopped: Stopped) -> None:
    if kind == "file":
        copy_file(from_fd, name, to_fd, new_name, stopped)
        os.unlink(name, dir_fd=from_fd)
        return
    try:
        _copy_inner(from_fd, name, to_fd, new_name, stopped)
    except BaseException:
        shutil.rmtree(new_name, ignore_errors=True, dir_fd=to_fd)
        raise
    shutil.rmtree(name, dir_fd=from_fd)


def _taken(folder_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


class Draft:
    """A file being written under a hidden name; becomes visible whole or not at all."""

    def __init__(self, folder_fd: int, like: os.stat_result | None) -> None:
        """Make it in a folder, with mode and owner of another file if there is one."""
        self._folder = folder_fd
        self._name = f".llmcore-{secrets.token_hex(8)}.part"
        self._like = like
        self._fd = -1
        self.size = 0

    def __enter__(self) -> "Draft":
        """Create the hidden file."""
        mode = stat.S_IMODE(self._like.st_mode) & 0o777 if self._like else 0o644
        self._fd = os.open(self._name, _CREATE_FLAGS, mode | stat.S_IWUSR, dir_fd=self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the hidden name; what was published stays."""
        os.close(self._fd)
        try:
            os.unlink(self._name, dir_fd=self._folder)
        except FileNotFoundError:
            return

    def write(self, data: bytes) -> None:
        """Append."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self.size += len(data)

    def publish(self, name: str, *, over: bool = False) -> None:
        """Give it its name once it is on disk; FileExistsError if that is taken and `over` is not set."""
        if self._like is not None:
            self._adopt(self._like)
        os.fsync(self._fd)
        if over:
            os.replace(self._name, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        else:
            rename_new(self._folder, self._name, self._folder, name)

    def _adopt(self, like: os.stat_result) -> None:
        try:
            os.fchown(self._fd, like.st_uid, like.st_gid)
        except PermissionError:
            return  # only root may give files away; ours then
        os.fchmod(self._fd, stat.S_IMODE(like.st_mode) & 0o777)


async def stoppable(work: Callable[..., Mapping[str, Any]], *args: str) -> dict[str, Any]:
    """Run blocking work in a thread and tell it when nobody waits any more."""
    stop = threading.Event()
    try:
        return dict(await asyncio.to_thread(work, *args, stop.is_set))
    except asyncio.CancelledError:
        stop.set()
        raise
