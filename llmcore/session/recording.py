"""Keeps how each request of a chat was understood, so that it can be planned again later: `llmcore replay`.

Called by understanding (what the planner read and said) and by carrying (the plan that came of it). Nothing here may
disturb a turn: recordings are handed to the store without waiting, and what cannot be kept is only told to the log.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, cast

import llmcore.planner
from llmcore.audit import canonical
from llmcore.errors import LLMCoreError
from llmcore.plan import Plan, plan_json
from llmcore.planner import Draft, DraftStep, Finding, PlanRequest
from llmcore.ports import Clock, Message, Model, ModelEvent, ModelRequest, Store, TextDelta, rfc3339
from llmcore.session.turn import Turn

CUT = "… (cut)"
_CUTS = ((20_000, 1_000), (4_000, 300), (800, 60), (100, 10))
"""Longest text and longest list, tried one after the other until a recording is small enough."""
_DAY_S = 86_400.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingOptions:
    """How much is kept, and how long."""

    days: float = 90.0
    """0 keeps none."""
    max_bytes: int = 262_144


class Tape:
    """A model whose requests and replies are noted; otherwise it is the model inside."""

    def __init__(self, model: Model) -> None:
        """Listen to `model`."""
        self._model = model
        self.exchanges: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """Of the model inside."""
        return self._model.name

    @property
    def available(self) -> bool:
        """Of the model inside."""
        return self._model.available

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """As the port says."""
        noted = request_json(request)
        exchange: dict[str, Any] = {"request": noted, "request_sha256": digest_of(noted), "reply": ""}
        self.exchanges.append(exchange)
        try:
            async with aclosing(cast(AsyncGenerator[ModelEvent, None], self._model.stream(request))) as events:
                async for event in events:
                    exchange |= _heard(exchange, event)
                    yield event
        except LLMCoreError as error:
            exchange["error"] = {"error": error.code, "message": error.message}
            raise


def _heard(exchange: Mapping[str, Any], event: ModelEvent) -> dict[str, Any]:
    if isinstance(event, TextDelta):
        return {"reply": exchange["reply"] + event.text}
    usage = event.usage
    return {
        "reason": event.reason,
        "provider": event.provider,
        "model": event.model,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_tokens": usage.cached_tokens,
        },
    }


class Recorder:
    """Keeps recordings; made once, in `app`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        redact: Callable[[Any], Any],
        versions: Callable[[], Mapping[str, str]],
        options: RecordingOptions | None = None,
    ) -> None:
        """`redact` takes secrets out of a JSON value; `versions` are those of catalogue and policy."""
        self._store = store
        self._clock = clock
        self._redact = redact
        self._versions = versions
        self._lists: tuple[Any, Any] = ({}, {})
        """The host's lists of the last request, and the same without secrets."""
        self.options = options or RecordingOptions()

    def versions(self) -> dict[str, str]:
        """Of all that a plan depends on, as they are now."""
        return {**self._versions(), "planner": PLANNER}

    def drafted(
        self,
        turn: Turn,
        request: PlanRequest,
        tape: Tape,
        draft: Draft,
        before: str,
        findings: Sequence[Finding] = (),
    ) -> None:
        """Note what the planner read and made of it.

        `before` are words of an earlier request that these complete, `findings` the results that it saw.
        """
        if not turn.recording:
            owner = {"name": turn.run.owner.name, "role": turn.run.owner.role, "kind": turn.run.owner.kind}
            turn.recording = {"run_id": turn.run.run_id, "owner": owner, "rounds": [], "redacted": False, "cut": False}
            turn.recording["options"] = self._clean(turn, turn.run.request.get("options", {}))
        told = {
            "request": planning_json(request),
            "before": before,
            "findings": [asdict(finding) for finding in findings],
            "draft": draft_json(draft),
            "plan": None,
        }
        turn.recording["rounds"].append(
            {
                "at": rfc3339(self._clock.now()),
                "versions": self.versions(),
                "model": tape.name if tape.available else None,
                "exchanges": [self._exchange(turn, exchange) for exchange in tape.exchanges],
                **self._round(turn, told),
            }
        )
        self._keep(turn)

    def planned(self, turn: Turn, plan: Plan) -> None:
        """Note the plan that came of the last draft, with what policy said of it at this moment."""
        if turn.recording:
            told = {"plan": self._clean(turn, plan_json(plan)), "judged_at": rfc3339(self._clock.now())}
            turn.recording["rounds"][-1] |= told
            self._keep(turn)

    def _clean(self, turn: Turn, value: Mapping[str, Any]) -> dict[str, Any]:
        """A part of the recording without secrets; the recording says if there were any."""
        told: dict[str, Any] = self._redact(value)
        turn.recording["redacted"] |= canonical(told) != canonical(value)
        return told

    def _round(self, turn: Turn, told: dict[str, Any]) -> dict[str, Any]:
        lists = told["request"].pop("vocabulary")
        if lists != self._lists[0]:  # the same from turn to turn, and long
            self._lists = (lists, self._redact(lists))
        clean = self._clean(turn, told)
        return {**clean, "request": {**clean["request"], "vocabulary": self._lists[1]}}

    def _exchange(self, turn: Turn, exchange: Mapping[str, Any]) -> dict[str, Any]:
        """What was said; what was asked is only for people to read, so it may lose secrets without a word."""
        said = {key: value for key, value in exchange.items() if key != "request"}
        return {**self._clean(turn, said), "request": self._redact(exchange["request"])}

    def _keep(self, turn: Turn) -> None:
        if self.options.days <= 0:
            return
        try:
            self._store.admit()
            document = self._bounded(turn.recording)
            writing = self._store.recording_submit(turn.run.run_id, self._clock.now(), document)
        except LLMCoreError as error:
            _not_kept(turn.run.run_id, error)
        else:
            writing.add_done_callback(partial(_written, turn.run.run_id))

    def _bounded(self, recording: dict[str, Any]) -> dict[str, Any]:
        """The recording, not too large; it says if it is no longer what the planner read."""
        if len(canonical(recording)) <= self.options.max_bytes:
            return recording
        told = _without_prompts(recording)  # their hashes are enough to see that prompts have changed
        for chars, items in _CUTS:
            if len(canonical(told)) <= self.options.max_bytes:
                break
            told = {**cut(told, chars, items), "cut": True}
        return told

    async def get(self, run_id: str) -> Mapping[str, Any] | None:
        """The recording of a run, None if there is none; raises Unavailable."""
        return await self._store.recording_get(run_id)

    async def forget(self) -> int:
        """Remove recordings that are too old; returns how many. Raises Unavailable."""
        return await self._store.recordings_forget(self._clock.now() - self.options.days * _DAY_S)


def model_of(turn: Turn) -> str | None:
    """The model that answered last while this turn was planned; None if none did."""
    exchanges = (exchange for part in turn.recording.get("rounds", ()) for exchange in part["exchanges"])
    return next((exchange["model"] for exchange in reversed(list(exchanges)) if "model" in exchange), None)


def _written(run_id: str, writing: asyncio.Future[None]) -> None:
    error = None if writing.cancelled() else writing.exception()
    if error is not None:
        _not_kept(run_id, error)


def _not_kept(run_id: str, error: BaseException) -> None:
    log.warning("a recording is not kept: %s", error, extra={"action": "recording", "run": run_id})


def _without_prompts(recording: Mapping[str, Any]) -> dict[str, Any]:
    """A recording without what the model was asked."""
    rounds = [
        {**part, "exchanges": [{**exchange, "request": CUT} for exchange in part["exchanges"]]}
        for part in recording["rounds"]
    ]
    return {**recording, "rounds": rounds}


def cut(value: Any, chars: int, items: int) -> Any:
    """A JSON value whose texts and lists are not longer than that; what was cut says so."""
    if isinstance(value, str):
        return value if len(value) <= chars else value[:chars] + CUT
    if isinstance(value, Mapping):
        return {key: cut(inner, chars, items) for key, inner in value.items()}
    if isinstance(value, list):
        return [cut(inner, chars, items) for inner in value[:items]]
    return value


def _planner_version() -> str:
    hashed = hashlib.sha256()
    for folder in llmcore.planner.__path__:
        for path in sorted(Path(folder).glob("*.py")):
            hashed.update(path.name.encode() + b"\n" + path.read_bytes())
    return hashed.hexdigest()[:16]


PLANNER = _planner_version()
"""Changes with any line of the planner."""


# --- values as JSON and back ---------------------------------------------------------------------------------------


def request_json(request: ModelRequest) -> dict[str, Any]:
    """What a model was asked."""
    return {
        "messages": [_message_json(message) for message in request.messages],
        "schema": request.schema,
        "model": request.model,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
    }


def _message_json(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.content}


def digest_of(value: Any) -> str:
    """By which two requests are told apart."""
    return hashlib.sha256(canonical(value)).hexdigest()


_OWN = frozenset({"principal", "visible", "history", "pending", "template", "setting"})
"""Fields of a request that are not written as they are."""


def planning_json(request: PlanRequest) -> dict[str, Any]:
    """All that the planner read, except who asked and what it remembered of others."""
    plain = {field.name: getattr(request, field.name) for field in fields(request) if field.name not in _OWN}
    return {
        **plain,
        "vocabulary": {name: list(values) for name, values in request.vocabulary.items()},
        "visible": [intent.name for intent in request.visible],
        "history": [_message_json(message) for message in request.history],
        "pending": draft_json(request.pending) if request.pending else None,
        "template": draft_json(request.template) if request.template else None,
    }


def planning_from_json(data: Mapping[str, Any], **now: Any) -> PlanRequest:
    """The request again; `now` are `principal` and `visible`. What a later version does not know is left out."""
    known = {field.name for field in fields(PlanRequest)} - _OWN
    return PlanRequest(
        **{name: value for name, value in data.items() if name in known},
        history=tuple(Message(one["role"], one["content"]) for one in data["history"]),
        pending=draft_from_json(data["pending"]) if data["pending"] else None,
        template=draft_from_json(data["template"]) if data["template"] else None,
        **now,
    )


def draft_json(draft: Draft) -> dict[str, Any]:
    """What the planner made of it, without what it cost."""
    return {
        "kind": draft.kind,
        "steps": steps_json(draft),
        "text": draft.text,
        "answered_by": draft.answered_by,
        "confidence": draft.confidence,
        "missing": list(draft.missing),
        "nearest": list(draft.nearest),
        "tainted": draft.tainted,
    }


def steps_json(draft: Draft) -> list[dict[str, Any]]:
    """The steps of a draft."""
    return [
        {
            "intent": step.intent,
            "params": dict(step.params),
            "needs": list(step.needs),
            "when": step.when,
            "rules": dict(step.rules),
        }
        for step in draft.steps
    ]


def draft_from_json(data: Mapping[str, Any]) -> Draft:
    """The opposite of `draft_json`."""
    steps = tuple(DraftStep(**{**step, "needs": tuple(step["needs"])}) for step in data["steps"])
    listed = {name: tuple(data[name]) for name in ("missing", "nearest")}
    return Draft(**{**data, **listed, "steps": steps})
