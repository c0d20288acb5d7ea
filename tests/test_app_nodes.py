"""The name of a process among others, and which queue it works with."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from llmcore.adapters.local import LocalQueue
from llmcore.adapters.procrastinate import ProcrastinateQueue
from llmcore.app import queues
from llmcore.app.node import NAME, take_name
from llmcore.app.queues import queue_of
from llmcore.app.upkeep import recover_often, watch_orders
from llmcore.errors import Unavailable
from llmcore.ports import Queue
from llmcore.settings import SettingsError, load
from tests.test_app import ADMIN, running, settings_of


def test_a_name_is_kept(tmp_path: Path) -> None:
    """The next process on a folder has the name of the one before; one beside it has another."""
    folder = tmp_path / "data"
    first = take_name(folder)
    assert NAME.fullmatch(first.name)
    beside = take_name(folder)
    assert NAME.fullmatch(beside.name)
    assert beside.name != first.name
    beside.leave()
    first.leave()
    again = take_name(folder)
    assert again.name == first.name
    assert (folder / "node").stat().st_mode & 0o777 == 0o600
    again.leave()


def test_a_name_that_is_none_is_made_anew(tmp_path: Path) -> None:
    """Whatever stands in the file."""
    (tmp_path / "node").write_text("what is this, and why is it so long that it would never end? \u00e4")
    made = take_name(tmp_path)
    made.leave()
    assert (tmp_path / "node").read_text() == f"{made.name}\n"


def chosen(url: str, kind: str) -> Queue:
    """The queue of some settings."""
    told = load(None, {"LLMCORE_STORE__URL": url, "LLMCORE_QUEUE__KIND": kind}, {"data_dir": "/nowhere"})
    return queue_of(told, None, asyncio.TaskGroup(), "n1")  # type: ignore[arg-type]  # it is not used yet


POSTGRES = "postgresql://nobody@127.0.0.1/none"


def test_the_queue_fits_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared where it can be; what cannot be is said with the remedy."""
    assert isinstance(chosen("sqlite:////nowhere/llmcore.db", "auto"), LocalQueue)
    assert isinstance(chosen(POSTGRES, "auto"), ProcrastinateQueue)
    assert isinstance(chosen(POSTGRES, "procrastinate"), ProcrastinateQueue)
    assert isinstance(chosen(POSTGRES, "local"), LocalQueue)
    with pytest.raises(SettingsError, match="LLMCORE_STORE__URL"):
        chosen("sqlite:////nowhere/llmcore.db", "procrastinate")
    monkeypatch.setattr(queues, "find_spec", lambda _: None)
    assert isinstance(chosen(POSTGRES, "auto"), LocalQueue)
    with pytest.raises(SettingsError, match="cluster"):
        chosen(POSTGRES, "procrastinate")


@pytest.mark.asyncio
async def test_readyz_says_when_the_queue_is_ill(tmp_path: Path) -> None:
    """It is not required: what runs goes on."""
    async with running(await asyncio.to_thread(settings_of, tmp_path)) as built:
        assert (await built.house.api.ready())["components"]["queue"]["status"] == "ok"
        built.house.queue.healthy = False  # type: ignore[misc]
        told = (await built.house.api.ready())["components"]["queue"]
        assert (told["status"], told["required"]) == ("degraded", False)
        assert "does not answer" in told["reason"]


@pytest.mark.asyncio
async def test_a_store_that_is_away_ends_no_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is looked again, and orders given meanwhile are seen."""
    monkeypatch.setattr("llmcore.app.upkeep.ORDERS_S", 0.001)
    monkeypatch.setattr("llmcore.app.upkeep.RECOVER_S", 0.001)
    async with AsyncExitStack() as stack:
        built = await stack.enter_async_context(running(await asyncio.to_thread(settings_of, tmp_path)))
        store = built.house.base.store
        seen = {name: asyncio.Event() for name in ("orders", "plan_list")}

        def away(name: str) -> Callable[..., Awaitable[None]]:
            async def ask(*_: object, **__: object) -> None:
                seen[name].set()
                raise Unavailable("away", component="store")

            return ask

        with monkeypatch.context() as patch:
            for name in seen:
                patch.setattr(store, name, away(name))
            tasks = [asyncio.ensure_future(work(built.house)) for work in (watch_orders, recover_often)]
            for event in seen.values():
                await event.wait()
        await store.order_stop(ADMIN.name, "now", "", hold=True)
        async with asyncio.timeout(10):
            while built.house.session.orders.hold is None:  # noqa: ASYNC110 - it has no event for that
                await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert "could not be looked for" in caplog.text
