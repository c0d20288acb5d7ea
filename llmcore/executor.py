"""Runs an approved plan: step by step, in parallel where nothing waits, every attempt journaled before it acts.

Called by session. Knows neither the model nor the user's words. What runs is what was approved: params are literal or
references to results of earlier steps, policy is asked again before each step, and a step that may or may not have
happened is called `unknown` and never repeated without a person.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jmespath

from llmcore.audit import Audit
from llmcore.catalog import Catalog
from llmcore.errors import Forbidden, LLMCoreError, OutcomeUnknown, TimedOut, Unavailable
from llmcore.plan import (
    Decision,
    OnError,
    Plan,
    Principal,
    Step,
    StepResult,
    StepState,
    is_reference,
)
from llmcore.policy import Judge
from llmcore.ports import Attempt, Call, Clock, IntentCaller, Store, rfc3339

MAX_PARALLEL = 8
WRITE_AGAIN_S = 1.0
"""Pause before the end of a step is written again to a store that was away."""
RETRY = "retry"
"""Outcome that a person gives to an `unknown` attempt to have the step tried again."""
_SETTLED = frozenset({StepState.DONE, StepState.FAILED, StepState.SKIPPED, StepState.UNKNOWN, StepState.UNDONE})


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


StepEvent = StepBegan | StepProgress | StepEnded


@dataclass(slots=True)
class _Course:
    """What is known while one segment runs."""

    plan: Plan
    run_id: str
    actor: Principal
    approvals: int
    chosen: frozenset[str]
    results: dict[str, StepResult]
    events: asyncio.Queue[StepEvent | None] = field(default_factory=asyncio.Queue)
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Executor:
    """Runs plans through the port to the host's intents."""

    store: Store
    caller: IntentCaller
    catalog: Catalog
    judge: Judge
    audit: Audit
    clock: Clock

    async def run(
        self, plan: Plan, run_id: str, actor: Principal, only: frozenset[str] | None = None
    ) -> AsyncGenerator[StepEvent, None]:
        """Run the unsettled steps of a plan (or of `only`) and yield what happens, each step's end last.

        Steps that ended in an earlier life of the process are taken from the journal. Cancelling stops the running
        steps; a mutating one is then `unknown`. One task has to iterate to the end or close the iterator. Raises
        Unavailable where the journal cannot be written: running steps are then stopped, and nothing new begins.
        """
        chosen = only if only is not None else frozenset(step.id for step in plan.steps)
        approvals = len(plan.approval.given) if plan.approval else 0
        course = _Course(plan, run_id, actor, approvals, chosen, await self.journaled(plan, run_id))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._drive(course))
                while (event := await course.events.get()) is not None:
                    yield event
        except BaseExceptionGroup as failed:
            raise _first(failed) from failed

    async def journaled(self, plan: Plan, run_id: str) -> dict[str, StepResult]:
        """Results of earlier attempts; one without an outcome is `unknown` unless the intent may be repeated."""
        found: dict[str, StepResult] = {}
        for attempt in await self.store.attempt_list(run_id):
            step = plan.step(attempt.step_id)
            if attempt.outcome == RETRY:
                found.pop(step.id, None)
            elif attempt.outcome is not None:
                state = StepState(attempt.outcome)
                found[step.id] = _result(step, state, attempt, attempt.result, attempt.error)
            elif self.catalog.get(step.intent).idempotent:
                found.pop(step.id, None)
            else:
                error = {"error": "unknown", "message": "The server stopped while this step was running."}
                found[step.id] = _result(step, StepState.UNKNOWN, attempt, None, error)
        return found

    async def _drive(self, course: _Course) -> None:
        """Start what is ready, as long as something is; then end the events."""
        running: dict[asyncio.Task[StepResult], Step] = {}
        limit = asyncio.Semaphore(MAX_PARALLEL)
        try:
            async with asyncio.TaskGroup() as group:
                self._settle_known(course)
                while True:
                    for step in self._ready(course, {step.id for step in running.values()}):
                        running[group.create_task(self._step(course, step, limit))] = step
                    if not running:
                        break
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        self._settle(course, running.pop(task), task.result())
        finally:
            course.events.put_nowait(None)

    def _settle_known(self, course: _Course) -> None:
        for step in course.plan.steps:
            if step.id in course.results and step.state is not course.results[step.id].state:
                course.events.put_nowait(StepEnded(step, course.results[step.id]))
            known = course.results.get(step.id)
            if known and _stops(step, known):
                course.stopped = True

    def _ready(self, course: _Course, running: set[str]) -> list[Step]:
        ready: list[Step] = []
        for step in course.plan.steps:
            if step.id not in course.chosen or step.id in course.results or step.id in running:
                continue
            sources = [course.results.get(source) for source in step.sources()]
            if course.stopped or any(source and source.state is not StepState.DONE for source in sources):
                skipped = StepResult(step_id=step.id, intent=step.intent, state=StepState.SKIPPED)
                self._settle(course, step, skipped)
            elif all(sources):
                ready.append(step)
        return ready

    @staticmethod
    def _settle(course: _Course, step: Step, result: StepResult) -> None:
        course.results[step.id] = result
        if _stops(step, result):
            course.stopped = True
        course.events.put_nowait(StepEnded(step, result))

    async def _step(self, course: _Course, step: Step, limit: asyncio.Semaphore) -> StepResult:
        async with limit:
            tries = [found for found in await self.store.attempt_list(course.run_id) if found.step_id == step.id]
            number = len(tries)
            while True:
                number += 1
                result = await self._attempt(course, step, number)
                again = result.state is StepState.FAILED and number <= step.retries and not course.stopped
                if not again:
                    return result

    async def _attempt(self, course: _Course, step: Step, number: int) -> StepResult:
        attempt = Attempt(
            run_id=course.run_id,
            step_id=step.id,
            attempt=number,
            idempotency_key=f"{course.run_id}:{step.id}",
            started_at=rfc3339(self.clock.now()),
        )
        try:
            params = resolve(step.params, course.results)
            self._permit(course, step, params)
        except LLMCoreError as refused:
            return _result(step, StepState.FAILED, attempt, None, refused_json(refused))
        begun, _ = await asyncio.gather(
            self.store.attempt_begin(attempt),
            self.audit.record(
                "step.begin",
                course.actor,
                run_id=course.run_id,
                plan_id=course.plan.plan_id,
                digest=course.plan.digest,
                step_id=step.id,
                intent=step.intent,
                params=params,
                attempt=number,
            ),
        )
        if not begun:
            error = {"error": "conflict", "message": "Another process has taken this step."}
            return _result(step, StepState.UNKNOWN, attempt, None, error)
        course.events.put_nowait(StepBegan(step, params))
        return await self._act(course, step, params, attempt)

    def _permit(self, course: _Course, step: Step, params: Mapping[str, Any]) -> None:
        """Refuse what changed since the approval: the intent itself, the params' fit, or the policy."""
        intent = self.catalog.validate(step.intent, params)
        if intent.schema_hash != step.schema_hash:
            raise Forbidden(f"{step.intent} has changed since the plan was made; make the plan again.")
        verdict = self.judge.verdict(step, course.actor, course.plan.origin, course.approvals)
        if verdict.decision is not Decision.ALLOW:
            raise Forbidden(
                f"Policy does not allow {step.intent} any more: {verdict.reason}",
                rules=list(verdict.rules),
                reason=verdict.reason,
            )

    async def _act(self, course: _Course, step: Step, params: Mapping[str, Any], attempt: Attempt) -> StepResult:
        def progress(data: Mapping[str, Any]) -> None:
            course.events.put_nowait(StepProgress(step, data))

        call = Call(
            intent=step.intent,
            params=params,
            principal=course.actor,
            idempotency_key=attempt.idempotency_key,
            run_id=course.run_id,
            step_id=step.id,
            progress=progress,
        )
        state, value, error = StepState.UNKNOWN, None, None
        try:
            async with asyncio.timeout(step.timeout_s):
                value = await self.caller.call(call)
            state = StepState.DONE
        except TimeoutError:
            late = TimedOut(f"{step.intent} did not end within {step.timeout_s:g} s.")
            state, error = self._interrupted(step), refused_json(late)
        except OutcomeUnknown as unsure:
            error = refused_json(unsure)
        except LLMCoreError as failure:
            state, value, error = StepState.FAILED, failure.result, refused_json(failure)
        except asyncio.CancelledError:
            error = {"error": "cancelled", "message": f"{step.intent} was stopped while it was running."}
            state = self._interrupted(step)
            await asyncio.shield(self._end(course, step, attempt, state, None, error, once=True))
            raise
        return await self._end(course, step, attempt, state, value, error)

    def _interrupted(self, step: Step) -> StepState:
        return StepState.FAILED if self.catalog.get(step.intent).idempotent else StepState.UNKNOWN

    async def _end(
        self,
        course: _Course,
        step: Step,
        attempt: Attempt,
        state: StepState,
        value: Any,
        error: Mapping[str, Any] | None,
        *,
        once: bool = False,
    ) -> StepResult:
        """Write down what came of an attempt; unless `once`, until the store takes it: nobody else knows it."""
        ended = replace(attempt, outcome=state.value, result=value, error=error, finished_at=rfc3339(self.clock.now()))
        facts = {"run_id": course.run_id, "plan_id": course.plan.plan_id, "step_id": step.id, "intent": step.intent}
        await asyncio.gather(
            _written(lambda: self.store.attempt_end(ended), once),
            _written(
                lambda: self.audit.record("step.end", course.actor, **facts, state=state.value, error=error), once
            ),
        )
        result = _result(step, state, ended, value, error)
        course.results[step.id] = result
        return result


async def _written(write: Callable[[], Awaitable[Any]], once: bool) -> None:
    """Write; again and again while the store is away."""
    while True:
        try:
            await write()
        except Unavailable:
            if once:
                raise
            await asyncio.sleep(WRITE_AGAIN_S)
        else:
            return


def resolve(value: Any, results: Mapping[str, StepResult]) -> Any:
    """A JSON value with its references replaced by what they find; raises LLMCoreError if one finds nothing."""
    if is_reference(value):
        source = results.get(value["$from"])
        found = source.result if source else None
        if "path" in value:
            found = jmespath.search(value["path"], found)
        if found is None:
            where = f" at {value['path']}" if "path" in value else ""
            raise _EmptyReference(f"The result of {value['$from']} has nothing{where}.")
        return found
    if isinstance(value, Mapping):
        return {key: resolve(inner, results) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(inner, results) for inner in value]
    return value


class _EmptyReference(LLMCoreError):
    code = "not_found"
    status = 404


def _stops(step: Step, result: StepResult) -> bool:
    """True if what came of a step lets no other begin."""
    if result.state is StepState.FAILED:
        return step.on_error is not OnError.CONTINUE
    return result.state is StepState.UNKNOWN


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that made the others be cancelled."""
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def refused_json(error: LLMCoreError) -> dict[str, Any]:
    """An error as a step keeps it."""
    return {"error": error.code, "message": error.message, **error.details}


def _result(step: Step, state: StepState, attempt: Attempt, value: Any, error: Mapping[str, Any] | None) -> StepResult:
    return StepResult(
        step_id=step.id,
        intent=step.intent,
        state=state,
        result=value,
        error=error,
        attempts=attempt.attempt,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
    )
