"""Files and folders inside the allowed roots.

Behind the intents of the pack `files`, as the service `files`. All work happens in worker threads. Every change is
whole or absent, nothing that exists is overwritten but by `write`, and what `write` and the deletions take away goes to
the trash while it fits. Must not know plans or people.
"""

import asyncio
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmcore.adapters.host.contents import as_text, head, sha256, when
from llmcore.adapters.host.paths import (
    Place,
    Roots,
    entry,
    existing,
    exists,
    folder,
    inside,
    kind,
    named,
    parent,
    regular,
)
from llmcore.adapters.host.trash import ITEM, Kept, Purged, Trash
from llmcore.adapters.host.trees import FOLDER_FLAGS, Draft, Tree, copy_file, measure, open_file, stoppable, transfer
from llmcore.errors import BadParams, Conflict, Forbidden, NotFound
from llmcore.ports import Clock

TRASH = "trash:"
_HASH_LIMIT_BYTES = 64 << 20
_HEAD_CHARS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesOptions:
    """What may be touched and how much at once."""

    roots: tuple[str, ...] = ()
    """Absolute folders; none means that no file intent works."""
    trash: Path
    """Folder for what can be undone."""
    private: tuple[str, ...] = ()
    """Folders that stay closed even inside a root, such as the data folder."""
    max_read_bytes: int = 256 << 10
    max_write_bytes: int = 1 << 20
    max_entries: int = 5000
    max_item_bytes: int = 64 << 20
    """The largest thing the trash keeps."""
    max_trash_bytes: int = 512 << 20
    max_trash_age_s: float = 7 * 86_400.0
    scarce: Callable[[], bool] = lambda: False
    """True while the disk of the trash is full: deletions are then for good, unless the other was promised."""


class Files:
    """The service `files`."""

    def __init__(self, options: FilesOptions, clock: Clock) -> None:
        """Touch nothing yet."""
        self._options = options
        self._clock = clock
        self._roots = Roots(options.roots, (*options.private, str(options.trash)))
        self._trash = Trash(
            options.trash,
            clock,
            max_item_bytes=options.max_item_bytes,
            max_bytes=options.max_trash_bytes,
            max_age_s=options.max_trash_age_s,
        )

    @property
    def roots(self) -> tuple[str, ...]:
        """The allowed folders as set."""
        return self._roots.given

    async def list(self, root: str, path: str = "") -> dict[str, Any]:
        """`{"entries": [{name, type, size, modified}]}`, folders first; `truncated` is there if some are left out."""
        return await asyncio.to_thread(self._list, root, path)

    async def read(self, path: str) -> dict[str, Any]:
        """`{path, content, size, truncated}` of a text file; BadParams for a binary one."""
        return await asyncio.to_thread(self._read, path)

    async def facts(self, path: str, *, must_exist: bool = False) -> dict[str, Any]:
        """What stands at a path: `{path, exists, type, size_bytes, modified, sha256, restorable}`."""
        return await asyncio.to_thread(self._facts, path, must_exist)

    async def write_facts(self, path: str, content: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a write would replace, and what it would leave."""
        return await asyncio.to_thread(self._write_facts, path, content)

    async def transfer_facts(self, source: str, destination: str) -> dict[str, Any]:
        """What a copy or a move would touch; NotFound without a source."""
        return await asyncio.to_thread(self._transfer_facts, source, destination)

    async def folder_facts(self, root: str, dirname: str) -> dict[str, Any]:
        """What a folder holds: `{path, exists, files, folders, size_bytes, restorable}`."""
        return await asyncio.to_thread(self._folder_facts, root, dirname)

    async def create_folder(self, path: str) -> dict[str, Any]:
        """`{path, created}`; Conflict where a file is in the way."""
        return await asyncio.to_thread(self._create_folder, path)

    async def write(self, path: str, content: str) -> dict[str, Any]:
        """`{path, size_bytes, created, trash_id}`; the old content is in the trash if it fits."""
        return await asyncio.to_thread(self._write, path, content)

    async def copy(self, source: str, destination: str) -> dict[str, Any]:
        """`{source, destination, size_bytes}`; into a folder where the destination is one. Stops when cancelled."""
        return await stoppable(self._copy, source, destination)

    async def move(self, source: str, destination: str) -> dict[str, Any]:
        """`{source, destination}`; a source `trash:ID` goes back to where it was. Stops when cancelled."""
        return await stoppable(self._move, source, destination)

    async def delete(self, path: str, restorable: bool | None = None) -> dict[str, Any]:
        """`{path, trash_id}`; `trash_id` is None if it was for good.

        `restorable` is what was promised, None if nothing was; Conflict if that cannot be kept.
        """
        return await asyncio.to_thread(self._delete, path, restorable)

    async def delete_folder(
        self, root: str, dirname: str, non_empty: bool = False, restorable: bool | None = None
    ) -> dict[str, Any]:
        """`{path, files, folders, trash_id}`; Conflict if something is in it and `non_empty` is not set.

        `restorable` as for `delete`.
        """
        return await asyncio.to_thread(self._delete_folder, root, dirname, non_empty, restorable)

    async def purge(self, older_than_s: float | None = None, keep: Container[str] = ()) -> Purged:
        """Empty the trash of what is older, None: than its own limit; items of `keep` stay."""
        return await asyncio.to_thread(self._trash.purge, older_than_s, keep)

    def _list(self, root: str, path: str) -> dict[str, Any]:
        place = self._below(self._roots.resolve_root(root), path) if path else self._roots.resolve_root(root)
        with folder(place) as fd, named(place.path):
            readable = os.open(".", FOLDER_FLAGS, dir_fd=fd)
            try:
                with os.scandir(readable) as found:
                    entries = [self._entry(item) for item in found]
            finally:
                os.close(readable)
        entries.sort(key=lambda one: (one["type"] != "folder", one["name"].casefold(), one["name"]))
        limit = self._options.max_entries
        cut = {"truncated": True} if len(entries) > limit else {}
        return {"entries": entries[:limit], **cut}

    def _entry(self, item: "os.DirEntry[str]") -> dict[str, Any]:
        found = item.stat(follow_symlinks=False)
        name = os.fsencode(item.name).decode("utf-8", "replace")
        return {"name": name, "type": kind(found), "size": found.st_size, "modified": when(found.st_mtime)}

    def _below(self, place: Place, path: str) -> Place:
        """A path below a place, relative to it or whole."""
        deeper = self._roots.resolve(os.path.join(place.path, path))
        if not inside(deeper.path, place.path):
            raise Forbidden(f"{path} is not below {place.path}.")
        return deeper

    def _read(self, path: str) -> dict[str, Any]:
        place = self._roots.resolve(path)
        limit = self._options.max_read_bytes
        with parent(place) as fd, named(place.path):
            found = regular(fd, place)
            data = head(fd, place.name, limit + 1)
        size = max(found.st_size, len(data))
        text = as_text(data[:limit], cut=len(data) > limit)
        if text is None:
            raise BadParams(
                f"{place.path} is a binary file of {size} bytes, so it cannot be shown as text.",
                [{"pointer": "/path", "message": "is a binary file"}],
            )
        return {"path": place.path, "content": text, "size": size, "truncated": len(data) > limit}

    def _facts(self, path: str, must_exist: bool) -> dict[str, Any]:
        place = self._roots.resolve(path)
        try:
            with parent(place) as fd, named(place.path):
                found = existing(fd, place)
                return {"path": place.path, "exists": True, **self._about(fd, place.name, found)}
        except (FileNotFoundError, NotFound):
            if must_exist:
                raise
            return {"path": place.path, "exists": False}

    def _about(self, fd: int, name: str, found: os.stat_result) -> dict[str, Any]:
        facts: dict[str, Any] = {"type": kind(found), "size_bytes": found.st_size, "modified": when(found.st_mtime)}
        if stat.S_ISREG(found.st_mode):
            facts["restorable"] = self._trash.fits(found.st_size) and not self._options.scarce()
            if found.st_size <= _HASH_LIMIT_BYTES:
                facts["sha256"] = sha256(fd, name)
        return facts

    def _write_facts(self, path: str, content: str) -> tuple[dict[str, Any], dict[str, Any]]:
        data = self._encoded(content)
        before = self._facts(path, must_exist=False)
        if before["exists"] and before["type"] == "file":
            place = self._roots.resolve(path)
            with parent(place) as fd, named(place.path):
                before["text"] = as_text(head(fd, place.name, _HEAD_CHARS), cut=True)
        after = {"exists": True, "type": "file", "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        return before, {**after, "text": content[:_HEAD_CHARS]}

    def _transfer_facts(self, source: str, destination: str) -> dict[str, Any]:
        if source.startswith(TRASH):
            kept = self._kept(source, destination)
            return {"source": source, "destination": kept.path, "type": kept.kind, "size_bytes": kept.size_bytes}
        facts = self._facts(source, must_exist=True)
        target = self._destination(destination, os.path.basename(facts["path"]))
        taken = exists(target)
        return {**facts, "source": facts["path"], "destination": target.path, "destination_exists": taken}

    def _destination(self, destination: str, name: str) -> Place:
        place = self._roots.resolve(destination)
        try:
            with folder(place):
                return place.below(name)
        except FileNotFoundError:
            if destination.endswith("/"):
                raise
            return place
        except NotFound:
            return place

    def _folder_place(self, root: str, dirname: str) -> Place:
        base = self._roots.resolve_root(root)
        place = self._below(base, dirname)
        if place.path == base.path:
            raise BadParams("Name the folder to delete.", [{"pointer": "/dirname", "message": "names no folder"}])
        self._roots.guard_whole(place)
        return place

    def _folder_facts(self, root: str, dirname: str) -> dict[str, Any]:
        place = self._folder_place(root, dirname)
        try:
            tree = self._tree(place)
        except FileNotFoundError:
            return {"path": place.path, "exists": False}
        counts = {"files": tree.files, "folders": tree.folders, "size_bytes": tree.size_bytes}
        return {
            "path": place.path,
            "exists": True,
            **counts,
            "restorable": self._restorable(tree) and not self._options.scarce(),
        }

    def _tree(self, place: Place) -> Tree:
        with folder(place) as fd, named(place.path):
            readable = os.open(".", FOLDER_FLAGS, dir_fd=fd)
            try:
                return measure(readable)
            finally:
                os.close(readable)

    def _restorable(self, tree: Tree) -> bool:
        return tree.whole and self._trash.fits(tree.size_bytes)

    def _create_folder(self, path: str) -> dict[str, Any]:
        place = self._roots.resolve(path)
        with parent(place) as fd, named(place.path):
            found = entry(fd, place)
            if found is None:
                os.mkdir(place.name, 0o755, dir_fd=fd)
            elif not stat.S_ISDIR(found.st_mode):
                raise Conflict(f"{place.path} exists and is a {kind(found)}.")
        return {"path": place.path, "created": found is None}

    def _encoded(self, content: str) -> bytes:
        try:
            data = content.encode()
        except UnicodeEncodeError as error:
            fields = [{"pointer": "/content", "message": "is not valid Unicode"}]
            raise BadParams("The content is not valid Unicode.", fields) from error
        if len(data) > self._options.max_write_bytes:
            problem = f"must have at most {self._options.max_write_bytes} bytes"
            raise BadParams(f"The content {problem}.", [{"pointer": "/content", "message": problem}])
        return data

    def _write(self, path: str, content: str) -> dict[str, Any]:
        data = self._encoded(content)
        place = self._roots.resolve(path)
        with parent(place) as fd, named(place.path):
            old = None if entry(fd, place) is None else regular(fd, place)
            kept = None
            if old is not None and self._trash.fits(old.st_size):
                replaced_by = hashlib.sha256(data).hexdigest()
                kept = self._trash.keep_copy(fd, place.name, self._kept_as(place, "file", old.st_size, replaced_by))
            with Draft(fd, old) as draft:
                draft.write(data)
                draft.publish(place.name, over=old is not None)
        return {"path": place.path, "size_bytes": len(data), "created": old is None, "trash_id": kept}

    def _kept_as(self, place: Place, what: str, size_bytes: int, replaced_by: str | None = None) -> Kept:
        return Kept(path=place.path, kind=what, size_bytes=size_bytes, at=self._clock.now(), replaced_by=replaced_by)

    def _copy(self, source: str, destination: str, stopped: Callable[[], bool]) -> dict[str, Any]:
        origin = self._roots.resolve(source)
        target = self._destination(destination, origin.name)
        with parent(origin) as from_fd, parent(target) as to_fd, named(origin.path):
            regular(from_fd, origin)
            _refuse_taken(to_fd, target)
            with named(target.path):
                size = copy_file(from_fd, origin.name, to_fd, target.name, stopped)
        return {"source": origin.path, "destination": target.path, "size_bytes": size}

    def _move(self, source: str, destination: str, stopped: Callable[[], bool]) -> dict[str, Any]:
        if source.startswith(TRASH):
            return self._restore(source, destination)
        origin = self._roots.resolve(source)
        target = self._destination(destination, origin.name)
        self._roots.guard_whole(origin)
        with parent(origin) as from_fd, parent(target) as to_fd, named(origin.path):
            what = kind(existing(from_fd, origin))
            if what == "other":
                raise Conflict(f"{origin.path} is neither a file nor a folder.")
            _refuse_taken(to_fd, target)
            with named(target.path):
                transfer(from_fd, origin.name, to_fd, target.name, what, stopped)
        return {"source": origin.path, "destination": target.path}

    def _kept(self, source: str, destination: str) -> Kept:
        kept = self._trash.look(source.removeprefix(TRASH))
        if self._roots.resolve(destination).path != kept.path:
            raise Forbidden("A trash item can only go back to where it was.")
        return kept

    def _restore(self, source: str, destination: str) -> dict[str, Any]:
        kept = self._kept(source, destination)
        item = source.removeprefix(TRASH)
        place = self._roots.resolve(destination)
        with parent(place) as fd, self._trash.opened(item) as item_fd, named(place.path):
            if kept.replaced_by is None:
                _refuse_taken(fd, place)
                transfer(item_fd, ITEM, fd, place.name, kept.kind)
            else:
                self._put_back(item_fd, fd, place, kept.replaced_by)
        self._trash.drop(item)
        return {"source": source, "destination": place.path}

    def _put_back(self, item_fd: int, fd: int, place: Place, replaced_by: str) -> None:
        regular(fd, place)
        if sha256(fd, place.name) != replaced_by:
            raise Conflict(f"{place.path} has been changed since; its earlier content stays in the trash.")
        source = open_file(item_fd, ITEM)
        try:
            with Draft(fd, os.fstat(source)) as draft:
                while chunk := os.read(source, 1 << 20):
                    draft.write(chunk)
                draft.publish(place.name, over=True)
        finally:
            os.close(source)

    def _keeps(self, place: Place, fits: bool, promised: bool | None) -> bool:
        """Whether a deletion goes to the trash; Conflict if that was promised and it does not fit any more."""
        if promised and not fits:
            raise Conflict(
                f"{place.path} has become more than the trash keeps, though the plan said that it can be taken back; "
                "make the plan again."
            )
        return fits and (bool(promised) or not self._options.scarce())

    def _delete(self, path: str, promised: bool | None) -> dict[str, Any]:
        place = self._roots.resolve(path)
        with parent(place) as fd, named(place.path):
            found = regular(fd, place)
            kept = None
            if self._keeps(place, self._trash.fits(found.st_size), promised):
                kept = self._trash.take(fd, place.name, self._kept_as(place, "file", found.st_size))
            else:
                os.unlink(place.name, dir_fd=fd)
        return {"path": place.path, "trash_id": kept}

    def _delete_folder(self, root: str, dirname: str, non_empty: bool, promised: bool | None) -> dict[str, Any]:
        place = self._folder_place(root, dirname)
        tree = self._tree(place)
        counts = {"files": tree.files, "folders": tree.folders}
        if (tree.files or tree.folders) and not non_empty:
            raise Conflict(f"{place.path} is not empty; say delete_non_empty to delete what is in it.", **counts)
        with parent(place) as fd, named(place.path):
            kept = None
            if self._keeps(place, self._restorable(tree), promised):
                kept = self._trash.take(fd, place.name, self._kept_as(place, "folder", tree.size_bytes))
            else:
                shutil.rmtree(place.name, dir_fd=fd)
        return {"path": place.path, **counts, "trash_id": kept}


def _refuse_taken(fd: int, place: Place) -> None:
    if entry(fd, place) is not None:
        raise Conflict(f"{place.path} exists already.")
