"""Alerts in, suggestions out: an alert becomes a card that asks a person, never an action.

Called by the bus listener and by webhooks. Knows no sockets and has no way to the executor of its own: a person who
accepts a card gets a plan, and policy decides about it as about every other. Words of an alert are only ever shown as
quotes; a plan takes a value out of an alert only where the host itself lists that value.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson

from llmcore import envelope, events
from llmcore.audit import Audit
from llmcore.catalog import Catalog
from llmcore.conversation import Conversations
from llmcore.errors import BadRequest, Conflict, Forbidden, LLMCoreError, NotFound
from llmcore.events import TOPIC_PREFIX, Activity
from llmcore.plan import Origin, Plan, Principal, plan_json
from llmcore.ports import Clock, Store, rfc3339
from llmcore.session import Session
from llmcore.streams import Topics

log = logging.getLogger(__name__)

SOURCE = Principal(name="alerts", role="observer", kind="service")
TITLE = "Alerts"
QUESTION = "Should I continue?"
_MAX_TEXT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """What is suggested for alerts whose labels match."""

    id: str
    title: str
    match: Mapping[str, str]
    """Label -> regular expression that its whole value has to fit."""
    steps: Sequence[Mapping[str, Any]]
    """Steps; a param `{"label": [...], "from": list}` is the first of those labels whose value the host lists."""


@dataclass(slots=True)
class Counters:
    """What came in, for `/metrics`."""

    accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Trickle:
    """How much of a flood is told: so many one by one, then one a second that stands for all since the last."""

    burst: float = 100.0
    _left: float = 100.0
    _at: float = 0.0
    _untold: int = 0

    def tell(self, now: float) -> int:
        """How many are to be told as one at this moment (monotonic seconds); 0: say nothing now."""
        self._left = min(self.burst, self._left + (now - self._at))
        self._at = now
        self._untold += 1
        if self._left < 1:
            return 0
        self._left -= 1
        told, self._untold = self._untold, 0
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Alerts and suggestions of this installation."""

    store: Store
    topics: Topics
    session: Session
    conversations: Conversations
    catalog: Catalog
    audit: Audit
    clock: Clock
    keys: Mapping[str, str]
    """Publisher -> secret."""
    runbooks: Sequence[Runbook]
    vocabulary: Callable[[], Mapping[str, Sequence[str]]]
    hide: Callable[[Any], Any] = lambda value: value
    """A JSON value without the secrets of this installation."""
    counters: Counters = field(default_factory=Counters)
    trickle: Trickle = field(default_factory=Trickle)

    # --- in ---

    async def listen(self, frames: AsyncIterator[str]) -> None:
        """Take frames of the alert channel until they end; a bad one does nothing but count and be told."""
        async for frame in frames:
            try:
                await self.take(frame)
            except LLMCoreError as error:
                self.counters.refused[error.code] = self.counters.refused.get(error.code, 0) + 1
                if count := self.trickle.tell(self.clock.monotonic()):
                    self.audit.note("alert.refused", SOURCE, reason=error.message, error=error.code, count=count)

    async def take(self, frame: str) -> None:
        """One signed frame; raises BadRequest, Unauthorized, Forbidden (stale), Conflict (replayed)."""
        event = envelope.read(frame, self.keys)
        if event.type != envelope.ALERT:
            raise BadRequest(f"This channel takes {envelope.ALERT}.")
        now = self.clock.now()
        if not envelope.fresh(event, now):
            raise Forbidden("The alert is too old, or its clock is wrong.")
        if not await self.store.event_first_seen(event.id, now):
            raise Conflict("The alert was told before.")
        await self.raised(event.data, event.publisher)

    async def webhook(self, alert: Mapping[str, Any]) -> None:
        """One alert in Alertmanager's shape from an authenticated webhook."""
        await self.raised(alert, "webhook")

    async def raised(self, alert: Any, source: str) -> None:
        """Store an alert; a new one that fires becomes a suggestion. Raises BadRequest for another shape."""
        labels, annotations = (self.hide(_texts(alert, name)) for name in ("labels", "annotations"))
        if not labels:
            raise BadRequest("An alert needs labels.")
        group = _fingerprint(labels)
        known = next((one for one in await self.store.alert_list() if one["fingerprint"] == group), None)
        state = "resolved" if str(alert.get("status", "firing")) == "resolved" else "firing"
        now = rfc3339(self.clock.now())
        stored = {
            "fingerprint": group,
            "labels": labels,
            "annotations": annotations,
            "severity": labels.get("severity", "none"),
            "state": state,
            "count": (known["count"] if known else 0) + 1,
            "first_at": known["first_at"] if known else now,
            "last_at": now,
            "source": source,
        }
        await asyncio.gather(
            self.store.alert_put(group, stored),
            self.audit.record("alert", SOURCE, fingerprint=group, labels=labels, state=state, source=source),
        )
        self.counters.accepted += 1
        await self._show(events.activity(Activity.ALERT, group, stored))
        if state == "firing" and (known is None or known["state"] == "resolved"):
            await self._suggest(stored)

    # --- suggestions ---

    async def _suggest(self, alert: Mapping[str, Any]) -> None:
        runbook, steps = self._fitting(alert["labels"])
        if runbook is None:
            return
        card: dict[str, Any] = {
            "id": f"sg_{uuid4().hex}",
            "status": "open",
            "created_at": rfc3339(self.clock.now()),
            "title": runbook.title,
            "question": QUESTION,
            "alert": dict(alert),
            "runbook": runbook.id,
            "steps": steps,
            "evidence": [{"source": f"alert {alert['fingerprint']}", "text": _quote(alert)}],
        }
        await self.store.suggestion_put(card)
        await self._show(events.activity(Activity.SUGGESTION, card["id"], card))
        text = f"{alert['labels'].get('alertname', 'An alert')} fires: {runbook.title}?"
        self.topics.broadcast("/notification", events.notification(text, 3, int(self.clock.now() * 1000)))

    def _fitting(self, labels: Mapping[str, str]) -> tuple[Runbook | None, list[dict[str, Any]]]:
        """The first runbook that matches and whose values the host itself lists."""
        listed = self.vocabulary()
        for runbook in self.runbooks:
            if not all(re.fullmatch(pattern, labels.get(name, "")) for name, pattern in runbook.match.items()):
                continue
            steps = [_filled(step, labels, listed) for step in runbook.steps]
            found = [step for step in steps if step is not None]
            if len(found) == len(steps) and all(step["intent"] in self.catalog for step in found):
                return runbook, found
        return None, []

    async def _show(self, event: events.Event) -> None:
        """Put a card into the Alerts chat of everyone who could act on it."""
        for user in await self.store.user_list():
            if user.role in ("admin", "developer"):
                person = Principal(name=user.name, role=user.role)
                topic = await self._chat_of(person)
                self.topics.publish(topic, event, None)

    async def _chat_of(self, person: Principal) -> str:
        known = await self.store.conversation_list(person.name, 1000)
        found = next((one for one in known if one.title == TITLE), None)
        if found is None:
            found, _ = await self.conversations.begin(None, person, TITLE)
            await self.conversations.touch(found)
        topic = f"{TOPIC_PREFIX}{found.conversation_id}"
        await self.topics.open(topic, found.conversation_id, person)
        return topic

    # --- what people do with them ---

    async def alerts(self) -> list[dict[str, Any]]:
        """Alert groups, newest first."""
        return [dict(alert) for alert in await self.store.alert_list()]

    async def suggestions(self, principal: Principal) -> list[dict[str, Any]]:
        """Cards, newest first, for those who could act on them."""
        self._check(principal)
        return [dict(card) for card in await self.store.suggestion_list()]

    async def accept(self, suggestion_id: str, principal: Principal) -> dict[str, Any]:
        """Make a card's plan, in the name of the person who accepted; policy decides who has to approve it."""
        card = await self._open_card(suggestion_id, principal)
        topic = await self._chat_of(principal)
        steps = self.catalog.steps(card["steps"])
        plan = Plan(
            plan_id=f"pl_{uuid4().hex}",
            requester=principal,
            conversation_id=topic.removeprefix(TOPIC_PREFIX),
            topic=topic,
            created_at=rfc3339(self.clock.now()),
            origin=Origin(kind="alert", id=card["alert"]["fingerprint"]),
            steps=steps,
            title=card["title"],
            request=card["title"],
            answered_by="template",
        )
        accepted = await self._settle(card, "accepted", principal, plan_id=plan.plan_id)
        proposed = await self.session.propose(plan, start=True)
        return {"suggestion": accepted, "plan": plan_json(proposed)}

    async def dismiss(self, suggestion_id: str, principal: Principal, reason: str) -> dict[str, Any]:
        """Put a card away, with the reason."""
        card = await self._open_card(suggestion_id, principal)
        return {"suggestion": await self._settle(card, "dismissed", principal, reason=reason)}

    async def _open_card(self, suggestion_id: str, principal: Principal) -> Mapping[str, Any]:
        self._check(principal)
        card = await self.store.suggestion_get(suggestion_id)
        if card is None:
            raise NotFound("There is no such suggestion.", suggestion_id=suggestion_id)
        return card

    async def _settle(self, card: Mapping[str, Any], status: str, principal: Principal, **more: Any) -> dict[str, Any]:
        settled = {**card, "status": status, "by": principal.name, **more}
        if not await self.store.suggestion_swap(settled, "open"):
            raise Conflict("Somebody has dealt with this suggestion already.", suggestion_id=card["id"])
        await self.audit.record(f"suggestion.{status}", principal, suggestion_id=card["id"], **more)
        await self._show(events.activity(Activity.SUGGESTION, card["id"], settled))
        return settled

    @staticmethod
    def _check(principal: Principal) -> None:
        if not principal.may_approve(()):
            raise Forbidden("Suggestions are for people who may act on them.")


def runbooks_of(entries: Iterable[Mapping[str, Any]]) -> list[Runbook]:
    """Runbooks from their file; raises KeyError or TypeError where a field is missing."""
    return [
        Runbook(id=entry["id"], title=entry["title"], match=entry["match"], steps=entry["steps"]) for entry in entries
    ]


def _filled(
    step: Mapping[str, Any], labels: Mapping[str, str], listed: Mapping[str, Sequence[str]]
) -> dict[str, Any] | None:
    """A step with values of the alert that the host lists; None if one is not there."""
    params: dict[str, Any] = {}
    for name, value in step.get("params", {}).items():
        if isinstance(value, Mapping) and "label" in value:
            known = listed.get(value["from"], ())
            value = next((labels[label] for label in value["label"] if labels.get(label) in known), None)
            if value is None:
                return None
        params[name] = value
    return {"intent": step["intent"], "params": params}


def _texts(alert: Any, field_name: str) -> dict[str, str]:
    """Labels or annotations as bounded text."""
    found = alert.get(field_name) if isinstance(alert, Mapping) else None
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise BadRequest(f"{field_name} must be an object of texts.")
    return {str(key)[:200]: str(value)[:_MAX_TEXT] for key, value in list(found.items())[:100]}


def _fingerprint(labels: Mapping[str, str]) -> str:
    return hashlib.sha256(orjson.dumps(labels, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _quote(alert: Mapping[str, Any]) -> str:
    words = alert["annotations"].get("summary") or alert["annotations"].get("description") or ""
    return str(words)[:500]
