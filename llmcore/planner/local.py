"""The planner without a model: answers what it is sure of, in about a millisecond, and says nothing otherwise.

Asked first by `Planner`. Understands one request, several in a row, and the answer to its own question. Knows no
policy, no model and no intent by name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmcore.catalog import Catalog
from llmcore.errors import BadParams
from llmcore.plan import Effect
from llmcore.planner import wording
from llmcore.planner.fill import Filled, Names, fill
from llmcore.planner.guard import blocking
from llmcore.planner.index import SAME
from llmcore.planner.reading import Reader, Reading
from llmcore.planner.sequence import Chain, SequenceReader
from llmcore.planner.slots import Slot, derive, lookup
from llmcore.planner.values import Draft, DraftStep, PlannerOptions, PlanRequest, Score
from llmcore.planner.words import Token

NAME = "local"
_DROP = re.compile(
    r"(?:no|nope|nah|cancel(?: (?:that|it))?|never ?mind|forget (?:it|that|about it)|stop|abort|nothing|none|drop it"
    r"|leave it|(?:i )?(?:don't|do not) know|no idea|not sure|whatever)"
    r"(?: please| thanks| thank you)?[.! ]*",
    re.IGNORECASE,
)


class LocalPlanner:
    """Plans without a model. Immutable; safe to share."""

    def __init__(self, catalog: Catalog, options: PlannerOptions) -> None:
        """Learn the catalogue; some ten milliseconds an intent pack."""
        self.reader = Reader(catalog, options)
        self._sequences = SequenceReader(self.reader)
        self._catalog = catalog
        self._options = options

    def plan(self, request: PlanRequest) -> Draft:
        """A plan, a question or an answer it is sure of; else kind `none` with `answered_by` None."""
        text = request.text.strip()
        names = names_of(request.vocabulary)
        if request.pending is not None and request.pending.kind == "clarify" and request.pending.steps:
            continued = self._continue(text, request, request.pending, names)
            if continued is not None:
                return continued
        small_talk = wording.social(text, request.visible)
        if small_talk is not None:
            return Draft(kind="answer", text=small_talk, answered_by=NAME, confidence=1.0)
        if not text or len(text) > self._options.max_text:
            return Draft(kind="none", text=wording.cannot([]))
        return self._fresh(text, request, names)

    def exact(self, request: PlanRequest) -> bool:
        """True if the text is an example of some intent, but for its values."""
        reading = self.reader.read(request.text.strip(), names_of(request.vocabulary), _visible(request))
        return bool(reading.ranking) and reading.ranking[0].similar >= SAME

    def explain(self, request: PlanRequest) -> list[Score]:
        """The nearest intents with their scores, best first."""
        text = request.text.strip()
        reading = self.reader.read(text, names_of(request.vocabulary), _visible(request))
        return [
            Score(
                match.entry.intent.name,
                round(match.score, 3),
                round(self.reader.calibration.confidence(reading.ranking, place), 3),
                match.unexplained,
                tuple(".".join(slot.pointer) for slot in match.filled.missing),
            )
            for place, match in enumerate(reading.ranking)
        ]

    def _fresh(self, text: str, request: PlanRequest, names: Names) -> Draft:
        visible = _visible(request)
        reading = self.reader.read(text, names, visible)
        chain = self._sequences.read(text, names, visible)
        if chain is not None and reading.sure and reading.ranking[0].filled.free:
            return self._unsure(text, reading, names, request)  # is `and restart nginx` part of the message?
        if reading.sure and (self._one_thing(reading, text) if chain is None else self._says_all(reading, chain, text)):
            return self._draft(Chain((reading.step,), reading.confidence), request)
        if chain is not None:
            return self._draft(chain, request)
        if reading.asks:
            return self._draft(Chain((reading.step,), reading.confidence, reading.missing), request)
        return self._unsure(text, reading, names, request)

    def _one_thing(self, reading: Reading, text: str) -> bool:
        """False if an action would be planned from half of what the text says (`copy a to b and back`)."""
        best = reading.ranking[0]
        reads = best.entry.intent.effect is Effect.READ
        return reads or best.similar >= SAME or not self._sequences.leaves_over(text, best.filled.used)

    def _says_all(self, reading: Reading, chain: Chain, text: str) -> bool:
        """True if one step says what the chain would: the very words of an example, or all values of the chain."""
        if reading.ranking[0].similar >= SAME or len({step.intent for step in chain.steps}) > 1:
            return reading.ranking[0].similar >= SAME
        spoken = {str(value) for step in chain.steps for value in _values(step.params) if str(value) in text}
        return chain.steps[0].intent == reading.step.intent and spoken <= {*map(str, _values(reading.step.params))}

    def _draft(self, chain: Chain, request: PlanRequest) -> Draft:
        if not chain.missing:
            return Draft(kind="plan", steps=chain.steps, answered_by=NAME, confidence=round(chain.confidence, 3))
        intent = self._catalog.get(chain.steps[-1].intent)
        return Draft(
            kind="clarify",
            steps=chain.steps,
            text=wording.question(intent, chain.missing, request.vocabulary),
            answered_by=NAME,
            confidence=round(chain.confidence, 3),
            missing=chain.missing,
        )

    def _unsure(self, text: str, reading: Reading, names: Names, request: PlanRequest) -> Draft:
        meant = self.reader.forbidden(text, names, _visible(request)) if reading.sign else None
        near = [meant] if meant else self.reader.nearest(reading)
        return Draft(
            kind="none",
            text=wording.cannot(near, reading.sign if meant else None),
            confidence=round(reading.confidence, 3),
            nearest=tuple(intent.name for intent in near),
        )

    def _continue(self, text: str, request: PlanRequest, pending: Draft, names: Names) -> Draft | None:
        """The plan that a question was about, with the answer in its place; None if this is no answer."""
        if _DROP.fullmatch(text):
            return Draft(kind="answer", text="All right, nothing was planned.", answered_by=NAME, confidence=1.0)
        at, slots = self._open(pending)
        if not slots or pending.steps[at].intent not in _visible(request):
            return None
        free_text = all(slot.takes("text") for slot in slots)
        tokens = self.reader.index.lexer.read(text)
        filled = self._answer(slots, tokens, text, names, free_text=free_text)
        if filled is None:
            return None
        step = replace(pending.steps[at], params=_merged(pending.steps[at].params, filled.params))
        steps = (*pending.steps[:at], step, *pending.steps[at + 1 :])
        missing = tuple(".".join(slot.pointer) for slot in filled.missing)
        if not missing and not self._fits(step):
            return None
        draft = self._draft(Chain(steps, pending.confidence, missing), request)
        return replace(draft, tainted=pending.tainted)

    def _open(self, pending: Draft) -> tuple[int, list[Slot]]:
        for at, step in enumerate(pending.steps):
            entry = self.reader.index.entries.get(step.intent)
            slots = [slot for slot in entry.slots if slot.required] if entry else []
            lacking = [slot for slot in slots if lookup(step.params, slot.pointer) is None]
            if lacking:
                return at, lacking
        return 0, []

    def _answer(
        self, slots: Sequence[Slot], tokens: Sequence[Token], text: str, names: Names, *, free_text: bool
    ) -> Filled | None:
        if free_text and len(slots) == 1:
            filled = Filled(spans=[(0, len(text))])
            filled.put(slots[0], tokens[0].text if len(tokens) == 1 else text)
            return filled
        filled = fill(slots, tokens, text, names)
        said = [index for index, token in enumerate(tokens) if not token.stop and index not in filled.used]
        if len(filled.missing) == 1 and len(said) == 1 and tokens[said[0]].kind != "option":
            slot = filled.missing.pop()
            filled.put(slot, derive(tokens[said[0]], "same", slot))
            filled.take(slot, tokens, said[0], said[0] + 1)
            said = []
        kinds = {concept for index in said for concept in tokens[index].concepts}
        spoken = {concept for slot in slots for concept in (*slot.left, *slot.right)}
        if not filled.used or not kinds <= spoken or any(not tokens[index].concepts for index in said):
            return None
        return None if blocking(text, mutates=True, quoted=filled.spans) else filled

    def _fits(self, step: DraftStep) -> bool:
        try:
            self._catalog.validate(step.intent, step.params)
        except BadParams:
            return False
        return True


def _merged(params: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(params)
    for key, value in more.items():
        inner = found.get(key)
        found[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return found


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _values(inner)
    else:
        yield value


def names_of(vocabulary: Mapping[str, Sequence[str]]) -> Names:
    """The host's lists, to be looked up by lower-case name."""
    return {key: {name.lower(): name for name in names} for key, names in vocabulary.items()}


def _visible(request: PlanRequest) -> frozenset[str]:
    return frozenset(intent.name for intent in request.visible)
