"""From the words of a chat to a draft and a plan: what was said before, what the planner makes of it.

Called by the segments. Yields no events; knows neither approval nor execution.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast
from uuid import uuid4

from llmcore.catalog import Catalog
from llmcore.conversation import Conversations, Window
from llmcore.plan import MAX_STEPS, Origin, Plan, Principal
from llmcore.planner import Draft, DraftStep, Finding, Planner, PlanRequest, template_draft
from llmcore.ports import Clock, Model, Run, StoredMessage, rfc3339
from llmcore.session.proposal import Vocabulary
from llmcore.session.prose import ModelCalls, with_context
from llmcore.session.recording import Recorder, Tape
from llmcore.session.turn import Turn
from llmcore.templates import Templates

Models = Callable[[Mapping[str, Any]], Model]
"""The model for a chat's options (`provider`, `model`, …); raises BadParams for a provider that is not switched on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Investigation:
    """How far a request may be looked into before people are asked or told."""

    rounds: int = 3
    """How often a model may see results and ask for more steps."""
    tokens: int = 20_000
    """Of the whole turn."""
    seconds: float = 60.0
    """For one look at results."""


@dataclass(frozen=True, slots=True)
class Understanding:
    """Reads a request in its conversation."""

    catalog: Catalog
    planner: Planner
    models: Models
    conversations: Conversations
    vocabulary: Vocabulary
    clock: Clock
    calls: ModelCalls
    recorder: Recorder
    templates: Templates
    investigation: Investigation = Investigation()

    async def understood(
        self, turn: Turn, window: Window, stored: Sequence[StoredMessage]
    ) -> tuple[Draft, Plan | None]:
        """What the planner makes of a turn's words, and the plan if it makes one; the turn keeps what it cost.

        Raises Abandoned if nobody reads any more, BadParams for a plan that does not fit.
        """
        asked = turn.run.request
        await self.templates.refresh()
        request = PlanRequest(
            text=asked["prompt"],
            principal=turn.run.owner,
            history=window.messages,
            visible=self.catalog.visible_to(turn.run.owner),
            vocabulary=self.vocabulary(),
            pending=_pending(stored),
            untrusted=window.untrusted,
            template=self._template(asked["prompt"], turn.run.owner),
            setting=self._setting(asked["options"]),
            mode=asked["mode"],
        )
        before = _asked_before(stored) if request.pending else ""
        tape = Tape(self.models(asked["options"]))
        async with self.calls.watched(turn.run.topic):
            draft = await self.drafted(request, tape)
        self.recorder.drafted(turn, request, tape, draft, before)
        turn.usage += draft.usage
        turn.answered_by, turn.kind = draft.answered_by, draft.kind
        turn.meta |= kept(draft)
        if draft.kind != "plan":
            return draft, None
        turn.understood = request if draft.more else None
        return draft, self.plan_of(turn, draft, before)

    async def further(self, turn: Turn) -> Plan | None:
        """The turn's plan with the steps that its results ask for; None if there are none, or the budget is used up.

        Only for a plan of reads that nobody has approved. Raises Abandoned if nobody reads any more.
        """
        request, limits = turn.understood, self.investigation
        if (
            request is None
            or turn.looks >= limits.rounds
            or turn.usage.input_tokens + turn.usage.output_tokens >= limits.tokens
        ):
            return None
        turn.looks += 1
        plan = turn.plan
        findings = [
            Finding(step_id=step.id, intent=step.intent, params=step.params, result=turn.results[step.id].result)
            for step in plan.steps
            if step.id in turn.results
        ]
        tape = Tape(self.models(turn.run.request["options"]))
        try:
            async with asyncio.timeout(limits.seconds), self.calls.watched(turn.run.topic):
                draft = await self.advised(request, findings, tape)
        except TimeoutError:
            return None
        turn.usage += draft.usage
        self.recorder.drafted(turn, request, tape, draft, "", findings)
        if draft.kind != "plan" or len(plan.steps) + len(draft.steps) > MAX_STEPS:
            return None
        turn.understood = request if draft.more else None
        steps = self.catalog.steps(draft.raw_steps(after=len(plan.steps)))
        return replace(plan, steps=(*plan.steps, *steps), digest=None, origin=replace(plan.origin, tainted=True))

    async def advised(self, request: PlanRequest, findings: Sequence[Finding], model: Model) -> Draft:
        """What the planner makes of results, with the model that the chat chose."""
        return await self.planner.over(self.planner, model).further(request, findings)

    def _template(self, text: str, owner: Principal) -> Draft | None:
        meant = self.templates.meant(text, owner)
        return template_draft(meant.steps, tainted=meant.tainted) if meant else None

    def _setting(self, options: Mapping[str, Any]) -> str:
        """What a model's plan depends on: versions of catalogue, policy and planner, and which model was chosen."""
        chosen = {key: options.get(key) for key in ("provider", "model")}
        return json.dumps([self.recorder.versions(), chosen], sort_keys=True)

    async def drafted(self, request: PlanRequest, model: Model) -> Draft:
        """What the planner makes of it with the model that the chat chose.

        A request for what this caller may never do is recognised too, so that policy can say why not.
        """
        draft = await self.planner.over(self.planner, model).plan(request)
        everything = [intent for intent in self.catalog if intent.offered]
        if draft.kind != "none" or len(request.visible) == len(everything):
            return draft
        known = await self.planner.over(self.planner, None).plan(replace(request, visible=everything))
        return known if known.kind == "plan" else draft

    async def history(self, run: Run) -> tuple[Window, Sequence[StoredMessage]]:
        """What was said before, and what the client sent along; a first turn has nothing to read."""
        window, stored = Window((), untrusted=False), cast(Sequence[StoredMessage], ())
        if not run.request.get("first", False):
            window, stored = await self.conversations.window(run.conversation_id, run.run_id)
        return with_context(window, run.request.get("context", {})), stored

    def plan_of(self, turn: Turn, draft: Draft, before: str) -> Plan:
        """The plan that a draft means; `before`: words of an earlier request that these complete. Raises BadParams."""
        words = f"{before} {turn.run.request['prompt']}".strip()
        return Plan(
            plan_id=f"pl_{uuid4().hex}",
            requester=turn.run.owner,
            conversation_id=turn.run.conversation_id,
            topic=turn.run.topic,
            created_at=rfc3339(self.clock.now()),
            origin=Origin(kind="chat", id=turn.run.run_id, tainted=draft.tainted),
            steps=self.catalog.steps(draft.raw_steps()),
            run_id=turn.run.run_id,
            title=" ".join(words.split())[:80],
            request=words,
            confidence=draft.confidence,
            answered_by=draft.answered_by or "local",
        )


def _pending(stored: Sequence[StoredMessage]) -> Draft | None:
    """The question that the last message asked, if it asked one."""
    if not stored or stored[-1].role != "assistant" or not stored[-1].meta.get("pending"):
        return None
    kept: Mapping[str, Any] = stored[-1].meta["pending"]
    return Draft(
        kind="clarify",
        steps=tuple(DraftStep(**{**step, "needs": tuple(step["needs"])}) for step in kept["steps"]),
        text=stored[-1].content,
        answered_by=kept["answered_by"],
        confidence=kept["confidence"],
        missing=tuple(kept["missing"]),
        tainted=kept["tainted"],
    )


def _asked_before(stored: Sequence[StoredMessage]) -> str:
    """The request that the open question belongs to."""
    return next((said.content for said in reversed(stored) if said.role == "user"), "")


def kept(draft: Draft) -> dict[str, Any]:
    """What a reply's message remembers of an open question."""
    if draft.kind != "clarify" or not draft.steps:
        return {}
    steps = [asdict(step) for step in draft.steps]
    pending = {
        "steps": steps,
        "missing": list(draft.missing),
        "answered_by": draft.answered_by,
        "confidence": draft.confidence,
        "tainted": draft.tainted,
    }
    return {"pending": pending}
