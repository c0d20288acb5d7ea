"""Topics: numbers the events of a conversation, keeps them for a while, hands them to whoever may see them.

Called by session and api to publish, by doors to connect clients. Knows neither Tornado nor how a client writes: a
client is a `Sink` that takes events without blocking. Numbers (`seq`) have no gap within an epoch; a new epoch begins
whenever this process opens the topic, so a reader can tell that numbers start again.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmcore.errors import BadParams, Forbidden, RateLimited
from llmcore.events import TOPIC_PREFIX, Event, StreamEvent, encode
from llmcore.plan import Principal
from llmcore.ports import Clock, Store

OPEN_TOPICS = ("/stats", "/notification", "/ui/updates", "/ping", "/script", "/logging")
"""Topics outside chats that anyone logged in may read (and everything below them)."""
KEEP_CHARS = 1_000_000
"""About how many characters of events a topic keeps for `resume`."""
KEEP_TOPICS = 2_000
KEEP_ALL_CHARS = 32_000_000
"""Beyond this many topics, or characters in all of them, those that rest and were used longest ago are forgotten,
unless somebody is subscribed; the next use begins a new epoch."""
MAX_SUBSCRIPTIONS = 1_000
"""Topics that one client may wait at."""

Snapshots = Callable[[str], Awaitable[Iterable[Event]]]
"""The present state of a topic as snapshot events."""


class Sink(Protocol):
    """One connected client. Both methods return at once and never raise."""

    @property
    def principal(self) -> Principal:
        """Who is behind it."""
        ...

    def deliver(self, event: StreamEvent) -> None:
        """Take an event of a chat topic; it must not be lost."""
        ...

    def broadcast(self, frame: Mapping[str, Any]) -> None:
        """Take a ready envelope of another topic; may be dropped while the client is slow."""
        ...


@dataclass(slots=True)
class _Kept:
    """One kept event, or a run of text deltas of one message held as pieces so that any number can be resumed at."""

    first_seq: int
    run_id: str | None
    event: Event
    timestamp_ms: int
    weight: int
    """Characters that it takes up."""
    pieces: list[str] | None = None

    @property
    def last_seq(self) -> int:
        return self.first_seq + (len(self.pieces) - 1 if self.pieces else 0)


@dataclass(slots=True)
class _Topic:
    name: str
    conversation_id: str
    epoch: int
    owner: str
    participants: set[str]
    """Names of those whose every socket gets the events: who started, who approved."""
    seq: int = 0
    kept: deque[_Kept] = field(default_factory=deque)
    kept_chars: int = 0
    weights: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Plan id -> how many steps it had when it was last weighed, and its weight."""
    subscribers: set[Sink] = field(default_factory=set)
    audience: tuple[Sink, ...] | None = None
    """Everyone who gets an event now; None: to be worked out."""

    @property
    def rests(self) -> bool:
        """True if no segment is under way and nobody is subscribed."""
        last = self.kept[-1] if self.kept else None
        ended = last is None or last.run_id is None or last.event["type"] in ("RUN_FINISHED", "RUN_ERROR")
        return ended and not self.subscribers


class Topics:
    """All topics of this process."""

    def __init__(self, store: Store, clock: Clock, snapshots: Snapshots) -> None:
        """`snapshots` gives the present state of a topic for readers who missed too much."""
        self._store = store
        self._clock = clock
        self._snapshots = snapshots
        self._topics: dict[str, _Topic] = {}
        """In order of use."""
        self._chars = 0
        self._early: dict[str, set[Sink]] = {}
        self._open: dict[str, set[Sink]] = {}
        self._sinks: dict[str, set[Sink]] = {}

    # --- clients ---

    def connect(self, sink: Sink) -> None:
        """A client is there; it gets the events of everything its principal takes part in."""
        self._sinks.setdefault(sink.principal.name, set()).add(sink)
        self._forget_audiences(sink.principal.name)
        self._open.setdefault("/notification", set()).add(sink)

    def disconnect(self, sink: Sink) -> list[str]:
        """A client is gone; returns the chat topics that it was viewing."""
        left = [topic.name for topic in self._topics.values() if sink in self._audience(topic)]
        mine = self._sinks.get(sink.principal.name, set())
        mine.discard(sink)
        if not mine:
            self._sinks.pop(sink.principal.name, None)
        for waited in (self._open, self._early):
            for name in [name for name, sinks in waited.items() if sink in sinks]:
                self._leave(waited, name, sink)
        for topic in self._topics.values():
            topic.subscribers.discard(sink)
            if topic.name in left:
                topic.audience = None
        return left

    async def subscribe(self, topic: str, sink: Sink) -> None:
        """Have a client get a topic's events; raises Forbidden for a chat that is not the caller's."""
        if not topic.startswith(TOPIC_PREFIX):
            if not any(topic == known or topic.startswith(known + "/") for known in OPEN_TOPICS):
                raise BadParams(
                    f"There is no topic {topic!r}.",
                    [{"pointer": "/topic", "message": f"must be one of {', '.join(OPEN_TOPICS)} or a chat's topic"}],
                )
            self._wait_at(self._open, topic, sink)
            return
        await self.check_reader(topic, sink.principal)
        found = self._topics.get(topic)
        if found is None:
            self._wait_at(self._early, topic, sink)
            return
        found.subscribers.add(sink)
        found.audience = None

    def unsubscribe(self, topic: str, sink: Sink) -> None:
        """Stop; a participant goes on getting the events of what they take part in."""
        for waited in (self._open, self._early):
            self._leave(waited, topic, sink)
        found = self._topics.get(topic)
        if found is not None:
            found.subscribers.discard(sink)
            found.audience = None

    @staticmethod
    def _wait_at(waited: dict[str, set[Sink]], topic: str, sink: Sink) -> None:
        if sum(sink in sinks for sinks in waited.values()) >= MAX_SUBSCRIPTIONS:
            raise RateLimited(f"A client may wait at {MAX_SUBSCRIPTIONS} topics: leave some first.", 1.0)
        waited.setdefault(topic, set()).add(sink)

    @staticmethod
    def _leave(waited: dict[str, set[Sink]], topic: str, sink: Sink) -> None:
        sinks = waited.get(topic, set())
        sinks.discard(sink)
        if not sinks:
            waited.pop(topic, None)

    async def check_reader(self, topic: str, principal: Principal) -> None:
        """Raise Forbidden for the topic of another user's conversation, unless they take part in it."""
        found = self._topics.get(topic)
        if found is None or principal.name not in found.participants:
            await self.check_owner(topic, principal)

    async def check_owner(self, topic: str, principal: Principal) -> None:
        """Raise Forbidden for a topic that somebody else has opened."""
        found = self._topics.get(topic)
        owner = found.owner if found else await self._store.topic_owner(topic)
        if owner is not None and owner != principal.name:
            raise Forbidden("This topic belongs to another user's conversation.", topic=topic)

    # --- publishing ---

    async def open(self, topic: str, conversation_id: str, owner: Principal) -> None:
        """Make sure that this process may publish on a topic; raises Forbidden if it is another owner's."""
        found = self._topics.get(topic)
        if found is not None:
            await self.check_owner(topic, owner)
            self._topics[topic] = self._topics.pop(topic)
            return
        if not topic.startswith(TOPIC_PREFIX) or len(topic) > 200:
            raise BadParams(
                "The topic is refused.",
                [{"pointer": "/topic", "message": f"must start with {TOPIC_PREFIX} and have at most 200 characters"}],
            )
        epoch = await self._store.topic_open(topic, conversation_id, owner.name)
        if topic in self._topics:  # another turn was quicker while we waited
            return
        early = self._early.pop(topic, set())
        readers = {sink for sink in early if sink.principal.name == owner.name}
        self._forget_quiet_topics()
        self._topics[topic] = _Topic(topic, conversation_id, epoch, owner.name, {owner.name}, subscribers=readers)
        if epoch > 1:
            for event in await self._snapshots(topic):
                self.publish(topic, event, None)

    def join(self, topic: str, principal: Principal) -> None:
        """Someone takes part (approves); from now on all their sockets get the events."""
        found = self._topics.get(topic)
        if found is not None:
            found.participants.add(principal.name)
            found.audience = None

    def publish(self, topic: str, event: Event, run_id: str | None) -> None:
        """Number an event and hand it out; the topic must be open. Never waits."""
        found = self._topics[topic]
        found.seq += 1
        now_ms = int(self._clock.now() * 1000)
        before = found.kept_chars
        self._keep(found, event, run_id, now_ms)
        self._chars += found.kept_chars - before
        numbered = StreamEvent(topic, found.epoch, found.seq, found.seq, run_id, found.conversation_id, event, now_ms)
        for sink in self._audience(found):
            sink.deliver(numbered)

    def broadcast(self, topic: str, frame: Mapping[str, Any]) -> None:
        """Hand a ready envelope to the subscribers of a topic outside chats."""
        for sink in tuple(self._open.get(topic, ())):
            sink.broadcast(frame)

    def viewers(self, topic: str) -> int:
        """How many connected clients get this topic's events."""
        found = self._topics.get(topic)
        return len(self._audience(found)) if found else 0

    def _audience(self, topic: _Topic) -> tuple[Sink, ...]:
        if topic.audience is None:
            sinks = set(topic.subscribers)
            for name in topic.participants:
                sinks |= self._sinks.get(name, set())
            topic.audience = tuple(sinks)
        return topic.audience

    def _forget_audiences(self, name: str) -> None:
        for topic in self._topics.values():
            if name in topic.participants:
                topic.audience = None

    # --- keeping and resuming ---

    @staticmethod
    def _keep(topic: _Topic, event: Event, run_id: str | None, now_ms: int) -> None:
        text = event["delta"] if event["type"] == "TEXT_MESSAGE_CONTENT" else None
        weight = len(text) + 64 if text is not None else _weight(topic, event)
        last = topic.kept[-1] if topic.kept else None
        if text is not None and last is not None and last.pieces and last.event["messageId"] == event["messageId"]:
            last.pieces.append(text)
            last.timestamp_ms = now_ms
            last.weight += weight
        else:
            pieces = [text] if text is not None else None
            topic.kept.append(_Kept(topic.seq, run_id, event, now_ms, weight, pieces))
        topic.kept_chars += weight
        while topic.kept_chars > KEEP_CHARS and len(topic.kept) > 1:
            topic.kept_chars -= topic.kept.popleft().weight

    async def resume(self, topic: str, sink: Sink, after_seq: int, epoch: int | None) -> dict[str, Any]:
        """Subscribe, hand over what was missed after `after_seq` of `epoch` in order, then live events.

        Without `epoch` the present one is meant. If what is missed is not kept any more, snapshots of the present
        state come first. Returns `{"topic", "epoch", "last_seq"}`.
        """
        await self.subscribe(topic, sink)
        found = self._topics.get(topic)
        if found is None:  # what a new epoch begins with is handed out by its opening
            found = await self._reopen(topic, sink)
            return {"topic": topic, "epoch": found.epoch if found else 1, "last_seq": found.seq if found else 0}
        oldest = found.kept[0].first_seq if found.kept else found.seq + 1
        same = epoch is None or epoch == found.epoch
        start = after_seq if same else 0
        if start + 1 < oldest:
            snapshots = list(await self._snapshots(topic))
            for event in snapshots:
                self.publish(topic, event, None)
            start = max(found.seq - len(snapshots), 0) if snapshots else oldest - 1
            return {"topic": topic, "epoch": found.epoch, "last_seq": found.seq}
        answer = {"topic": topic, "epoch": found.epoch, "last_seq": found.seq}
        for kept in tuple(found.kept):
            if kept.last_seq > start:
                sink.deliver(_replayed(found, kept, max(start + 1, kept.first_seq)))
        return answer

    async def _reopen(self, topic: str, sink: Sink) -> _Topic | None:
        """A topic of an earlier life of this process, or of another one, begins its next epoch here."""
        conversation_id = await self._store.topic_conversation(topic)
        if conversation_id is not None:
            await self.open(topic, conversation_id, sink.principal)
        return self._topics.get(topic)

    def _forget_quiet_topics(self) -> None:
        for name, topic in list(self._topics.items()):
            if len(self._topics) < KEEP_TOPICS and self._chars < KEEP_ALL_CHARS:
                return
            if topic.rests:
                self._chars -= topic.kept_chars
                del self._topics[name]


def _weight(topic: _Topic, event: Event) -> int:
    """Characters of an event; a plan that is told again and again is written out once to know, while it grows not."""
    if event["type"] != "ACTIVITY_SNAPSHOT" or "steps" not in event["content"]:
        return 300 + len(encode(event))
    size = len(event["content"]["steps"])
    known = topic.weights.get(event["messageId"])
    if known is None or known[0] != size:
        known = topic.weights[event["messageId"]] = (size, 300 + len(encode(event)))
    return known[1]


def _replayed(topic: _Topic, kept: _Kept, first_seq: int) -> StreamEvent:
    event = kept.event
    if kept.pieces is not None:
        event = {**event, "delta": "".join(kept.pieces[first_seq - kept.first_seq :])}
    return StreamEvent(
        topic.name, topic.epoch, first_seq, kept.last_seq, kept.run_id, topic.conversation_id, event, kept.timestamp_ms
    )
