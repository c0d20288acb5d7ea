"""The file service at its limits: sizes, binary files, encodings, cancellation, things that are too large to keep."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.adapters.host import Files, FilesOptions
from llmcore.adapters.host.contents import as_text
from llmcore.errors import BadParams, Conflict, Forbidden, NotFound
from tests.clocks import HandClock
from tests.machine import until


def files(folder: Path, **options: Any) -> Files:
    """A service over `folder`/share."""
    (folder / "share").mkdir(exist_ok=True)
    return Files(FilesOptions(roots=(str(folder / "share"),), trash=folder / "trash", **options), HandClock())


@pytest.mark.asyncio
async def test_a_long_file_is_cut_and_that_is_said(tmp_path: Path) -> None:
    """Between characters, never inside one."""
    service = files(tmp_path, max_read_bytes=10)
    (tmp_path / "share" / "a").write_text("ä" * 20)
    found = await service.read("a")
    assert found == {"path": str(tmp_path / "share" / "a"), "content": "ä" * 5, "size": 40, "truncated": True}
    (tmp_path / "share" / "a").write_text("x" + "ä" * 20)
    assert (await service.read("a"))["content"] == "x" + "ä" * 4


@pytest.mark.parametrize("data", [b"\x7fELF\0\0", bytes(range(1, 256)), b"\xff\xd8\xff\xe0\x01\x02"])
@pytest.mark.asyncio
async def test_a_binary_file_is_told_clearly(tmp_path: Path, data: bytes) -> None:
    """Not shown as something that looks like text."""
    service = files(tmp_path)
    (tmp_path / "share" / "a").write_bytes(data)
    with pytest.raises(BadParams, match=f"binary file of {len(data)} bytes"):
        await service.read("a")


@pytest.mark.asyncio
async def test_text_that_is_not_unicode_is_read_as_latin_1(tmp_path: Path) -> None:
    """Old files of old programs."""
    service = files(tmp_path)
    (tmp_path / "share" / "a").write_bytes("Grüße".encode("latin-1"))
    assert (await service.read("a"))["content"] == "Grüße"


@given(st.binary(max_size=200))
def test_whatever_is_in_a_file_it_is_text_or_binary(data: bytes) -> None:
    """Never an error; text survives."""
    for cut in (False, True):
        text = as_text(data, cut=cut)
        assert text is None or isinstance(text, str)
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        return
    assert "\0" in decoded or as_text(data, cut=False) == decoded


@pytest.mark.asyncio
async def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    """It would wait for ever."""
    service = files(tmp_path)
    os.mkfifo(tmp_path / "share" / "pipe")
    for work in (service.read("pipe"), service.delete("pipe"), service.copy("pipe", "x"), service.write("pipe", "x")):
        with pytest.raises(Conflict, match="not a file"):
            await work
    with pytest.raises(Conflict, match="neither"):
        await service.move("pipe", "x")
    assert (await service.facts("pipe"))["type"] == "other"


@pytest.mark.asyncio
async def test_names_that_are_no_unicode_are_shown_as_well_as_they_can(tmp_path: Path) -> None:
    """And a long list is cut."""
    service = files(tmp_path, max_entries=2)
    for name in (b"\xff", b"b", b"c"):
        (tmp_path / "share" / os.fsdecode(name)).touch()
    found = await service.list(str(tmp_path / "share"))
    assert found["truncated"]
    assert [one["name"] for one in found["entries"]] == ["b", "c"]
    service = files(tmp_path)
    assert [one["name"] for one in (await service.list("share"))["entries"]] == ["b", "c", "\ufffd"]


@pytest.mark.parametrize("content", ["\ud800", "x" * 101])
@pytest.mark.asyncio
async def test_content_that_does_not_fit_is_refused(tmp_path: Path, content: str) -> None:
    """And leaves the file alone."""
    service = files(tmp_path, max_write_bytes=100)
    for work in (service.write("a", content), service.write_facts("a", content)):
        with pytest.raises(BadParams) as caught:
            await work
        assert caught.value.details["fields"][0]["pointer"] == "/content"
    assert not (tmp_path / "share" / "a").exists()


@pytest.mark.asyncio
async def test_what_is_too_large_for_the_trash_goes_for_good_and_the_preview_says_so(tmp_path: Path) -> None:
    """Files, folders and overwritten content."""
    service = files(tmp_path, max_item_bytes=10)
    share = tmp_path / "share"
    (share / "big").write_text("x" * 11)
    (share / "tree").mkdir()
    (share / "tree" / "big").write_text("x" * 11)
    assert not (await service.facts("big"))["restorable"]
    assert not (await service.folder_facts("share", "tree"))["restorable"]
    assert (await service.write("big", "y" * 11))["trash_id"] is None
    assert (await service.delete("big"))["trash_id"] is None
    assert (await service.delete_folder("share", "tree", True))["trash_id"] is None
    assert list(share.iterdir()) == []


@pytest.mark.asyncio
async def test_a_very_large_file_is_not_hashed_for_a_preview(tmp_path: Path) -> None:
    """A sparse file of a terabyte costs nothing."""
    service = files(tmp_path)
    with (tmp_path / "share" / "huge").open("wb") as file:
        file.truncate(1 << 40)
    facts = await service.facts("huge")
    assert (facts["size_bytes"], facts["restorable"], "sha256" in facts) == (1 << 40, False, False)


@pytest.mark.asyncio
async def test_a_copy_nobody_waits_for_stops_and_leaves_nothing(tmp_path: Path) -> None:
    """Cancelled in the middle of a huge file."""
    service = files(tmp_path)
    share = tmp_path / "share"
    with (share / "huge").open("wb") as file:
        file.truncate(1 << 32)
    async with asyncio.TaskGroup() as tasks:
        copying = tasks.create_task(service.copy("huge", "copy"))
        await until(lambda: len(list(share.iterdir())) == 2)
        copying.cancel()
    await until(lambda: len(list(share.iterdir())) == 1)
    assert [one.name for one in share.iterdir()] == ["huge"]


@pytest.mark.asyncio
async def test_facts_of_what_is_not_there(tmp_path: Path) -> None:
    """False, or NotFound where it has to be."""
    service = files(tmp_path)
    for path in ("none", "none/deeper"):
        assert await service.facts(path) == {"path": str(tmp_path / "share" / path), "exists": False}
        with pytest.raises((NotFound, FileNotFoundError)):
            await service.facts(path, must_exist=True)
    assert (await service.folder_facts("share", "none"))["exists"] is False
    (tmp_path / "share" / "a").write_text("x")
    with pytest.raises(NotFound, match="not a folder"):
        await service.list("share", "a")
    assert (await service.transfer_facts("a", "a/b"))["destination"] == str(tmp_path / "share" / "a" / "b")


@pytest.mark.asyncio
async def test_the_trash_is_purged_on_request(tmp_path: Path) -> None:
    """By age."""
    service = files(tmp_path, max_trash_age_s=-1)
    (tmp_path / "share" / "a").write_text("x")
    await service.delete("a")
    assert (await service.purge()).items == 1


@pytest.mark.asyncio
async def test_a_deletion_is_what_was_promised(tmp_path: Path) -> None:
    """On a full disk it is for good, unless somebody was told that it can be taken back; that is kept or refused."""
    full = False
    service = files(tmp_path, scarce=lambda: full, max_item_bytes=10)
    share = tmp_path / "share"
    for name in ("a", "b", "c", "grown"):
        (share / name).write_text("x")
    (share / "d").mkdir()
    assert (await service.facts("a"))["restorable"]
    full = True
    assert not (await service.facts("a"))["restorable"]
    assert not (await service.folder_facts("share", "d"))["restorable"]
    assert (await service.delete("a"))["trash_id"] is None
    assert (await service.delete("b", False))["trash_id"] is None
    assert (await service.delete("c", True))["trash_id"]
    assert (await service.delete_folder("share", "d", False, True))["trash_id"]
    (share / "grown").write_text("x" * 11)
    with pytest.raises(Conflict, match="has become more than the trash keeps"):
        await service.delete("grown", True)
    assert (share / "grown").exists()
    full = False
    assert (await service.delete("grown"))["trash_id"] is None


@pytest.mark.asyncio
async def test_one_root_in_another_is_one_root_with_a_second_name(tmp_path: Path) -> None:
    """Whichever comes first in the settings; the inner one cannot be deleted through the outer one."""
    inner = tmp_path / "share" / "www"
    inner.mkdir(parents=True)
    (inner / "x").mkdir()
    for roots in ((tmp_path / "share", inner), (inner, tmp_path / "share")):
        service = Files(FilesOptions(roots=tuple(map(str, roots)), trash=tmp_path / "trash"), HandClock())
        assert (await service.list(str(tmp_path / "share"), "www"))["entries"][0]["name"] == "x"
        with pytest.raises(Forbidden, match="has to stay"):
            await service.delete_folder(str(tmp_path / "share"), "www", True)
        with pytest.raises((Forbidden, BadParams), match=r"has to stay|allowed folder itself"):
            await service.move(str(inner), str(tmp_path / "share" / "other"))
