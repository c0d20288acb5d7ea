"""What the port `Store` promises, on SQLite and on a real PostgreSQL."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from llmcore.adapters.sql import SqlStore, StoreOptions, open_store
from llmcore.audit import Head, link, verify
from llmcore.errors import BadParams, Conflict, Forbidden, NotFound, Unavailable
from llmcore.plan import (
    Approval,
    Decision,
    Effect,
    OnError,
    Origin,
    Plan,
    PlanStatus,
    Preview,
    Principal,
    Step,
    StepResult,
    StepState,
    Undo,
    Verdict,
    Vote,
)
from llmcore.ports import Attempt, Begun, Conversation, Lease, Orders, Run, StopOrder, StoredMessage, Usage, User

ANNA = Principal(name="anna", role="developer")
ODD = "a\x00b \ud83d Zoë 🚀"
"""What a file name or a log can hold and a database cannot."""


def conversation(name: str = "c1", **changes: Any) -> Conversation:
    """A conversation of anna's."""
    made = Conversation(conversation_id=name, owner="anna", title="t", created_at="2026-01-01", updated_at="2026-01-01")
    return replace(made, **changes)


def message(name: str = "m1", **changes: Any) -> StoredMessage:
    """A message of conversation c1."""
    made = StoredMessage(message_id=name, conversation_id="c1", role="user", content="hi", created_at="2026-01-01")
    return replace(made, **changes)


def plan(name: str = "pl_1", **changes: Any) -> Plan:
    """A plan with everything a plan can have."""
    step = Step(
        id="s1",
        intent="write_file",
        params={"path": "/tmp/x", "z": 1, "a": [{"$from": "s0"}, None, 2**70]},  # noqa: S108
        needs=("s0",),
        when="true",
        on_error=OnError.UNDO,
        retries=2,
        timeout_s=3.5,
        effect=Effect.WRITE,
        schema_hash="h",
        verdict=Verdict(decision=Decision.ASK, rules=("r",), reason="because", approvals=1, roles=("admin",)),
        preview=Preview(targets=("x",), before={"a": 1}, after=None),
        undo=Undo(intent="delete_file", params={"path": "x"}),
        state=StepState.PENDING,
    )
    made = Plan(
        plan_id=name,
        requester=ANNA,
        conversation_id="c1",
        topic="/ui/updates/llm/c1",
        created_at="2026-01-01T00:00:00.000Z",
        origin=Origin(kind="chat", id="c1", tainted=True),
        steps=(step,),
        digest="sha256:1",
        approval=Approval(needed=1, roles=("admin",), given=(Vote(by="bo", at="now", comment="ok"),)),
    )
    return replace(made, **changes)


def run(name: str = "r1", **changes: Any) -> Run:
    """A run with everything a run can have."""
    made = Run(
        run_id=name,
        conversation_id="c1",
        topic="t",
        owner=ANNA,
        status=PlanStatus.RUNNING,
        created_at="2026-01-01",
        plan_id="pl_1",
        segment=2,
        text="so far",
        steps=(StepResult(step_id="s1", intent="i", state=StepState.DONE, result={"a": [1]}, attempts=1),),
        request={"prompt": "x"},
        usage=Usage(input_tokens=1, output_tokens=2, cached_tokens=3),
        error={"error": "internal", "message": "m"},
    )
    return replace(made, **changes)


def attempt(step: str = "s1", number: int = 1, **changes: Any) -> Attempt:
    """An attempt of run r1."""
    made = Attempt(run_id="r1", step_id=step, attempt=number, idempotency_key="k", started_at=f"2026-01-0{number}")
    return replace(made, **changes)


@pytest.mark.asyncio
async def test_users_are_replaced_and_listed_by_name(store: SqlStore) -> None:
    """A user comes back as put."""
    bo = User(name="bo", role="observer", password_hash="h", created_at="now", tokens_valid_from=1e9 + 0.123456)
    await store.user_put(bo)
    await store.user_put(replace(bo, name="anna"))
    await store.user_put(replace(bo, role="admin"))
    assert await store.user_get("bo") == replace(bo, role="admin")
    assert await store.user_get("nobody") is None
    assert [user.name for user in await store.user_list()] == ["anna", "bo"]


@pytest.mark.asyncio
async def test_a_token_is_revoked_once_and_forgotten_when_it_has_expired(store: SqlStore) -> None:
    """Of two who revoke the same token one wins; the table does not grow for ever."""
    assert not await store.token_revoked("t")
    assert sorted(await asyncio.gather(store.token_revoke("t", 10.0), store.token_revoke("t", 10.0))) == [False, True]
    assert await store.token_revoked("t")
    assert await store.token_revoke("u", 99.0, now=11.0)
    assert not await store.token_revoked("t")
    assert await store.token_revoked("u")


@pytest.mark.asyncio
async def test_a_secret_is_made_once(store: SqlStore) -> None:
    """Two who ask at the same time get the same."""
    first, second = await asyncio.gather(store.secret("key", lambda: b"\x00one"), store.secret("key", lambda: b"two"))
    assert first == second == await store.secret("key", lambda: b"three")
    assert first in (b"\x00one", b"two")


@pytest.mark.asyncio
async def test_conversations_come_last_used_first(store: SqlStore) -> None:
    """Only the owner's, and only so many."""
    for name, used in (("c1", "1"), ("c2", "3"), ("c3", "2")):
        await store.conversation_put(conversation(name, updated_at=used))
    await store.conversation_put(conversation("c4", owner="bo"))
    await store.conversation_put(conversation("c1", updated_at="4", title="new"))
    assert [found.conversation_id for found in await store.conversation_list("anna")] == ["c1", "c2", "c3"]
    assert [found.title for found in await store.conversation_list("anna", limit=1)] == ["new"]
    assert await store.conversation_get("c4") == conversation("c4", owner="bo")
    assert await store.conversation_get("c9") is None


@pytest.mark.asyncio
async def test_messages_keep_their_order_and_go_with_their_conversation(store: SqlStore) -> None:
    """The same id replaces; without a conversation there is no message."""
    await store.conversation_put(conversation())
    await store.conversation_put(conversation(title="again, which must not drop the messages"))
    for name in ("m1", "m2", "m3"):
        await store.message_add(message(name, meta={"n": name}))
    await store.message_add(message("m2", content="changed", run_id="r1"))
    assert await store.message_list("c1", limit=2) == [
        message("m2", content="changed", run_id="r1"),
        message("m3", meta={"n": "m3"}),
    ]
    await store.conversation_delete("c1")
    assert await store.message_list("c1") == []
    with pytest.raises(NotFound):
        await store.message_add(message())


@pytest.mark.asyncio
async def test_text_that_no_database_takes_is_stored_as_near_as_can_be(store: SqlStore) -> None:
    """NUL and lone surrogates are replaced in text; in an id they are refused."""
    await store.conversation_put(conversation(title=ODD))
    await store.message_add(message(content=ODD, meta={ODD: {"x": (ODD, 2**70, float("nan"), {1}, None, True, 1.5)}}))
    (stored,) = await store.message_list("c1")
    assert stored.content == "a\ufffdb ? Zoë 🚀"
    assert stored.meta == {stored.content: {"x": [stored.content, 2**70, None, [1], None, True, 1.5]}}
    with pytest.raises(BadParams):
        await store.topic_open("\ud83d", "c1", "anna")
    with pytest.raises(BadParams):
        await store.conversation_get("\ud83d")


@pytest.mark.asyncio
async def test_a_topic_has_one_owner_and_a_rising_epoch(store: SqlStore) -> None:
    """Another owner is refused, and that does not spoil what is written at the same time."""
    assert await store.topic_owner("t") is None
    assert await store.topic_open("t", "c1", "anna") == 1
    refused, opened, other = await asyncio.gather(
        store.topic_open("t", "c2", "bo"),
        store.topic_open("t", "c3", "anna"),
        store.topic_open("u", "c2", "bo"),
        return_exceptions=True,
    )
    assert isinstance(refused, Forbidden)
    assert (opened, other) == (2, 1)
    assert await store.topic_owner("t") == "anna"
    assert await store.topic_conversation("t") == "c3"
    assert await store.topic_conversation("u9") is None


@pytest.mark.asyncio
async def test_a_plan_comes_back_as_put(store: SqlStore) -> None:
    """With every field, large integers too; an id is given once."""
    await store.plan_put(plan())
    assert await store.plan_get("pl_1") == plan()
    assert await store.plan_get("pl_9") is None
    with pytest.raises(Conflict):
        await store.plan_put(plan())


@pytest.mark.asyncio
async def test_plans_come_newest_first(store: SqlStore) -> None:
    """By requester and status."""
    await store.plan_put(plan("pl_1"))
    await store.plan_put(plan("pl_2", status=PlanStatus.DONE, approval=None, digest=None))
    await store.plan_put(plan("pl_3", requester=Principal(name="bo")))
    assert [found.plan_id for found in await store.plan_list()] == ["pl_3", "pl_2", "pl_1"]
    assert [found.plan_id for found in await store.plan_list("anna", [PlanStatus.PROPOSED])] == ["pl_1"]
    wanted = [PlanStatus.DONE, PlanStatus.PROPOSED]
    assert [found.plan_id for found in await store.plan_list(statuses=wanted, limit=1)] == ["pl_3"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "stored",
    [
        plan(status=PlanStatus.APPROVED),
        plan(digest="sha256:2"),
        plan(digest=None),
        plan(approval=Approval(needed=1, roles=("admin",))),
        plan(approval=None),
    ],
)
async def test_a_plan_that_has_changed_is_not_swapped(store: SqlStore, stored: Plan) -> None:
    """Status, digest and votes have to be those that the caller saw."""
    await store.plan_put(stored)
    assert not await store.plan_swap(plan(status=PlanStatus.RUNNING), plan())
    assert await store.plan_get("pl_1") == stored
    assert await store.plan_swap(plan(status=PlanStatus.RUNNING), stored)
    assert await store.plan_get("pl_1") == plan(status=PlanStatus.RUNNING)


@pytest.mark.asyncio
async def test_of_many_swaps_at_once_one_wins(store: SqlStore) -> None:
    """Fifty approvals at the same moment are one."""
    await store.plan_put(plan())
    swaps = [store.plan_swap(plan(status=PlanStatus.APPROVED, title=str(number)), plan()) for number in range(50)]
    assert sum(await asyncio.gather(*swaps)) == 1


@pytest.mark.asyncio
async def test_a_run_comes_back_as_put(store: SqlStore) -> None:
    """Newest first, by owner and status; replaced by its id."""
    for name, status in (("r1", PlanStatus.RUNNING), ("r2", PlanStatus.RUNNING), ("r3", PlanStatus.RUNNING)):
        await store.run_put(run(name, status=status))
    await store.run_put(run("r2", status=PlanStatus.DONE, error=None))
    await store.run_put(run("r4", owner=Principal(name="bo")))
    assert await store.run_get("r1") == run()
    assert await store.run_get("r9") is None
    assert [found.run_id for found in await store.run_list()] == ["r4", "r3", "r2", "r1"]
    assert [found.run_id for found in await store.run_list("anna", [PlanStatus.RUNNING])] == ["r3", "r1"]
    assert await store.run_list(statuses=[PlanStatus.DONE], limit=1) == [run("r2", status=PlanStatus.DONE, error=None)]


@pytest.mark.asyncio
async def test_an_attempt_is_begun_once_and_ended(store: SqlStore) -> None:
    """A row without outcome stays so; in order of their beginning."""
    begun = [attempt("s2", 1, before={"old": None}), attempt("s1", 2), attempt("s2", 3)]
    assert [await store.attempt_begin(one) for one in begun] == [Begun.YES] * 3
    many = await asyncio.gather(*(store.attempt_begin(attempt("s3", 4)) for _ in range(20)))
    assert (many.count(Begun.YES), many.count(Begun.TAKEN)) == (1, 19)
    ended = replace(begun[0], outcome="done", result={"x": 1}, finished_at="then")
    failed = replace(begun[1], outcome="failed", error={"error": "timeout", "message": "m"}, finished_at="then")
    assert await store.attempt_end(replace(ended, before=None))
    assert await store.attempt_end(failed)
    assert await store.attempt_list("r1") == [ended, failed, begun[2], attempt("s3", 4)]
    assert await store.attempt_list("r2") == []


@pytest.mark.asyncio
async def test_an_end_counts_once(store: SqlStore) -> None:
    """Written again it is the same; another one comes too late, unless a person says it."""
    await store.attempt_begin(attempt())
    unknown = attempt(outcome="unknown", finished_at="then")
    assert [await store.attempt_end(unknown) for _ in range(2)] == [True, True]
    assert not await store.attempt_end(replace(unknown, outcome="done"))
    assert not await store.attempt_end(replace(unknown, finished_at="later"))
    assert await store.attempt_list("r1") == [unknown]
    assert await store.attempt_end(replace(unknown, outcome="done"), resolve=True)
    assert await store.attempt_list("r1") == [replace(unknown, outcome="done")]
    assert not await store.attempt_end(attempt("s9", outcome="done"))


@pytest.mark.asyncio
async def test_a_run_is_leased_to_one_node(store: SqlStore) -> None:
    """Of many who ask at once one gets it; it may take it anew, the others when it is dropped or has lapsed."""
    asked = await asyncio.gather(*(store.lease_take("r1", 1, f"n{number}", 60) for number in range(20)))
    (first,) = [lease for lease in asked if lease]
    assert (first.run_id, first.segment, first.token) == ("r1", 1, 1)
    assert await store.lease_renew(first, 60)
    again = await store.lease_take("r1", 2, first.node, 60)
    assert again == replace(first, token=2, segment=2)
    assert not await store.lease_renew(first, 60)
    await store.lease_drop(first)
    assert await store.lease_take("r1", 2, "other", 60) is None
    await store.lease_drop(again)
    taken = await store.lease_take("r1", 2, "other", 0.001)
    assert taken == Lease(run_id="r1", segment=2, node="other", token=3)
    late = None
    async with asyncio.timeout(10):
        while late is None:
            late = await store.lease_take("r1", 2, "third", 60)
    assert late.token == 4
    assert not await store.lease_renew(taken, 60)


@pytest.mark.asyncio
async def test_a_lapsed_lease_that_nobody_took_is_still_its_owners(store: SqlStore) -> None:
    """So that a store that was away for a while costs nothing but the while."""
    lease = await store.lease_take("r1", 1, "n1", 0)
    assert lease
    assert await store.attempt_begin(attempt(), lease) is Begun.YES
    assert await store.lease_renew(lease, 60)
    assert await store.lease_take("r1", 1, "n2", 60) is None


@pytest.mark.asyncio
async def test_a_node_that_lost_its_lease_begins_and_ends_nothing(store: SqlStore) -> None:
    """Whatever it believes."""
    old = await store.lease_take("r1", 1, "n1", -1)
    assert old
    assert await store.attempt_begin(attempt(), old) is Begun.YES
    assert await store.attempt_begin(attempt(), old) is Begun.YES  # its answer was lost
    assert await store.attempt_begin(replace(attempt(), started_at="later"), old) is Begun.TAKEN
    new = await store.lease_take("r1", 1, "n2", 60)
    assert new
    assert await store.attempt_begin(attempt("s2"), old) is Begun.FENCED
    assert not await store.attempt_end(attempt(outcome="done", finished_at="then"), old)
    assert await store.attempt_list("r1") == [attempt()]
    assert await store.attempt_begin(attempt("s2"), new) is Begun.YES
    assert await store.attempt_end(attempt("s2", outcome="done", finished_at="then"), new)
    assert await store.attempt_begin(attempt("s3"), replace(new, run_id="r9")) is Begun.FENCED


@pytest.mark.asyncio
async def test_running_runs_without_a_node_are_adrift(store: SqlStore) -> None:
    """Never leased, dropped or lapsed; oldest first, with the segment they are in."""
    for name in ("r1", "r2", "r3", "r4"):
        await store.run_put(run(name))
    await store.run_put(run("r5", status=PlanStatus.WAITING))
    assert [found.run_id for found in await store.runs_adrift("n2")] == ["r1", "r2", "r3", "r4"]
    held = await store.lease_take("r1", 2, "n1", 60)
    dropped = await store.lease_take("r2", 2, "n1", 60)
    assert held
    assert dropped
    await store.lease_drop(dropped)
    await store.lease_take("r3", 2, "n1", -1)
    assert await store.runs_adrift("n2") == [run("r2"), run("r3"), run("r4")]
    assert await store.runs_adrift("n1") == [run("r1"), run("r2"), run("r3"), run("r4")]


@pytest.mark.asyncio
async def test_an_order_to_stop_holds_what_runs_and_nothing_that_comes_later(store: SqlStore) -> None:
    """Unless everything is held until it is released."""
    assert await store.orders() == Orders()
    assert not await store.order_release()
    await store.run_put(run("r1", segment=2))
    lease = await store.lease_take("r1", 2, "n1", 60)
    other = await store.lease_take("r2", 1, "n1", 60)
    assert lease
    assert other
    order = await store.order_stop("anna", "now", "fire", hold=False)
    assert order == StopOrder(number=1, by="anna", at="now", reason="fire", hold=False, segments=frozenset({"r1.2"}))
    assert await store.orders() == Orders(stop=order)
    assert await store.attempt_begin(attempt(), lease) is Begun.STOPPED
    assert await store.attempt_begin(attempt(), replace(lease, segment=3)) is Begun.YES
    assert await store.attempt_begin(attempt("s2", run_id="r2"), other) is Begun.YES
    held = await store.order_stop("bo", "later", "", hold=True)
    assert (held.number, held.hold) == (2, True)
    assert await store.attempt_begin(attempt("s3", run_id="r2"), other) is Begun.STOPPED
    assert await store.order_release()
    assert await store.attempt_begin(attempt("s3", run_id="r2"), other) is Begun.YES
    assert await store.attempt_begin(attempt("s3"), lease) is Begun.STOPPED


@pytest.mark.asyncio
async def test_an_order_to_cancel_stands_until_it_is_out_of_date(store: SqlStore) -> None:
    """For the node that works the run, wherever that is."""
    for name in ("r1", "r2", "r1"):
        await store.order_cancel(name)
    assert (await store.orders()).cancelled == {"r1", "r2"}
    await store.order_cancelled("r1")
    await store.order_cancelled("r9")
    assert await store.orders() == Orders(cancelled=frozenset({"r2"}))


@pytest.mark.asyncio
async def test_audit_records_are_chained(store: SqlStore) -> None:
    """One by one, many at once and by the hundred; canonical text."""
    assert await store.audit_append({"b": 1, "a": "Zoë"}) == 1
    numbers = await asyncio.gather(*(store.audit_append({"n": number}) for number in range(100)))
    assert sorted(numbers) == list(range(2, 102))
    assert await store.audit_submit([{"m": number} for number in range(3)]) == 104
    rows = await store.audit_rows()
    assert rows[0] == (1, '{"a":"Zoë","b":1}', link("0" * 64, '{"a":"Zoë","b":1}'))
    assert verify(rows, Head(104, rows[-1][2])).ok
    assert [row[0] for row in await store.audit_rows(after_seq=2, limit=2)] == [3, 4]
    assert [row[0] for row in await store.audit_rows(limit=2, newest=True)] == [103, 104]


@pytest.mark.asyncio
async def test_an_event_is_new_once(store: SqlStore) -> None:
    """For all who are told of it."""
    told = await asyncio.gather(*(store.event_first_seen("e", 1.0) for _ in range(10)))
    assert told.count(True) == 1
    assert await store.event_first_seen("f", 1.0)
    assert await store.event_first_seen("g", 2.0)
    assert await store.events_forget(2.0) == 2
    assert await store.event_first_seen("f", 3.0)
    assert not await store.event_first_seen("g", 3.0)


@pytest.mark.asyncio
async def test_alerts_are_grouped_by_fingerprint(store: SqlStore) -> None:
    """The one put last comes first."""
    for fingerprint, count in (("f1", 1), ("f2", 1), ("f1", 2)):
        await store.alert_put(fingerprint, {"fingerprint": fingerprint, "count": count})
    assert await store.alert_list() == [{"fingerprint": "f1", "count": 2}, {"fingerprint": "f2", "count": 1}]
    assert await store.alert_list(limit=1) == [{"fingerprint": "f1", "count": 2}]


@pytest.mark.asyncio
async def test_a_suggestion_is_decided_once(store: SqlStore) -> None:
    """Newest first, by status; a swap needs the status that the caller saw."""
    cards = [{"id": f"sg_{number}", "status": "open", "created_at": "now", "title": "t"} for number in range(3)]
    for card in cards:
        await store.suggestion_put(card)
    accepted = {**cards[0], "status": "accepted"}
    assert await store.suggestion_swap(accepted, "open")
    assert not await store.suggestion_swap({**cards[0], "status": "dismissed"}, "open")
    assert await store.suggestion_get("sg_0") == accepted
    assert await store.suggestion_get("sg_9") is None
    assert await store.suggestion_list() == [cards[2], cards[1], accepted]
    assert await store.suggestion_list(["open"], limit=1) == [cards[2]]
    await store.suggestion_put({**accepted, "title": "new"})
    assert await store.suggestion_list(["accepted"]) == [{**accepted, "title": "new"}]


@pytest.mark.asyncio
async def test_templates_are_replaced_by_who_saw_them(store: SqlStore) -> None:
    """Last put first; a new one never replaces, a change needs the template that the caller saw."""
    one, two = {"name": "one", "n": 1}, {"name": "two", "n": 1, "odd": ODD}
    assert [await store.template_put(template) for template in (one, two, one)] == [True, True, False]
    changed = {**one, "n": 2}
    assert await store.template_put(changed, one)
    assert not await store.template_put({**one, "n": 3}, one)
    assert [found["name"] for found in await store.template_list()] == ["one", "two"]
    assert await store.template_list(limit=1) == [changed]
    assert [await store.template_delete("one"), await store.template_delete("one")] == [True, False]
    assert [found["name"] for found in await store.template_list()] == ["two"]


@pytest.mark.asyncio
async def test_standing_rules_change_a_mark_that_other_nodes_see(store: SqlStore) -> None:
    """Those that end last first; with a new one, those that have ended are forgotten."""
    assert await store.rules_version() == ""
    short = {"rule_id": "rl_1", "expires_at": 100.5, "by": "Zoë 🚀"}
    long = {"rule_id": "rl_2", "expires_at": 200.0}
    marks = [await store.rules_version()]
    for rule in (short, long):
        await store.rule_put(rule, 50.0)
        marks.append(await store.rules_version())
    assert await store.rule_list() == [long, short]
    await store.rule_put({**long, "expires_at": 150.0}, 100.5)
    marks.append(await store.rules_version())
    assert await store.rule_list() == [{**long, "expires_at": 150.0}]
    assert [await store.rule_delete("rl_2"), await store.rule_delete("rl_2")] == [True, False]
    marks.append(await store.rules_version())
    assert len(set(marks)) == len(marks)
    assert await store.rule_list() == []


@pytest.mark.asyncio
async def test_many_writers_at_once_all_get_through(store: SqlStore) -> None:
    """A thousand writes of several kinds; one bad one among them harms none."""
    await store.conversation_put(conversation())
    writes: list[Any] = [store.message_add(message(f"m{number}")) for number in range(500)]
    writes += [store.audit_append({"n": number}) for number in range(500)]
    bad = store.message_add(message("bad", conversation_id="gone"))
    outcomes = await asyncio.gather(*writes, bad, return_exceptions=True)
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == [outcomes[-1]]
    assert len(await store.message_list("c1")) == 500
    assert len(await store.audit_rows()) == 500


@pytest.mark.asyncio
async def test_all_is_there_after_closing_and_opening(store_options: StoreOptions) -> None:
    """What was not awaited too; a closed store says so."""
    store = await open_store(store_options)
    await store.user_put(User(name="bo", role="admin", password_hash="h", created_at="now"))
    submitted = store.audit_submit([{"n": 1}])
    await store.close()
    await store.close()
    assert await submitted == 1
    with pytest.raises(Unavailable):
        await store.audit_append({})
    again = await open_store(store_options)
    assert await again.user_get("bo")
    assert await again.audit_append({"n": 2}) == 2
    await again.check()
    await again.close()


@pytest.mark.asyncio
async def test_nodes_share_one_store(store_options: StoreOptions) -> None:
    """They may start at the same time; their audit records make one chain; an event is new for one of them."""
    nodes = await asyncio.gather(*(open_store(store_options) for _ in range(3)))
    appended = [node.audit_append({"n": number}) for number in range(30) for node in nodes]
    assert sorted(await asyncio.gather(*appended)) == list(range(1, 91))
    assert verify(await nodes[0].audit_rows(), Head(0)).ok
    told = await asyncio.gather(*(node.event_first_seen(f"e{n}", 1.0) for n in range(20) for node in nodes))
    assert told.count(True) == 20
    for node in nodes:
        await node.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("by", ["order", "other node"])
async def test_no_step_begins_anywhere_once_it_must_not(store_options: StoreOptions, by: str) -> None:
    """However many try at that moment: what the journal has when the order, or the lease, is given is all there is."""
    nodes = await asyncio.gather(*(open_store(store_options) for _ in range(3)))
    await nodes[0].run_put(run("r1"))
    lease = await nodes[0].lease_take("r1", 2, "n1", -1)
    began = asyncio.Event()

    async def steps(node: SqlStore, name: str) -> None:
        number = 0
        while await node.attempt_begin(attempt(f"{name}{number}"), lease) is Begun.YES:
            began.set()
            number += 1

    async with asyncio.TaskGroup() as tasks:
        for number, node in enumerate(nodes):
            for name in "abcde":
                tasks.create_task(steps(node, f"{name}{number}."))
        await began.wait()
        if by == "order":
            await nodes[0].order_stop("anna", "now", "fire", hold=False)
        else:
            assert await nodes[0].lease_take("r1", 2, "n2", 60)
        known = await nodes[0].attempt_list("r1")
    assert await nodes[0].attempt_list("r1") == known
    for node in nodes:
        await node.close()
