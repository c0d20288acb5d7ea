"""A small host for tests of the rooms: real store, policy and catalogue, and intents whose behaviour a test sets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from llmcore.adapters.local import SystemClock
from llmcore.adapters.sql import SqlStore, StoreOptions, open_store
from llmcore.approval import ApprovalOptions, Approvals
from llmcore.audit import Audit
from llmcore.catalog import Catalog
from llmcore.errors import NotFound
from llmcore.executor import Executor
from llmcore.intent import Effect, Example, Intent
from llmcore.plan import Origin, Plan, Preview, Principal, Undo, references
from llmcore.policy import Judge, load
from llmcore.ports import Call
from llmcore.redaction import Redactor

ANNA = Principal(name="anna", role="admin")
BO = Principal(name="bo", role="developer")
KEY = b"seals of the tests"
OLGA = Principal(name="olga", role="observer")
POLICY = (Path(__file__).parent.parent / "config" / "policy" / "default.cedar").read_text()

_TARGET = {
    "type": "object",
    "properties": {"module": {"type": "string", "minLength": 1}},
    "required": ["module"],
    "additionalProperties": False,
}
_ANY = {"type": "object", "properties": {}, "additionalProperties": True}


def intent(name: str, effect: Effect, schema: Mapping[str, Any] = _TARGET, **more: Any) -> Intent:
    """An intent without a handler of its own: `Host` plays it."""
    examples = (Example(f"{name.replace('_', ' ')} nginx", {"module": "nginx"}),)
    return Intent(name=name, description=f"{name}.", schema=schema, effect=effect, examples=examples, **more)


INTENTS = (
    intent("look", Effect.READ, idempotent=True),
    intent("list_all", Effect.READ, _ANY, idempotent=True),
    intent("start_it", Effect.WRITE),
    intent("set_it", Effect.WRITE, idempotent=True),
    intent("stop_it", Effect.DESTRUCTIVE),
    intent("long_job", Effect.DESTRUCTIVE, long_running=True),
)


def shown(plan: Plan) -> Plan:
    """The plan with the previews that `Host` gives."""
    steps = [
        replace(step, preview=Preview(targets=(str(step.params["module"]),), before={"state": "running"}))
        if step.mutates and not any(True for _ in references(step.params))
        else step
        for step in plan.steps
    ]
    return replace(plan, steps=tuple(steps))


Play = Callable[[Call], Awaitable[Any]]


@dataclass(slots=True)
class Host:
    """The port to intents; notes every call that it carried out."""

    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    plays: dict[str, Play] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    """Targets that a preview does not find."""
    hooks: dict[str, Callable[..., Awaitable[Any]]] = field(default_factory=dict)
    """What answers `preview`, `undo_of` or `verify` instead."""

    async def call(self, call: Call) -> Any:
        """Play the intent: what the test set, else echo the params."""
        self.calls.append((call.intent, call.params))
        play = self.plays.get(call.intent)
        return await play(call) if play else {"ok": True, **call.params}

    async def preview(self, intent: str, params: Mapping[str, Any], principal: Principal) -> Preview | None:
        """One target, found or not."""
        if "preview" in self.hooks:
            return cast(Preview, await self.hooks["preview"](intent, params, principal))
        if params.get("module") in self.missing:
            raise NotFound(f"There is no {params['module']}.")
        return Preview(targets=(str(params.get("module", "")),), before={"state": "running"})

    async def undo_of(
        self, intent: str, params: Mapping[str, Any], before: Any, result: Any, principal: Principal
    ) -> Undo | None:
        """Starting is undone by stopping."""
        if "undo_of" in self.hooks:
            return cast(Undo, await self.hooks["undo_of"](intent, params, before, result, principal))
        return Undo(intent="stop_it", params=params) if intent == "start_it" else None

    async def verify(self, intent: str, params: Mapping[str, Any], principal: Principal) -> bool | None:
        """Nobody can tell."""
        return cast(bool, await self.hooks["verify"](intent, params, principal)) if "verify" in self.hooks else None


class HandClock(SystemClock):
    """A clock that a test can put forward."""

    def __init__(self) -> None:
        """At the present time."""
        self.ahead_s = 0.0

    def now(self) -> float:
        """The time of the machine and what was added."""
        return super().now() + self.ahead_s


@dataclass(slots=True)
class Rooms:
    """The rooms between store and session."""

    store: SqlStore
    host: Host
    clock: HandClock
    catalog: Catalog
    judge: Judge
    audit: Audit
    approvals: Approvals
    executor: Executor

    async def actions(self) -> list[str]:
        """The actions of the audit trail, in order."""
        await self.audit.flush()
        return [json.loads(record)["action"] for _, record, _ in await self.store.audit_rows()]

    def plan(self, *steps: Mapping[str, Any], requester: Principal = ANNA, **changes: Any) -> Plan:
        """A plan of contract steps, asked for by `requester`."""
        values: dict[str, Any] = {
            "plan_id": "pl_1",
            "requester": requester,
            "conversation_id": "cv_1",
            "topic": "/ui/updates/llm/cv_1",
            "created_at": "2026-01-01T00:00:00.000Z",
            "origin": Origin(kind="chat", id="rn_1"),
            "steps": self.catalog.steps(list(steps)),
        }
        return Plan(**{**values, **changes})


@asynccontextmanager
async def rooms(folder: Path, policy: str = POLICY, *, options: StoreOptions | None = None) -> AsyncIterator[Rooms]:
    """Open everything on a store in `folder`, or another one; opening it again later is a restart."""
    store = await open_store(options or StoreOptions(url=f"sqlite:///{folder}/llmcore.db"))
    clock, host, catalog = HandClock(), Host(), Catalog(INTENTS)
    judge = Judge(load(policy, catalog), lambda _: {}, clock)
    audit = Audit(store, clock, Redactor().value)
    try:
        yield Rooms(
            store=store,
            host=host,
            clock=clock,
            catalog=catalog,
            judge=judge,
            audit=audit,
            approvals=Approvals(store, audit, clock, KEY, ApprovalOptions(decision_s=3600, execution_s=600)),
            executor=Executor(store, host, catalog, judge, audit, clock),
        )
    finally:
        await audit.close()
        await store.close()


async def forever(_: Call) -> Any:
    """An intent that never ends by itself."""
    await asyncio.Event().wait()
