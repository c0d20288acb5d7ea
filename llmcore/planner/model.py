"""The planner with a model: it picks intents and fills params; code checks, grounds and guards what it says.

Asked by `Planner` where the local matcher is not sure. Knows no vendor, no policy, and nothing of how plans run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmcore.catalog import Catalog
from llmcore.errors import ProviderError
from llmcore.intent import Intent
from llmcore.plan import Effect
from llmcore.planner import prompt, wording
from llmcore.planner.guard import asks_undo_on_failure, blocking
from llmcore.planner.lexicon import KIND_WORDS
from llmcore.planner.local import NAME, names_of
from llmcore.planner.reading import Reader, Reading
from llmcore.planner.reply import Reply, UnusableReply, parse
from llmcore.planner.values import Draft, DraftStep, Finding, PlannerOptions, PlanRequest
from llmcore.planner.words import Token
from llmcore.ports import Finished, Message, Model, ModelRequest, TextDelta, Usage

_ROUNDS = 2
_LONGEST = 20_000
_AGREED, _SAME_INTENTS, _ALONE, _LIKENESS = 0.95, 0.85, 0.4, 0.3
_SLIGHT = 0.2
_CONDITIONS = frozenset({"if", "unless", "when", "otherwise", "else", "fails", "undo", "revert", "rollback", "back"})
_INVESTIGATIONS = frozenset(
    {"investigate", "diagnose", "why", "cause", "reason", "figure", "troubleshoot", "fix", "solve", "repair", "needed"}
    | {"necessary", "whatever", "depending"}
)
_JOINTS = frozenset({"and", "then", ",", ";", "after", "afterwards", "before", "finally", "both"})


@dataclass(frozen=True, slots=True)
class _Spoken:
    text: str
    provider: str
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    text: str
    messages: Sequence[Message]
    schema: Mapping[str, Any]
    names: frozenset[str]
    """Intents that may be used."""
    said: str
    """What values have to stand in."""
    tainted: bool


class ModelPlanner:
    """Plans with a model. Immutable; safe to share."""

    def __init__(self, catalog: Catalog, reader: Reader, model: Model, options: PlannerOptions) -> None:
        """Use `reader` for examples and for a second opinion."""
        self._catalog = catalog
        self._reader = reader
        self._model = model
        self._options = options

    async def plan(self, request: PlanRequest) -> Draft:
        """A draft; raises what the model raises (ProviderError, TimedOut, Unavailable).

        A reply that cannot be used is sent back once with what is wrong; then the user is asked.
        """
        return await self._planned(request, self._asked(request))

    async def further(self, request: PlanRequest, findings: Sequence[Finding]) -> Draft:
        """What is to be done after these results: more steps, or `answer` if they are all. Always tainted.

        Values may come from the results, which others have written: so a person decides about every change of it.
        """
        before = [{"intent": found.intent, "params": dict(found.params)} for found in findings]
        asked = self._asked(request, investigating=True)
        told = prompt.further(json.dumps({"kind": "plan", "steps": before, "more": True}, default=str), findings)
        grown = replace(asked, messages=[*asked.messages, *told], said=f"{asked.said}\n{told[-1].content}")
        return replace(await self._planned(request, grown), tainted=True)

    def _asked(self, request: PlanRequest, *, investigating: bool = False) -> "_Asked":
        text = request.text.strip()[: self._options.max_text]
        history = list(request.history)[-self._options.history_turns :] if self._options.history_turns else []
        visible = sorted(request.visible, key=lambda intent: intent.name)
        names = frozenset(intent.name for intent in visible)
        shots = self._reader.index.similar(text, names, self._options.shots)
        words = {token.text.lower() for token in self._reader.index.lexer.read(text)}
        conditional = bool(words & _CONDITIONS)
        investigating = investigating or bool(words & _INVESTIGATIONS)
        return _Asked(
            text=text,
            messages=prompt.messages(
                visible, shots, history, text, conditional=conditional, investigating=investigating
            ),
            schema=prompt.schema(
                visible,
                chained=conditional or bool(words & _JOINTS),
                conditional=conditional,
                investigating=investigating,
            ),
            names=names,
            said="\n".join([*(message.content for message in history), text]),
            tainted=bool(history) and request.untrusted,
        )

    async def _planned(self, request: PlanRequest, asked: "_Asked") -> Draft:
        usage, provider, messages = Usage(), "", asked.messages
        for _ in range(_ROUNDS):
            request_ = ModelRequest(
                messages=messages, schema=asked.schema, temperature=0.0, max_tokens=self._options.max_tokens
            )
            spoken = await self._ask(request_)
            usage, provider = usage + spoken.usage, spoken.provider
            try:
                reply = parse(spoken.text, self._catalog, asked.names, asked.said)
            except UnusableReply as error:
                messages = [*messages, *prompt.repair(spoken.text, error.problems)]
                continue
            draft = self._draft(reply, request, asked.text)
            return replace(draft, answered_by=provider, usage=usage, tainted=asked.tainted)
        return Draft(
            kind="clarify",
            text="I did not understand that well enough to plan it. Please say it in other words, one thing at a time.",
            answered_by=provider,
            usage=usage,
            tainted=asked.tainted,
        )

    def recalled(self, steps: Sequence[DraftStep], request: PlanRequest) -> Draft | None:
        """A remembered plan for these words, as if a model had said it just now; None if a check refuses that."""
        raw = [
            {
                "intent": step.intent,
                "params": dict(step.params),
                "needs": list(step.needs),
                "when": step.when,
                **step.rules,
            }
            for step in steps
        ]
        text = request.text.strip()
        names = frozenset(intent.name for intent in request.visible)
        try:
            reply = parse(json.dumps({"kind": "plan", "steps": raw}), self._catalog, names, text)
        except UnusableReply:
            return None
        draft = self._draft(reply, request, text)
        return replace(draft, answered_by="cache") if draft.kind == "plan" and draft.steps == tuple(steps) else None

    async def _ask(self, request: ModelRequest) -> _Spoken:
        parts: list[str] = []
        finished: Finished | None = None
        async for event in self._model.stream(request):
            if isinstance(event, TextDelta):
                parts.append(event.text)
            else:
                finished = event
        if finished is None:
            raise ProviderError("The model's answer broke off.")
        text = "".join(parts)
        cut = finished.reason in ("length", "max_tokens") or len(text) > _LONGEST
        name = finished.provider or self._model.name
        return _Spoken("" if cut else text, "local_model" if name == NAME else name, finished.usage)

    def _draft(self, reply: Reply, request: PlanRequest, text: str) -> Draft:
        reading = self._reader.read(text, names_of(request.vocabulary), frozenset(one.name for one in request.visible))
        if reply.kind == "none":
            near = self._reader.nearest(reading)
            return Draft(
                kind="none",
                text=wording.cannot(near),
                confidence=round(1.0 - reading.confidence, 3),
                nearest=tuple(intent.name for intent in near),
            )
        if reply.kind == "answer":
            return Draft(kind="answer", confidence=0.5)
        refused = self._refused(reply, text, reading, request)
        if refused is not None:
            return refused
        confidence = self._confidence(reply.steps, reading)
        if reply.kind == "clarify":
            intent = self._catalog.get(reply.steps[reply.incomplete].intent)
            asks = wording.question(intent, reply.missing, request.vocabulary)
            return Draft(kind="clarify", steps=reply.steps, text=asks, confidence=confidence, missing=reply.missing)
        steps = reply.steps
        if asks_undo_on_failure(text):
            steps = tuple(replace(step, rules={**step.rules, "on_error": "undo"}) for step in steps)
        return Draft(kind="plan", steps=steps, confidence=confidence, more=reply.more)

    def _refused(self, reply: Reply, text: str, reading: Reading, request: PlanRequest) -> Draft | None:
        """What is said instead of a plan that acts on words which are no order, or order something else."""
        tokens = self._reader.index.lexer.read(text)
        acting = [step for step in reply.steps if self._catalog.get(step.intent).effect is not Effect.READ]
        for step in acting:
            refused = self._no_order(step, text, tokens, partly=any(other.when for other in reply.steps))
            if refused is not None:
                return refused
        if not acting and reading.sign is not None:
            names, visible = names_of(request.vocabulary), frozenset(intent.name for intent in request.visible)
            if self._reader.forbidden(text, names, visible) is not None:
                return Draft(kind="answer", confidence=0.5)  # a question about an action is not answered by looking
        if acting and self._other_thing(reply.steps, text, tokens):
            return Draft(kind="none", text=wording.cannot(self._reader.nearest(reading)), confidence=0.5)
        if reply.kind == "clarify" and not self._may_ask(reply, tokens, text):
            return Draft(kind="none", text=wording.cannot(self._reader.nearest(reading)), confidence=0.5)
        return None

    def _no_order(self, step: DraftStep, text: str, tokens: Sequence[Token], *, partly: bool) -> Draft | None:
        intent = self._catalog.get(step.intent)
        sign = blocking(
            text,
            mutates=True,
            quoted=_spans(step, text),
            evidence=self._evidence(intent, tokens),
            conditional=step.when is not None,
            partly=partly,
        )
        if sign in ("ask", "question", "supposition"):
            return Draft(kind="answer", confidence=0.5)
        if sign is not None or not self._reader.index.orders(tokens, step.intent):
            return Draft(kind="none", text=wording.cannot([intent], sign), confidence=0.5, nearest=(intent.name,))
        return None

    def _other_thing(self, steps: Sequence[DraftStep], text: str, tokens: Sequence[Token]) -> bool:
        """True if the text names a kind of thing that no step is about (`add a user named alice`)."""
        spans = [span for step in steps for span in _spans(step, text)]
        for token in tokens:
            kinds = KIND_WORDS & set(token.concepts)
            quoted = any(start <= token.start and token.end <= end for start, end in spans)
            if (
                kinds
                and not quoted
                and not any(self._reader.index.speaks_of(token, step.intent, _SLIGHT) for step in steps)
            ):
                return True
        return False

    def _may_ask(self, reply: Reply, tokens: Sequence[Token], text: str) -> bool:
        """Only ask for values of what was surely asked for: different steps, or one that leaves no word over."""
        intents = {step.intent for step in reply.steps}
        return len(intents) > 1 or self._reader.explains(reply.steps[0].intent, tokens, text)

    def _evidence(self, intent: Intent, tokens: Sequence[Token]) -> list[int] | None:
        return [token.start for token in tokens if self._reader.index.speaks_of(token, intent.name)] or None

    def _confidence(self, steps: Sequence[DraftStep], reading: Reading) -> float:
        """From agreement with the matcher and likeness to the examples; what a model says of itself proves little."""
        best = reading.ranking[0] if reading.ranking else None
        if best is None:
            return _ALONE
        if len(steps) == 1 and steps[0].intent == best.entry.intent.name:
            return _AGREED if dict(steps[0].params) == best.filled.params else _SAME_INTENTS
        likeness = {match.entry.intent.name: match.similar for match in reading.ranking}
        return round(_ALONE + _LIKENESS * min(likeness.get(step.intent, 0.0) for step in steps), 3)


def _spans(step: DraftStep, text: str) -> list[tuple[int, int]]:
    """Where the step's text params stand in the request."""
    found: list[tuple[int, int]] = []
    values = [value for value in step.params.values() if isinstance(value, str) and len(value) > 1]
    for value in values:
        at = text.find(value)
        if at >= 0:
            found.append((at, at + len(value)))
    return found
