"""Holds the lease of a run while one of its segments is worked.

Used by the worker. Another node that wants the run waits until the lease is dropped or has lapsed; one that was paused
for so long, or cut off, finds its lease lost and works no further.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from llmcore.errors import LLMCoreError, Unavailable
from llmcore.executor import Fenced
from llmcore.ports import Lease, Store

log = logging.getLogger(__name__)

RENEWALS = 3
"""How often a lease is renewed in the time for which it is taken."""


class Held(Unavailable):
    """Another node works this run at the moment; it may be asked for again."""

    def __init__(self, run_id: str, retry_after_s: float) -> None:
        """Keep when to come back."""
        super().__init__("Another node works this run.", component="lease", run_id=run_id, retry_after_s=retry_after_s)


@dataclass(slots=True)
class Hold:
    """A held lease, and the way to interrupt who works under it."""

    lease: Lease
    _why: "asyncio.Future[LLMCoreError]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def interrupt(self, why: LLMCoreError) -> None:
        """Have the guarded block cancelled, and `why` raised out of it."""
        if not self._why.done():
            self._why.set_result(why)

    @asynccontextmanager
    async def guarded(self) -> AsyncIterator[None]:
        """Whatever is inside can be interrupted."""
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch())
                try:
                    yield
                finally:
                    watching.cancel()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed

    async def _watch(self) -> None:
        raise await asyncio.shield(self._why)


@dataclass(frozen=True, slots=True)
class Keeper:
    """Takes leases for one node."""

    store: Store
    node: str
    ttl_s: float

    @asynccontextmanager
    async def held(self, run_id: str, segment: int) -> AsyncIterator[Hold]:
        """Hold the lease of a run for as long as the block takes; raises Held if another node has it.

        Once it is lost, what is guarded inside is interrupted by Fenced.
        """
        lease = await self.store.lease_take(run_id, segment, self.node, self.ttl_s)
        if lease is None:
            raise Held(run_id, self.ttl_s / RENEWALS)
        hold = Hold(lease)
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew(hold), name=f"lease {run_id}")
                try:
                    yield hold
                finally:
                    renewing.cancel()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        finally:
            with suppress(LLMCoreError):  # it lapses
                await asyncio.shield(self.store.lease_drop(lease))

    async def renewed(self, lease: Lease) -> bool:
        """Renew a lease now; False if it is lost."""
        return await self.store.lease_renew(lease, self.ttl_s)

    async def _renew(self, hold: Hold) -> None:
        kept = True
        while kept:
            await asyncio.sleep(self.ttl_s / RENEWALS)
            with suppress(LLMCoreError):  # the store is away: without it nobody takes the lease, and no step begins
                kept = await self.renewed(hold.lease)
        log.warning("another node has taken the run", extra={"action": "fenced", "run": hold.lease.run_id})
        hold.interrupt(Fenced(hold.lease.run_id))
