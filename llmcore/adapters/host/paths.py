"""Where a path of a request really is: inside an allowed root, or refused.

Used by the file service and its trash, inside worker threads. A path is first judged as text, then walked component by
component with `openat` semantics, never following a symbolic link, so that nobody who swaps a folder for a link between
check and use can lead it outside. Must not know what is done with a file.
"""

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from llmcore.errors import BadParams, Conflict, Forbidden, NotFound

MAX_PATH_BYTES = 4096
_WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """A path that is inside a root, as text; what is there is only known by walking it."""

    root: str
    """Real path of the allowed folder."""
    parts: tuple[str, ...]
    """Names below it; empty for the root itself."""

    @property
    def path(self) -> str:
        """Absolute path."""
        return posixpath.join(self.root, *self.parts)

    @property
    def name(self) -> str:
        """Last name; BadParams for a root, which is never the thing to act on."""
        if not self.parts:
            raise BadParams(f"{self.root} is an allowed folder itself; name something inside it.")
        return self.parts[-1]

    def below(self, *names: str) -> "Place":
        """A place further down."""
        return Place(self.root, (*self.parts, *names))


class Roots:
    """The allowed folders, and what below them is private to this program."""

    def __init__(self, roots: Sequence[str], private: Sequence[str] = ()) -> None:
        """Take both as absolute paths; they need not exist yet."""
        self.given = tuple(posixpath.normpath(root) for root in roots)
        self._private = tuple(private)

    def resolve(self, path: str) -> Place:
        """The place of a path; Forbidden outside the roots, BadParams if it is no path or fits several roots."""
        _check_text(path)
        if not self.given:
            raise Forbidden(
                "No folder is open to file intents. Set LLMCORE_SYSTEM__ROOTS to a JSON list of folders, "
                'for instance ["/srv/share"].'
            )
        return self._checked(self._absolute(path) if path.startswith("/") else self._relative(path))

    def resolve_root(self, root: str) -> Place:
        """The same for the `root` of a request, which may also be the last name of an allowed folder."""
        named = [given for given in self.given if posixpath.basename(given) == root]
        return self.resolve(named[0] if len(named) == 1 else root)

    def guard_whole(self, place: Place) -> None:
        """Forbidden if moving or deleting the place would take a root or a private folder with it."""
        for kept in (*(os.path.realpath(root) for root in self.given), *self._private_paths()):
            if inside(kept, place.path):
                raise Forbidden(f"{place.path} holds {kept}, which has to stay.")

    def _absolute(self, path: str) -> Place:
        wanted = posixpath.normpath("/" + path.lstrip("/"))
        for given in self.given:
            real = os.path.realpath(given)
            for alias in (given, real):
                if inside(wanted, alias):
                    return Place(real, _parts(wanted[len(alias) :]))
        allowed = ", ".join(self.given)
        raise Forbidden(f"{path} is outside the allowed folders ({allowed}).", roots=list(self.given))

    def _relative(self, path: str) -> Place:
        parts = _parts(posixpath.normpath(path))
        if parts[:1] == ("..",):
            raise Forbidden(f"{path} leads out of the allowed folders.", roots=list(self.given))
        places = [Place(os.path.realpath(root), parts) for root in self.given]
        for candidates in (places, [p for p in places if exists(p)], [p for p in places if _has_parent(p)]):
            if len(candidates) == 1:
                return candidates[0]
        raise BadParams(
            f"{path} could be in {' or '.join(self.given)}; name the whole path.",
            [{"pointer": "/path", "message": "fits several allowed folders"}],
        )

    def _checked(self, place: Place) -> Place:
        if any(inside(place.path, private) for private in self._private_paths()):
            raise Forbidden(f"{place.path} belongs to this program and is not open to file intents.")
        return place

    def _private_paths(self) -> Iterator[str]:
        return (os.path.realpath(path) for path in self._private)


def _check_text(path: str) -> None:
    problem = ""
    if "\0" in path:
        problem = "must not contain NUL"
    elif any("\ud800" <= letter <= "\udfff" for letter in path):
        problem = "is not valid Unicode"
    elif not path or len(path.encode()) > MAX_PATH_BYTES:
        problem = f"must have 1 to {MAX_PATH_BYTES} bytes"
    if problem:
        raise BadParams(f"The path {problem}.", [{"pointer": "/path", "message": problem}])


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", "."))


def inside(path: str, folder: str) -> bool:
    """True if the text of a path is a folder's or below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


@contextmanager
def named(path: str) -> Iterator[None]:
    """Let an OSError from inside say the whole path, not only the name relative to a folder."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = path, None
        raise


@contextmanager
def folder(place: Place, depth: int | None = None) -> Iterator[int]:
    """A descriptor of the folder at `place` (of its first `depth` names) for use as `dir_fd`.

    Raises NotFound, or Forbidden where a component is a symbolic link.
    """
    with named(place.path):
        current = os.open(place.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for position, part in enumerate(place.parts[:depth]):
                current = _step(current, part, Place(place.root, place.parts[: position + 1]).path)
            yield current
        finally:
            os.close(current)


def _step(current: int, part: str, path: str) -> int:
    try:
        deeper = os.open(part, _WALK, dir_fd=current)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(part, dir_fd=current, follow_symlinks=False).st_mode):
            raise _link(path) from None
        raise NotFound(f"{path} is not a folder.") from None
    os.close(current)
    return deeper


def parent(place: Place) -> AbstractContextManager[int]:
    """A descriptor of the folder that holds `place`; see `folder`. BadParams for a root."""
    return folder(place, len(place.parts) - 1 if place.name else None)


def entry(parent_fd: int, place: Place) -> os.stat_result | None:
    """What stands at `place`, or None; Forbidden for a symbolic link."""
    try:
        found = os.stat(place.name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        raise _link(place.path)
    return found


def existing(parent_fd: int, place: Place) -> os.stat_result:
    """The same; NotFound if there is nothing."""
    found = entry(parent_fd, place)
    if found is None:
        raise NotFound(f"There is no {place.path}.")
    return found


def regular(parent_fd: int, place: Place) -> os.stat_result:
    """The same; Conflict unless it is a regular file."""
    found = existing(parent_fd, place)
    if not stat.S_ISREG(found.st_mode):
        raise Conflict(f"{place.path} is a {kind(found)}, not a file.")
    return found


def exists(place: Place) -> bool:
    """True if something stands at `place` that may be touched."""
    try:
        with folder(place, -1 if place.parts else None) as fd:
            return not place.parts or entry(fd, place) is not None
    except (OSError, NotFound, Forbidden):  # whatever the reason, it is not usable
        return False


def _has_parent(place: Place) -> bool:
    return exists(Place(place.root, place.parts[:-1]))


def kind(found: os.stat_result) -> str:
    """`file`, `folder`, `symlink` or `other`."""
    for test, word in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "folder"), (stat.S_ISLNK, "symlink")):
        if test(found.st_mode):
            return word
    return "other"


def _link(path: str) -> Forbidden:
    return Forbidden(f"{path} is a symbolic link; links are not followed.")
