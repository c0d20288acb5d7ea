"""The bus inside one process: the default, with nothing beside it."""

import asyncio
from collections.abc import AsyncIterator

QUEUE = 10_000


class MemoryBus:
    """`llmcore.ports.Bus` for one process; a subscriber that falls behind loses the oldest frames."""

    healthy = True

    def __init__(self) -> None:
        """Nobody listens yet."""
        self._queues: dict[str, set[asyncio.Queue[str | None]]] = {}

    async def publish(self, channel: str, frame: str) -> None:
        """Hand a frame to all who listen now."""
        for queue in self._queues.get(channel, ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(frame)

    async def subscribe(self, channel: str) -> AsyncIterator[str]:
        """Frames from now on, until the bus is closed."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(QUEUE)
        self._queues.setdefault(channel, set()).add(queue)
        try:
            while (frame := await queue.get()) is not None:
                yield frame
        finally:
            self._queues[channel].discard(queue)

    async def close(self) -> None:
        """End all subscriptions."""
        for queues in self._queues.values():
            for queue in queues:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(None)
