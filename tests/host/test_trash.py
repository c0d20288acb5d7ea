"""What was taken away: kept while small and young, moved across file systems, nothing lost halfway."""

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmcore.adapters.host import trees
from llmcore.adapters.host.trash import ITEM, Kept, Purged, Trash
from llmcore.errors import BadParams, Conflict, LLMCoreError, NotFound
from tests.clocks import HandClock


@pytest.fixture
def clock() -> HandClock:
    """Stands still."""
    return HandClock()


@pytest.fixture
def trash(tmp_path: Path, clock: HandClock) -> Trash:
    """For items of 100 bytes, 250 in all, a minute long."""
    return Trash(tmp_path / "trash", clock, max_item_bytes=100, max_bytes=250, max_age_s=60)


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A descriptor of a folder."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def other_file_system() -> Iterator[Path]:
    """A folder in memory: renaming into it from a disk is impossible."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def keep(trash: Trash, folder: Path, name: str, size: int, at: float) -> str:
    """Put a file of some size into the trash."""
    (folder / name).write_bytes(b"x" * size)
    with opened(folder) as fd:
        return trash.take(fd, name, Kept(path=f"/srv/{name}", kind="file", size_bytes=size, at=at))


def test_an_item_is_known_until_it_is_dropped(trash: Trash, tmp_path: Path, clock: HandClock) -> None:
    """With all that was noted; nothing of it is readable by others."""
    item = keep(trash, tmp_path, "a", 10, clock.now())
    assert trash.look(item) == Kept(path="/srv/a", kind="file", size_bytes=10, at=clock.now())
    assert stat.S_IMODE((tmp_path / "trash").stat().st_mode) == 0o700
    assert not (tmp_path / "a").exists()
    trash.drop(item)
    with pytest.raises(NotFound):
        trash.look(item)


def test_a_trash_that_nobody_used_is_purged_too(trash: Trash) -> None:
    """There is no folder yet."""
    assert trash.purge() == Purged()


def test_the_oldest_make_room_and_the_old_go(trash: Trash, tmp_path: Path, clock: HandClock) -> None:
    """First in, first out; nobody else's files are touched."""
    items = []
    for number in range(4):
        clock.time += 1
        items.append(keep(trash, tmp_path, f"f{number}", 80, clock.now()))
    (tmp_path / "trash" / "stranger").mkdir()
    with pytest.raises(NotFound):
        trash.look(items[0])
    assert [trash.look(item).path for item in items[1:]] == ["/srv/f1", "/srv/f2", "/srv/f3"]
    clock.time += 58.5
    assert trash.purge() == Purged(1, 80)
    assert trash.purge(older_than_s=0, keep=[items[3]]) == Purged(1, 80, (items[3],))
    clock.time += 60
    assert trash.purge() == Purged(1, 80)
    assert (tmp_path / "trash" / "stranger").exists()


def test_only_small_things_are_kept(trash: Trash) -> None:
    """By the smaller of both limits."""
    assert trash.fits(100)
    assert not trash.fits(101)


def test_what_could_not_be_taken_leaves_no_item(trash: Trash, tmp_path: Path, clock: HandClock) -> None:
    """The file stays where it is."""
    kept = Kept(path="/srv/none", kind="file", size_bytes=1, at=clock.now())
    with opened(tmp_path) as fd, pytest.raises(FileNotFoundError):
        trash.take(fd, "none", kept)
    with opened(tmp_path) as fd, pytest.raises(FileNotFoundError):
        trash.keep_copy(fd, "none", kept)
    assert list((tmp_path / "trash").iterdir()) == []


def test_a_damaged_item_is_not_found(trash: Trash, tmp_path: Path, clock: HandClock) -> None:
    """Whatever is wrong with its notes."""
    item = keep(trash, tmp_path, "a", 10, clock.now())
    notes = tmp_path / "trash" / item / "kept.json"
    for text in ("{", json.dumps({"path": "x"})):
        notes.write_text(text)
        with pytest.raises(NotFound, match="purged"):
            trash.look(item)


def test_files_and_folders_travel_between_file_systems(tmp_path: Path) -> None:
    """Whole, with modes and links, and gone from where they were."""
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "run.sh").write_text("run")
    (tree / "deep" / "run.sh").chmod(0o750)
    (tree / "link").symlink_to("deep/run.sh")
    (tmp_path / "file").write_text("one")
    with other_file_system() as far, opened(tmp_path) as here, opened(far) as there:
        trees.transfer(here, "file", there, "file", "file")
        trees.transfer(here, "tree", there, "moved", "folder")
        assert (far / "file").read_text() == "one"
        assert (far / "moved" / "link").read_text() == "run"
        assert stat.S_IMODE((far / "moved" / "deep" / "run.sh").stat().st_mode) == 0o750
        assert not tree.exists()
        assert not (tmp_path / "file").exists()


def test_a_tree_that_cannot_travel_stays_whole(tmp_path: Path) -> None:
    """A device in it: nothing arrives, nothing is lost."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_text("a")
    os.mkfifo(tree / "pipe")
    with other_file_system() as far, opened(tmp_path) as here, opened(far) as there:
        with pytest.raises(BadParams, match="neither file nor folder"):
            trees.transfer(here, "tree", there, "tree", "folder")
        assert list(far.iterdir()) == []
        (tmp_path / "b").write_text("b")
        with pytest.raises(LLMCoreError, match="stopped"):
            trees.transfer(here, "b", there, "b", "file", lambda: True)
        assert list(far.iterdir()) == []
    assert (tree / "a").read_text() == "a"
    assert (tmp_path / "b").read_text() == "b"


def test_a_name_that_is_taken_is_never_replaced(tmp_path: Path) -> None:
    """By a file or a folder, on one file system."""
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    (tmp_path / "tree").mkdir()
    (tmp_path / "empty").mkdir()
    with opened(tmp_path) as here:
        with pytest.raises(FileExistsError):
            trees.transfer(here, "a", here, "b", "file")
        with pytest.raises(FileExistsError):
            trees.transfer(here, "tree", here, "empty", "folder")
        trees.transfer(here, "tree", here, "other", "folder")
    assert (tmp_path / "b").read_text() == "b"
    assert (tmp_path / "other").is_dir()


def test_file_systems_without_hard_links_work_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the name is looked up first."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with opened(tmp_path) as here:
        with pytest.raises(FileExistsError):
            trees.rename_new(here, "a", here, "b")
        trees.rename_new(here, "a", here, "c")
        assert trees.copy_file(here, "c", here, "d") == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b", "c", "d"]


def test_a_tree_is_measured_and_one_that_is_too_much_is_said_so(tmp_path: Path) -> None:
    """Devices, depth and number make it more than can be kept."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("12345")
    with opened(tmp_path) as fd:
        assert trees.measure(fd) == trees.Tree(files=1, folders=1, size_bytes=5, whole=True)
        assert not trees.measure(fd, depth=1).whole
    os.mkfifo(tmp_path / "pipe")
    with opened(tmp_path) as fd:
        assert not trees.measure(fd).whole


def test_a_very_large_tree_is_not_counted_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only known to be too large."""
    monkeypatch.setattr(trees, "MAX_ENTRIES", 3)
    for number in range(10):
        (tmp_path / str(number)).touch()
    with opened(tmp_path) as fd:
        assert trees.measure(fd) == trees.Tree(files=4, whole=False)


def test_what_is_no_file_is_not_opened_as_one(tmp_path: Path) -> None:
    """A pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with opened(tmp_path) as fd, pytest.raises(Conflict, match="not a regular file"):
        trees.open_file(fd, "pipe")


def test_a_draft_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    """And one that is published leaves one name, with the mode of the file it replaces."""
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o640)
    with opened(tmp_path) as fd:
        with pytest.raises(ZeroDivisionError), trees.Draft(fd, None) as draft:
            draft.write(b"x" * (1 / 0))  # type: ignore[operator]
        with trees.Draft(fd, (tmp_path / "old").stat()) as draft:
            draft.write(b"new")
            draft.publish("old", over=True)
    assert [one.name for one in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640


def test_a_file_of_somebody_else_becomes_ours_when_we_may_not_give_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only root may give files away."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "not root")

    monkeypatch.setattr(os, "fchown", refuse)
    (tmp_path / "old").write_text("old")
    with opened(tmp_path) as fd, trees.Draft(fd, (tmp_path / "old").stat()) as draft:
        draft.write(b"new")
        draft.publish("old", over=True)
    assert (tmp_path / "old").read_text() == "new"


def test_an_opened_item_holds_what_was_taken(trash: Trash, tmp_path: Path, clock: HandClock) -> None:
    """Under one name."""
    item = keep(trash, tmp_path, "a", 3, clock.now())
    with trash.opened(item) as fd:
        assert os.stat(ITEM, dir_fd=fd).st_size == 3
