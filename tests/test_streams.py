"""Topics: numbers without gaps, who gets what, resuming where one left off."""

from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore import events, streams
from llmcore.adapters.local import SystemClock
from llmcore.adapters.sql import SqlStore, StoreOptions, open_store
from llmcore.errors import BadParams, Forbidden, RateLimited
from llmcore.events import Event, StreamEvent
from llmcore.plan import Principal
from llmcore.streams import Topics

pytestmark = pytest.mark.asyncio

ANNA, BO = Principal(name="anna", role="admin"), Principal(name="bo", role="developer")
TOPIC = "/ui/updates/llm/cv_1"


class Screen:
    """A client that remembers what it was given."""

    def __init__(self, principal: Principal) -> None:
        """Nothing yet."""
        self.principal = principal
        self.events: list[StreamEvent] = []
        self.frames: list[Mapping[str, Any]] = []

    def deliver(self, event: StreamEvent) -> None:
        """Keep it."""
        self.events.append(event)

    def broadcast(self, frame: Mapping[str, Any]) -> None:
        """Keep it."""
        self.frames.append(frame)

    @property
    def text(self) -> str:
        """All deltas."""
        return "".join(event.event.get("delta", "") for event in self.events)


async def no_snapshots(_: str) -> Iterable[Event]:
    """A topic without plans."""
    return []


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    """A real store."""
    opened = await open_store(StoreOptions(url=f"sqlite:///{tmp_path}/llmcore.db"))
    yield opened
    await opened.close()


@pytest.fixture
def topics(store: SqlStore) -> Topics:
    """Topics over it."""
    return Topics(store, SystemClock(), no_snapshots)


async def test_owner_gets_events_without_subscribing_and_only_once(topics: Topics) -> None:
    """Every socket of the owner, whether subscribed or not, gets each event once, numbered without a gap."""
    first, second, stranger = Screen(ANNA), Screen(ANNA), Screen(BO)
    for screen in (first, second, stranger):
        topics.connect(screen)
    await topics.subscribe(TOPIC, first)
    await topics.open(TOPIC, "cv_1", ANNA)
    for piece in "abc":
        topics.publish(TOPIC, events.text_content("m", piece), "rn")
    assert [event.seq for event in first.events] == [1, 2, 3]
    assert first.text == second.text == "abc"
    assert not stranger.events
    assert first.events[0].epoch == 1


async def test_approver_who_joins_gets_what_comes_after(topics: Topics) -> None:
    """On all their sockets."""
    helper = Screen(BO)
    topics.connect(helper)
    await topics.open(TOPIC, "cv_1", ANNA)
    topics.publish(TOPIC, events.text_content("m", "before"), "rn")
    topics.join(TOPIC, BO)
    topics.publish(TOPIC, events.text_content("m", "after"), "rn")
    assert helper.text == "after"
    assert topics.viewers(TOPIC) == 1


async def test_foreign_topic_is_refused(topics: Topics) -> None:
    """Neither subscribed, nor resumed, nor published on; also before this process has opened it."""
    await topics.open(TOPIC, "cv_1", ANNA)
    stranger = Screen(BO)
    with pytest.raises(Forbidden):
        await topics.subscribe(TOPIC, stranger)
    with pytest.raises(Forbidden):
        await topics.resume(TOPIC, stranger, 0, None)
    with pytest.raises(Forbidden):
        await topics.open(TOPIC, "cv_2", BO)


async def test_reader_who_waits_at_a_name_gets_nothing_of_another_owner(topics: Topics) -> None:
    """Who subscribed before the topic existed keeps it only if it becomes their own."""
    early_owner, early_stranger = Screen(ANNA), Screen(BO)
    await topics.subscribe(TOPIC, early_owner)
    await topics.subscribe(TOPIC, early_stranger)
    await topics.open(TOPIC, "cv_1", ANNA)
    topics.publish(TOPIC, events.text_content("m", "x"), "rn")
    assert (early_owner.text, early_stranger.text) == ("x", "")


@pytest.mark.parametrize("after", range(7))
async def test_resume_gives_exactly_what_was_missed(topics: Topics, after: int) -> None:
    """At any number, also inside a run of deltas that is kept as one."""
    await topics.open(TOPIC, "cv_1", ANNA)
    pieces = ["a", "b", "c", "d", "e"]
    for piece in pieces:
        topics.publish(TOPIC, events.text_content("m", piece), "rn")
    topics.publish(TOPIC, events.text_end("m"), "rn")
    screen = Screen(ANNA)
    answer = await topics.resume(TOPIC, screen, after, 1)
    assert answer == {"topic": TOPIC, "epoch": 1, "last_seq": 6}
    assert screen.text == "".join(pieces[after:])
    seen = [number for event in screen.events for number in range(event.first_seq, event.seq + 1)]
    assert seen == list(range(after + 1, 7))


async def test_live_events_follow_what_was_replayed(topics: Topics) -> None:
    """Resuming subscribes."""
    await topics.open(TOPIC, "cv_1", ANNA)
    topics.publish(TOPIC, events.text_content("m", "a"), "rn")
    screen = Screen(ANNA)
    await topics.resume(TOPIC, screen, 0, None)
    topics.publish(TOPIC, events.text_content("m", "b"), "rn")
    assert screen.text == "ab"


async def test_what_is_not_kept_any_more_is_replaced_by_snapshots(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader learns the present state instead of the way there."""
    monkeypatch.setattr(streams, "KEEP_CHARS", 2_000)

    async def one_plan(_: str) -> Iterable[Event]:
        return [events.activity(events.Activity.PLAN, "pl", {"plan_id": "pl"})]

    topics = Topics(store, SystemClock(), one_plan)
    await topics.open(TOPIC, "cv_1", ANNA)
    for number in range(50):
        topics.publish(TOPIC, events.step_started(f"s{number}"), "rn")
    screen = Screen(ANNA)
    answer = await topics.resume(TOPIC, screen, 1, 1)
    assert [event.event["type"] for event in screen.events] == ["ACTIVITY_SNAPSHOT"]
    assert answer["last_seq"] == screen.events[-1].seq == 51


async def test_after_a_restart_the_epoch_rises_and_begins_with_snapshots(store: SqlStore) -> None:
    """A reader with an old number sees the new epoch from its beginning."""

    async def one_plan(_: str) -> Iterable[Event]:
        return [events.activity(events.Activity.PLAN, "pl", {"plan_id": "pl"})]

    before = Topics(store, SystemClock(), one_plan)
    await before.open(TOPIC, "cv_1", ANNA)
    before.publish(TOPIC, events.text_content("m", "a"), "rn")
    after = Topics(store, SystemClock(), one_plan)
    screen = Screen(ANNA)
    await after.open(TOPIC, "cv_1", ANNA)
    after.publish(TOPIC, events.text_content("m", "b"), "rn")
    answer = await after.resume(TOPIC, screen, 700, 1)
    assert answer["epoch"] == 2
    assert [(event.epoch, event.seq) for event in screen.events] == [(2, 1), (2, 2)]
    assert screen.events[0].event["type"] == "ACTIVITY_SNAPSHOT"


async def test_topic_that_nobody_uses_any_more_is_forgotten(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded; the next use is a new epoch."""
    monkeypatch.setattr(streams, "KEEP_TOPICS", 1)
    await topics.open(TOPIC, "cv_1", ANNA)
    topics.publish(TOPIC, events.run_error("x", "internal"), "rn")
    await topics.open(f"{TOPIC}b", "cv_2", ANNA)
    screen = Screen(ANNA)
    assert await topics.resume(TOPIC, screen, 9, 1) == {"topic": TOPIC, "epoch": 2, "last_seq": 0}
    topics.publish(TOPIC, events.text_content("m", "x"), "rn")
    assert screen.events[-1].epoch == 2


async def test_topic_that_never_was_can_be_waited_at(topics: Topics) -> None:
    """A client may resume before it asks, to miss nothing."""
    screen = Screen(ANNA)
    assert await topics.resume(TOPIC, screen, 0, None) == {"topic": TOPIC, "epoch": 1, "last_seq": 0}
    await topics.open(TOPIC, "cv_1", ANNA)
    topics.publish(TOPIC, events.text_content("m", "x"), "rn")
    assert screen.text == "x"


async def test_client_that_left_gets_nothing_and_its_topics_are_told(topics: Topics) -> None:
    """The session asks who still reads."""
    screen = Screen(ANNA)
    topics.connect(screen)
    await topics.subscribe("/stats", screen)
    await topics.open(TOPIC, "cv_1", ANNA)
    topics.publish(TOPIC, events.text_content("m", "x"), "rn")
    assert topics.disconnect(screen) == [TOPIC]
    topics.publish(TOPIC, events.text_content("m", "y"), "rn")
    topics.broadcast("/stats", {"a": 1})
    assert screen.text == "x"
    assert not screen.frames
    assert topics.viewers(TOPIC) == 0


async def test_open_topics_are_for_everybody(topics: Topics) -> None:
    """Statistics and notifications; unknown names are refused."""
    screen = Screen(BO)
    topics.connect(screen)
    await topics.subscribe("/stats", screen)
    topics.broadcast("/stats", {"cpu": 1})
    topics.broadcast("/notification", {"hello": 1})
    topics.unsubscribe("/stats", screen)
    topics.broadcast("/stats", {"cpu": 2})
    assert screen.frames == [{"cpu": 1}, {"hello": 1}]
    with pytest.raises(BadParams):
        await topics.subscribe("/nonsense", screen)
    with pytest.raises(BadParams):
        await topics.open("/stats", "cv_1", BO)


async def test_unsubscribed_participant_still_takes_part(topics: Topics) -> None:
    """Subscribing is not what makes an owner hear of their own run."""
    screen = Screen(ANNA)
    topics.connect(screen)
    await topics.open(TOPIC, "cv_1", ANNA)
    await topics.subscribe(TOPIC, screen)
    topics.unsubscribe(TOPIC, screen)
    topics.publish(TOPIC, events.text_content("m", "x"), "rn")
    assert screen.text == "x"


async def test_what_is_kept_of_all_topics_is_bounded(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one used longest ago goes first, its owner connected or not; never one that runs or has subscribers."""
    monkeypatch.setattr(streams, "KEEP_ALL_CHARS", 4_500)
    screen = Screen(ANNA)
    topics.connect(screen)
    names = [f"{TOPIC}{letter}" for letter in "abcdef"]
    for name in names[:4]:
        await topics.open(name, "cv_1", ANNA)
        topics.publish(name, events.text_content("m", "x" * 900), "rn")
    for name in names[1:4]:
        topics.publish(name, events.run_error("x", "internal"), "rn")
    await topics.subscribe(names[1], screen)
    await topics.open(names[2], "cv_1", ANNA)
    await topics.open(names[4], "cv_1", ANNA)
    kept = [name for name in names if (await topics.resume(name, Screen(ANNA), 0, None))["last_seq"]]
    assert kept == [names[0], names[1], names[2]]


async def test_a_client_cannot_wait_at_any_number_of_topics(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at chats that are not there nor at the others; what it leaves makes room."""
    monkeypatch.setattr(streams, "MAX_SUBSCRIPTIONS", 2)
    screen = Screen(ANNA)
    for prefix in ("/ui/updates/llm/", "/ui/updates/"):
        for number in range(2):
            await topics.subscribe(f"{prefix}{number}", screen)
        with pytest.raises(RateLimited):
            await topics.subscribe(f"{prefix}2", screen)
        topics.unsubscribe(f"{prefix}0", screen)
        await topics.subscribe(f"{prefix}2", screen)


async def test_who_takes_part_does_not_speak_there(topics: Topics) -> None:
    """Somebody who approved a plan reads its topic, and cannot publish a chat of their own on it."""
    await topics.open(TOPIC, "cv_1", ANNA)
    topics.join(TOPIC, BO)
    await topics.check_reader(TOPIC, BO)
    with pytest.raises(Forbidden):
        await topics.open(TOPIC, "cv_2", BO)
