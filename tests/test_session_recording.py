"""How a request was understood is kept, whole or cut, without secrets, and never at the cost of the turn."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.errors import ProviderError
from llmcore.plan import PlanStatus
from llmcore.planner import Draft, DraftStep, Planner, PlannerOptions
from llmcore.ports import Finished, ModelEvent, ModelRequest, TextDelta, Usage
from llmcore.redaction import MASK
from llmcore.session import RecordingOptions
from llmcore.session.recording import CUT, PLANNER, Tape, draft_from_json, draft_json
from tests.rooms import ANNA
from tests.turns import Stage, stage

STOP = Draft(
    kind="plan",
    steps=(DraftStep(intent="stop_it", params={"module": "nginx"}),),
    answered_by="scripted",
    confidence=0.9,
    usage=Usage(input_tokens=3, output_tokens=2),
)


@pytest_asyncio.fixture
async def play(tmp_path: Path) -> AsyncIterator[Stage]:
    """On a new store."""
    async with stage(tmp_path) as opened:
        yield opened


def planning(play: Stage) -> None:
    """The real planner, with the stage's model."""
    understanding = play.session._do.understanding
    planner = Planner(understanding.catalog, play.voice, PlannerOptions())
    play.session._do = replace(play.session._do, understanding=replace(understanding, planner=planner))
    play.session._worker._do = play.session._do


def keeping(play: Stage, **options: Any) -> None:
    """With other limits."""
    play.session._do.recorder.options = RecordingOptions(**options)


async def recorded(play: Stage, run_id: str) -> Mapping[str, Any]:
    """The recording of a run."""
    found = await play.rooms.store.recording_get(run_id)
    assert found is not None
    return found


@pytest.mark.asyncio
async def test_a_turn_is_recorded_with_all_that_made_its_plan(play: Stage) -> None:
    """Who, words, host lists, what the model was asked and said, versions; the plan with what policy said."""
    planning(play)
    said = '{"kind":"plan","steps":[{"intent":"stop_it","params":{"module":"nginx"}}]}'
    play.voice.pieces = (said[:20], said[20:])
    run = await play.ended(await play.ask("nginx is stuck; stop it nginx please"))
    assert run.status is PlanStatus.PROPOSED
    told = await recorded(play, run.run_id)
    assert (told["owner"]["name"], told["options"], told["cut"], told["redacted"]) == ("anna", {}, False, False)
    (part,) = told["rounds"]
    assert part["versions"] == {"catalog": "c1", "policy": "p1", "planner": PLANNER}
    assert part["request"]["text"] == "nginx is stuck; stop it nginx please"
    assert part["request"]["vocabulary"] == {"targets": ["nginx", "shop"]}
    assert part["request"]["visible"] == [intent.name for intent in play.rooms.catalog]
    (exchange,) = part["exchanges"]
    assert exchange["reply"] == said
    assert (exchange["reason"], exchange["provider"], part["model"]) == ("stop", "scripted", "scripted")
    assert exchange["usage"]["input_tokens"] > 0
    assert "stop_it" in json.dumps(exchange["request"]["messages"])
    assert part["draft"]["answered_by"] == "scripted"
    (step,) = part["plan"]["steps"]
    assert (step["verdict"]["decision"], step["preview"]["targets"]) == ("ask", ["nginx"])
    assert part["plan"]["digest"] is not None
    assert part["judged_at"] >= part["at"]
    rows = [json.loads(text)["facts"] for _, text, _ in await play.rooms.store.audit_rows()]
    assert [facts["model"] for facts in rows if "model" in facts] == [exchange["model"]]


@pytest.mark.asyncio
async def test_what_a_planner_says_without_a_model_is_recorded(play: Stage) -> None:
    """A question, an honest cannot, and the words that complete an earlier request."""
    asks = Draft(
        kind="clarify", steps=(DraftStep(intent="stop_it"),), text="Which?", answered_by="local", missing=("module",)
    )
    play.planner.drafts += [asks, STOP, Draft(kind="none", text="No.")]
    first = await play.ended(await play.ask("stop it"))
    second = await play.ended(await play.ask("nginx", conversation_id=first.conversation_id))
    third = await play.ended(await play.ask("dance"))
    assert (await recorded(play, first.run_id))["rounds"][0]["plan"] is None
    part = (await recorded(play, second.run_id))["rounds"][0]
    assert part["before"] == "stop it"
    assert part["request"]["pending"]["missing"] == ["module"]
    assert part["request"]["history"] != []
    assert (await recorded(play, third.run_id))["rounds"][0]["draft"]["kind"] == "none"
    chat = await play.ended(await play.ask("hello", mode="answer"))
    assert await play.rooms.store.recording_get(chat.run_id) is None, "a free answer plans nothing"


@pytest.mark.asyncio
async def test_a_model_that_fails_is_recorded_failing(play: Stage) -> None:
    """With what came until then, and why."""

    class Broken:
        name, available = "scripted", True

        async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
            yield TextDelta("half an ")
            raise ProviderError("The vendor is away.")

    tape = Tape(Broken())
    assert (tape.name, tape.available) == ("scripted", True)
    with pytest.raises(ProviderError):
        [event async for event in tape.stream(ModelRequest(messages=()))]
    (exchange,) = tape.exchanges
    assert exchange["reply"] == "half an "
    assert exchange["error"] == {"error": "provider_error", "message": "The vendor is away."}
    assert "reason" not in exchange


@pytest.mark.asyncio
async def test_a_tape_lets_everything_through(play: Stage) -> None:
    """As it comes, the end too."""
    got = [event async for event in Tape(play.voice).stream(ModelRequest(messages=()))]
    assert [event.text for event in got if isinstance(event, TextDelta)] == ["Hello", " there."]
    assert isinstance(got[-1], Finished)


@pytest.mark.asyncio
async def test_secrets_are_taken_out(play: Stage) -> None:
    """Of words, lists and replies; the recording says so."""
    play.planner.drafts.append(replace(STOP, text="it is c4nary"))
    run = await play.ended(await play.ask("log in with password=hunter2 and c4nary"))
    told = await recorded(play, run.run_id)
    assert told["redacted"]
    assert told["rounds"][0]["request"]["text"] == f"log in with password={MASK} and {MASK}"
    assert "c4nary" not in json.dumps(told)


@pytest.mark.asyncio
async def test_what_is_large_is_cut_with_a_mark(play: Stage) -> None:
    """First the prompts, of which the hash is enough; then long texts and lists."""
    planning(play)
    play.voice.pieces = ('{"kind":"none","steps":[]}',)
    keeping(play, max_bytes=4_000)
    small = await recorded(play, (await play.ended(await play.ask("do the twist with nginx"))).run_id)
    assert (small["cut"], small["rounds"][0]["exchanges"][0]["request"]) == (False, CUT)
    play.planner.drafts.clear()
    large = await recorded(play, (await play.ended(await play.ask("dance " * 1_000))).run_id)
    assert large["cut"]
    assert large["rounds"][0]["request"]["text"].endswith(CUT)
    assert len(json.dumps(large)) < 5_000
    keeping(play, max_bytes=10)
    least = await recorded(play, (await play.ended(await play.ask("nod " * 1_000))).run_id)
    assert least["cut"], "it is cut as far as it goes"


@pytest.mark.asyncio
async def test_nothing_is_kept_where_nothing_is_wanted(play: Stage) -> None:
    """`audit.recordings_days` 0."""
    keeping(play, days=0)
    play.planner.drafts.append(STOP)
    run = await play.ended(await play.ask("stop nginx"))
    assert await play.rooms.store.recording_get(run.run_id) is None


@pytest.mark.asyncio
async def test_old_recordings_are_forgotten(play: Stage) -> None:
    """After as many days as the settings say."""
    run = await play.ended(await play.ask("dance"))
    recorder = play.session._do.recorder
    assert await recorder.forget() == 0
    play.rooms.clock.ahead_s = 91 * 86_400.0
    assert await recorder.forget() == 1
    assert await recorder.get(run.run_id) is None


@pytest.mark.asyncio
async def test_a_recording_that_cannot_be_kept_harms_no_turn(
    play: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused at once or found out later; a word in the log."""
    store = play.rooms.store

    def refused(*_: Any) -> asyncio.Future[None]:
        raise ProviderError("not now")

    def failing(*_: Any) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(ProviderError("too late"))
        return future

    for broken in (refused, failing):
        monkeypatch.setattr(store, "recording_submit", broken, raising=False)
        play.planner.drafts.append(STOP)
        run = await play.ended(await play.ask("stop nginx"))
        assert run.status is PlanStatus.PROPOSED
    assert "a recording is not kept: not now" in caplog.text
    assert "a recording is not kept: too late" in caplog.text


def test_drafts_survive_as_json() -> None:
    """All but what they cost."""
    full = replace(
        STOP,
        steps=(*STOP.steps, DraftStep(intent="look", needs=(0,), when="true", rules={"retries": 1})),
        missing=("a",),
        nearest=("look",),
        tainted=True,
        usage=Usage(),
    )
    assert draft_from_json(json.loads(json.dumps(draft_json(full)))) == full


@pytest.mark.asyncio
async def test_every_plan_is_told_to_the_trail_with_its_digest(play: Stage) -> None:
    """Words, origin, steps with verdicts, what it needs; large params by their hash."""
    big = DraftStep(intent="set_it", params={"module": "x" * 5_000})
    play.planner.drafts += [replace(STOP, steps=(*STOP.steps, big))]
    run = await play.ended(await play.ask("stop nginx and set it", who=ANNA))
    plan = await play.rooms.store.plan_get(run.plan_id or "")
    assert plan is not None
    rows = [json.loads(text) for _, text, _ in await play.rooms.store.audit_rows()]
    (told,) = [row["facts"] for row in rows if row["action"] == "plan.propose"]
    assert (told["plan_id"], told["run_id"], told["digest"]) == (plan.plan_id, run.run_id, plan.digest)
    assert (told["request"], told["answered_by"]) == ("stop nginx and set it", "scripted")
    assert told["approval"]["needed"] == 1
    assert told["steps"][0]["params"] == {"module": "nginx"}
    assert told["steps"][0]["verdict"]["decision"] == "ask"
    assert set(told["steps"][1]["params"]) == {"sha256", "bytes"}
