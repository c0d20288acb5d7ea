"""What the executor tells of a run, and what it knows of one while it runs.

Used by the modules of this package; the events go to session.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmcore.executor.refusals import Leaving, Stopped
from llmcore.plan import OnError, Plan, Principal, Step, StepResult, StepState
from llmcore.ports import Lease


@dataclass(frozen=True, slots=True)
class StepBegan:
    """A step is about to act, with literal params."""

    step: Step
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepProgress:
    """A running step tells how far it is."""

    step: Step
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step has settled."""

    step: Step
    result: StepResult


@dataclass(frozen=True, slots=True)
class StepHeld:
    """A step did not begin, because what was approved is no longer what would happen: people have to be asked again."""

    step: Step
    reason: str


StepEvent = StepBegan | StepProgress | StepEnded | StepHeld


@dataclass(slots=True)
class Course:
    """What is known while one segment runs."""

    plan: Plan
    run_id: str
    actor: Principal
    chosen: frozenset[str]
    """Steps that this segment may run."""
    results: dict[str, StepResult]
    tries: dict[str, int]
    """Step id -> attempts that the journal had when the segment began."""
    befores: dict[str, Any]
    """Step id -> what was there before its first attempt."""
    sources: Mapping[str, frozenset[str]]
    """Step id -> the steps whose end it waits for."""
    deadline: float
    """On the monotonic clock: no step begins later."""
    guarded: bool
    """True if steps were shown with previews, so that what they touch must still be that."""
    touched: set[str]
    """What the steps of this plan have changed themselves."""
    lease: Lease | None = None
    """What is written counts only while it is held."""
    stopped: Stopped | Leaving | None = None
    """Why nothing more may begin, if a person or this process stops."""
    events: asyncio.Queue[StepEvent | None] = field(default_factory=asyncio.Queue)
    failed: bool = False
    """A step has failed that lets no other begin: the rest is skipped."""
    halted: bool = False
    """A person has to decide first: the rest stays as it is."""

    def settle(self, step: Step, result: StepResult) -> None:
        """Note what came of a step, and tell it."""
        self.results[step.id] = result
        self.heed(step, result)
        self.events.put_nowait(StepEnded(step, result))

    def heed(self, step: Step, result: StepResult) -> None:
        """What the end of a step means for those that have not begun."""
        if result.state is StepState.UNKNOWN:
            self.halted = True
        elif result.state is StepState.FAILED and step.on_error is not OnError.CONTINUE:
            self.failed = True
        elif result.state is StepState.DONE and step.mutates:
            self.touched |= touched_by(step)

    def hold(self, step: Step, reason: str) -> None:
        """Let nothing more begin: people have to be asked again."""
        self.halted = True
        self.events.put_nowait(StepHeld(step, reason))


def touched_by(step: Step) -> set[str]:
    """Names of what a step changes: the targets of its preview and the texts among its params."""
    targets = step.preview.targets if step.preview else ()
    return {*targets, *(value for value in step.params.values() if isinstance(value, str))}
