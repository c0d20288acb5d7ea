"""Builds the rooms from the settings, lowest floor first, and takes them down in reverse."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from secrets import token_bytes
from typing import Any

from llmcore import __version__
from llmcore.accounts import Accounts
from llmcore.adapters import host
from llmcore.adapters.local import LocalQueue, SystemClock
from llmcore.adapters.memory import MemoryBus
from llmcore.adapters.packs import PackCaller
from llmcore.adapters.redis import RedisBus
from llmcore.adapters.sql import StoreOptions, open_store
from llmcore.alerts import Alerts, runbooks_of
from llmcore.api import Api, Core
from llmcore.app import options
from llmcore.approval import ApprovalOptions, Approvals
from llmcore.audit import Audit
from llmcore.catalog import Catalog, load_folder, load_packs
from llmcore.conversation import Conversations
from llmcore.executor import Executor
from llmcore.plan import Principal
from llmcore.planner import Planner, PlannerOptions
from llmcore.policy import Judge, Policy, load
from llmcore.ports import Bus, Clock, Model, Store
from llmcore.providers import LLMManager
from llmcore.providers.masking import MaskedModel, Masker
from llmcore.redaction import Redactor
from llmcore.server import Rooms, Server
from llmcore.session import ModelCalls, Proposer, Segments, Session, SessionOptions, snapshots
from llmcore.settings import Settings
from llmcore.streams import Topics

SYSTEM = Principal(name="llmcore", role="admin", kind="service")
"""Who acts when nobody asked: starts, stops, recoveries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One process, ready to run."""

    api: Api
    session: Session
    server: Server
    queue: LocalQueue
    topics: Topics
    audit: Audit
    model: LLMManager
    store: Store
    clock: Clock
    stats: Callable[[], Awaitable[Mapping[str, Any]]]
    made_password: str | None
    bus: Bus
    alerts: Alerts
    alert_channel: str
    close_host: Callable[[], Awaitable[None]]

    async def stop(self, grace_s: float) -> None:
        """Stop listening, let work end, write what is waiting."""
        await self.server.stop(grace_s)
        await self.queue.stop(grace_s)
        await self.bus.close()
        await self.audit.record("server.stop", SYSTEM)
        await self.audit.close()
        await self.close_host()
        await self.model.aclose()
        await self.store.close()


def load_catalog(settings: Settings) -> Catalog:
    """All intents of this installation; raises CatalogError."""
    own = [intent for path in settings.packs.path for intent in load_folder(path)]
    return Catalog([*load_packs(), *own])


def load_policy(settings: Settings, catalog: Catalog) -> Policy:
    """The policy of this installation, checked against its intents; raises PolicyError."""
    file = settings.policy.file or options.config_folder() / "policy" / "default.cedar"
    return load(file.read_text("utf-8"), catalog, str(file))


async def build(settings: Settings, tasks: asyncio.TaskGroup) -> Built:
    """Open the store, load catalogue and policy, connect everything; listens to nothing yet."""
    clock = SystemClock()
    redactor = Redactor(options.secrets(settings))
    catalog = await asyncio.to_thread(load_catalog, settings)
    judge = Judge(load_policy(settings, catalog), options.attributes(settings))
    model = LLMManager(options.llm(settings), clock)
    store = await open_store(StoreOptions(url=options.store_url(settings), head_dir=settings.data_dir))
    audit = Audit(store, clock, redactor.value)
    accounts = Accounts(store, clock, options.accounts(settings))
    made = await accounts.bootstrap(options.revealed(settings.admin_password))
    services = host.services(options.host(settings, clock))
    caller = PackCaller(catalog, services)
    topics = Topics(store, clock, lambda topic: snapshots(store, topic))
    queue = LocalQueue(store, tasks)
    conversations = Conversations(store, clock)
    models = _models(await _masked(settings, store), model)
    proposer = Proposer(
        catalog=catalog,
        caller=caller,
        judge=judge,
        approvals=Approvals(store, audit, clock, ApprovalOptions(decision_s=settings.approval.expires_s)),
        vocabulary=lambda: host.vocabulary(services),
    )
    segments = Segments(
        store=store,
        catalog=catalog,
        planner=Planner(catalog, models({}), PlannerOptions()),
        models=models,
        proposer=proposer,
        executor=Executor(store, caller, catalog, judge, audit, clock),
        conversations=conversations,
        audit=audit,
        clock=clock,
        calls=ModelCalls(),
    )
    session = Session(segments, topics, queue, SessionOptions())
    bus = _bus(settings, clock, tasks)
    alerts = Alerts(
        store=store,
        topics=topics,
        session=session,
        conversations=conversations,
        catalog=catalog,
        audit=audit,
        clock=clock,
        keys={name: key.get_secret_value() for name, key in settings.bus.keys.items()},
        runbooks=runbooks_of(options.runbooks()),
        vocabulary=lambda: host.vocabulary(services),
    )
    core = Core(
        session=session,
        topics=topics,
        store=store,
        catalog=catalog,
        accounts=accounts,
        conversations=conversations,
        judge=judge,
        host=caller,
        audit=audit,
        clock=clock,
        suggestions=alerts,
        status=lambda: _status(settings, model),
        probes=_probes(store, model, queue, judge, bus),
    )
    api = Api(core)
    rooms = Rooms(door=api, auth=accounts, topics=topics, clock=clock, tasks=tasks, on_alert=alerts.webhook)
    await audit.record(
        "server.start", SYSTEM, version=__version__, catalog=catalog.version, policy=judge.policy.version
    )
    return Built(
        api=api,
        session=session,
        server=Server(options.server(settings), rooms),
        queue=queue,
        topics=topics,
        audit=audit,
        model=model,
        store=store,
        clock=clock,
        stats=services["system"].snapshot,
        made_password=made,
        bus=bus,
        alerts=alerts,
        alert_channel=f"{settings.bus.prefix}alerts",
        close_host=lambda: host.aclose(services),
    )


async def _masked(settings: Settings, store: Store) -> Callable[[Model], Model]:
    """Hides names of people and machines from vendors where the setting is on."""
    if not settings.llm.masking.enabled:
        return lambda model: model
    key = await store.secret("masking", lambda: token_bytes(32))
    masker = Masker(key, settings.llm.masking.names)
    return lambda model: MaskedModel(model, masker)


def _models(hide: Callable[[Model], Model], manager: LLMManager) -> Callable[[Mapping[str, Any]], Model]:
    """The model for a chat's own options; the usual one where it has none."""
    usual = hide(manager)

    def choose(chosen: Mapping[str, Any]) -> Model:
        return hide(manager.using(provider=chosen["provider"])) if "provider" in chosen else usual

    return choose


def _bus(settings: Settings, clock: Clock, tasks: asyncio.TaskGroup) -> Bus:
    url = settings.bus.url.get_secret_value()
    return MemoryBus() if url.startswith("memory://") else RedisBus(url, clock, tasks)


def _status(settings: Settings, model: LLMManager) -> dict[str, Any]:
    return {
        "version": __version__,
        "provider": model.name,
        "model": model.get_model_name(),
        "model_available": model.available,
        "notice": settings.llm.notice,
        "providers": model.names,
    }


def _probes(
    store: Store, model: LLMManager, queue: LocalQueue, judge: Judge, bus: Bus
) -> Mapping[str, Callable[[], Awaitable[Mapping[str, Any]]]]:
    async def store_probe() -> Mapping[str, Any]:
        await store.check()
        return {"status": "ok", "required": True, "reason": None}

    async def policy_probe() -> Mapping[str, Any]:
        return {"status": "ok", "required": True, "reason": None, "version": judge.policy.version}

    async def provider_probe() -> Mapping[str, Any]:
        return {"reason": None, **model.health(), "required": False}

    async def queue_probe() -> Mapping[str, Any]:
        return {"status": "ok", "required": False, "reason": None, "depth": queue.depth}

    async def bus_probe() -> Mapping[str, Any]:
        reason = None if bus.healthy else "its heartbeat does not come back; messages may be getting lost"
        return {"status": "ok" if bus.healthy else "degraded", "required": False, "reason": reason}

    return {
        "store": store_probe,
        "bus": bus_probe,
        "providers": provider_probe,
        "policy": policy_probe,
        "queue": queue_probe,
    }
