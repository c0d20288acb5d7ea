"""The bus over Redis pub/sub: other services send alerts and requests, and hear of ours.

Redis may be missing, die, freeze or come back at any time: publishing then fails fast, subscriptions go on by
themselves, and `healthy` says whether messages may be getting lost. redis-py re-subscribes silently after a restart and
does not notice a frozen server, so this bus sends itself a heartbeat and trusts nothing else.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

from redis import __version__ as redis_version
from redis.asyncio import Redis
from redis.driver_info import DriverInfo
from redis.exceptions import RedisError

from llmcore.errors import Unavailable
from llmcore.ports import Clock

log = logging.getLogger(__name__)

PUBLISH_S = 1.0
BEAT_S = 1.0
LATE_S = 2.5
"""A heartbeat older than this means that messages may be getting lost."""
RETRY_S = 0.5
_TROUBLE = (RedisError, OSError, TimeoutError)


class RedisBus:
    """`llmcore.ports.Bus` over one Redis server."""

    def __init__(self, url: str, clock: Clock, tasks: asyncio.TaskGroup) -> None:
        """Begin to listen to the own heartbeat in `tasks`; does not wait for Redis. The URL may hold a password."""
        self._redis = Redis.from_url(
            url,
            decode_responses=True,
            encoding_errors="replace",  # anyone may publish any bytes; what is no text fits no signature
            socket_timeout=LATE_S,
            socket_connect_timeout=PUBLISH_S,
            protocol=2,
            driver_info=DriverInfo(lib_version=redis_version),  # else each connection reads it from disk in the loop
        )
        self._clock = clock
        self._beat = f"llmcore:heartbeat:{uuid4().hex}"
        self._last_beat = float("-inf")
        self._closing = False
        self._tasks = [tasks.create_task(self._send_beats()), tasks.create_task(self._hear_beats())]

    @property
    def healthy(self) -> bool:
        """False while the own heartbeat does not come back."""
        return self._clock.monotonic() - self._last_beat < LATE_S

    async def publish(self, channel: str, frame: str) -> None:
        """Send one frame; Unavailable if Redis does not take it within a second."""
        try:
            async with asyncio.timeout(PUBLISH_S):
                await self._redis.publish(channel, frame)
        except _TROUBLE as error:
            raise Unavailable("Redis cannot be reached, so the message was not sent.", component="bus") from error

    async def subscribe(self, channel: str) -> AsyncIterator[str]:
        """Frames from now on; goes on by itself after Redis was away (what was sent meanwhile is lost)."""
        while not self._closing:
            pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
            try:
                await pubsub.subscribe(channel)
                while not self._closing:
                    message = await pubsub.get_message(timeout=BEAT_S)
                    if message is not None:
                        yield message["data"]
            except _TROUBLE as error:
                log.warning("the bus is away: %s", type(error).__name__, extra={"action": "bus"})
                await asyncio.sleep(RETRY_S)
            finally:
                with suppress(*_TROUBLE):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _send_beats(self) -> None:
        while not self._closing:
            with suppress(Unavailable):
                await self.publish(self._beat, "beat")
            await asyncio.sleep(BEAT_S / 2)

    async def _hear_beats(self) -> None:
        async for _ in self.subscribe(self._beat):
            self._last_beat = self._clock.monotonic()

    async def close(self) -> None:
        """End all subscriptions."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        with suppress(*_TROUBLE):
            await self._redis.aclose()
