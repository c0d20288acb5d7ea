"""A session over the rooms of `tests.rooms`, with a planner and a model whose words a test sets."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmcore.adapters.local import LocalQueue
from llmcore.adapters.sql import StoreOptions
from llmcore.conversation import Conversations
from llmcore.errors import ProviderError
from llmcore.events import TOPIC_PREFIX, Event, StreamEvent
from llmcore.plan import Principal
from llmcore.planner import Draft, Finding, Planner, PlanRequest
from llmcore.ports import Finished, Model, ModelEvent, ModelRequest, Run, TextDelta, Usage
from llmcore.redaction import Redactor
from llmcore.session import (
    ModelCalls,
    Proposer,
    Recorder,
    Replayer,
    Segments,
    Session,
    SessionOptions,
    Speaker,
    Understanding,
    snapshots,
)
from llmcore.streams import Topics
from llmcore.templates import Templates
from tests.rooms import ANNA, POLICY, Rooms, rooms


class Said(Planner):
    """A planner that drafts what the test says."""

    def __init__(self) -> None:
        """It can do nothing yet."""
        self.drafts: list[Draft] = []
        self.further_drafts: list[Draft] = []
        self.findings: list[Sequence[Finding]] = []
        """What it was told before each further draft."""
        self.requests: list[PlanRequest] = []
        self.models: list[Model | None] = []

    @classmethod
    def over(cls, other: Planner, model: Model | None) -> Planner:
        """The same, with the model noted."""
        assert isinstance(other, Said)
        other.models.append(model)
        return other

    async def plan(self, request: PlanRequest) -> Draft:
        """The next draft."""
        self.requests.append(request)
        return self.drafts.pop(0) if self.drafts else Draft(kind="none", text="I cannot do that.")

    async def further(self, request: PlanRequest, findings: Sequence[Finding]) -> Draft:
        """The next draft that results ask for."""
        self.findings.append(findings)
        return self.further_drafts.pop(0) if self.further_drafts else Draft(kind="answer")


@dataclass(slots=True)
class Voice:
    """A model that says what the test sets."""

    pieces: Sequence[str] = ("Hello", " there.")
    name: str = "scripted"
    available: bool = True
    finishes: bool = True
    pause: Callable[[], Any] | None = None
    """Awaited after each piece."""
    requests: list[ModelRequest] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    chosen: list[Mapping[str, Any]] = field(default_factory=list)
    """The options with which planning asked for a model."""

    def of(self, options: Mapping[str, Any]) -> "Voice":
        """This model, whatever is chosen."""
        self.chosen.append(options)
        return self

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """The pieces, then the end or a broken stream."""
        self.requests.append(request)
        try:
            for piece in self.pieces:
                yield TextDelta(piece)
                if self.pause is not None:
                    await self.pause()
            if not self.finishes:
                raise ProviderError("The stream ended early.")
            yield Finished(reason="stop", model="m", provider=self.name, usage=Usage(input_tokens=3, output_tokens=2))
        finally:
            self.closed.set()


class Watcher:
    """A client that notes events and can wait for one."""

    def __init__(self, principal: Principal) -> None:
        """Nothing seen yet."""
        self.principal = principal
        self.events: list[StreamEvent] = []
        self._news = asyncio.Event()

    def deliver(self, event: StreamEvent) -> None:
        """Note it."""
        self.events.append(event)
        self._news.set()

    def broadcast(self, frame: Mapping[str, Any]) -> None:
        """Of no interest here."""

    async def until(self, kind: str, count: int = 1) -> Event:
        """The `count`-th event of a type."""
        while True:
            found = [event.event for event in self.events if event.event["type"] == kind]
            if len(found) >= count:
                return found[count - 1]
            self._news.clear()
            async with asyncio.timeout(30):
                await self._news.wait()

    @property
    def kinds(self) -> list[str]:
        """Types of the events, in order."""
        return [event.event["type"] for event in self.events]

    @property
    def text(self) -> str:
        """All that was said."""
        return "".join(event.event["delta"] for event in self.events if event.event["type"] == "TEXT_MESSAGE_CONTENT")


@dataclass(slots=True)
class Stage:
    """Everything a test of turns needs."""

    rooms: Rooms
    session: Session
    topics: Topics
    queue: LocalQueue
    planner: Said
    voice: Voice
    conversations: Conversations
    watcher: Watcher
    replayer: Replayer

    async def ask(self, prompt: str, owner: Principal = ANNA, **asked: Any) -> Run:
        """Begin a turn in a new conversation, or in `conversation_id`."""
        conversation_id = asked.pop("conversation_id", None)
        conversation, _ = await self.conversations.begin(conversation_id, owner, prompt)
        request = {"prompt": prompt, "mode": "auto", "options": {}, "context": {}, **asked}
        topic = f"{TOPIC_PREFIX}{conversation.conversation_id}"
        return await self.session.chat(request, conversation, topic, owner)

    async def ended(self, run: Run) -> Run:
        """The run as it is stored once its segment has ended."""
        await self.session.settled(run.run_id)
        stored = await self.rooms.store.run_get(run.run_id)
        assert stored is not None
        return stored


@asynccontextmanager
async def stage(
    folder: Path,
    *,
    policy: str = POLICY,
    parallel: int = 200,
    options: StoreOptions | None = None,
    node: str = "nd_alone",
    lease_s: float = 15.0,
) -> AsyncIterator[Stage]:
    """Open it on the store in `folder`, or another one; segments of an earlier life run first."""
    async with rooms(folder, policy, options=options) as house, asyncio.TaskGroup() as tasks:
        store, clock = house.store, house.clock
        topics = Topics(store, clock, lambda topic: snapshots(store, topic))
        queue = LocalQueue(store, tasks, node, parallel=parallel)
        conversations = Conversations(store, clock)
        planner, voice, watcher = Said(), Voice(), Watcher(ANNA)
        vocabulary = {"targets": ["nginx", "shop"]}
        proposer = Proposer(house.catalog, house.host, house.judge, house.approvals, lambda: vocabulary)
        calls = ModelCalls()
        recorder = Recorder(store, clock, Redactor(["c4nary"]).value, lambda: {"catalog": "c1", "policy": "p1"})
        templates = Templates(store, house.catalog, house.audit, clock)
        understanding = Understanding(
            house.catalog, planner, voice.of, conversations, lambda: vocabulary, clock, calls, recorder, templates
        )
        segments = Segments(
            store=store,
            catalog=house.catalog,
            understanding=understanding,
            speaker=Speaker(lambda _: voice, calls),
            proposer=proposer,
            executor=house.executor,
            audit=house.audit,
            clock=clock,
            recorder=recorder,
        )
        session = Session(segments, topics, queue, SessionOptions(wait_s=30, node=node, lease_s=lease_s))
        replayer = Replayer(understanding, proposer, recorder)
        topics.connect(watcher)
        await queue.start(session.work)
        try:
            yield Stage(house, session, topics, queue, planner, voice, conversations, watcher, replayer)
        finally:
            await queue.stop(0)
