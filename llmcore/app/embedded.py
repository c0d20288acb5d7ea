"""Builds llmcore for a program that it lives in: the rooms of the server, for the intents of that host, without doors.

Called through the entry point group `llmcore.embedded` by the adapter of the host. Knows the host as the names of its
intents and a way to call them.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from llmcore.adapters.divided import DividedCaller
from llmcore.adapters.local import SystemClock
from llmcore.adapters.packs import PackCaller
from llmcore.api import Api
from llmcore.api.core import RPCS
from llmcore.app.build import HostSide, House, build_house
from llmcore.app.options import config_folder
from llmcore.app.reserve import Reserve
from llmcore.app.upkeep import clean_daily, recover_often, watch_disk, watch_orders
from llmcore.catalog import Catalog, load_folder, load_packs
from llmcore.catalog.checks import NAME
from llmcore.errors import LLMCoreError
from llmcore.intent import Effect, Intent
from llmcore.plan import Principal
from llmcore.ports import Call, Clock, IntentCaller
from llmcore.settings import Settings, load
from llmcore.streams import Topics

log = logging.getLogger(__name__)

DATA_DIR = "~/.local/share/llmcore-cloudisense"
"""Where everything is kept if nobody says otherwise; not where a server of our own on the same machine keeps it."""
GRACE_S = 5.0
"""How long running work may take to end."""
LOOKER = Principal(name="llmcore", role="observer", kind="service")
"""Who asks the host for its lists."""
LISTS = {"targets": "list_targets", "logs": "list_logs", "scripts": "list_scripts"}
"""List of names -> the host's intent that gives it."""
LOOK_S = 2.0
"""How long the host may take to give a list."""
KEEP_S = 30.0
"""How old a list may be before it is asked for again."""
MAX_NAMES = 1_000


@dataclass(frozen=True, slots=True)
class Embedded:
    """One llmcore inside another program."""

    house: House
    background: "Sequence[asyncio.Task[None]]"

    @property
    def api(self) -> Api:
        """The whole surface."""
        return self.house.api

    @property
    def topics(self) -> Topics:
        """Where clients are connected."""
        return self.house.base.topics

    async def close(self) -> None:
        """Let work end for a while, write what is waiting."""
        for task in self.background:
            task.cancel()
        await self.house.stop(GRACE_S)


async def build_embedded(
    conf: Mapping[str, Any], caller: IntentCaller, intents: Mapping[str, str], tasks: asyncio.TaskGroup
) -> Embedded:
    """Build and begin; raises LLMCoreError, SettingsError among them.

    Args:
        conf: settings, as in a file of them.
        caller: runs the host's intents.
        intents: name -> module of every intent that the host has; the module is empty for the host's own.
        tasks: group that everything runs in until `close`.
    """
    settings = await asyncio.to_thread(load, conf={"data_dir": DATA_DIR, **conf})
    own = [intent for intent in await asyncio.to_thread(list, load_packs()) if not intent.offered]
    catalog = Catalog([*await asyncio.to_thread(guest_catalog, settings, intents), *own])
    services: dict[str, Any] = {}
    clock = SystemClock()
    names = HostNames(caller, clock, tasks, {name: intent for name, intent in LISTS.items() if intent in catalog})
    divided = DividedCaller(PackCaller(catalog, services), {intent.name for intent in own}, caller)
    side = HostSide(catalog=catalog, caller=divided, vocabulary=names.known, close=names.close)
    house = await build_house(settings, tasks, clock, side, Reserve(settings.data_dir))
    services["policy"] = house.base.standing  # only now is there a store
    await names.look()
    await house.begin()
    background = {
        "warm": house.warm(),
        "disk": watch_disk(house),
        "upkeep": clean_daily(house),
        "recover": recover_often(house),
        "orders": watch_orders(house),
        "rules": house.base.standing.watch(),
    }
    return Embedded(house, [tasks.create_task(work, name=name) for name, work in background.items()])


def guest_catalog(settings: Settings, intents: Mapping[str, str]) -> Catalog:
    """What the host has and we may offer; raises CatalogError.

    An intent is described by a file of the operator (`packs.path`), else by ours; one that nobody has described counts
    as destructive and takes whatever it takes. RPCs of ours are not intents, whoever answers them.
    """
    described = {intent.name: intent for intent in load_folder(config_folder() / "cloudisense.yaml")}
    for path in settings.packs.path:
        described |= {intent.name: intent for intent in load_folder(path) if intent.handler is None}
    return Catalog(_offered(described, {name: module for name, module in intents.items() if name not in RPCS}))


def _offered(described: Mapping[str, Intent], intents: Mapping[str, str]) -> Iterator[Intent]:
    for name, module in intents.items():
        if name in described:
            yield replace(described[name], pack=module or "cloudisense")
        elif module and NAME.fullmatch(name):
            yield Intent(
                name=name,
                description=f"Intent {name} of the host's module {module}.",
                schema={"type": "object"},
                effect=Effect.DESTRUCTIVE,
                pack=module,
            )


class HostNames:
    """The lists of names that the host gives, asked for when they are needed and kept for a while."""

    def __init__(self, caller: IntentCaller, clock: Clock, tasks: asyncio.TaskGroup, lists: Mapping[str, str]) -> None:
        """`lists` is list -> intent; nothing is known yet."""
        self._caller = caller
        self._clock = clock
        self._tasks = tasks
        self._lists = lists
        self._known: dict[str, Sequence[str]] = {name: () for name in LISTS}
        self._looked = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def known(self) -> Mapping[str, Sequence[str]]:
        """What is known, at once; lists that are old are asked for again meanwhile."""
        if self._clock.monotonic() - self._looked > KEEP_S:
            self._looked = self._clock.monotonic()
            self._looking = self._tasks.create_task(self.look(), name="host lists")
        return dict(self._known)

    async def look(self) -> None:
        """Ask for all lists now; one that does not come stays as it was."""
        self._looked = self._clock.monotonic()
        await asyncio.gather(*(self._look(name, intent) for name, intent in self._lists.items()))

    async def _look(self, name: str, intent: str) -> None:
        call = Call(intent=intent, params={}, principal=LOOKER, idempotency_key=uuid4().hex)
        try:
            async with asyncio.timeout(LOOK_S):
                self._known[name] = names_in(await self._caller.call(call))
        except (LLMCoreError, TimeoutError) as error:
            log.warning("the host does not give its %s: %s", name, error, extra={"action": "host_lists"})

    async def close(self) -> None:
        """Ask no more."""
        if self._looking is not None:
            self._looking.cancel()


def names_in(value: Any) -> tuple[str, ...]:
    """The names in a list that a host gives: texts, or objects with a `name`, `module`, `alias` or `id`."""
    if isinstance(value, Mapping):
        value = next((inner for inner in value.values() if isinstance(inner, list)), None)
    found = [_name(entry) for entry in value] if isinstance(value, list) else []
    return tuple(dict.fromkeys(name for name in found if name))[:MAX_NAMES]


def _name(entry: Any) -> str | None:
    if isinstance(entry, Mapping):
        entry = next((entry[key] for key in ("name", "module", "alias", "id") if key in entry), None)
    return entry.strip() if isinstance(entry, str) else None
