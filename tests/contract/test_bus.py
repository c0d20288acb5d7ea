"""One suite over all buses."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from llmcore.adapters.local import SystemClock
from llmcore.adapters.memory import MemoryBus
from llmcore.adapters.redis import RedisBus
from llmcore.errors import Unavailable
from llmcore.ports import Bus
from tests.servers import free_port

pytestmark = pytest.mark.asyncio


async def ready(bus: Bus) -> None:
    """Wait until its heartbeat has come back."""
    async with asyncio.timeout(30):
        while not bus.healthy:  # noqa: ASYNC110 - a bus tells its health by a property alone
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.needs_redis)])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """A bus that works."""
    if request.param == "memory":
        memory = MemoryBus()
        yield memory
        await memory.close()
        return
    url = request.getfixturevalue("redis_url")
    async with asyncio.TaskGroup() as tasks:
        redis = RedisBus(url, SystemClock(), tasks)
        await ready(redis)
        yield redis
        await redis.close()


async def heard(bus: Bus, channel: str, count: int, listening: asyncio.Event) -> list[str]:
    """The next frames of a channel; tells when it certainly listens."""
    frames: list[str] = []
    async for frame in bus.subscribe(channel):
        if frame == "are you there?":
            listening.set()
            continue
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


async def knock(bus: Bus, channel: str, listening: asyncio.Event) -> None:
    """Publish until somebody hears."""
    async with asyncio.timeout(30):
        while not listening.is_set():
            await bus.publish(channel, "are you there?")
            await asyncio.sleep(0.01)


async def test_every_subscriber_gets_every_frame_in_order(bus: Bus) -> None:
    """Of its channel only."""
    there = [asyncio.Event(), asyncio.Event()]
    async with asyncio.TaskGroup() as tasks:
        ears = [tasks.create_task(heard(bus, "a", 3, event)) for event in there]
        for event in there:
            await knock(bus, "a", event)
        await bus.publish("b", "other channel")
        for number in range(3):
            await bus.publish("a", f"frame {number} ü")
    assert [ear.result() for ear in ears] == [[f"frame {number} ü" for number in range(3)]] * 2


async def test_publishing_where_nobody_listens_is_no_error(bus: Bus) -> None:
    """A bus forgets."""
    await bus.publish("nobody", "x")
    assert bus.healthy


async def test_redis_that_is_away_fails_fast_and_says_so() -> None:
    """Nothing waits for it; the bus is not healthy."""
    async with asyncio.TaskGroup() as tasks:
        bus = RedisBus(f"redis://127.0.0.1:{free_port()}/0", SystemClock(), tasks)
        assert not bus.healthy
        with pytest.raises(Unavailable):
            await bus.publish("a", "x")
        await bus.close()


async def test_closed_bus_ends_its_subscriptions() -> None:
    """A listener sees the end of the frames."""
    bus = MemoryBus()
    listening = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        ear = tasks.create_task(heard(bus, "a", 5, listening))
        await knock(bus, "a", listening)
        await bus.publish("a", "one")
        await bus.close()
    assert ear.result() == ["one"]


async def test_subscriber_that_falls_behind_loses_the_oldest_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded; what is newest is kept, and the end still comes."""
    monkeypatch.setattr("llmcore.adapters.memory.QUEUE", 2)
    bus = MemoryBus()
    frames = bus.subscribe("a")
    listening = asyncio.Event()

    async def first() -> str:
        listening.set()
        return await anext(frames)

    async with asyncio.TaskGroup() as tasks:
        begun = tasks.create_task(first())
        await listening.wait()
        await asyncio.sleep(0)
        for number in range(5):
            await bus.publish("a", str(number))
    assert begun.result() == "3"
    await bus.publish("a", "5")
    await bus.publish("a", "6")
    await bus.close()
    assert [frame async for frame in frames] == ["6"]
