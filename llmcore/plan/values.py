"""The frozen values of a plan, and which status may follow which.

Used by every room that touches plans; knows no model and no clock and does no I/O.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from llmcore.errors import Conflict
from llmcore.plan.conditions import condition_sources
from llmcore.plan.references import references

MAX_STEPS = 100
DEFAULT_TIMEOUT_S = 60.0
EVERYBODY = 1_000
"""More approvals than any rule can ask for."""


class Effect(StrEnum):
    """What an intent does to the world; the order of danger is `rank`."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"

    @property
    def rank(self) -> int:
        """0 for reads, 2 for destructive ones."""
        return ("read", "write", "destructive").index(self.value)


class PlanStatus(StrEnum):
    """Where a plan stands; a run has the same words from `running` on."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    NEEDS_HUMAN = "needs_human"


class StepState(StrEnum):
    """Where a step stands; `unknown` means it may or may not have happened."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    UNDONE = "undone"


class OnError(StrEnum):
    """What a failed step does to the rest of its plan."""

    STOP = "stop"
    CONTINUE = "continue"
    UNDO = "undo"


class Decision(StrEnum):
    """What policy says of a step."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


_NEXT: Mapping[PlanStatus, frozenset[PlanStatus]] = {
    PlanStatus.PROPOSED: frozenset(
        {
            PlanStatus.PROPOSED,
            PlanStatus.APPROVED,
            PlanStatus.RUNNING,
            PlanStatus.REJECTED,
            PlanStatus.EXPIRED,
            PlanStatus.CANCELLED,
            PlanStatus.FAILED,
        }
    ),
    PlanStatus.APPROVED: frozenset({PlanStatus.RUNNING, PlanStatus.EXPIRED, PlanStatus.CANCELLED}),
    PlanStatus.RUNNING: frozenset(
        {
            PlanStatus.PROPOSED,
            PlanStatus.WAITING,
            PlanStatus.DONE,
            PlanStatus.FAILED,
            PlanStatus.CANCELLED,
            PlanStatus.UNDONE,
            PlanStatus.NEEDS_HUMAN,
        }
    ),
    PlanStatus.WAITING: frozenset(
        {
            PlanStatus.RUNNING,
            PlanStatus.APPROVED,
            PlanStatus.FAILED,
            PlanStatus.CANCELLED,
            PlanStatus.REJECTED,
            PlanStatus.EXPIRED,
        }
    ),
    PlanStatus.DONE: frozenset({PlanStatus.UNDONE, PlanStatus.NEEDS_HUMAN}),
    PlanStatus.FAILED: frozenset({PlanStatus.UNDONE, PlanStatus.NEEDS_HUMAN}),
    PlanStatus.CANCELLED: frozenset({PlanStatus.UNDONE, PlanStatus.NEEDS_HUMAN}),
    PlanStatus.NEEDS_HUMAN: frozenset({PlanStatus.UNDONE}),
    # what had been done before nobody wanted, or decided, the rest
    PlanStatus.REJECTED: frozenset({PlanStatus.UNDONE, PlanStatus.NEEDS_HUMAN}),
    PlanStatus.EXPIRED: frozenset({PlanStatus.UNDONE, PlanStatus.NEEDS_HUMAN}),
}

TERMINAL = frozenset(
    {
        PlanStatus.DONE,
        PlanStatus.FAILED,
        PlanStatus.UNDONE,
        PlanStatus.REJECTED,
        PlanStatus.EXPIRED,
        PlanStatus.CANCELLED,
        PlanStatus.NEEDS_HUMAN,
    }
)
"""Statuses in which nothing of the plan is running or waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who acts; comes only from an authenticated connection or a signed message."""

    name: str
    """Unique within its kind."""
    role: str = "observer"
    """`admin`, `developer` or `observer`."""
    kind: str = "user"
    """`user`, `agent`, `node` or `service`."""
    autonomy: int = 0
    """How much an agent may do alone, as policy understands it: 0 (nothing) to 5."""

    def may_approve(self, roles: Sequence[str]) -> bool:
        """A person of one of `roles` (no roles named: admin or developer)."""
        return self.kind == "user" and self.role in (roles or ("admin", "developer"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What policy decided for one step, and why."""

    decision: Decision
    rules: tuple[str, ...] = ()
    """Ids of the rules that decided."""
    reason: str = ""
    would_allow: str | None = None
    """What would make it pass, in a sentence."""
    approvals: int = 0
    """How many distinct people have to approve (decision `ask`)."""
    roles: tuple[str, ...] = ()
    """Roles an approver may have (decision `ask`)."""
    excludes_requester: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a step would touch, captured before anyone approves."""

    targets: tuple[str, ...]
    before: Any = None
    after: Any = None
    blast: int = 1
    """Number of targets touched."""
    attributes: Mapping[str, str | bool | int] = field(default_factory=dict)
    """What holds of all the targets and only the intent can tell, such as `owner`; policy may ask for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """The intent call that takes a step back."""

    intent: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One intent call of a plan."""

    id: str
    intent: str
    params: Mapping[str, Any] = field(default_factory=dict)
    """JSON values; a value may be a reference `{"$from": step id, "path": JMESPath}`."""
    needs: tuple[str, ...] = ()
    when: str | None = None
    on_error: OnError = OnError.STOP
    retries: int = 0
    timeout_s: float = DEFAULT_TIMEOUT_S
    effect: Effect = Effect.DESTRUCTIVE
    schema_hash: str = ""
    """Hash of the intent's schema and effect at the time of planning."""
    verdict: Verdict | None = None
    preview: Preview | None = None
    undo: Undo | None = None
    state: StepState = StepState.PENDING

    @property
    def mutates(self) -> bool:
        """True for everything but reads."""
        return self.effect is not Effect.READ

    def sources(self) -> frozenset[str]:
        """Ids of all steps whose end this one waits for: `needs`, references, and what its condition reads."""
        read = condition_sources(self.when) if self.when is not None else frozenset()
        return frozenset(self.needs) | read | {reference["$from"] for reference in references(self.params)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One person's approval."""

    by: str
    at: str
    comment: str = ""
    break_glass: bool = False
    """True where an admin alone stood in for all the people that policy asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What a plan needs from people and what it has got."""

    needed: int = 0
    roles: tuple[str, ...] = ()
    given: tuple[Vote, ...] = ()
    expires_at: str | None = None
    """When it is too late to decide; RFC 3339."""
    execute_by: str | None = None
    """When it is too late to begin what was approved; None before the last approval."""
    excludes_requester: bool = False
    rejected: Vote | None = None
    """Who said no for good; the comment is the reason."""
    seal: str | None = None
    """Proof that this installation wrote it; checked before anything runs."""

    @property
    def weight(self) -> int:
        """How many people's approval policy is told of; breaking the glass stands for all of them."""
        return EVERYBODY if any(vote.break_glass for vote in self.given) else len(self.given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """The change that made a plan what it is, for those who saw it before."""

    digest: str
    """Of the plan before."""
    by: str
    at: str
    diff: tuple[Mapping[str, Any], ...]
    """What became of each step, as `llmcore.plan.diff` tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Why a plan that was approved has to be approved again."""

    reason: str
    diff: tuple[Mapping[str, Any], ...]
    """What became of each step since the approval, as `llmcore.plan.diff` tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a plan comes from; `tainted` if untrusted words took part in making it."""

    kind: str
    """`chat`, `alert`, `api`, `bus`, `template` or `agent`."""
    id: str
    tainted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps with all that is known about them."""

    plan_id: str
    requester: Principal
    conversation_id: str
    topic: str
    created_at: str
    """RFC 3339 UTC."""
    origin: Origin
    steps: tuple[Step, ...]
    run_id: str | None = None
    digest: str | None = None
    """None while the reads that feed its mutating steps have not ended."""
    status: PlanStatus = PlanStatus.PROPOSED
    title: str = ""
    request: str = ""
    confidence: float = 1.0
    answered_by: str = "api"
    approval: Approval | None = None
    undoes: str | None = None
    """The run that this plan takes back."""
    edited_from: Edit | None = None
    drift: Drift | None = None
    """What has changed since it was approved, if that was why it is asked again."""
    asked_again: int = 0
    """How often it had to be asked again after an approval, because the world or the policy had changed."""

    @property
    def effect(self) -> Effect:
        """The most dangerous effect of its steps."""
        found = {step.effect for step in self.steps}
        return next((effect for effect in (Effect.DESTRUCTIVE, Effect.WRITE) if effect in found), Effect.READ)

    def step(self, step_id: str) -> Step:
        """The step of that id; KeyError if there is none."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)

    def with_step(self, changed: Step) -> "Plan":
        """The plan with the step of the same id replaced."""
        return replace(self, steps=tuple(changed if step.id == changed.id else step for step in self.steps))

    def moved(self, status: PlanStatus) -> "Plan":
        """The plan in another status; Conflict if that may not follow the present one."""
        if status is not self.status and status not in _NEXT.get(self.status, frozenset()):
            raise Conflict(f"The plan is {self.status}, so it cannot become {status}.", status=self.status.value)
        return replace(self, status=status)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What came of one step of a run."""

    step_id: str
    intent: str
    state: StepState
    result: Any = None
    error: Mapping[str, Any] | None = None
    """`{"error": code, "message": sentence}` or None."""
    attempts: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    before: Any = None
    """What was there before the step acted, for taking it back."""
