"""The pack `files` on real folders: what it answers, what it refuses, and that everything can be taken back."""

from pathlib import Path

import pytest

from llmcore.errors import BadParams, Conflict, Forbidden, NotFound
from llmcore.ports import Call
from tests.machine import ANNA, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A share with a file, a folder and a file in it."""
    made = Machine(tmp_path)
    (made.share / "a.txt").write_text("alpha\n")
    (made.share / "sub").mkdir()
    (made.share / "sub" / "b.txt").write_text("beta\n")
    return made


@pytest.mark.asyncio
async def test_the_allowed_folders_are_told(machine: Machine) -> None:
    """As set."""
    assert await machine.do("get_accessible_paths") == {"paths": [str(machine.share)]}


@pytest.mark.asyncio
async def test_a_folder_is_listed_as_the_contract_says(machine: Machine) -> None:
    """Folders first; name, type, size, time of change."""
    (machine.share / "link").symlink_to("/etc/passwd")
    found = await machine.do("list_content", root=str(machine.share))
    assert [(one["name"], one["type"]) for one in found["entries"]] == [
        ("sub", "folder"),
        ("a.txt", "file"),
        ("link", "symlink"),
    ]
    assert found["entries"][1].keys() == {"name", "type", "size", "modified"}
    assert found["entries"][1]["size"] == 6
    for path in ("sub", str(machine.share / "sub")):
        inner = await machine.do("list_content", root="share", path=path)
        assert [one["name"] for one in inner["entries"]] == ["b.txt"]
    with pytest.raises(Forbidden, match="not below"):
        await machine.do("list_content", root=str(machine.share / "sub"), path="..")


@pytest.mark.parametrize("path", ["..", "../..", "/etc", "sub/../.."])
@pytest.mark.asyncio
async def test_a_listing_stays_below_its_root(machine: Machine, path: str) -> None:
    """Also where `path` says otherwise."""
    with pytest.raises(Forbidden):
        await machine.do("list_content", root=str(machine.share), path=path)


@pytest.mark.asyncio
async def test_a_file_is_read_as_the_contract_says(machine: Machine) -> None:
    """Path, content, size, whether it was cut."""
    path = str(machine.share / "a.txt")
    assert await machine.do("read_file", path="a.txt") == {
        "path": path,
        "content": "alpha\n",
        "size": 6,
        "truncated": False,
    }


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_said(machine: Machine) -> None:
    """Missing, a folder, a link, outside."""
    (machine.share / "link").symlink_to("/etc/passwd")
    for path, kind in (("none", NotFound), ("sub", Conflict), ("link", Forbidden), ("/etc/passwd", Forbidden)):
        with pytest.raises(kind):
            await machine.do("read_file", path=path)


@pytest.mark.asyncio
async def test_a_new_file_is_written_and_taken_back(machine: Machine) -> None:
    """By deleting it."""
    result, undo = await machine.there_and_back("write_file", path="new.txt", content="hello")
    assert result == {"path": str(machine.share / "new.txt"), "size_bytes": 5, "created": True, "trash_id": None}
    assert undo.intent == "delete_file"
    asked = {"path": "new.txt", "content": "x"}
    foreseen = await machine.preview("write_file", **asked)
    assert await machine.caller.undo_of("write_file", asked, foreseen.before, None, ANNA) == undo


@pytest.mark.asyncio
async def test_an_overwritten_file_gets_its_content_back(machine: Machine) -> None:
    """From the trash; the preview shows both."""
    preview = await machine.preview("write_file", path="a.txt", content="omega")
    assert preview.targets == (str(machine.share / "a.txt"),)
    assert (preview.before["text"], preview.after["text"]) == ("alpha\n", "omega")
    assert preview.before["restorable"]
    result, undo = await machine.there_and_back("write_file", path="a.txt", content="omega")
    assert undo.params == {"source": f"trash:{result['trash_id']}", "destination": str(machine.share / "a.txt")}
    with pytest.raises(NotFound, match="purged"):
        await machine.do(undo.intent, **undo.params)


@pytest.mark.asyncio
async def test_an_undo_does_not_swallow_what_others_wrote_since(machine: Machine) -> None:
    """The file is no longer what the write left: conflict, and the trash keeps the old content."""
    result = await machine.do("write_file", path="a.txt", content="omega")
    (machine.share / "a.txt").write_text("theirs")
    undo = await machine.undo_of("write_file", result, path="a.txt", content="omega")
    assert undo is not None
    with pytest.raises(Conflict, match="changed since"):
        await machine.do(undo.intent, **undo.params)
    assert (machine.share / "a.txt").read_text() == "theirs"
    (machine.share / "a.txt").write_text("omega")
    await machine.do(undo.intent, **undo.params)
    assert (machine.share / "a.txt").read_text() == "alpha\n"


@pytest.mark.asyncio
async def test_a_trash_item_goes_only_to_where_it_was(machine: Machine) -> None:
    """Nobody copies through the trash."""
    result = await machine.do("delete_file", path="a.txt")
    for destination in ("elsewhere", "/etc/passwd"):
        with pytest.raises(Forbidden):
            await machine.do("move_file", source=f"trash:{result['trash_id']}", destination=destination)
    with pytest.raises(NotFound):
        await machine.do("move_file", source="trash:../../x", destination="a.txt")
    source = f"trash:{result['trash_id']}"
    preview = await machine.preview("move_file", source=source, destination="a.txt")
    assert preview.before["type"] == "file"
    moved = await machine.do("move_file", source=source, destination="a.txt")
    assert await machine.undo_of("move_file", moved, source=source, destination="a.txt") is None


@pytest.fixture
def full(tmp_path: Path) -> Machine:
    """The same on a full disk."""
    made = Machine(tmp_path, options={"files": {"scarce": lambda: True}})
    (made.share / "a.txt").write_text("x")
    (made.share / "sub").mkdir()
    return made


@pytest.mark.asyncio
async def test_a_deletion_for_good_says_so(full: Machine) -> None:
    """In its preview, and what runs is what that preview said."""
    machine = full
    preview = await machine.preview("delete_file", path="a.txt")
    note = {"exists": False, "note": "Deleted for good: this cannot be taken back."}
    assert preview.after == note
    folder = await machine.preview("delete_folder", root=str(machine.share), dirname="sub")
    assert folder.after == note
    before = {"restorable": True}
    call = Call(intent="delete_file", params={"path": "a.txt"}, principal=ANNA, idempotency_key="k", before=before)
    assert (await machine.caller.call(call))["trash_id"]
    assert (await machine.do("delete_folder", root=str(machine.share), dirname="sub"))["trash_id"] is None


@pytest.mark.asyncio
async def test_files_are_copied_moved_and_deleted_and_all_of_it_is_taken_back(machine: Machine) -> None:
    """The state afterwards is the one before."""
    await machine.there_and_back("copy_file", source="a.txt", destination="c.txt")
    await machine.there_and_back("copy_file", source="a.txt", destination="sub")
    await machine.there_and_back("move_file", source="a.txt", destination="c.txt")
    await machine.there_and_back("move_file", source="a.txt", destination="sub/")
    await machine.there_and_back("move_file", source="sub", destination="other")
    await machine.there_and_back("delete_file", path="a.txt")
    await machine.there_and_back("create_folder", path="sub/deeper")


@pytest.mark.asyncio
async def test_a_copy_and_a_move_foresee_their_undo(machine: Machine) -> None:
    """Before they have run."""
    asked = {"source": "a.txt", "destination": "c.txt"}
    before = (await machine.preview("copy_file", **asked)).before
    undo = await machine.caller.undo_of("copy_file", asked, before, None, ANNA)
    assert undo is not None
    assert undo.params == {"path": str(machine.share / "c.txt")}
    undo = await machine.caller.undo_of("move_file", asked, before, None, ANNA)
    assert undo is not None
    assert undo.params == {"source": str(machine.share / "c.txt"), "destination": str(machine.share / "a.txt")}


@pytest.mark.asyncio
async def test_nothing_that_exists_is_overwritten(machine: Machine) -> None:
    """Copying or moving onto it is a conflict; the preview says that it is there."""
    (machine.share / "sub" / "a.txt").write_text("kept")
    for intent in ("copy_file", "move_file"):
        for destination in ("sub/b.txt", "sub"):
            preview = await machine.preview(intent, source="a.txt", destination=destination)
            assert preview.before["destination_exists"]
            asked = {"source": "a.txt", "destination": destination}
            assert await machine.caller.undo_of(intent, asked, preview.before, None, ANNA) is None
            with pytest.raises(Conflict, match="exists already"):
                await machine.do(intent, source="a.txt", destination=destination)
    assert (machine.share / "sub" / "a.txt").read_text() == "kept"


@pytest.mark.asyncio
async def test_a_missing_source_or_folder_is_not_found(machine: Machine) -> None:
    """At the preview and when run."""
    for asked in ({"source": "none", "destination": "x"}, {"source": "a.txt", "destination": "none/"}):
        with pytest.raises(NotFound):
            await machine.preview("copy_file", **asked)
        with pytest.raises(NotFound):
            await machine.do("copy_file", **asked)
    for intent, params in (
        ("delete_file", {"path": "none"}),
        ("delete_folder", {"root": str(machine.share), "dirname": "none"}),
    ):
        with pytest.raises(NotFound):
            await machine.preview(intent, **params)
        with pytest.raises(NotFound):
            await machine.do(intent, **params)
    with pytest.raises(NotFound):
        await machine.do("create_folder", path="none/deeper")


@pytest.mark.asyncio
async def test_a_folder_that_exists_is_no_error_and_is_not_undone(machine: Machine) -> None:
    """Making it twice is making it once; a file in the way is a conflict."""
    result = await machine.do("create_folder", path="sub")
    assert result["created"] is False
    assert await machine.undo_of("create_folder", result, path="sub") is None
    with pytest.raises(Conflict):
        await machine.do("create_folder", path="a.txt")


@pytest.mark.asyncio
async def test_a_folder_goes_with_what_is_in_it_only_if_that_is_said(machine: Machine) -> None:
    """And comes back whole."""
    asked = {"root": str(machine.share), "dirname": "sub"}
    preview = await machine.preview("delete_folder", **asked)
    assert (preview.blast, preview.before["files"], preview.before["restorable"]) == (2, 1, True)
    with pytest.raises(Conflict, match="not empty"):
        await machine.do("delete_folder", **asked)
    (machine.share / "sub" / "link").symlink_to("b.txt")
    result, _ = await machine.there_and_back("delete_folder", **asked, delete_non_empty=True)
    assert result["files"] == 2
    assert (machine.share / "sub" / "link").is_symlink()


@pytest.mark.parametrize("dirname", ["..", ".", "sub/..", "/etc", "../share/sub", "sub/../../share"])
@pytest.mark.asyncio
async def test_only_a_folder_below_the_root_is_deleted(machine: Machine, dirname: str) -> None:
    """Never the root itself, never anything outside."""
    before = machine.state()
    if dirname == "../share/sub":
        assert (await machine.preview("delete_folder", root=str(machine.share), dirname=dirname)).targets == (
            str(machine.share / "sub"),
        )
        return
    with pytest.raises((Forbidden, BadParams)):
        await machine.do("delete_folder", root=str(machine.share), dirname=dirname, delete_non_empty=True)
    assert machine.state() == before


@pytest.mark.asyncio
async def test_verify_tells_what_is_there(machine: Machine) -> None:
    """Before and after."""
    for intent, params in (
        ("write_file", {"path": "n", "content": "x"}),
        ("create_folder", {"path": "d"}),
        ("delete_file", {"path": "a.txt"}),
        ("delete_folder", {"root": str(machine.share), "dirname": "sub", "delete_non_empty": True}),
    ):
        assert await machine.caller.verify(intent, params, ANNA) is False
        await machine.do(intent, **params)
        assert await machine.caller.verify(intent, params, ANNA) is True


@pytest.mark.asyncio
async def test_without_a_trash_item_there_is_nothing_to_take_back(machine: Machine) -> None:
    """An undo that could not work is not offered."""
    assert await machine.undo_of("delete_file", {"path": "/x", "trash_id": None}, path="x") is None
    assert await machine.undo_of("copy_file", None, source="a", destination="b") is None
    assert await machine.undo_of("move_file", None, source="a", destination="b") is None
    assert await machine.undo_of("write_file", None, path="a", content="b") is None


@pytest.mark.asyncio
async def test_a_broken_disk_is_told_in_our_words(machine: Machine) -> None:
    """A name that no file system takes."""
    with pytest.raises(BadParams, match="too long"):
        await machine.do("create_folder", path="x" * 300)
