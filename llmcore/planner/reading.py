"""One request read against the catalogue: which intent, which params, how sure, and whether it is an order at all.

Used by `local`, `sequence` and, to check on a model, by `model`. Knows no conversation and no policy.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmcore.catalog import Catalog
from llmcore.errors import BadParams
from llmcore.intent import Intent
from llmcore.plan import Effect
from llmcore.planner.calibrate import calibrate
from llmcore.planner.entries import imperative
from llmcore.planner.fill import Names
from llmcore.planner.guard import blocking
from llmcore.planner.index import Index, Match
from llmcore.planner.values import DraftStep, PlannerOptions
from llmcore.planner.words import Token

_LEFT_OVER = {True: 0.35, False: 0.6}
"""How much may stay unexplained: for what mutates, for reads; in words."""
_ASKING = 0.25
"""The same where a question about a missing value is to be asked."""
_ALIKE = 0.9
"""Likeness to an example that speaks of a deed and still asks for facts (`which services can I restart?`)."""
_WANTS = re.compile(r"(?:i|we) (?:need|want|would like) (?:an?|some|another|\d+)\b")
"""A wish to have something that is not there yet."""
_STATE = frozenset({"which", "what", "what's", "is", "are", "any"})
"""How questions for facts begin, rather than for what happened."""
_NEAREST = 3
_NEAR_ENOUGH = 0.02
_ACTING = 0.4
"""Share of an action's examples that have the verb from which on it is one."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One request as the catalogue understands it."""

    ranking: Sequence[Match]
    confidence: float
    sure: bool
    """May be planned as it is."""
    asks: bool
    """Sure of the intent, but required values are missing."""
    sign: str | None
    """What forbids to act."""

    @property
    def step(self) -> DraftStep:
        """The best match as a step."""
        best = self.ranking[0]
        return DraftStep(intent=best.entry.intent.name, params=best.filled.params)

    @property
    def missing(self) -> tuple[str, ...]:
        """Dotted names of the params that the best match lacks."""
        return tuple(".".join(slot.pointer) for slot in self.ranking[0].filled.missing)


class Reader:
    """Reads single requests against one catalogue. Immutable."""

    def __init__(self, catalog: Catalog, options: PlannerOptions) -> None:
        """Index the catalogue and calibrate on its examples."""
        self.catalog = catalog
        self.options = options
        self.index = Index(intent for intent in catalog if intent.offered)
        self.calibration = calibrate(self.index)
        self._reads = frozenset(intent.name for intent in catalog if intent.effect is Effect.READ)

    def read(self, text: str, names: Names, visible: frozenset[str], tokens: Sequence[Token] | None = None) -> Reading:
        """What a text means on its own."""
        tokens = self.index.lexer.read(text) if tokens is None else tokens
        text_sign = blocking(text, mutates=True)
        ranking: Sequence[Match] = self.index.rank(tokens, text, names, visible & self._reads if text_sign else visible)
        ranking = self._without_idle(ranking, tokens) if text_sign is None else self._without_deeds(ranking, tokens)
        if not ranking:
            return Reading((), 0.0, False, False, text_sign)
        best = ranking[0]
        mutates = best.entry.intent.effect is not Effect.READ
        sign = blocking(text, mutates=mutates, quoted=best.filled.spans, evidence=best.evidence if mutates else None)
        confidence = self.calibration.confidence(ranking)
        clear = sign is None and not best.unexplained and bool(best.evidence)
        enough = confidence >= self.options.threshold
        sure = (
            clear and enough and not best.filled.missing and best.left_over <= _LEFT_OVER[mutates] and self._valid(best)
        )
        enough = confidence >= self.options.asking
        asks = (
            clear and enough and bool(best.filled.missing) and best.left_over <= _ASKING and self._may_ask(best, tokens)
        )
        return Reading(ranking, confidence, sure, asks, sign or text_sign)

    def nearest(self, reading: Reading) -> list[Intent]:
        """The intents to name where nothing is planned."""
        return [
            match.entry.intent
            for place, match in enumerate(reading.ranking[:_NEAREST])
            if match.evidence and self.calibration.confidence(reading.ranking, place) > _NEAR_ENOUGH
        ]

    def forbidden(self, text: str, names: Names, visible: frozenset[str]) -> Intent | None:
        """The action that a text speaks of without ordering it, if it does."""
        ranking = self.index.rank(self.index.lexer.read(text), text, names, visible)
        intent = ranking[0].entry.intent if ranking and ranking[0].evidence else None
        return intent if intent is not None and intent.effect is not Effect.READ else None

    def explains(self, intent: str, tokens: Sequence[Token], text: str) -> bool:
        """True if the intent leaves no word of the text unexplained, and one orders it."""
        match = next(iter(self.index.rank(tokens, text, {}, {intent})), None)
        return match is not None and not match.unexplained and match.left_over <= _ASKING

    def _without_idle(self, ranking: Sequence[Match], tokens: Sequence[Token]) -> Sequence[Match]:
        """Leave out what only tells something, if the text begins with the verb of some action."""
        if _WANTS.match(" ".join(token.text.lower() for token in tokens[:4])):
            return [match for match in ranking if match.entry.intent.effect is not Effect.READ]
        head = imperative(tokens)
        if head is None or not head.concepts:
            return ranking
        acting = max(self.index.acting(concept) for concept in head.concepts)
        if acting < _ACTING:
            return ranking
        return [
            match
            for match in ranking
            if match.entry.intent.effect is not Effect.READ
            or 2 * max(match.entry.chance(concept) for concept in head.concepts) >= acting
        ]

    def _without_deeds(self, ranking: Sequence[Match], tokens: Sequence[Token]) -> Sequence[Match]:
        """Leave out what tells of a thing, if the question is about what was or will be done to it."""
        asks_for_state = tokens[0].text.lower() in _STATE
        deeds = [concept for token in tokens for concept in token.concepts if self.index.acting(concept) >= _ACTING]
        return [
            match
            for match in ranking
            if (asks_for_state and match.similar >= _ALIKE)
            or all(4 * match.entry.chance(deed) >= self.index.acting(deed) for deed in deeds)
        ]

    def _may_ask(self, match: Match, tokens: Sequence[Token]) -> bool:
        """A verb alone (`stop`) or with a word that may be anything says too little to ask further."""
        said = [index for index, token in enumerate(tokens) if not token.stop]
        guessed = any(not tokens[index].known and not tokens[index].namelike for index in match.filled.used)
        return bool(match.evidence) and len(said) > 1 and not guessed and not match.filled.free

    def _valid(self, match: Match) -> bool:
        try:
            self.catalog.validate(match.entry.intent.name, match.filled.params)
        except BadParams:
            return False
        return True
