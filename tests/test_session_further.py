"""Looking at results and planning on from there: within a budget, never past a person, never after an approval."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.plan import Plan, PlanStatus
from llmcore.planner import Draft, DraftStep
from llmcore.ports import Run, Usage
from llmcore.session.understanding import Investigation
from tests.rooms import ANNA, OLGA
from tests.turns import Stage, stage

pytestmark = pytest.mark.asyncio

LOOK: tuple[str, dict[str, Any]] = ("look", {"module": "nginx"})
LIST: tuple[str, dict[str, Any]] = ("list_all", {})
STOP: tuple[str, dict[str, Any]] = ("stop_it", {"module": "nginx"})


@pytest_asyncio.fixture
async def play(tmp_path: Path) -> AsyncIterator[Stage]:
    """A session on a new store."""
    async with stage(tmp_path) as built:
        yield built


def drafted(*steps: tuple[str, dict[str, Any]], more: bool = False, **rest: Any) -> Draft:
    """What a model plans; each further one was made from results, so it is tainted."""
    found = tuple(DraftStep(intent=intent, params=params) for intent, params in steps)
    return Draft(kind="plan", steps=found, answered_by="scripted", confidence=0.5, more=more, **rest)


async def ended(play: Stage, *further: Draft, owner: Any = ANNA, first: Draft | None = None) -> tuple[Run, Plan]:
    """A chat that looks first; its run and plan at the end."""
    play.planner.drafts.append(first or drafted(LOOK, more=True))
    play.planner.further_drafts.extend(further)
    run = await play.ended(await play.ask("find out why nginx is slow and fix it", owner))
    plan = await play.rooms.store.plan_get(run.plan_id or "")
    assert plan is not None
    return run, plan


def intents(plan: Plan) -> list[tuple[str, str, str]]:
    """Id, intent and state of each step."""
    return [(step.id, step.intent, step.state.value) for step in plan.steps]


async def test_reads_that_results_ask_for_run_too(play: Stage) -> None:
    """The planner sees every result, told as data; the steps of all looks are one plan and one reply."""
    run, plan = await ended(play, drafted(LIST, more=True, tainted=True), drafted(LOOK, tainted=True))
    assert run.status is PlanStatus.DONE
    assert intents(plan) == [("s1", "look", "done"), ("s2", "list_all", "done"), ("s3", "look", "done")]
    assert [[finding.step_id for finding in told] for told in play.planner.findings] == [["s1"], ["s1", "s2"]]
    assert play.planner.findings[0][0].result == {"ok": True, "module": "nginx"}
    assert plan.origin.tainted


async def test_a_change_that_results_ask_for_waits_for_a_person(play: Stage) -> None:
    """It is tainted, so no policy runs it alone; what was read before is not read again."""
    run, plan = await ended(play, drafted(STOP, tainted=True))
    assert run.status is PlanStatus.PROPOSED
    assert intents(plan) == [("s1", "look", "done"), ("s2", "stop_it", "pending")]
    assert plan.origin.tainted
    started = await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
    await play.session.settled(started.run_id or "")
    assert [intent for intent, _ in play.rooms.host.calls] == ["look", "stop_it"]
    assert len(play.planner.findings) == 1, "nothing is planned after an approval"


async def test_tainted_changes_wait_even_where_policy_lets_untainted_ones_run(tmp_path: Path) -> None:
    """The default policy's rule about tainted plans stands beside one that allows all."""
    allow = '@id("free") permit (principal, action, resource);'
    tainted = """
    @id("tainted-needs-person") forbid (principal, action in [Action::"write", Action::"destructive"], resource)
    when { context.tainted && context.approvals < 1 };
    """
    async with stage(tmp_path, policy=allow + tainted) as play:
        run, plan = await ended(play, drafted(STOP, tainted=True))
        assert (run.status, intents(plan)[1][2]) == (PlanStatus.PROPOSED, "pending")


async def test_results_that_are_all_that_was_asked_end_it(play: Stage) -> None:
    """A plan that asks for no more is not shown its results again."""
    run, _ = await ended(play, Draft(kind="answer"))
    assert run.status is PlanStatus.DONE
    assert len(play.planner.findings) == 1
    await ended(play, first=drafted(LOOK))
    assert len(play.planner.findings) == 1


async def test_what_policy_denies_is_not_added(play: Stage) -> None:
    """The results that are there are told."""
    run, plan = await ended(play, drafted(STOP, tainted=True), owner=OLGA)
    assert run.status is PlanStatus.DONE
    assert intents(plan) == [("s1", "look", "done")]


@pytest.mark.parametrize("limits", [Investigation(rounds=2), Investigation(tokens=7)])
async def test_the_budget_ends_it(play: Stage, limits: Investigation) -> None:
    """Rounds and tokens of the whole turn."""
    segments = play.session._do
    object.__setattr__(segments, "understanding", replace(segments.understanding, investigation=limits))
    again = drafted(LIST, more=True, tainted=True, usage=Usage(input_tokens=3, output_tokens=1))
    run, plan = await ended(play, *[again] * 5)
    assert run.status is PlanStatus.DONE
    assert len(play.planner.findings) == 2
    assert len(plan.steps) == 3


async def test_a_failed_read_ends_it(play: Stage) -> None:
    """What could not be looked at decides nothing."""

    async def fails(_: Any) -> Any:
        raise TimeoutError

    play.rooms.host.plays["look"] = fails
    await ended(play, drafted(LIST, tainted=True))
    assert play.planner.findings == []
