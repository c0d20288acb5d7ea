"""No path leads outside the roots: not by its text, not by links, not by a race."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.adapters.host.paths import Place, Roots, entry, existing, exists, folder, kind, named, parent, regular
from llmcore.errors import BadParams, Conflict, Forbidden, LLMCoreError, NotFound

PIECES = st.sampled_from(
    [
        *("..", ".", "", "a", "b", "sub", "link", "up", "~", "etc", "passwd", "secret", "share", "x" * 300),
        *("\u2025", "\uff0e\uff0e", "%2e%2e", "..\0", "a\\..\\..", "\u2215", "\ud800", "\u202e.."),
        *("c:", "-rf", " ", "\n", "*", "$HOME", "`id`"),
    ]
)
LEADS = st.sampled_from(["", "/", "//", "./", "{root}/", "{root}"])
PATHS = st.builds(lambda lead, pieces: lead + "/".join(pieces), LEADS, st.lists(PIECES, max_size=8))


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A root with a folder, a file, and links that lead out and back in."""
    root = tmp_path / "share"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to("..")
    (root / "inner").symlink_to("a")
    return root


@given(path=PATHS)
@settings(max_examples=1000, deadline=None)
def test_whatever_is_asked_nothing_outside_is_reached(path: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A path is refused, or what is opened for it is inside the root; by inode, not by text."""
    base = tmp_path_factory.getbasetemp() / "corpus"
    root = base / "share"
    if not base.exists():
        (root / "sub").mkdir(parents=True)
        (root / "a").write_text("inside")
        (base / "secret").write_text("outside")
        (root / "link").symlink_to(base / "secret")
        (root / "up").symlink_to("..")
    inside = {os.stat(one).st_ino for one in (root, root / "sub", root / "a")}
    try:
        place = Roots([str(root)]).resolve(path.replace("{root}", str(root)))
        assert place.path == str(root) or place.path.startswith(f"{root}/")
        with parent(place) as fd:
            assert os.fstat(fd).st_ino in inside
            assert existing(fd, place).st_ino in inside
    except (LLMCoreError, OSError):
        return


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../secret", "sub/../../secret", "{root}/../secret", "{root}x/a", "//etc/passwd", "/", "..", "/.."],
)
def test_a_path_outside_is_forbidden(share: Path, path: str) -> None:
    """By its text alone."""
    with pytest.raises(Forbidden, match=r"outside|out of"):
        Roots([str(share)]).resolve(path.replace("{root}", str(share)))


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800", "x" * 5000])
def test_what_is_no_path_is_said_so(share: Path, path: str) -> None:
    """Empty, NUL, half a character, too long."""
    with pytest.raises(BadParams) as caught:
        Roots([str(share)]).resolve(path)
    assert caught.value.details["fields"][0]["pointer"] == "/path"


def test_links_are_not_followed_wherever_they_lead(share: Path) -> None:
    """Neither at the end nor on the way, neither out nor in."""
    roots = Roots([str(share)])
    for path in ("link", "inner"):
        place = roots.resolve(path)
        with parent(place) as fd, pytest.raises(Forbidden, match="symbolic link"):
            entry(fd, place)
        assert not exists(place)
    with pytest.raises(Forbidden, match="symbolic link"), parent(roots.resolve("up/secret")):
        pytest.fail("walked through a link")


def test_a_folder_swapped_for_a_link_between_check_and_use_gains_nothing(share: Path, tmp_path: Path) -> None:
    """Somebody exchanges a folder and a link as fast as possible; the secret is never seen."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("outside")
    (share / "sub" / "f").write_text("inside")
    (share / "evil").symlink_to(outside)
    secret = os.stat(outside / "f").st_ino
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            os.rename(share / "sub", share / "spare")
            os.rename(share / "evil", share / "sub")
            os.rename(share / "sub", share / "evil")
            os.rename(share / "spare", share / "sub")

    attacker = threading.Thread(target=swap)
    attacker.start()
    reached = 0
    try:
        place = Roots([str(share)]).resolve("sub/f")
        for _ in range(5000):
            try:
                with parent(place) as fd:
                    assert existing(fd, place).st_ino != secret
                    reached += 1
            except (LLMCoreError, OSError):
                continue
    finally:
        done.set()
        attacker.join()
    assert reached


def test_no_roots_means_no_files_and_says_how_to_change_that() -> None:
    """The remedy is named."""
    with pytest.raises(Forbidden, match="LLMCORE_SYSTEM__ROOTS"):
        Roots([]).resolve("a")


def test_a_relative_path_belongs_to_the_root_that_has_it(tmp_path: Path) -> None:
    """By what exists, then by where its folder exists; otherwise a question."""
    one, two = tmp_path / "one", tmp_path / "two"
    (one / "only").mkdir(parents=True)
    two.mkdir()
    (two / "f").write_text("x")
    roots = Roots([str(one), str(two)])
    assert roots.resolve("f").path == str(two / "f")
    assert roots.resolve("only/new").path == str(one / "only" / "new")
    with pytest.raises(BadParams, match="name the whole path"):
        roots.resolve("new")
    assert roots.resolve_root("two").path == str(two)
    assert roots.resolve_root(str(one / "only")).parts == ("only",)


def test_a_root_that_is_a_link_is_known_by_both_names(share: Path, tmp_path: Path) -> None:
    """The one in the settings and the real one."""
    alias = tmp_path / "alias"
    alias.symlink_to(share)
    roots = Roots([str(alias)])
    assert roots.resolve(str(alias / "a")) == roots.resolve(str(share / "a")) == Place(str(share), ("a",))


def test_the_programs_own_folder_stays_closed(share: Path) -> None:
    """Even inside a root, and nothing that holds it may go away."""
    roots = Roots([str(share)], [str(share / "sub" / "data")])
    with pytest.raises(Forbidden, match="belongs to this program"):
        roots.resolve("sub/data/llmcore.db")
    with pytest.raises(Forbidden, match="has to stay"):
        roots.guard_whole(roots.resolve("sub"))
    roots.guard_whole(roots.resolve("a"))


def test_a_root_is_nothing_to_act_on(share: Path) -> None:
    """It has no name inside itself."""
    with pytest.raises(BadParams, match="allowed folder itself"):
        parent(Roots([str(share)]).resolve(str(share)))


def test_what_stands_there_is_named(share: Path) -> None:
    """Files, folders, links, the rest; a file is wanted where a file is wanted."""
    os.mkfifo(share / "pipe")
    assert [kind(os.lstat(share / name)) for name in ("a", "sub", "link", "pipe")] == [
        "file",
        "folder",
        "symlink",
        "other",
    ]
    roots = Roots([str(share)])
    with parent(roots.resolve("sub")) as fd:
        assert regular(fd, roots.resolve("a")).st_size == 6
        assert entry(fd, roots.resolve("none")) is None
        with pytest.raises(NotFound, match=r"no .*none"):
            existing(fd, roots.resolve("none"))
        with pytest.raises(Conflict, match="is a folder"):
            regular(fd, roots.resolve("sub"))
    with pytest.raises(NotFound, match="not a folder"), folder(roots.resolve("a/b/c")):
        pytest.fail("a file is no folder")
    assert exists(roots.resolve(str(share)))
    assert not exists(roots.resolve("none/deeper"))


def test_an_error_names_the_whole_path() -> None:
    """Not only the name inside a folder."""
    with pytest.raises(OSError, match="/srv/whole") as caught, named("/srv/whole"):
        os.stat("missing", dir_fd=os.open("/", os.O_RDONLY))
    assert caught.value.filename2 is None
