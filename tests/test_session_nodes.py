"""Sessions of several nodes on one store: leases, fencing, orders to all, work that nobody does."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmcore.adapters import local
from llmcore.errors import Conflict, Unavailable
from llmcore.executor import Fenced
from llmcore.plan import Plan, PlanStatus, Principal, StepState
from llmcore.ports import Call, Lease, Run
from llmcore.session.keeping import Held, Keeper
from llmcore.session.worker import order_text
from tests.rooms import ANNA, forever
from tests.test_session import START, plan_of, waiting
from tests.turns import Stage, stage

pytestmark = pytest.mark.asyncio

CHIEF = Principal(name="chief", role="admin")
TWO = (
    {"intent": "stop_it", "params": {"module": "a"}},
    {"intent": "stop_it", "params": {"module": "b"}, "needs": ["s1"]},
)
"""Steps one after the other."""


def node(folder: Path, name: str, lease_s: float = 30.0) -> AbstractAsyncContextManager[Stage]:
    """One of several nodes."""
    return stage(folder, node=name, lease_s=lease_s)


async def until(reached: Callable[[], Any]) -> Any:
    """Look until it is so; the other node tells nobody."""
    async with asyncio.timeout(30):
        while not (found := await reached()):  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0.01)
        return found


async def run_of(play: Stage, run_id: str | None, *statuses: PlanStatus) -> Run:
    """A run as soon as it has one of these statuses."""

    async def look() -> Run | None:
        run = await play.rooms.store.run_get(str(run_id))
        return run if run is not None and run.status in statuses else None

    found: Run = await until(look)
    return found


class Gate:
    """An intent that goes on until it is let go."""

    def __init__(self) -> None:
        """Closed."""
        self.began = asyncio.Event()
        self.open = asyncio.Event()

    async def play(self, call: Call) -> Any:
        """Wait, then be done."""
        self.began.set()
        await self.open.wait()
        return {"ok": True}


async def chain(play: Stage) -> Plan:
    """An approved chain of two changes that runs here; the first one waits at a gate."""
    raw = [{**step, "id": f"s{number + 1}"} for number, step in enumerate(TWO)]
    plan = play.rooms.plan(*raw)
    conversation, _ = await play.conversations.begin(None, ANNA, "t")
    owned = replace(plan, conversation_id=conversation.conversation_id)
    proposed = await play.session.propose(owned, start=False, conversation=conversation)
    return await play.session.approve(proposed.plan_id, str(proposed.digest), ANNA, "")


def gated(play: Stage) -> Gate:
    """A gate in front of changes."""
    gate = Gate()
    play.rooms.host.plays["stop_it"] = gate.play
    return gate


# --- leases ---


async def test_a_run_that_another_node_works_is_left_alone(tmp_path: Path) -> None:
    """A node that starts meanwhile does not touch it; one that is handed it waits until it has ended."""
    async with node(tmp_path, "n1") as one:
        gate = gated(one)
        plan = await chain(one)
        await gate.began.wait()
        async with node(tmp_path, "n2", lease_s=0.1) as two:
            assert two.queue.depth == 0
            with pytest.raises(Held) as held:
                await two.session.work(str(plan.run_id), 1)
            assert held.value.details["retry_after_s"] == pytest.approx(0.1 / 3)
            await two.queue.enqueue(str(plan.run_id), 1)
            gate.open.set()
            assert (await run_of(two, plan.run_id, PlanStatus.DONE)).plan_id == plan.plan_id
            await until(lambda: asyncio.sleep(0, two.queue.depth == 0))
            assert two.rooms.host.calls == []


async def test_another_node_waits_for_the_end(tmp_path: Path) -> None:
    """As whoever asked at the first one does."""
    async with node(tmp_path, "n1") as one, node(tmp_path, "n2") as two:
        gate = gated(one)
        plan = await chain(one)
        await gate.began.wait()
        waits = asyncio.ensure_future(two.session.settled(str(plan.run_id)))
        gate.open.set()
        await waits
        assert (await run_of(two, plan.run_id, PlanStatus.DONE)).segment == 1
        await two.session.settled("")
        await two.session.settled("rn_nobody_knows")


async def test_a_lost_lease_ends_the_segment_without_a_word(tmp_path: Path) -> None:
    """What the other node writes stands; nothing more begins here, and nothing is told."""
    async with node(tmp_path, "n1", lease_s=0.05) as one, node(tmp_path, "n2") as two:
        gate = gated(one)
        plan = await chain(one)
        await gate.began.wait()
        told = len(one.watcher.events)
        await stolen(one, plan, "n2")
        await until(lambda: asyncio.sleep(0, one.queue.depth == 0))
        assert one.watcher.kinds[told:] == []
        assert (await run_of(two, plan.run_id, PlanStatus.RUNNING)).status is PlanStatus.RUNNING
        [attempt] = await two.rooms.store.attempt_list(str(plan.run_id))
        assert attempt.outcome is None


async def stolen(play: Stage, plan: Plan, name: str) -> Lease:
    """Another node takes a run whose lease has lapsed, for as long as the test goes."""
    store = play.rooms.store
    found = await store.lease_take(str(plan.run_id), 1, "n1", -1)  # as if nobody had renewed it for long
    assert found
    taken = await store.lease_take(str(plan.run_id), 1, name, 600)
    assert taken
    return taken


@pytest.mark.parametrize("ends", ["done", "failed"])
async def test_a_node_that_wakes_up_late_does_not_write_the_end(tmp_path: Path, ends: str) -> None:
    """It learns of its loss where it would have written."""
    async with node(tmp_path, "n1") as one, node(tmp_path, "n2"):
        gate = gated(one)

        async def fails(call: Call) -> Any:
            await gate.play(call)
            raise Conflict("It cannot be stopped.")

        if ends == "failed":
            one.rooms.host.plays["stop_it"] = fails
        plan = await chain(one)
        await gate.began.wait()
        told = len(one.watcher.events)
        await stolen(one, plan, "n2")
        gate.open.set()
        await until(lambda: asyncio.sleep(0, one.queue.depth == 0))
        assert one.watcher.kinds[told:] == []
        assert len(one.rooms.host.calls) == 1
        assert "step.end" in await one.rooms.actions()


@pytest.mark.parametrize("where", ["speaking", "storing"])
async def test_a_chat_that_was_taken_is_not_ended_twice(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its words nor its status."""
    async with node(tmp_path, "n1") as one:
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def pause() -> None:
            reached.set()
            await go_on.wait()

        if where == "speaking":
            one.voice.pause = pause
        else:
            real = one.rooms.store.run_put

            async def slow(run: Run, *lease: Lease) -> bool:
                if run.status is PlanStatus.DONE:
                    await pause()
                return await real(run, *lease)

            monkeypatch.setattr(one.rooms.store, "run_put", slow)
        run = await one.ask("hello", mode="answer")
        await reached.wait()
        await one.rooms.store.lease_take(run.run_id, 1, "n1", -1)
        assert await one.rooms.store.lease_take(run.run_id, 1, "n2", 600)
        go_on.set()
        await until(lambda: asyncio.sleep(0, one.queue.depth == 0))
        assert "RUN_FINISHED" not in one.watcher.kinds
        assert (await run_of(one, run.run_id, PlanStatus.RUNNING)).text == ""


async def test_a_lease_is_kept_while_the_store_comes_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is renewed as soon as that can be written, and dropped if that can be."""
    async with node(tmp_path, "n1") as one:
        store = one.rooms.store
        real, answers = store.lease_renew, [Unavailable("away", component="store"), None]
        renewed, lost = asyncio.Event(), asyncio.Event()

        async def flaky(lease: Lease, ttl_s: float) -> bool:
            if answers and (error := answers.pop(0)) is not None:
                raise error
            renewed.set()
            return await real(lease, ttl_s)

        async def away(lease: Lease) -> None:
            lost.set()
            raise Unavailable("away", component="store")

        monkeypatch.setattr(store, "lease_renew", flaky)
        monkeypatch.setattr(store, "lease_drop", away)
        async with Keeper(store, "n1", 0.03).held("rn_1", 1) as hold:
            await renewed.wait()
            assert hold.lease.node == "n1"
        assert lost.is_set()


async def test_only_the_first_reason_counts(tmp_path: Path) -> None:
    """Of several who interrupt."""
    async with node(tmp_path, "n1") as one, Keeper(one.rooms.store, "n1", 30).held("rn_1", 1) as hold:
        hold.interrupt(Fenced("rn_1"))
        hold.interrupt(Conflict("later"))
        with pytest.raises(Fenced):
            async with hold.guarded():
                await asyncio.Event().wait()


# --- work that nobody does ---


async def test_a_run_without_a_node_is_taken_up(tmp_path: Path) -> None:
    """At the second look, so that who is about to begin it is left in peace."""
    async with node(tmp_path, "n1") as one:
        run = await one.ask("hello", mode="answer")
        await run_of(one, run.run_id, PlanStatus.DONE)
        left = replace(run, run_id="rn_left", text="")
        await one.rooms.store.run_put(left)
        await one.session.recover(patient=True)
        assert (await run_of(one, "rn_left", PlanStatus.RUNNING)).run_id == "rn_left"
        await one.session.recover(patient=True)
        await run_of(one, "rn_left", PlanStatus.DONE)


async def test_a_run_that_is_worked_here_is_not_adrift(tmp_path: Path) -> None:
    """However often somebody looks."""
    async with node(tmp_path, "n1") as one:
        gate = gated(one)
        plan = await chain(one)
        await gate.began.wait()
        for _ in range(3):
            await one.session.recover(patient=True)
        gate.open.set()
        await run_of(one, plan.run_id, PlanStatus.DONE)
        assert len(one.rooms.host.calls) == 2


async def test_a_process_that_stops_leaves_its_run_between_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that runs ends; another node goes on with the next."""
    monkeypatch.setattr(local, "RETRY_S", (60.0,))
    async with node(tmp_path, "n1") as one:
        gate = gated(one)
        plan = await chain(one)
        await gate.began.wait()
        one.session.leave()
        asyncio.get_running_loop().call_soon(gate.open.set)
        await one.queue.stop(30)
        assert len(one.rooms.host.calls) == 1
        async with node(tmp_path, "n2") as two:
            await run_of(two, plan.run_id, PlanStatus.DONE)
            assert len(two.rooms.host.calls) == 1


# --- orders ---


async def test_a_run_is_cancelled_wherever_it_is_worked(tmp_path: Path) -> None:
    """By an order that its node sees when it looks; the order goes when it is out of date."""
    async with node(tmp_path, "n1") as one, node(tmp_path, "n2") as two:
        one.rooms.host.plays["stop_it"] = forever
        plan = await chain(one)
        await one.watcher.until("STEP_STARTED")
        asked = asyncio.ensure_future(two.session.cancel(str(plan.run_id), CHIEF))
        await until(lambda: _ordered(two))
        await one.session.orders.look()
        assert (await asked).status is PlanStatus.CANCELLED
        stored = await two.rooms.store.plan_get(plan.plan_id)
        assert stored
        assert [step.state for step in stored.steps] == [StepState.UNKNOWN, StepState.PENDING]
        await two.session.orders.look()
        assert not await _ordered(two)


async def _ordered(play: Stage) -> bool:
    return bool((await play.rooms.store.orders()).cancelled)


async def test_an_order_for_a_run_that_nobody_works_yet_waits(tmp_path: Path) -> None:
    """Whoever takes it up finds it."""
    async with node(tmp_path, "n1") as one:
        run = await one.ask("hello", mode="answer")
        await run_of(one, run.run_id, PlanStatus.DONE)
        await one.rooms.store.run_put(replace(run, run_id="rn_left"))
        await one.rooms.store.order_cancel("rn_left")
        await one.session.orders.look()
        assert await _ordered(one)


async def test_what_ended_at_that_moment_is_not_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is looked at again once nobody else can work it."""
    async with node(tmp_path, "n1") as one:
        run = await one.ask("hello", mode="answer")
        done = await run_of(one, run.run_id, PlanStatus.DONE)
        await until(lambda: asyncio.sleep(0, one.queue.depth == 0))
        real, seen = one.rooms.store.run_get, [replace(done, status=PlanStatus.RUNNING)]

        async def stale(run_id: str) -> Run | None:
            return seen.pop() if seen else await real(run_id)

        monkeypatch.setattr(one.rooms.store, "run_get", stale)
        assert (await one.session.cancel(run.run_id, ANNA)).status is PlanStatus.DONE


async def test_stop_all_ends_runs_between_their_steps_on_all_nodes(tmp_path: Path) -> None:
    """A step that runs ends, none begins after the order, words stop at once; everybody is told."""
    async with node(tmp_path, "n1") as one, node(tmp_path, "n2") as two:
        for play in (one, two):
            await play.session.orders.look()
        frames: list[Any] = []
        two.watcher.broadcast = frames.append  # type: ignore[assignment, method-assign]
        two.topics.connect(two.watcher)
        gate = gated(one)
        plan = await chain(one)
        await gate.began.wait()
        two.voice.pause = asyncio.Event().wait
        words = await two.ask("hello", mode="answer")
        await two.watcher.until("TEXT_MESSAGE_CONTENT")
        waits = await waiting(one)
        order = await one.session.orders.stop_all(CHIEF, "fire", hold=False)
        assert order.segments == {f"{plan.run_id}.1", f"{words.run_id}.1"}
        await two.session.orders.look()
        await two.session.orders.look()
        assert [frame["data"]["message"] for frame in frames] == ["chief has stopped all runs: fire"]
        ended = await run_of(two, words.run_id, PlanStatus.CANCELLED)
        assert ended.text.endswith(order_text(order))
        gate.open.set()
        stopped = await run_of(one, plan.run_id, PlanStatus.CANCELLED)
        assert "All runs were stopped by chief (fire)." in stopped.text
        assert len(one.rooms.host.calls) == 1
        stored = await one.rooms.store.plan_get(plan.plan_id)
        assert stored
        assert [step.state for step in stored.steps] == [StepState.DONE, StepState.PENDING]
        assert stored.status is PlanStatus.CANCELLED
        assert {"stop_all", "step.refused"} <= set(await one.rooms.actions())
        assert (await one.session.approve(waits.plan_id, str(waits.digest), ANNA, "")).run_id == waits.run_id
        await run_of(one, waits.run_id, PlanStatus.DONE)


async def test_nothing_begins_while_all_is_held(tmp_path: Path) -> None:
    """No plan starts, none is approved; who asks is told by whom and how it ends."""
    async with node(tmp_path, "n1") as one:
        waits = await waiting(one)
        await one.session.orders.stop_all(CHIEF, "", hold=True)
        with pytest.raises(Conflict, match="chief has stopped everything: nothing begins until"):
            await one.session.approve(waits.plan_id, str(waits.digest), ANNA, "")
        one.planner.drafts.append(plan_of(START))
        await one.session.recover()
        assert one.rooms.host.calls == []
        assert await one.session.orders.release(CHIEF)
        assert not await one.session.orders.release(CHIEF)
        await one.session.approve(waits.plan_id, str(waits.digest), ANNA, "")
        await run_of(one, waits.run_id, PlanStatus.DONE)


async def test_a_hold_that_this_node_has_not_seen_holds_all_the_same(tmp_path: Path) -> None:
    """The store refuses the step."""
    async with node(tmp_path, "n1") as one, node(tmp_path, "n2") as two:
        waits = await waiting(one)
        await two.session.orders.stop_all(CHIEF, "fire", hold=True)
        await one.session.approve(waits.plan_id, str(waits.digest), ANNA, "")
        assert "(fire)" in (await run_of(one, waits.run_id, PlanStatus.CANCELLED)).text
        assert one.rooms.host.calls == []


async def test_an_unknown_step_is_not_tried_again_while_all_is_held(tmp_path: Path) -> None:
    """But it may be ended."""
    async with node(tmp_path, "n1") as one:
        one.rooms.host.plays["stop_it"] = forever
        plan = await chain(one)
        await one.watcher.until("STEP_STARTED")
        await one.queue.stop(0)
    async with node(tmp_path, "n1") as one:
        await run_of(one, plan.run_id, PlanStatus.WAITING)
        await one.session.orders.stop_all(CHIEF, "fire", hold=True)
        with pytest.raises(Conflict, match=r"\(fire\)"):
            await one.session.resolve(str(plan.run_id), "s1", "retry", ANNA)
        assert (await one.session.resolve(str(plan.run_id), "s1", "stop", ANNA)).status is PlanStatus.FAILED


async def test_old_orders_are_not_told_again(tmp_path: Path) -> None:
    """A node that starts later knows them; what is released is told."""
    async with node(tmp_path, "n1") as one:
        frames: list[Any] = []
        one.watcher.broadcast = frames.append  # type: ignore[assignment, method-assign]
        one.topics.connect(one.watcher)
        await one.rooms.store.order_stop("chief", "then", "", hold=True)
        await one.session.orders.look()
        assert frames == []
        assert one.session.orders.hold
        await one.session.orders.release(CHIEF)
        await one.session.orders.stop_all(CHIEF, "", hold=True)
        assert [frame["data"]["message"] for frame in frames] == [
            "Things may begin again.",
            "chief has stopped all runs. Nothing new begins until it is released.",
        ]


async def test_words_of_an_order_that_is_gone() -> None:
    """Something is said all the same."""
    assert order_text(None) == "All runs were stopped. What had not begun was left."
