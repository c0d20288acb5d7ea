"""What is known of one segment while it runs, and the words that end it.

Used by the flow only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from llmcore import events
from llmcore.events import Activity, Event
from llmcore.executor import as_it_runs
from llmcore.plan import TERMINAL, Plan, PlanStatus, Step, StepResult, plan_json, step_json
from llmcore.planner import PlanRequest
from llmcore.ports import Lease, Run, Store, Usage


@dataclass(slots=True)
class Turn:
    """One segment of a run."""

    run: Run
    planned: Plan | None = None
    """The plan, once there is one."""
    stored: Plan | None = None
    """The plan as the store has it."""
    results: dict[str, StepResult] = field(default_factory=dict)
    text: str = ""
    answered_by: str | None = None
    kind: str = "answer"
    """What the request was understood as, if it is not a plan: `answer`, `clarify` or `none`."""
    usage: Usage = field(default_factory=Usage)
    shown: list[dict[str, Any]] = field(default_factory=list)
    """Entries of `RUN_FINISHED.result.results`."""
    prose: bool = False
    """True if a model wrote the text."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Notes kept with the reply's message."""
    held: str = ""
    """Why a step may not begin as it was approved, if so."""
    recording: dict[str, Any] = field(default_factory=dict)
    """How the words of this turn were understood, so far."""
    understood: PlanRequest | None = None
    """What the planner was asked, if it may be asked again once it has seen results."""
    documents: dict[str, tuple[Step, dict[str, Any]]] = field(default_factory=dict)
    """Step id -> the step as it was last told, and its JSON."""
    looks: int = 0
    """How often it has been."""
    elsewhere: Plan | None = None
    """Another plan that this turn has changed, which its own viewers are to see."""
    lease: Lease | None = None
    """What is written for this segment counts only while it is held."""
    message_id: str = field(default_factory=lambda: f"ms_{uuid4().hex}")
    speaking: bool = False

    @property
    def plan(self) -> Plan:
        """The plan of a turn that has one."""
        if self.planned is None:
            raise LookupError("this turn has no plan")
        return self.planned

    @property
    def segment_id(self) -> str:
        """AG-UI's run id of this segment."""
        return f"{self.run.run_id}.{self.run.segment}"

    def started(self) -> Event:
        """The segment's first event."""
        return events.run_started(self.run.conversation_id, self.segment_id)

    def snapshot(self) -> Event:
        """The plan as it is now; what has not changed since the last one is not written out again."""
        for step in self.plan.steps:
            known = self.documents.get(step.id)
            if known is None or known[0] is not step:
                self.documents[step.id] = (step, step_json(step))
        steps = [self.documents[step.id][1] for step in self.plan.steps]
        return events.activity(Activity.PLAN, self.plan.plan_id, plan_json(self.plan, steps))

    def result(self) -> Mapping[str, Any]:
        """`RUN_FINISHED.result`."""
        return {
            "text": self.text,
            "kind": "plan" if self.planned is not None else self.kind,
            "usage": usage_json(self.usage),
            "plan_id": self.planned.plan_id if self.planned else None,
            "results": self.shown,
            "answered_by": self.answered_by,
            "prose": self.prose,
        }

    def finished(self, status: PlanStatus) -> Event:
        """The last event of a segment that did not fail."""
        outcome = events.success()
        if status is PlanStatus.CANCELLED:
            outcome = events.cancelled()
        elif status in (PlanStatus.PROPOSED, PlanStatus.WAITING) and self.planned:
            expires = self.plan.approval.expires_at if self.plan.approval else None
            outcome = events.interrupt(self.plan.plan_id, self.text, expires)
        return events.run_finished(self.run.conversation_id, self.segment_id, outcome, self.result())

    def ended(self, status: PlanStatus, error: Mapping[str, Any] | None = None) -> Run:
        """The run as it is stored at the end of the segment; with what went wrong before an attempt could be made."""
        unattempted = tuple(result for result in self.results.values() if result.error and not result.attempts)
        return replace(
            self.run,
            steps=unattempted,
            status=status,
            plan_id=self.planned.plan_id if self.planned else None,
            text=self.text,
            usage=self.run.usage + self.usage,
            error=error,
        )


def usage_json(usage: Usage) -> dict[str, int]:
    """Tokens as the wire has them."""
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


SHOWN_PLANS = 20


async def snapshots(store: Store, topic: str) -> list[Event]:
    """The plans of a topic as they are now, oldest first: those that can still change, and the last that ended."""
    owner = await store.topic_owner(topic)
    if owner is None:
        return []
    plans = [plan for plan in await store.plan_list(owner, limit=200) if plan.topic == topic]
    open_ones = [plan for plan in plans if plan.status not in TERMINAL]
    shown = {plan.plan_id: plan for plan in [*open_ones, *plans[:1]]}
    newest = [await as_it_runs(store, plan) for plan in list(shown.values())[:SHOWN_PLANS]]
    return [events.activity(Activity.PLAN, plan.plan_id, plan_json(plan)) for plan in reversed(newest)]
