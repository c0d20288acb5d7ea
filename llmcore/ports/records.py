"""The rows that the store keeps, as frozen values.

Passed through the `Store` port.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from llmcore.plan import PlanStatus, Principal, StepResult
from llmcore.ports.model import Usage


def rfc3339(seconds: float) -> str:
    """Epoch seconds as every record writes a time: UTC with milliseconds and `Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> float:
    """Epoch seconds of an RFC 3339 time; raises ValueError for anything else."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who can log in."""

    name: str
    role: str
    password_hash: str
    created_at: str
    tokens_valid_from: float = 0.0
    """Epoch seconds; tokens issued before are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A thread of messages that belongs to one principal."""

    conversation_id: str
    owner: str
    title: str
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One message of a conversation."""

    message_id: str
    conversation_id: str
    role: str
    """`user` or `assistant`."""
    content: str
    created_at: str
    run_id: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    """JSON: `plan_id`, `answered_by`, `incomplete`, `results`, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a turn or a plan."""

    run_id: str
    conversation_id: str
    topic: str
    owner: Principal
    status: PlanStatus
    created_at: str
    plan_id: str | None = None
    segment: int = 1
    text: str = ""
    """The reply so far."""
    steps: tuple[StepResult, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict)
    """What was asked, as JSON: enough to run the segment again."""
    usage: Usage = field(default_factory=Usage)
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one step; a row without `outcome` found after a crash means unknown."""

    run_id: str
    step_id: str
    attempt: int
    """From 1."""
    idempotency_key: str
    started_at: str
    outcome: str | None = None
    """`done`, `failed` or None."""
    result: Any = None
    error: Mapping[str, Any] | None = None
    finished_at: str | None = None
    before: Any = None
    """State captured before acting, for undo."""


class Begun(Enum):
    """What came of an attempt to begin."""

    YES = "yes"
    TAKEN = "taken"
    """That attempt is in the journal already."""
    FENCED = "fenced"
    """Another node has taken the run."""
    STOPPED = "stopped"
    """All runs were ordered to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right of one node to work a segment of a run."""

    run_id: str
    segment: int
    node: str
    token: int
    """Rises with each taker; what is written under an older one does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOrder:
    """A person's order to all nodes: what runs ends between its steps."""

    number: int
    by: str
    at: str
    reason: str
    hold: bool
    """True while nothing new may begin either."""
    segments: frozenset[str] = frozenset()
    """The segments that were running, as `<run_id>.<segment>`."""

    def stops(self, run_id: str, segment: int) -> bool:
        """True if no further step of that segment may begin."""
        return self.hold or f"{run_id}.{segment}" in self.segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What all nodes have to look at often."""

    stop: StopOrder | None = None
    """The last order to stop."""
    cancelled: frozenset[str] = frozenset()
    """Runs that whoever works them is to cancel."""
