"""Several things in one request: `stop nginx, then start it again` becomes two steps that wait for each other.

Used by the local matcher. Each part has to be sure on its own, with what the parts before it lend: the value that `it`
stands for, or the verb that `and postgres` leaves out.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from llmcore.plan import Effect
from llmcore.planner.fill import Names, fill
from llmcore.planner.guard import signs
from llmcore.planner.lexicon import QUANTIFIERS
from llmcore.planner.reading import Reader, Reading
from llmcore.planner.slots import Slot, lookup
from llmcore.planner.values import DraftStep
from llmcore.planner.words import Token

_ORDERED = frozenset({"then", "afterwards", "afterward", "thereafter", "finally", "next", ";", "."})
_JOINTS = _ORDERED | {"and", ",", "&", "+", "plus", "also"}
_IT = re.compile(r"\b(?:its|it|that one|that service|that file|the same(?: one)?)\b", re.IGNORECASE)
_THEM = re.compile(r"\b(?:both(?: of them)?|them(?: all)?|each of them|these|those)\b", re.IGNORECASE)
_MOST = 6
_LENT = 0.97
"""What borrowing from an earlier step leaves of the confidence."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The steps that a text gives, and how sure that is."""

    steps: tuple[DraftStep, ...] = ()
    confidence: float = 1.0
    missing: tuple[str, ...] = ()
    """Of the last step, if it lacks a value."""


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    ordered: bool


class SequenceReader:
    """Splits requests and reads their parts. Immutable."""

    def __init__(self, reader: Reader) -> None:
        """Read parts with this reader."""
        self._reader = reader

    def read(self, text: str, names: Names, visible: frozenset[str]) -> Chain | None:
        """The steps, or None if the text is one request or some part of it is unclear."""
        parts = _parts(text, self._reader.index.lexer.read(text))
        if not 2 <= len(parts) <= _MOST:
            return None
        return self._from(parts, Chain(), names, visible)

    def leaves_over(self, text: str, used: Collection[int]) -> bool:
        """True if the text goes on behind a joint with words that no value of the one step took."""
        tokens = self._reader.index.lexer.read(text)
        begun = joined = False
        for index, token in enumerate(tokens):
            joined = joined or (begun and _joins(token))
            begun = begun or not token.stop
            if joined and not token.stop and index not in used and token.text.lower() not in QUANTIFIERS:
                return True
        return False

    def _from(self, parts: Sequence[_Part], chain: Chain, names: Names, visible: frozenset[str]) -> Chain | None:
        """The chain with all of `parts` behind it; a part may be several pieces (`files a and b`)."""
        if not parts:
            return chain if len(chain.steps) > 1 else None
        for length in range(1, len(parts) + 1):
            if length == len(parts) and not chain.steps:
                break
            joined = replace(parts[0], text=" and ".join(part.text for part in parts[:length]))
            grown = self._grow(joined, chain, names, visible)
            if grown is not None and not (grown.missing and length < len(parts)):
                whole = self._from(parts[length:], grown, names, visible)
                if whole is not None:
                    return whole
        return None

    def _grow(self, part: _Part, chain: Chain, names: Names, visible: frozenset[str]) -> Chain | None:
        names = self._with_earlier(chain, names)
        reading = self._reader.read(part.text, names, visible)
        if reading.sure and self._imperative(part, reading, chain):
            return self._add(chain, [reading.step], reading.confidence, part)
        if not chain.steps:
            return None
        for pattern, values in ((_THEM, self._values(chain)), (_IT, self._values(chain)[-1:])):
            if values and pattern.search(part.text):
                return self._stand_in(part, pattern, values, chain, names, visible)
        return self._ellipsis(part, chain, names) or self._lend(part, reading, chain)

    def _imperative(self, part: _Part, reading: Reading, chain: Chain) -> bool:
        """False for `(is nginx stopped and) redis restarted`: behind a question an order begins with its verb."""
        best = reading.ranking[0]
        if not chain.steps or best.entry.intent.effect is Effect.READ:
            return True
        tokens = [token for token in self._reader.index.lexer.read(part.text) if not token.stop]
        return tokens[0].start in best.evidence

    def _stand_in(
        self,
        part: _Part,
        pattern: re.Pattern[str],
        values: Sequence[str],
        chain: Chain,
        names: Names,
        visible: frozenset[str],
    ) -> Chain | None:
        steps: list[DraftStep] = []
        confidence = 1.0
        for value in values:
            quoted = f'"{value}"' if re.search(r"\s", value) else value
            reading = self._reader.read(_replaced(pattern, quoted, part.text), names, visible)
            if not reading.sure:
                return None
            steps.append(reading.step)
            confidence = min(confidence, reading.confidence * _LENT)
        return self._add(chain, steps, confidence, part)

    def _ellipsis(self, part: _Part, chain: Chain, names: Names) -> Chain | None:
        """`stop nginx and postgres`, `scale a to 2 and b to 3`: the intent of the step before with other values."""
        before = chain.steps[-1]
        tokens = self._reader.index.lexer.read(part.text)
        params = self._other_values(before, tokens, part.text, names)
        if params is None or signs(part.text):
            return None
        step = DraftStep(intent=before.intent, params=params, needs=before.needs)
        confidence = _LENT * chain.confidence
        if part.ordered:
            return self._add(chain, [replace(step, needs=())], confidence, part)
        return replace(chain, steps=(*chain.steps, step), confidence=confidence)

    def _other_values(
        self, before: DraftStep, tokens: Sequence[Token], text: str, names: Names
    ) -> dict[str, object] | None:
        """All values of the intent anew, or only the one that it is about; None if words are left over."""
        main = self._main_slot(before)
        slots = self._reader.index.entries[before.intent].slots
        for wanted, kept in ((slots, {}), ([main] if main else [], before.params)):
            filled = fill(wanted, tokens, text, names)
            rest = [token for index, token in enumerate(tokens) if not token.stop and index not in filled.used]
            spoken = all(self._reader.index.speaks_of(token, before.intent) for token in rest)
            whole = kept or filled.params.keys() >= before.params.keys()
            if whole and filled.used and not filled.missing and not filled.free and spoken:
                return {**kept, **filled.params}
        return None

    def _lend(self, part: _Part, reading: Reading, chain: Chain) -> Chain | None:
        """`… and check the status`: a missing value is that of the step before."""
        if not reading.asks:
            return None
        lent = self._main_slot(chain.steps[-1])
        lacking = reading.ranking[0].filled.missing
        step = reading.step
        if lent is not None and len(lacking) == 1 and _same_kind(lent, lacking[0]) and len(lacking[0].pointer) == 1:
            value = lookup(chain.steps[-1].params, lent.pointer)
            step = replace(step, params={**step.params, lacking[0].name: value})
            return self._add(chain, [step], reading.confidence * _LENT, part)
        return replace(self._add(chain, [step], reading.confidence, part), missing=reading.missing)

    def _add(self, chain: Chain, steps: Sequence[DraftStep], confidence: float, part: _Part) -> Chain:
        """Put steps behind a chain: one that changes something, or comes after something that does, waits for it."""
        catalog = self._reader.catalog
        last = len(chain.steps) - 1
        mutates = any(catalog.get(step.intent).effect is not Effect.READ for step in (*steps, *chain.steps[-1:]))
        needs = (last,) if chain.steps and (part.ordered or mutates) else ()
        new = tuple(replace(step, needs=needs) for step in steps)
        return Chain((*chain.steps, *new), min(chain.confidence, confidence))

    def _main_slot(self, step: DraftStep) -> Slot | None:
        """The one required text param of a step, which `it` stands for."""
        slots = self._reader.index.entries[step.intent].slots
        found = [slot for slot in slots if slot.required and isinstance(lookup(step.params, slot.pointer), str)]
        return found[0] if len(found) == 1 and len(found[0].pointer) == 1 else None

    def _values(self, chain: Chain) -> list[str]:
        found: list[str] = []
        for step in chain.steps:
            slot = self._main_slot(step)
            if slot is not None:
                found.append(str(lookup(step.params, slot.pointer)))
        return list(dict.fromkeys(found))

    def _with_earlier(self, chain: Chain, names: Names) -> Names:
        """Names that an earlier step used are names from then on."""
        more: dict[str, dict[str, str]] = {}
        for step in chain.steps:
            slot = self._main_slot(step)
            if slot is not None and slot.vocabulary:
                value = str(lookup(step.params, slot.pointer))
                more.setdefault(slot.vocabulary, {})[value.lower()] = value
        return {**names, **{key: {**names.get(key, {}), **found} for key, found in more.items()}} if more else names


def _replaced(pattern: re.Pattern[str], word: str, text: str) -> str:
    match = pattern.search(text)
    return text[: match.start()] + word + text[match.end() :] if match else text


def _same_kind(one: Slot, other: Slot) -> bool:
    return one.vocabulary == other.vocabulary if one.vocabulary or other.vocabulary else one.name == other.name


def _joins(token: Token) -> bool:
    return token.text.lower() in _JOINTS and token.kind in ("word", "punct")


def _parts(text: str, tokens: Sequence[Token]) -> list[_Part]:
    """The pieces between `and`, `then`, commas and the like; pieces without content join the one before."""
    found: list[_Part] = []
    start, ordered, content = 0, False, False
    for index, token in enumerate([*tokens, None]):
        joint = token is None or _joins(token)
        if token is not None and not joint:
            content = content or not token.stop
            continue
        if content:
            first = next(one for one in tokens if one.start >= start and one.text.lower() not in _JOINTS)
            found.append(_Part(text[first.start : tokens[index - 1].end], ordered))
            ordered, content = False, False
        if token is not None:
            start = token.end
            ordered = ordered or token.text.lower() in _ORDERED
    return found
