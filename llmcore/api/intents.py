"""Intents of the catalogue: the list that a caller may see, and a call by an intent's own name.

A call goes the same way as a plan of one step: validated, judged, audited; one that policy asks about becomes a waiting
plan and the caller is told its name.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from llmcore.api.chains import new_plan
from llmcore.api.core import Caller, Core, rpc
from llmcore.errors import ApprovalRequired, Forbidden, LLMCoreError, TimedOut
from llmcore.executor import refused_json
from llmcore.plan import Decision, Effect, Origin, Plan, PlanStatus, Step, StepState
from llmcore.ports import Call

WAIT_S = 8.0


@rpc("intents_list")
async def intents_list(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Everything the caller may ask for."""
    return {
        "intents": [
            {
                "name": intent.name,
                "description": intent.description,
                "schema": intent.schema,
                "effect": intent.effect.value,
                "idempotent": intent.idempotent,
                "reversible": intent.undo is not None,
                "pack": intent.pack,
                "examples": [{"text": example.text, "params": dict(example.params)} for example in intent.examples],
            }
            for intent in core.catalog.visible_to(caller.principal)
        ]
    }


async def call_intent(core: Core, name: str, params: Mapping[str, Any], caller: Caller) -> Any:
    """The result of an intent; raises Forbidden, ApprovalRequired (with `plan_id`), or what the step raises.

    A read that takes longer than eight seconds is `timeout`; a change goes on and is acknowledged instead.
    """
    intent = core.catalog.validate(name, params)
    step = Step(id="s1", intent=intent.name, params=params, effect=intent.effect, schema_hash=intent.schema_hash)
    origin = Origin(kind="api", id=caller.principal.name)
    verdict = core.judge.verdict(step, caller.principal, origin, foreseen=step.mutates)
    if verdict.decision is Decision.DENY:
        await core.audit.record(
            "intent.denied",
            caller.principal,
            intent=name,
            params=params,
            rules=list(verdict.rules),
            reason=verdict.reason,
        )
        raise Forbidden(
            f"Policy does not allow {name}: {verdict.reason}",
            rules=list(verdict.rules),
            reason=verdict.reason,
            would_allow=verdict.would_allow,
        )
    if verdict.decision is Decision.ALLOW and intent.effect is Effect.READ and not intent.long_running:
        return await _read(core, name, params, caller)
    return await _change(core, step, caller)


async def _read(core: Core, name: str, params: Mapping[str, Any], caller: Caller) -> Any:
    call = Call(intent=name, params=params, principal=caller.principal, idempotency_key=uuid4().hex)
    told: dict[str, Any] = {"intent": name, "params": params}
    try:
        try:
            async with asyncio.timeout(WAIT_S):
                result = await core.host.call(call)
        except TimeoutError as late:
            raise TimedOut(f"{name} did not end within {WAIT_S:g} s.") from late
    except LLMCoreError as error:
        core.audit.note("intent", caller.principal, **told, error=refused_json(error))
        raise
    except BaseException:
        core.audit.note("intent", caller.principal, **told, error={"error": "cancelled"})
        raise
    core.audit.note("intent", caller.principal, **told, result=result)
    return result


async def _change(core: Core, step: Step, caller: Caller) -> Any:
    steps = core.catalog.steps([{"id": step.id, "intent": step.intent, "params": step.params}])
    plan, new = await new_plan(core, steps, step.intent, caller, None, None)
    proposed = await core.session.propose(plan, start=True, conversation=new)
    if proposed.status is PlanStatus.PROPOSED:
        raise ApprovalRequired(
            f"{step.intent} waits for approval as plan {proposed.plan_id}.",
            plan_id=proposed.plan_id,
            digest=proposed.digest,
        )
    return await _outcome(core, proposed)


async def _outcome(core: Core, plan: Plan) -> Any:
    run_id = plan.run_id or ""
    try:
        await core.session.settled(run_id)
    except TimedOut:
        return {"accepted": True, "run_id": run_id, "topic": plan.topic}
    attempt = next(reversed(await core.store.attempt_list(run_id)), None)
    if attempt is not None and attempt.outcome == StepState.DONE.value:
        return attempt.result
    run = await core.store.run_get(run_id)
    error = (attempt.error if attempt else None) or (run.error if run else None)
    raise _Failed(error or refused_json(LLMCoreError("The step did not run.")))


class _Failed(LLMCoreError):
    """The error of the step itself, as the answer to a direct call."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        details = {key: value for key, value in error.items() if key not in ("error", "message")}
        super().__init__(str(error.get("message", "The step failed.")), **details)
        self.code = str(error.get("error", "internal"))  # type: ignore[misc]  # an instance tells the step's code
        self.status = _STATUS.get(self.code, 500)  # type: ignore[misc]


def _subclasses(kind: type[LLMCoreError]) -> list[type[LLMCoreError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in _subclasses(child))]


_STATUS = {kind.code: kind.status for kind in _subclasses(LLMCoreError) if kind.code != "internal"}
