"""Drives the steps of a run and journals every attempt.

Called by session through `Executor`.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from llmcore.audit import Audit
from llmcore.catalog import Catalog
from llmcore.errors import LLMCoreError, OutcomeUnknown, TimedOut, Unavailable
from llmcore.executor.guard import Drifted, Guard
from llmcore.executor.journal import Journal, refused_json, result_of
from llmcore.executor.refusals import Fenced, Leaving, Stopped
from llmcore.executor.resolving import resolve
from llmcore.executor.values import Course, StepBegan, StepEnded, StepEvent, StepProgress, touched_by
from llmcore.plan import Plan, Principal, Step, StepResult, StepState, holds
from llmcore.policy import Judge
from llmcore.ports import Attempt, Begun, Call, Clock, IntentCaller, Lease, Store, rfc3339

T = TypeVar("T")

MAX_PARALLEL = 8
WRITE_AGAIN_S = 1.0
"""Pause before the beginning or the end of a step is written again to a store that was away."""
VERIFY_S = 10.0
"""How long one look at the effect of a step may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions:
    """Limits of a run."""

    total_s: float = 86_400.0
    """How long the steps of one segment may take together."""
    verify_s: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0)
    """Pauses before each look at whether a change has taken effect."""


@dataclass(frozen=True, slots=True)
class Executor:
    """Runs plans through the port to the host's intents."""

    store: Store
    caller: IntentCaller
    catalog: Catalog
    judge: Judge
    audit: Audit
    clock: Clock
    options: ExecutorOptions = ExecutorOptions()
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once this process stops: no further step begins."""

    async def run(
        self,
        plan: Plan,
        run_id: str,
        actor: Principal,
        only: frozenset[str] | None = None,
        *,
        guarded: bool = True,
        lease: Lease | None = None,
    ) -> AsyncGenerator[StepEvent, None]:
        """Run the unsettled steps of a plan (or of `only`) and yield what happens, each step's end last.

        Steps that ended in an earlier life of the process are taken from the journal. Where a step would no longer do
        what was approved (`guarded`: what it touches is compared with what was shown), StepHeld is yielded and nothing
        more begins. Cancelling stops the running steps; a mutating one is then `unknown`. One task has to iterate to
        the end or close the iterator. While the store is away nothing begins, what runs goes on, and its outcome is
        written as soon as the store takes it. What is done under a `lease` counts only while it is held: raises Fenced
        once it is lost, and Unavailable where the journal cannot be read. Raises, after the running steps have ended,
        Stopped where all runs were ordered to stop, and Leaving where this process stops.
        """
        journal = await self.journaled(plan, run_id)
        course = Course(
            plan=plan,
            run_id=run_id,
            actor=actor,
            chosen=only if only is not None else frozenset(step.id for step in plan.steps),
            results=journal.results,
            tries=journal.tries,
            befores=journal.befores,
            sources={step.id: step.sources() for step in plan.steps},
            deadline=self.clock.monotonic() + self.options.total_s,
            guarded=guarded,
            touched=set(),
            lease=lease,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._drive(course))
                while (event := await course.events.get()) is not None:
                    yield event
        except BaseExceptionGroup as failed:
            raise _first(failed) from failed

    async def journaled(self, plan: Plan, run_id: str) -> Journal:
        """What earlier lives of the process have done of a plan."""
        return await Journal.read(self.store, self.catalog, plan, run_id)

    async def _drive(self, course: Course) -> None:
        """Start what is ready, as long as something is; then end the events."""
        running: dict[asyncio.Task[StepResult | None], Step] = {}
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
                        step, result = running.pop(task), task.result()
                        if result is not None:
                            course.settle(step, result)
            if course.stopped is not None:
                raise course.stopped
        finally:
            course.events.put_nowait(None)

    @staticmethod
    def _settle_known(course: Course) -> None:
        for step in course.plan.steps:
            known = course.results.get(step.id)
            if known is not None:
                course.heed(step, known)
                if step.state is not known.state:
                    course.events.put_nowait(StepEnded(step, known))

    def _ready(self, course: Course, running: set[str]) -> list[Step]:
        """The steps that may begin now; those that never will are settled on the way."""
        ready: list[Step] = []
        looked = len(course.results) - 1
        while looked < len(course.results) and not course.halted:  # a skipped step may decide about another one
            looked = len(course.results)
            ready = [
                step
                for step in course.plan.steps
                if step.id in course.chosen
                and step.id not in course.results
                and step.id not in running
                and self._may_begin(course, step)
            ]
        return [] if course.halted else ready

    def _may_begin(self, course: Course, step: Step) -> bool:
        if step.id in course.tries:  # it ran already when the process ended, or a person wants it again
            return True
        sources = [course.results.get(source) for source in course.sources[step.id]]
        broken = any(source and source.state is not StepState.DONE for source in sources)
        if course.failed or (broken and step.when is None):
            course.settle(step, StepResult(step_id=step.id, intent=step.intent, state=StepState.SKIPPED))
            return False
        return all(sources) and self._is_wanted(course, step)

    @staticmethod
    def _is_wanted(course: Course, step: Step) -> bool:
        """What the step's condition says; one that errs fails its step."""
        if step.when is None:
            return True
        known = course.results
        facts = {
            source: {"result": known[source].result, "state": known[source].state.value}
            for source in course.sources[step.id]
        }
        state, error = StepState.SKIPPED, None
        try:
            if holds(step.when, facts):
                return True
        except LLMCoreError as wrong:
            state, error = StepState.FAILED, {"error": wrong.code, "message": wrong.message}
        course.settle(step, StepResult(step_id=step.id, intent=step.intent, state=state, error=error))
        return False

    async def _step(self, course: Course, step: Step, limit: asyncio.Semaphore) -> StepResult | None:
        """Try a step until it ends well or its retries are used up; None if it may not begin as approved."""
        async with limit:
            number = course.tries.get(step.id, 0)
            while not course.halted:
                number += 1
                try:
                    result = await self._attempt(course, step, number)
                except Drifted as drifted:
                    course.hold(step, drifted.message)
                    break
                except (Leaving, Stopped) as stopped:
                    course.halted, course.stopped = True, stopped
                    break
                if result.state is not StepState.FAILED or number > step.retries or course.failed:
                    return result
        return None

    async def _attempt(self, course: Course, step: Step, number: int) -> StepResult:
        attempt = Attempt(
            run_id=course.run_id,
            step_id=step.id,
            attempt=number,
            idempotency_key=f"{course.run_id}:{step.id}",
            started_at=rfc3339(self.clock.now()),
        )
        await self._admitted(step)
        try:
            if self.clock.monotonic() > course.deadline:
                raise TimedOut("The time that this plan may take is used up.")
            params = resolve(step.params, course.results)
            if number > 1:  # what an earlier attempt left half done is no surprise
                course.touched |= touched_by(replace(step, params=params))
            preview = await Guard(self.caller, self.catalog, self.judge).check(course, step, params)
        except Drifted:
            raise
        except LLMCoreError as refused:
            error = refused_json(refused)
            await self.audit.record("step.refused", course.actor, **_facts(course, step), attempt=number, error=error)
            refusal = result_of(step, StepState.FAILED, attempt, None, error)
            return replace(refusal, attempts=number - 1, started_at=None)
        if preview is not None:  # of the first attempt: a later one sees what an earlier one left half done
            attempt = replace(attempt, before=course.befores.setdefault(step.id, preview.before))
        step = replace(step, preview=preview) if preview else step
        facts = {**_facts(course, step), "digest": course.plan.digest, "params": params, "attempt": number}
        if self.leaving.is_set():
            raise Leaving(course.run_id)
        begun, _ = await asyncio.gather(
            _written(lambda: self.store.attempt_begin(attempt, course.lease)),
            _written(lambda: self.audit.record("step.begin", course.actor, **facts)),
        )
        if begun is not Begun.YES:
            await self._refuse(course, step, begun)
            error = {"error": "conflict", "message": "Another process has taken this step."}
            return result_of(step, StepState.UNKNOWN, attempt, None, error)
        course.events.put_nowait(StepBegan(step, params))
        return await self._act(course, step, params, attempt)

    async def _admitted(self, step: Step) -> None:
        """Wait until the step may begin: on a full disk only what frees space may."""
        while True:
            try:
                return self.store.admit(frees_space=self.catalog.get(step.intent).frees_space)
            except Unavailable:
                await asyncio.sleep(WRITE_AGAIN_S)

    async def _refuse(self, course: Course, step: Step, begun: Begun) -> None:
        """Record that a step did not begin after all; raises Fenced or Stopped."""
        if begun is Begun.FENCED:
            raise Fenced(course.run_id)
        await self.audit.record("step.refused", course.actor, **_facts(course, step), why=begun.value)
        if begun is Begun.STOPPED:
            raise Stopped("All runs were ordered to stop.", run_id=course.run_id)

    async def _act(self, course: Course, step: Step, params: Mapping[str, Any], attempt: Attempt) -> StepResult:
        def progress(data: Mapping[str, Any]) -> None:
            course.events.put_nowait(StepProgress(step, data))

        shown = course.plan.step(step.id).preview
        call = Call(
            intent=step.intent,
            params=params,
            before=shown.before if shown else None,
            principal=course.actor,
            idempotency_key=attempt.idempotency_key,
            run_id=course.run_id,
            step_id=step.id,
            progress=progress,
        )
        state, value, error = StepState.UNKNOWN, None, None
        try:
            left_s = max(0.0, course.deadline - self.clock.monotonic())
            async with asyncio.timeout(min(step.timeout_s, left_s)):
                value = await self.caller.call(call)
            state = StepState.DONE
            if step.mutates:
                course.touched |= touched_by(replace(step, params=params))
                error = await self._unseen(course, step, params)
                state = StepState.DONE if error is None else StepState.FAILED
        except TimeoutError:
            late = TimedOut(f"{step.intent} did not end within {step.timeout_s:g} s.")
            state, error = self._interrupted(step), refused_json(late)
        except OutcomeUnknown as unsure:
            error = refused_json(unsure)
        except LLMCoreError as failure:
            state, value, error = StepState.FAILED, failure.result, refused_json(failure)
        except asyncio.CancelledError:
            if state is not StepState.DONE:  # done already, only the look at its effect was stopped
                error = {"error": "cancelled", "message": f"{step.intent} was stopped while it was running."}
                state = self._interrupted(step)
            await asyncio.shield(self._end(course, step, attempt, state, value, error, once=True))
            raise
        return await self._end(course, step, attempt, state, value, error)

    async def _unseen(self, course: Course, step: Step, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Look whether a change has taken effect; an error if it cannot be seen after a while."""
        why = ""
        for pause in self.options.verify_s:
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(VERIFY_S):
                    seen = await self.caller.verify(step.intent, params, course.actor)
            except (LLMCoreError, TimeoutError) as failed:
                seen, why = False, f" {failed}"
            if seen is not False:
                return None
        return {"error": "verify_failed", "message": f"{step.intent} ended, but its effect cannot be seen.{why}"}

    def _interrupted(self, step: Step) -> StepState:
        return StepState.FAILED if self.catalog.get(step.intent).idempotent else StepState.UNKNOWN

    async def _end(
        self,
        course: Course,
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
        facts = {**_facts(course, step), "attempt": attempt.attempt, "state": state.value, "error": error}
        counted, _ = await asyncio.gather(
            _written(lambda: self.store.attempt_end(ended, course.lease), once),
            _written(lambda: self.audit.record("step.end", course.actor, result=value, **facts), once),
        )
        if not counted and not once:
            raise Fenced(course.run_id)
        result = result_of(step, state, ended, value, error)
        course.results[step.id] = result
        return result


def _facts(course: Course, step: Step) -> dict[str, Any]:
    """What every record of a step says."""
    return {"run_id": course.run_id, "plan_id": course.plan.plan_id, "step_id": step.id, "intent": step.intent}


async def _written(write: Callable[[], Awaitable[T]], once: bool = False) -> T:
    """Write; again and again while the store is away."""
    while True:
        try:
            return await write()
        except Unavailable:
            if once:
                raise
            await asyncio.sleep(WRITE_AGAIN_S)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that made the others be cancelled."""
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
