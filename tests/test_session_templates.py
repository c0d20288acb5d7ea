"""The words of a chat that mean a template, and what a remembered plan depends on, as the planner is told."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from llmcore.plan import Origin
from llmcore.planner import Draft
from tests.rooms import ANNA, BO, OLGA
from tests.turns import Stage, stage

pytestmark = pytest.mark.asyncio

STEPS = [
    {"id": "first", "intent": "start_it", "params": {"module": "shop"}},
    {"id": "then", "intent": "set_it", "params": {"module": "web@shop"}, "needs": ["first"], "on_error": "undo"},
]


@pytest_asyncio.fixture
async def play(tmp_path: Path) -> AsyncIterator[Stage]:
    """A session on a new store, with one template of anna's."""
    async with stage(tmp_path) as built:
        asked = {"name": "open", "params": {"name": {"value": "shop"}}, "examples": ["open {name} for business"]}
        await built.session._do.understanding.templates.save(asked, ANNA, steps=STEPS)
        yield built


async def told(play: Stage, prompt: str, **more: object) -> Draft | None:
    """The template's plan that the planner was handed."""
    await play.ended(await play.ask(prompt, **more))  # type: ignore[arg-type]  # owner and options
    return play.planner.requests[-1].template


async def test_the_planner_is_told_of_the_template(play: Stage) -> None:
    """Of these words and of no others."""
    draft = await told(play, "open cafe for business")
    assert draft is not None
    assert [(step.intent, step.params, step.needs) for step in draft.steps] == [
        ("start_it", {"module": "cafe"}, ()),
        ("set_it", {"module": "web@cafe"}, (0,)),
    ]
    assert await told(play, "do not open cafe for business") is None
    assert await told(play, "open cafe for business", owner=OLGA) is None
    assert await told(play, "open cafe for business", owner=BO) is not None, "an admin's template"


async def test_its_plan_waits_like_every_other(play: Stage) -> None:
    """With its own rules, said to be the template's."""
    draft = await told(play, "open cafe for business")
    assert draft is not None
    play.planner.drafts = [draft]
    run = await play.ended(await play.ask("open cafe for business"))
    plan = await play.rooms.store.plan_get(run.plan_id or "")
    assert plan is not None
    assert (plan.answered_by, plan.origin, plan.status.value) == (
        "template",
        Origin(kind="chat", id=run.run_id),
        "proposed",
    )
    assert [(step.id, step.needs, step.on_error.value) for step in plan.steps] == [
        ("s1", (), "stop"),
        ("s2", ("s1",), "undo"),
    ]


async def test_the_planner_is_told_what_a_plan_depends_on(play: Stage) -> None:
    """Versions of what decides, and which model was chosen."""
    await told(play, "hello you")
    usual = play.planner.requests[-1].setting
    await told(play, "hello you", options={"provider": "scripted"})
    assert usual is not None
    versions, chosen = json.loads(usual)
    assert {"catalog", "policy", "planner"} <= set(versions)
    assert chosen == {"model": None, "provider": None}
    assert play.planner.requests[-1].setting != usual
