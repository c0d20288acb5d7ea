"""What a process does for itself while it runs: it watches the disk, and once a day forgets what nobody needs any more.

Started by `serve` and by the embedded build, in the app's task group.
"""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from llmcore import events
from llmcore.api.upkeep import empty_trash
from llmcore.app.build import SYSTEM, House
from llmcore.errors import LLMCoreError

log = logging.getLogger(__name__)

FIRST_S = 60.0
RECOVER_S = 5.0
ORDERS_S = 0.5
DAY_S = 86_400.0
_INFO, _ERROR = 2, 4


async def watch_disk(house: House) -> None:
    """For ever: say when the disk under the store is full, and when it is not any more."""
    await house.reserve.watch(partial(_tell, house))


async def _tell(house: House, shortage: str | None) -> None:
    base = house.base
    action = "store.full" if shortage else "store.space"
    text = shortage or "There is space on the disk again: everything goes on."
    log.warning(text, extra={"action": action})
    now_ms = int(base.clock.now() * 1000)
    base.topics.broadcast("/notification", events.notification(text, _ERROR if shortage else _INFO, now_ms))
    base.audit.note(action, SYSTEM)


async def recover_often(house: House) -> None:
    """For ever: begin what was decided or left while nobody could begin it."""
    while True:
        await asyncio.sleep(min(RECOVER_S, house.session.options.lease_s / 3))
        try:
            await house.session.recover(patient=True)
        except LLMCoreError as error:
            log.warning("what waits could not be looked for: %s", error.message, extra={"action": "recover"})


async def watch_orders(house: House) -> None:
    """For ever: do what was ordered on this or another node."""
    while True:
        await asyncio.sleep(ORDERS_S)
        with suppress(LLMCoreError):  # the store is away: no step begins without it either
            await house.session.orders.look()


async def clean_daily(house: House) -> None:
    """For ever, once a day: forget old event ids and recordings, empty the trash of what is too old."""
    await asyncio.sleep(FIRST_S)
    while True:
        try:
            await clean(house)
        except (LLMCoreError, OSError) as error:
            log.warning("the daily clean-up waits: %s", error, extra={"action": "upkeep"})
        await asyncio.sleep(DAY_S)


async def clean(house: House) -> None:
    """One round; raises Unavailable."""
    base = house.base
    await base.store.events_forget(base.clock.now() - DAY_S)
    await base.recorder.forget()
    if base.host.trash is not None:
        await empty_trash(base.store, base.audit, base.host.trash, SYSTEM, None)
