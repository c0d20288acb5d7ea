"""A session that can be killed at any write and opened again, for tests that drive it from outside a coroutine.

A killed process is played by its store: from one write on nothing is read or written any more, and whoever waits for
the store never learns what became of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmcore.errors import LLMCoreError
from tests.turns import Stage, stage

LIMIT_S = 30


@dataclass(slots=True)
class Fuse:
    """How many writes are left before the process dies, and whether the last one still reaches the disk."""

    left: int | None = None
    written: bool = False
    burnt: bool = False

    async def write(self, real: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
        """One write of the store."""
        if self.left == 0 and not self.burnt:
            self.burnt = True
            if self.written:
                await real(*args, **more)
        self.check()
        if self.left is not None:
            self.left -= 1
        return await real(*args, **more)

    async def read(self, real: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """One read of the store."""
        self.check()
        found = await real(*args)
        self.check()
        return found

    def submit(self, real: Callable[..., "asyncio.Future[Any]"], *args: Any) -> "asyncio.Future[Any]":
        """Something that nobody waits for."""
        if not self.burnt:
            return real(*args)
        lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        lost.set_result(0)
        return lost

    def check(self) -> None:
        """End whoever comes here after the death."""
        if self.burnt:
            raise asyncio.CancelledError


class Lives:
    """One process after the other on the same store."""

    def __init__(self, folder: Path, prepare: Callable[[Stage], None]) -> None:
        """`prepare` is called with each new life before anything of it runs."""
        self._folder = folder
        self._prepare = prepare
        self._loop = asyncio.new_event_loop()
        self._fuse = Fuse()
        self._leave = asyncio.Event()
        self._life: asyncio.Task[None]
        self.play: Stage
        self._open()

    def do(self, work: Callable[[Stage], Coroutine[Any, Any, Any]], fuse: tuple[int, bool] | None = None) -> Any:
        """The result or the error of some work and all segments that it began; None where the process died of it."""
        if fuse is not None:
            self._fuse.left, self._fuse.written = fuse
        outcome = self._loop.run_until_complete(self._done(work(self.play)))
        self._fuse.left = None
        if self._fuse.burnt:
            self.kill()
        return outcome

    def kill(self) -> None:
        """End the process without a word, and begin the next one."""
        self._fuse.burnt = True
        self._life.cancel()
        self._close()
        self._open()

    def restart(self) -> None:
        """End the process as it should end, and begin the next one."""
        self._leave.set()
        self._close()
        self._open()

    def end(self) -> None:
        """The last one."""
        self._leave.set()
        self._close()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _open(self) -> None:
        self._fuse, self._leave = Fuse(), asyncio.Event()
        ready: asyncio.Future[Stage] = self._loop.create_future()
        self._life = self._loop.create_task(self._live(ready))
        self.play = self._loop.run_until_complete(ready)
        self.do(lambda play: play.session.recover())

    def _close(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._life)

    async def _live(self, ready: "asyncio.Future[Stage]") -> None:
        try:
            async with stage(self._folder) as play:
                self._wire(play)
                self._prepare(play)
                ready.set_result(play)
                await self._leave.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    def _wire(self, play: Stage) -> None:
        """Put the fuse between the rooms and the store."""
        store, fuse = play.rooms.store, self._fuse
        ways: dict[str, Callable[..., Any]] = {
            "_write": fuse.write,
            "_read": fuse.read,
            "audit_submit": fuse.submit,
            "recording_submit": fuse.submit,
        }
        for name, way in ways.items():
            setattr(store, name, _through(way, getattr(store, name)))

    async def _done(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.ensure_future(work)
        async with asyncio.timeout(LIMIT_S):
            await asyncio.wait({task})
            while running := [one for one in asyncio.all_tasks() if one.get_name().startswith("run ")]:
                await asyncio.wait(running)
        if task.cancelled():
            return None
        error = task.exception()
        if error is not None and not isinstance(error, LLMCoreError):
            raise error
        return error or task.result()


def _through(way: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **more: way(real, *args, **more)
