"""Builds the rooms from the settings, lowest floor first, and takes them down in reverse."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from secrets import token_bytes
from typing import Any

from llmcore import __version__
from llmcore.accounts import Accounts
from llmcore.adapters import host
from llmcore.adapters.discreet import DiscreetCaller
from llmcore.adapters.local import SystemClock
from llmcore.adapters.memory import MemoryBus
from llmcore.adapters.packs import PackCaller
from llmcore.adapters.sql import StoreOptions, open_store
from llmcore.alerts import Alerts, runbooks_of
from llmcore.api import Api, Core
from llmcore.api.core import TrashCan
from llmcore.app import options
from llmcore.app.meters import Meters
from llmcore.app.node import Node, take_name
from llmcore.app.probes import probes
from llmcore.app.queues import queue_of
from llmcore.app.reserve import Reserve
from llmcore.approval import SECRET, ApprovalOptions, Approvals
from llmcore.audit import Audit
from llmcore.catalog import Catalog, load_folder, load_packs
from llmcore.conversation import Conversations
from llmcore.errors import LLMCoreError
from llmcore.executor import Executor
from llmcore.plan import Principal
from llmcore.planner import Planner, PlannerOptions
from llmcore.policy import Judge, Policy, Site, compile_short, load, types_of_attributes
from llmcore.ports import Bus, Clock, IntentCaller, Model, Queue, Store
from llmcore.providers import LLMManager
from llmcore.providers.masking import MaskedModel, Masker
from llmcore.redaction import Redactor
from llmcore.server import Rooms, Server
from llmcore.session import (
    ModelCalls,
    Proposer,
    Recorder,
    Replayer,
    Segments,
    Session,
    SessionOptions,
    Speaker,
    Understanding,
    snapshots,
)
from llmcore.settings import Settings, SettingsError
from llmcore.standing import StandingRules
from llmcore.streams import Topics
from llmcore.templates import Templates

log = logging.getLogger(__name__)

SYSTEM = Principal(name="llmcore", role="admin", kind="service")
"""Who acts when nobody asked: starts, stops, recoveries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSide:
    """The host whose intents are offered: this machine, or a program that we live in."""

    catalog: Catalog
    caller: IntentCaller
    vocabulary: Callable[[], Mapping[str, Sequence[str]]]
    """The lists that the host itself gives: targets, logs, scripts."""
    close: Callable[[], Awaitable[None]]
    trash: TrashCan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What all rooms stand on."""

    settings: Settings
    tasks: asyncio.TaskGroup
    clock: Clock
    host: HostSide
    judge: Judge
    standing: StandingRules
    model: LLMManager
    store: Store
    redactor: Redactor
    audit: Audit
    recorder: Recorder
    accounts: Accounts
    topics: Topics
    conversations: Conversations
    templates: Templates


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """All rooms up to the api, whatever doors there are."""

    base: Base
    session: Session
    queue: Queue
    node: Node
    bus: Bus
    alerts: Alerts
    api: Api
    reserve: Reserve

    async def begin(self) -> None:
        """Take work; what an earlier life of the process left is taken up first."""
        await self.session.orders.look()
        await self.queue.start(self.session.work)
        await self.session.recover()

    async def warm(self) -> None:
        """Load what the chosen provider needs, so that the first chat does not wait for it."""
        try:
            await self.base.model.warm()
        except LLMCoreError as refused:
            log.warning("the model is not ready: %s", refused.message, extra={"action": "warm"})

    async def stop(self, grace_s: float) -> None:
        """Let steps end and leave the rest to others, write what is waiting."""
        self.session.leave()
        await self.queue.stop(grace_s)
        await self.bus.close()
        await self.base.audit.record("server.stop", SYSTEM)
        await self.base.audit.close()
        await self.base.host.close()
        await self.base.model.aclose()
        await self.base.store.close()
        self.node.leave()


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One process, ready to serve."""

    house: House
    server: Server
    made_password: str | None
    stats: Callable[[], Awaitable[Mapping[str, Any]]]
    """What `/stats` tells."""

    async def stop(self, grace_s: float) -> None:
        """Begin no further step, stop listening, then everything else."""
        self.house.session.leave()
        await self.server.stop(grace_s)
        await self.house.stop(grace_s)


def load_catalog(settings: Settings) -> Catalog:
    """All intents of this installation; raises CatalogError."""
    own = [intent for path in settings.packs.path for intent in load_folder(path)]
    return Catalog([*load_packs(), *own])


def load_policy(settings: Settings, catalog: Catalog) -> Policy:
    """The policy of this installation, checked against its intents; raises PolicyError, SettingsError."""
    default = options.config_folder() / "policy" / "default.cedar"
    file = settings.policy.file or default
    text = _policy_text(file)
    targets = settings.system.targets
    attributes = types_of_attributes({name: target.attributes for name, target in targets.items()})
    if file.suffix in {".yaml", ".yml"}:
        site = Site(list(catalog), attributes, list(targets))
        text = compile_short(text, str(file), site, _policy_text(default))
    return load(text, catalog, str(file), attributes)


def _policy_text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as unreadable:
        why = getattr(unreadable, "strerror", None) or "it is not text in UTF-8"
        raise SettingsError(f"policy.file: {file} cannot be read ({why}); correct LLMCORE_POLICY__FILE.") from None


async def build(settings: Settings, tasks: asyncio.TaskGroup) -> Built:
    """Open the store, load catalogue and policy, connect everything; listens to nothing yet."""
    clock = SystemClock()
    catalog = await asyncio.to_thread(load_catalog, settings)
    reserve = Reserve(settings.data_dir)
    chosen = options.host(settings, lambda: reserve.short)
    services = await asyncio.to_thread(host.services, chosen, clock)
    machine = HostSide(
        catalog=catalog,
        caller=PackCaller(catalog, services),
        vocabulary=partial(host.vocabulary, services),
        close=partial(host.aclose, services),
        trash=services["files"],
    )
    house = await build_house(settings, tasks, clock, machine, reserve)
    base = house.base
    services["policy"] = base.standing  # only now is there a store
    rooms = Rooms(
        door=house.api,
        auth=base.accounts,
        topics=base.topics,
        clock=clock,
        tasks=tasks,
        on_alert=house.alerts.webhook,
    )
    server = Server(options.server(settings), rooms)
    queue = house.queue
    server.registry.register(Meters(base.model, house.alerts.counters, base.audit, lambda: queue.depth))
    return Built(
        house=house,
        server=server,
        made_password=await base.accounts.bootstrap(options.revealed(settings.admin_password)),
        stats=services["system"].snapshot,
    )


async def build_house(
    settings: Settings, tasks: asyncio.TaskGroup, clock: Clock, host_side: HostSide, reserve: Reserve
) -> House:
    """Everything behind the doors, for the intents of a host; works on nothing yet."""
    redactor = Redactor(options.secrets(settings))
    discreet = replace(host_side, caller=DiscreetCaller(host_side.caller, redactor.exact))
    base = await _base(settings, tasks, clock, discreet, redactor, reserve)
    node = await asyncio.to_thread(take_name, settings.data_dir)
    queue = await asyncio.to_thread(queue_of, settings, base.store, tasks, node.name)
    segments = await _segments(base)
    limits = SessionOptions(node=node.name, lease_s=settings.node.lease_s)
    session = Session(segments, base.topics, queue, limits)
    bus = _bus(base)
    alerts = _alerts(base, session, await asyncio.to_thread(options.runbooks))
    replayer = Replayer(segments.understanding, segments.proposer, segments.recorder)
    api = Api(_core(base, session, replayer, queue, bus, alerts))
    versions = {"version": __version__, "catalog": host_side.catalog.version, "policy": base.judge.policy.version}
    await base.audit.record("server.start", SYSTEM, **versions)
    return House(base=base, session=session, queue=queue, node=node, bus=bus, alerts=alerts, api=api, reserve=reserve)


async def _base(
    settings: Settings,
    tasks: asyncio.TaskGroup,
    clock: Clock,
    host_side: HostSide,
    redactor: Redactor,
    reserve: Reserve,
) -> Base:
    policy = await asyncio.to_thread(load_policy, settings, host_side.catalog)
    templates = await asyncio.to_thread(options.templates, settings, host_side.catalog)
    model = await asyncio.to_thread(LLMManager, options.llm(settings), clock)
    if options.store_url(settings).startswith("sqlite:"):  # a database server has a disk of its own
        await asyncio.to_thread(reserve.take)
    where = options.store_url(settings)
    store = await open_store(StoreOptions(url=where, head_dir=settings.data_dir, space=reserve))
    judge = Judge(policy, options.attributes(settings), clock, options.zone(settings))
    standing = StandingRules(store, judge, clock)
    await standing.refresh()
    deciding = partial(_versions, host_side.catalog, judge)
    audit = Audit(store, clock, redactor.value, deciding)
    return Base(
        settings=settings,
        tasks=tasks,
        clock=clock,
        host=host_side,
        judge=judge,
        standing=standing,
        model=model,
        store=store,
        redactor=redactor,
        audit=audit,
        recorder=Recorder(store, clock, redactor.value, deciding, options.recordings(settings)),
        accounts=Accounts(store, clock, options.accounts(settings), audit),
        topics=Topics(store, clock, lambda topic: snapshots(store, topic)),
        conversations=Conversations(store, clock),
        templates=Templates(store, host_side.catalog, audit, clock, templates),
    )


def _versions(catalog: Catalog, judge: Judge) -> Mapping[str, str]:
    """What decides now, for the records of decisions."""
    return {"catalog": catalog.version, "policy": judge.policy.version}


async def _segments(base: Base) -> Segments:
    models = await _models(base)
    told = base.settings.approval
    limits = ApprovalOptions(decision_s=told.expires_s, execution_s=told.execute_s)
    key = await base.store.secret(SECRET, lambda: token_bytes(32))
    proposer = Proposer(
        catalog=base.host.catalog,
        caller=base.host.caller,
        judge=base.judge,
        approvals=Approvals(base.store, base.audit, base.clock, key, limits),
        vocabulary=base.host.vocabulary,
    )
    calls = ModelCalls()
    understanding = Understanding(
        catalog=base.host.catalog,
        planner=Planner(base.host.catalog, models({}), PlannerOptions()),
        models=models,
        conversations=base.conversations,
        vocabulary=base.host.vocabulary,
        clock=base.clock,
        calls=calls,
        recorder=base.recorder,
        templates=base.templates,
    )
    return Segments(
        store=base.store,
        catalog=base.host.catalog,
        understanding=understanding,
        speaker=Speaker(models, calls),
        proposer=proposer,
        executor=Executor(base.store, base.host.caller, base.host.catalog, base.judge, base.audit, base.clock),
        audit=base.audit,
        clock=base.clock,
        recorder=base.recorder,
    )


async def _models(base: Base) -> Callable[[Mapping[str, Any]], Model]:
    """The model for a chat's own options; names of people and machines hidden where the setting is on."""
    masking = base.settings.llm.masking
    masker: Masker | None = None
    if masking.enabled:
        masker = Masker(await base.store.secret("masking", lambda: token_bytes(32)), masking.names)

    def hidden(model: Model) -> Model:
        return MaskedModel(model, masker) if masker else model

    usual = hidden(base.model)

    def choose(chosen: Mapping[str, Any]) -> Model:
        own = {key: chosen[key] for key in ("provider", "model") if key in chosen}
        return hidden(base.model.using(**own)) if own else usual

    return choose


def _bus(base: Base) -> Bus:
    url = base.settings.bus.url.get_secret_value()
    if url.startswith("memory://"):
        return MemoryBus()
    from llmcore.adapters.redis import RedisBus  # loaded only where Redis is used: it costs a tenth of a second

    return RedisBus(url, base.clock, base.tasks)


def _alerts(base: Base, session: Session, runbooks: Sequence[Mapping[str, Any]]) -> Alerts:
    return Alerts(
        store=base.store,
        topics=base.topics,
        session=session,
        conversations=base.conversations,
        catalog=base.host.catalog,
        audit=base.audit,
        clock=base.clock,
        keys={name: key.get_secret_value() for name, key in base.settings.bus.keys.items()},
        runbooks=runbooks_of(runbooks),
        vocabulary=base.host.vocabulary,
        hide=base.redactor.exact,
    )


def _core(base: Base, session: Session, replayer: Replayer, queue: Queue, bus: Bus, alerts: Alerts) -> Core:
    return Core(
        session=session,
        replayer=replayer,
        topics=base.topics,
        store=base.store,
        catalog=base.host.catalog,
        accounts=base.accounts,
        conversations=base.conversations,
        templates=base.templates,
        judge=base.judge,
        standing=base.standing,
        host=base.host.caller,
        audit=base.audit,
        clock=base.clock,
        suggestions=alerts,
        trash=base.host.trash,
        hide=base.redactor.exact,
        status=lambda: _status(base),
        probes=probes(base.store, base.model, queue, base.judge, bus),
    )


def _status(base: Base) -> dict[str, Any]:
    return {
        "version": __version__,
        "provider": base.model.name,
        "model": base.model.get_model_name(),
        "model_available": base.model.available,
        "notice": base.settings.llm.notice,
        "providers": base.model.names,
    }
