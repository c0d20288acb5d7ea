"""Whether a step may still begin as it was approved: the intent itself, policy, and what it would touch.

Used by the executor, before every attempt.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmcore.catalog import Catalog
from llmcore.errors import Forbidden, LLMCoreError, NotFound
from llmcore.executor.values import Course
from llmcore.plan import Approval, Decision, Effect, Preview, Step, Verdict, references
from llmcore.policy import Judge
from llmcore.ports import IntentCaller


class Drifted(LLMCoreError):
    """What would happen is no longer what was approved; people have to be asked again."""

    code = "approval_required"
    status = 403


@dataclass(frozen=True, slots=True)
class Guard:
    """Looks at a step in the moment before it acts."""

    caller: IntentCaller
    catalog: Catalog
    judge: Judge

    async def check(self, course: Course, step: Step, params: Mapping[str, Any]) -> Preview | None:
        """The preview of this moment (None for reads, and where the intent cannot tell).

        Raises Drifted where people have to be asked again, Forbidden where policy denies, and what validation or the
        preview raises.
        """
        intent = self.catalog.validate(step.intent, params)
        if intent.schema_hash != step.schema_hash:
            raise Forbidden(f"{step.intent} has changed since the plan was made; make the plan again.")
        preview = await self._preview(course, step, params) if step.mutates else None
        if course.guarded and preview is not None:
            _compare(step, preview, course.touched)
        self._judge(course, replace(step, params=params, preview=preview or step.preview))
        return preview

    async def _preview(self, course: Course, step: Step, params: Mapping[str, Any]) -> Preview | None:
        try:
            return await self.caller.preview(step.intent, params, course.actor)
        except NotFound:
            return None  # what is missing now lets the step fail in its own words

    def _judge(self, course: Course, step: Step) -> None:
        approval = course.plan.approval or Approval()
        plan = course.plan
        verdict = self._verdict(course, step, approval.weight)
        if verdict.decision is Decision.DENY:
            raise Forbidden(
                f"Policy does not allow {step.intent} any more: {verdict.reason}",
                rules=list(verdict.rules),
                reason=verdict.reason,
            )
        if verdict.decision is Decision.ASK:
            raise Drifted(f"Policy asks for more than was given for {step.intent}. {verdict.would_allow or ''}".strip())
        if approval.given and not any(vote.break_glass for vote in approval.given):
            asked = self._verdict(course, step, 0)
            if asked.decision is Decision.ASK and not _covers(approval, asked):
                why = f"Policy asks for other people than those who approved {step.intent}. {asked.would_allow or ''}"
                raise Drifted(why.strip(), plan_id=plan.plan_id)

    def _verdict(self, course: Course, step: Step, approvals: int) -> Verdict:
        sure = round(course.plan.confidence * 100)
        return self.judge.verdict(step, course.actor, course.plan.origin, approvals, sure)


def _covers(approval: Approval, asked: Verdict) -> bool:
    """True if what was asked of people is at least what policy asks now."""
    roles = set(approval.roles) <= set(asked.roles) if approval.roles else True
    excluded = approval.excludes_requester or not asked.excludes_requester
    return roles and excluded and max(len(approval.given), approval.needed) >= asked.approvals


def _compare(step: Step, now: Preview, touched: set[str]) -> None:
    """Raise Drifted if a step would touch other things, or more of them, than was shown."""
    if any(True for _ in references(step.params)):
        return  # its targets come from results of this same plan, and were shown as such
    shown = set(step.preview.targets) if step.preview else set()
    changed = shown ^ set(now.targets)
    if not changed and now.blast > (step.preview.blast if step.preview else 0):
        changed = set(now.targets)
    shown_as_new = step.preview is not None and not _is_there(step.preview.before)
    if step.effect is Effect.DESTRUCTIVE and shown_as_new and _is_there(now.before):
        changed |= set(now.targets)  # it would replace what somebody has put there
    strange = sorted(target for target in changed if not _is_own(target, touched))
    if strange:
        raise Drifted(
            f"{step.intent} would now touch something else than was approved: {', '.join(strange[:5])}.",
            targets=list(now.targets),
        )


def _is_there(before: Any) -> bool:
    """False for a preview that says that there is nothing yet."""
    return not isinstance(before, Mapping) or before.get("exists") is not False


def _is_own(target: str, touched: Iterable[str]) -> bool:
    """True if the plan itself has changed the target, something inside it or something around it."""
    return any(
        target == other or target.startswith(f"{other.rstrip('/')}/") or other.startswith(f"{target.rstrip('/')}/")
        for other in touched
    )
