"""The app room on a disk that is small or full: the reserve, the clean-up of every day, and what is told of both."""

import asyncio
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore.api import Caller
from llmcore.app import reserve, upkeep
from llmcore.app.reserve import FULL_BYTES, NAME, Reserve, room_of
from llmcore.cli.findings import store_findings
from llmcore.errors import Unavailable
from llmcore.plan import Principal
from tests.machine import until
from tests.test_app import running, settings_of

ADMIN = Principal(name="administrator", role="admin")
MIB = 1 << 20
Disk = Callable[[int], Path]


def fill(folder: Path) -> Path:
    """Take all that is left of a disk."""
    file = folder / "ballast"
    with file.open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(1 << 16))
        except OSError:
            return file


def advice(folder: Path) -> tuple[str, str]:
    """What the doctor says of the reserve."""
    settings = settings_of(folder)
    found = next(one for one in store_findings(settings) if one.name == "reserve")
    return found.status, found.message


def test_a_usual_disk_keeps_sixteen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Really taken, once, given back only when the disk is full."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    assert advice(tmp_path) == ("ok", "16 MiB will be kept at the next start")
    kept = Reserve(folder)
    kept.take()
    kept.take()
    assert (folder / NAME).stat().st_blocks * 512 >= FULL_BYTES
    assert advice(tmp_path) == ("ok", "16 MiB are kept for a full disk")
    assert (kept.relieve(), kept.short, kept.shortage) == (False, False, None)
    assert caplog.text == ""


def test_a_small_disk_keeps_less_and_a_tiny_one_nothing(small_disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """With a warning, and the doctor tells."""
    small, tiny = small_disk(32), small_disk(4)
    for folder in (small, tiny):
        (folder / "data").mkdir(mode=0o700)
        Reserve(folder / "data").take()
    assert room_of(small / "data").size == 4 * MIB
    assert "a small disk: 4 MiB are kept in reserve" in caplog.text
    assert "is too small for a reserve" in caplog.text
    assert advice(small) == ("ok", "4 MiB are kept for a full disk (less than usual: the disk is small)")
    assert advice(tiny)[0] == "warn"
    full = Reserve(tiny / "data")
    full.take()
    fill(tiny)
    assert not full.relieve()


def test_a_folder_that_cannot_be_made_is_no_reserve(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The store will say what is wrong with it."""
    (tmp_path / "data").touch()
    broken = Reserve(tmp_path / "data" / "inner")
    broken.take()
    assert (broken.relieve(), broken.short) == (False, False)
    assert "no reserve is kept" in caplog.text


@pytest.mark.asyncio
async def test_a_full_disk_gets_the_reserve_once(small_disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is made again as soon as there is space; both are told."""
    monkeypatch.setattr(reserve, "LOOK_S", 0.01)
    disk = small_disk(64)
    kept = Reserve(disk / "data")
    await asyncio.to_thread(kept.take)
    told: asyncio.Queue[str | None] = asyncio.Queue()
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(kept.watch(told.put))
        ballast = await asyncio.to_thread(fill, disk)
        assert await asyncio.to_thread(kept.relieve)
        assert not await asyncio.to_thread(kept.relieve)
        shortage = await told.get()
        assert shortage is not None
        assert "is full: only what frees space may begin" in shortage
        assert "10 MiB are free" in shortage
        (disk / "data").chmod(0o700)
        assert (await asyncio.to_thread(advice, disk))[0] == "warn"
        ballast.unlink()
        assert await told.get() is None
        assert (await asyncio.to_thread(room_of, disk / "data")).kept
        watching.cancel()


@pytest.mark.asyncio
async def test_a_life_that_begins_on_a_full_disk(small_disk: Disk) -> None:
    """It is short from the first moment, and says so."""
    disk = small_disk(64)
    ballast = await asyncio.to_thread(fill, disk)
    os.truncate(ballast, ballast.stat().st_size - 5 * MIB)  # what an earlier life had left of its reserve
    async with running(await asyncio.to_thread(settings_of, disk)) as built:
        assert built.house.reserve.short
        ready = await built.house.api.ready()
        assert ready["components"]["store"]["status"] == "down"
        with pytest.raises(Unavailable, match="frees space"):
            await built.house.api.call("create_folder", {"path": "x"}, Caller(ADMIN))


@pytest.mark.asyncio
async def test_a_round_of_cleaning(tmp_path: Path) -> None:
    """Old event ids and old trash go; what a waiting plan puts back stays, and is said, unless it is forced."""
    root = tmp_path / "files"
    root.mkdir()
    (root / "a").write_text("a")
    environ = {"LLMCORE_SYSTEM__ROOTS": json.dumps([str(root)])}
    settings = await asyncio.to_thread(settings_of, tmp_path, **environ)
    async with running(settings) as built:
        house, base = built.house, built.house.base
        await base.store.event_first_seen("old", base.clock.now() - 2 * upkeep.DAY_S)
        await base.store.event_first_seen("new", base.clock.now())
        kept = await base.host.trash.delete(str(root / "a"))  # type: ignore[union-attr]
        back = {"source": f"trash:{kept['trash_id']}", "destination": str(root / "a")}
        steps = [{"id": "s1", "intent": "move_file", "params": back}]
        plan = await house.api.call("chain", {"steps": steps}, Caller(ADMIN))
        await upkeep.clean(house)
        assert await base.store.event_first_seen("old", base.clock.now())
        assert not await base.store.event_first_seen("new", base.clock.now())
        told = await house.api.call("trash_purge", {}, Caller(ADMIN))
        assert told == {"items": 0, "bytes": 0, "kept": 1, "plans": [plan["plan_id"]]}
        told = await house.api.call("trash_purge", {"force": True}, Caller(ADMIN))
        assert told == {"items": 1, "bytes": 1, "kept": 0, "plans": [plan["plan_id"]]}


@pytest.mark.asyncio
async def test_a_round_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The process goes on meanwhile."""

    async def away(_: object) -> None:
        raise Unavailable("The store is away.", component="store")

    monkeypatch.setattr(upkeep, "FIRST_S", 0.0)
    monkeypatch.setattr(upkeep, "DAY_S", 0.05)
    monkeypatch.setattr(upkeep, "clean", away)
    settings = await asyncio.to_thread(settings_of, tmp_path)
    async with running(settings) as built, asyncio.TaskGroup() as tasks:
        cleaning = tasks.create_task(upkeep.clean_daily(built.house))
        await until(lambda: caplog.text.count("the daily clean-up waits: The store is away.") > 1)
        cleaning.cancel()


@pytest.mark.asyncio
async def test_everybody_is_told_of_a_full_disk(
    small_disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log and in the trail, and again when it is over."""
    monkeypatch.setattr(reserve, "LOOK_S", 0.01)
    disk = small_disk(64)
    caplog.set_level(logging.WARNING)
    settings = await asyncio.to_thread(settings_of, disk)
    async with running(settings) as built, asyncio.TaskGroup() as tasks:
        house = built.house
        watching = tasks.create_task(upkeep.watch_disk(house))
        ballast = await asyncio.to_thread(fill, disk)
        assert await asyncio.to_thread(house.reserve.relieve)
        await until(lambda: "is full" in caplog.text)
        ballast.unlink()
        await until(lambda: "There is space on the disk again" in caplog.text)
        watching.cancel()
        await house.base.audit.flush()
        rows = await house.base.store.audit_rows()
        actions = [json.loads(record)["action"] for _, record, _ in rows]
        assert {"store.full", "store.space"} <= set(actions)
