"""A recorded request is planned again: the same, or what is different, and no model is asked."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.catalog import Catalog
from llmcore.errors import NotFound, ProviderError, Unavailable
from llmcore.intent import Effect
from llmcore.planner import Draft, DraftStep, Planner, PlannerOptions
from llmcore.policy import Judge, load
from llmcore.ports import Finished, ModelRequest, Run, TextDelta
from llmcore.session import Replayer
from llmcore.session.replaying import Playback
from tests.rooms import INTENTS, OLGA, POLICY, intent
from tests.turns import Stage, stage

pytestmark = pytest.mark.asyncio

WORDS = "nginx is stuck; stop it nginx please"
SAID = '{"kind":"plan","steps":[{"intent":"stop_it","params":{"module":"nginx"}}]}'
DENY = '@id("frozen") @reason("No.") forbid (principal, action == Action::"stop_it", resource) when { true };'


@pytest_asyncio.fixture
async def play(tmp_path: Path) -> AsyncIterator[Stage]:
    """With the real planner and a model."""
    async with stage(tmp_path) as opened:
        understanding = opened.session._do.understanding
        planner = Planner(understanding.catalog, opened.voice, PlannerOptions())
        opened.session._do = replace(opened.session._do, understanding=replace(understanding, planner=planner))
        opened.session._worker._do = opened.session._do
        opened.voice.pieces = (SAID,)
        yield opened


def later(
    play: Stage, *, policy: str = POLICY, catalog: Catalog | None = None, planner: Planner | None = None
) -> Replayer:
    """What replays after a restart with another policy or catalogue."""
    do = play.session._do
    known = catalog or play.rooms.catalog
    judge = Judge(load(policy, known), lambda _: {}, play.rooms.clock)
    understanding = replace(do.understanding, catalog=known, planner=planner or Planner(known, None))
    return Replayer(understanding, replace(do.proposer, catalog=known, judge=judge), do.recorder)


async def replayed(play: Stage, run: Run, **changed: Any) -> Mapping[str, Any]:
    """The answer; nothing may have been asked or done for it."""
    asked, done, plans = len(play.voice.requests), len(play.rooms.host.calls), await play.rooms.store.plan_list()
    answer = await later(play, **changed).replay(run)
    assert (len(play.voice.requests), len(play.rooms.host.calls)) == (asked, done)
    assert await play.rooms.store.plan_list() == plans
    return answer


async def test_a_plan_of_a_model_is_the_same(play: Stage) -> None:
    """With its recorded reply, and the verdicts as they were."""
    run = await play.ended(await play.ask(WORDS))
    answer = await replayed(play, run)
    assert (answer["same"], answer["differences"], answer["changed"], answer["same_prompts"]) == (True, [], {}, True)
    assert answer["recorded"][0]["draft"]["answered_by"] == "scripted"
    assert answer["case"] == {
        "id": run.run_id,
        "text": WORDS,
        "expect": {"kind": "plan", "steps": [{"intent": "stop_it", "params": {"module": "nginx"}}]},
    }
    assert answer["stands_alone"] is True


async def test_an_unusable_reply_and_the_one_after_it_are_played_in_order(play: Stage) -> None:
    """The planner sends the first back, as then."""
    play.voice.pieces = ("no plan at all",)
    run = await play.ended(await play.ask(WORDS))
    answer = await replayed(play, run)
    assert answer["same"]
    assert answer["recorded"][0]["draft"]["kind"] == "clarify"


async def test_what_was_remembered_is_the_same(play: Stage) -> None:
    """A plan that came from the plan cache, with a planner that remembers nothing."""
    run = await play.ended(await play.ask(WORDS))
    recording = dict(await play.rooms.store.recording_get(run.run_id) or {})
    (part,) = recording["rounds"]
    remembered = {**part, "exchanges": [], "draft": {**part["draft"], "answered_by": "cache"}}
    await play.rooms.store.recording_submit(run.run_id, 1.0, {**recording, "rounds": [remembered]})
    assert (await replayed(play, run))["differences"] == []


async def test_a_model_that_failed_fails_again(play: Stage) -> None:
    """And the local answer is the same."""
    play.voice.finishes = False
    run = await play.ended(await play.ask(WORDS))
    assert (await replayed(play, run))["differences"] == []


async def test_what_was_only_seen_by_who_may_never_do_it(play: Stage) -> None:
    """An observer's order is recognised, refused, and the same when it is planned again."""
    play.voice.pieces = ('{"kind":"none","steps":[]}',)
    run = await play.ended(await play.ask("stop nginx", OLGA))
    answer = await replayed(play, run)
    assert answer["differences"] == []
    assert answer["recorded"][0]["draft"]["kind"] == "plan"


async def test_another_policy_is_told(play: Stage) -> None:
    """Step by step, with its rules; the previews are those of then."""
    run = await play.ended(await play.ask(WORDS))
    answer = await replayed(play, run, policy=f"{POLICY}\n{DENY}")
    assert not answer["same"]
    (difference,) = answer["differences"]
    assert (difference["step"], difference["what"]) == ("s1", "policy")
    assert difference["recorded"]["decision"] == "ask"
    assert difference["now"] == {**difference["now"], "decision": "deny", "rules": ["frozen"]}


async def test_policy_is_asked_at_the_hour_of_then(play: Stage) -> None:
    """A window of time that has closed since is no difference."""
    moment = int(play.rooms.clock.now()) + 1_000
    until = f'@id("closed") forbid (principal, action, resource) when {{ context.now > {moment} }};'
    run = await play.ended(await play.ask(WORDS))
    play.rooms.clock.ahead_s = 10_000
    assert (await replayed(play, run, policy=f"{POLICY}\n{until}"))["differences"] == []


async def test_another_catalogue_is_told(play: Stage) -> None:
    """An intent that is gone, one with another schema, one with another effect."""
    run = await play.ended(await play.ask(WORDS))
    gone = Catalog([one for one in INTENTS if one.name != "stop_it"])
    play.session._do.recorder._versions = lambda: {"catalog": "c2", "policy": "p1"}
    answer = await replayed(play, run, catalog=gone)
    assert not answer["same"]
    assert answer["changed"] == {"catalog": {"recorded": "c1", "now": "c2"}}
    assert answer["same_prompts"] is False
    changed = Catalog([one if one.name != "stop_it" else intent("stop_it", Effect.WRITE) for one in INTENTS])
    answer = await replayed(play, run, catalog=changed)
    assert [(one["step"], one["what"]) for one in answer["differences"]] == [("s1", "intent"), ("s1", "policy")]


async def test_another_planner_is_told(play: Stage) -> None:
    """Another kind, other steps, or a plan that does not fit any more."""
    run = await play.ended(await play.ask(WORDS))
    step = DraftStep(intent="stop_it", params={"module": "nginx"})
    other = DraftStep(intent="look", params={"module": "shop"}, needs=(0,))

    class Other(Planner):
        draft = Draft(kind="plan", steps=(step,), tainted=True)

        @classmethod
        def over(cls, other: Planner, model: Any) -> Planner:
            return other

        async def plan(self, request: Any) -> Draft:
            return self.draft

    planner = Other(play.rooms.catalog, None)
    for draft, expected in (
        (Draft(kind="plan", steps=(step,), tainted=True), [(None, "tainted")]),
        (Draft(kind="plan", steps=(step, other)), [("s2", "step")]),
        (Draft(kind="plan", steps=()), [("s1", "step")]),
        (Draft(kind="plan", steps=(other,)), [("s1", "intent"), ("s1", "needs"), ("s1", "params")]),
        (Draft(kind="none", text="No."), [(None, "kind"), ("s1", "step")]),
    ):
        planner.draft = draft
        answer = await replayed(play, run, planner=planner)
        assert [(one["step"], one["what"]) for one in answer["differences"]] == expected


async def test_a_request_that_was_not_recorded_is_told(play: Stage) -> None:
    """The planner asks a model where it asked none then."""
    run = await play.ended(await play.ask(WORDS))
    recording = dict(await play.rooms.store.recording_get(run.run_id) or {})
    (part,) = recording["rounds"]
    await play.rooms.store.recording_submit(run.run_id, 1.0, {**recording, "rounds": [{**part, "exchanges": []}]})
    answer = await replayed(play, run)
    assert (None, "model") in [(one["step"], one["what"]) for one in answer["differences"]]


async def test_a_plan_that_fits_no_more_is_told(play: Stage) -> None:
    """With the reason; one that did not fit then either is the same."""
    run = await play.ended(await play.ask("stop nginx"))
    strict = {**INTENTS[4].schema, "properties": {"module": {"type": "string", "maxLength": 2}}}
    narrow = Catalog([one if one.name != "stop_it" else replace(one, schema=strict, examples=()) for one in INTENTS])
    answer = await replayed(play, run, catalog=narrow, planner=Planner(play.rooms.catalog, None))
    assert [(one["step"], one["what"]) for one in answer["differences"]] == [(None, "refused")]
    recording = dict(await play.rooms.store.recording_get(run.run_id) or {})
    (part,) = recording["rounds"]
    await play.rooms.store.recording_submit(run.run_id, 1.0, {**recording, "rounds": [{**part, "plan": None}]})
    assert (await replayed(play, run, catalog=narrow, planner=Planner(play.rooms.catalog, None)))["same"]
    assert (await replayed(play, run))["same"]


async def test_steps_that_only_one_of_the_plans_has_are_told(play: Stage) -> None:
    """A chain inside a plan may be unfolded in another way."""
    run = await play.ended(await play.ask("stop nginx"))
    recording = dict(await play.rooms.store.recording_get(run.run_id) or {})
    (part,) = recording["rounds"]
    twice = [part["plan"]["steps"][0], {**part["plan"]["steps"][0], "id": "s9", "verdict": None}]
    changed = {**part, "plan": {**part["plan"], "steps": twice}}
    await play.rooms.store.recording_submit(run.run_id, 1.0, {**recording, "rounds": [changed]})
    (difference,) = (await replayed(play, run))["differences"]
    assert (difference["step"], difference["what"], difference["now"]) == ("s9", "step", None)
    unjudged = {**part, "plan": {**part["plan"], "steps": [{**part["plan"]["steps"][0], "verdict": None}]}}
    await play.rooms.store.recording_submit(run.run_id, 1.0, {**recording, "rounds": [unjudged]})
    (difference,) = (await replayed(play, run))["differences"]
    assert (difference["what"], difference["recorded"]) == ("policy", None)


async def test_a_question_becomes_a_case_without_steps(play: Stage) -> None:
    """And one that leans on what was said before says so."""
    play.voice.pieces = ('{"kind":"none","steps":[]}',)
    first = await play.ended(await play.ask("dance with nginx"))
    second = await play.ended(await play.ask("and sing with it", conversation_id=first.conversation_id))
    answer = await replayed(play, second)
    assert answer["case"]["expect"] == {"kind": "none", "steps": []}
    assert answer["stands_alone"] is False


async def test_a_run_without_a_recording_is_not_replayed(play: Stage) -> None:
    """The reason says why that may be."""
    run = await play.ended(await play.ask("hello", mode="answer"))
    with pytest.raises(NotFound, match="recordings_days"):
        await later(play).replay(run)


async def test_a_playback_says_what_was_said(play: Stage) -> None:
    """Replies, breaks and errors; then it has nothing more to say."""
    draft = {"answered_by": "scripted", "steps": []}
    usage = {"input_tokens": 1, "output_tokens": 2, "cached_tokens": 0}
    whole = {"reply": "a", "reason": "stop", "provider": "p", "model": "m", "usage": usage}
    broken = {"reply": ""}
    failed = {"reply": "half", "error": {"error": "provider_error", "message": "away"}}
    strange = {"reply": "", "error": {"error": "odd", "message": "odd"}}
    playback = Playback({"model": None, "exchanges": [whole, broken, failed, strange], "draft": draft})
    assert (playback.name, playback.available) == ("offline", True)
    request = ModelRequest(messages=())
    first = [event async for event in playback.stream(request)]
    assert isinstance(first[0], TextDelta)
    assert isinstance(first[1], Finished)
    assert (first[1].provider, first[1].usage.output_tokens) == ("p", 2)
    assert [event async for event in playback.stream(request)] == []
    with pytest.raises(ProviderError, match="away"):
        [event async for event in playback.stream(request)]
    for _ in range(2):
        with pytest.raises(Unavailable):
            [event async for event in playback.stream(request)]
    assert (playback.unanswered, playback.same_prompts) == (1, True)
    assert not Playback({"model": None, "exchanges": [], "draft": draft}).available


async def test_what_was_planned_from_results_is_judged_again_too(tmp_path: Path) -> None:
    """The steps of every look, as they were shown together."""
    async with stage(tmp_path) as play:
        first = Draft(kind="plan", steps=(DraftStep(intent="look", params={"module": "nginx"}),), more=True)
        then = Draft(kind="plan", steps=(DraftStep(intent="stop_it", params={"module": "nginx"}),), tainted=True)
        play.planner.drafts += [first] * 3
        play.planner.further_drafts += [then] * 3
        run = await play.ended(await play.ask("find out why nginx is slow and fix it"))
        recording = await play.rooms.store.recording_get(run.run_id) or {}
        assert [len(part["findings"]) for part in recording["rounds"]] == [0, 1]
        assert [len(part["plan"]["steps"]) for part in recording["rounds"]] == [1, 2]
        assert (await play.replayer.replay(run))["differences"] == []
        judge = Judge(load(f"{POLICY}\n{DENY}", play.rooms.catalog), lambda _: {}, play.rooms.clock)
        strict = replace(play.replayer, proposer=replace(play.replayer.proposer, judge=judge))
        (difference,) = (await strict.replay(run))["differences"]
        assert (difference["step"], difference["what"], difference["now"]["decision"]) == ("s2", "policy", "deny")
