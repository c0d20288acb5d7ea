"""Plans a recorded request again and tells what is different: no model is called, nothing runs, nothing is looked at.

Called by api through `Replayer`. The planner gets what it was given then (words, history, host lists, the model's
replies), with the catalogue of now; policy of now judges the steps as they were shown then, at the hour of then.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmcore.errors import LLMCoreError, NotFound, ProviderError, TimedOut, Unavailable
from llmcore.plan import Plan, Step, plan_from_json
from llmcore.planner import Draft, Finding
from llmcore.ports import Finished, ModelEvent, ModelRequest, Run, TextDelta, Usage, from_rfc3339
from llmcore.session.proposal import Proposer
from llmcore.session.recording import (
    Recorder,
    digest_of,
    draft_from_json,
    draft_json,
    planning_from_json,
    request_json,
    steps_json,
)
from llmcore.session.turn import Turn
from llmcore.session.understanding import Understanding

_ERRORS: Mapping[str, type[LLMCoreError]] = {error.code: error for error in (ProviderError, TimedOut, Unavailable)}

Difference = dict[str, Any]
"""`{"step", "what", "recorded", "now"}`; `step` is None where it is not about one step."""


class Playback:
    """A model that says again what was recorded, in the same order."""

    def __init__(self, part: Mapping[str, Any]) -> None:
        """Play one round of a recording; a plan that was remembered is said as the model would have said it."""
        self._left = [dict(exchange) for exchange in part["exchanges"]]
        if part["draft"]["answered_by"] == "cache":
            steps = [{key: step[key] for key in ("intent", "params", "needs")} for step in part["draft"]["steps"]]
            reply = json.dumps({"kind": "plan", "steps": steps})
            self._left = [{"reply": reply, "reason": "stop", "provider": "cache", "model": "cache", "usage": {}}]
        self.name = part["model"] or "offline"
        self.available = part["model"] is not None or bool(self._left)
        self.same_prompts = True
        """False once it was asked something else than the model was."""
        self.unanswered = 0
        """Requests for which there is no reply."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """The next recorded reply; raises what was raised then, Unavailable where nothing was recorded."""
        if not self._left:
            self.unanswered += 1
            raise Unavailable("The recording has no reply to this.", component="recording")
        exchange = self._left.pop(0)
        self.same_prompts &= exchange.get("request_sha256") in (None, digest_of(request_json(request)))
        if exchange["reply"]:
            yield TextDelta(exchange["reply"])
        if error := exchange.get("error"):
            raise _ERRORS.get(error["error"], Unavailable)(error["message"])
        if "reason" in exchange:
            told = {key: exchange[key] for key in ("reason", "model", "provider")}
            yield Finished(**told, usage=Usage(**exchange["usage"]))


@dataclass(frozen=True, slots=True)
class Replayer:
    """Replays the runs of this installation."""

    understanding: Understanding
    proposer: Proposer
    recorder: Recorder

    async def replay(self, run: Run) -> dict[str, Any]:
        """What planning a run again gives; raises NotFound where it was not recorded."""
        recording = await self.recorder.get(run.run_id)
        if recording is None:
            raise NotFound(
                "This run has no recording: it was not planned from words, or that was too long ago"
                " (setting audit.recordings_days).",
                run_id=run.run_id,
            )
        rounds: Sequence[Mapping[str, Any]] = recording["rounds"]
        played: list[_Played] = []
        for part in rounds:
            played.append(await self._played(run, part, played[-1].plan if played else None))
        differences = [difference for one in played for difference in one.differences]
        return {
            "run_id": run.run_id,
            "same": not differences,
            "differences": differences,
            "changed": changed(rounds[0]["versions"], self.recorder.versions()),
            "same_prompts": None
            if recording["redacted"] or recording["cut"]
            else all(one.same_prompts for one in played),
            "recorded": [{"at": part["at"], "draft": part["draft"]} for part in rounds],
            "redacted": recording["redacted"],
            "cut": recording["cut"],
            "case": case_of(run.run_id, rounds[0]),
            "stands_alone": not rounds[0]["request"]["history"],
        }

    async def _played(self, run: Run, part: Mapping[str, Any], earlier: Plan | None) -> "_Played":
        """One round again; `earlier` is the plan to which it adds steps, if it looked at results."""
        visible = self.understanding.catalog.visible_to(run.owner)
        request = planning_from_json(part["request"], principal=run.owner, visible=visible)
        model = Playback(part)
        findings = [Finding(**finding) for finding in part["findings"]]
        if findings:
            draft = await self.understanding.advised(request, findings, model)
        else:
            draft = await self.understanding.drafted(request, model)
        found = list(compared(part["draft"], draft_json(draft)))
        if model.unanswered:
            found.append(_difference(None, "model", None, "a request that was not recorded"))
        plan = None
        if not found and draft.kind == "plan":
            try:
                plan = self._planned(run, part, draft, earlier)
            except LLMCoreError as refused:
                found += [_difference(None, "refused", None, refused.message)] if part["plan"] else []
        if plan is not None and part["plan"]:
            found += self._judged_again(plan, plan_from_json(part["plan"]), part["judged_at"])
        return _Played(found, model.same_prompts, plan)

    def _planned(self, run: Run, part: Mapping[str, Any], draft: Draft, earlier: Plan | None) -> Plan:
        if not part["findings"] or earlier is None:
            return self.understanding.plan_of(Turn(run), draft, part["before"])
        steps = self.understanding.catalog.steps(draft.raw_steps(after=len(earlier.steps)))
        return replace(earlier, steps=(*earlier.steps, *steps))

    def _judged_again(self, now: Plan, shown: Plan, judged_at: str) -> Iterator[Difference]:
        """What policy says otherwise of the steps that people saw."""
        proposer = replace(self.proposer, judge=self.proposer.judge.at(from_rfc3339(judged_at)))
        return _plans_compared(shown, proposer.judged(_as_shown(now, shown)))


@dataclass(frozen=True, slots=True)
class _Played:
    """What came of one round."""

    differences: Sequence[Difference]
    same_prompts: bool
    """False if the model would be asked something else now."""
    plan: Plan | None


def _as_shown(now: Plan, shown: Plan) -> Plan:
    """The new plan with the params and previews that people saw, so that policy is asked about the same thing."""
    known = {step.id: step for step in shown.steps}
    steps = tuple(
        replace(step, params=known[step.id].params, preview=known[step.id].preview) if step.id in known else step
        for step in now.steps
    )
    return replace(now, steps=steps, origin=shown.origin, requester=shown.requester, confidence=shown.confidence)


def _plans_compared(shown: Plan, now: Plan) -> Iterator[Difference]:
    """Steps as checked now against those as they were shown: effect, fit, and what policy says."""
    before, after = ({step.id: step for step in plan.steps} for plan in (shown, now))
    for name in dict.fromkeys([*before, *after]):
        then, again = before.get(name), after.get(name)
        if then is None or again is None:
            yield _difference(name, "step", then and then.intent, again and again.intent)
            continue
        if then.schema_hash != again.schema_hash:
            yield _difference(name, "intent", f"{then.intent} ({then.effect})", f"{again.intent} ({again.effect})")
        if (said := _ruling(then)) != (says := _ruling(again)):
            yield _difference(name, "policy", said, says)


def _ruling(step: Step) -> dict[str, Any] | None:
    verdict = step.verdict
    if verdict is None:
        return None
    return {
        "decision": verdict.decision.value,
        "rules": sorted(verdict.rules),
        "approvals": verdict.approvals,
        "roles": sorted(verdict.roles),
        "excludes_requester": verdict.excludes_requester,
    }


def compared(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """The differences of two drafts as JSON; words and confidence do not count."""
    for key in ("kind", "missing", "tainted"):
        if then[key] != now[key]:
            yield _difference(None, key, then[key], now[key])
    for number in range(max(len(then["steps"]), len(now["steps"]))):
        before, after = (steps[number] if number < len(steps) else None for steps in (then["steps"], now["steps"]))
        name = f"s{number + 1}"
        if before is None or after is None:
            yield _difference(name, "step", before, after)
            continue
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                yield _difference(name, key, before.get(key), after.get(key))


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, dict[str, str | None]]:
    """The versions that are not what they were: `{"policy": {"recorded", "now"}}`."""
    names = dict.fromkeys([*then, *now])
    return {
        name: {"recorded": then.get(name), "now": now.get(name)} for name in names if then.get(name) != now.get(name)
    }


def case_of(run_id: str, part: Mapping[str, Any]) -> dict[str, Any]:
    """The request as a line for `llmcore eval`: what it meant then is what it should mean."""
    draft = draft_from_json(part["draft"])
    steps = [{"intent": step["intent"], "params": step["params"]} for step in steps_json(draft)]
    return {
        "id": run_id,
        "text": f"{part['before']} {part['request']['text']}".strip(),
        "expect": {"kind": draft.kind, "steps": steps if draft.kind == "plan" else []},
    }


def _difference(step: str | None, what: str, recorded: Any, now: Any) -> Difference:
    return {"step": step, "what": what, "recorded": recorded, "now": now}
