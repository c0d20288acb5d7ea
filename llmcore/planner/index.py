"""The catalogue as the local planner sees it: which words, shapes and examples speak for which intent.

Built once for a catalogue, then only read; used by the local matcher, and by the model planner to find examples.
Generalises from examples, names, descriptions and schemas alone; no intent is known here by name.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmcore.intent import Example, Intent
from llmcore.plan import Effect
from llmcore.planner.entries import Bag, Entry, Shot, imperative, learn_entry, plain_bag, vocabulary
from llmcore.planner.fill import Filled, Names, fill
from llmcore.planner.lexicon import KIND_WORDS, QUANTIFIERS, RELATED, WEAK
from llmcore.planner.words import ADVERB, Lexer, Token

_NEAR = 5
"""How many intents are looked at closely."""
_STRONG = 0.6
SAME = 0.97
"""Likeness from which on a request says the same as an example, with other values."""
_OWN = 0.8
"""Weight from which on a word belongs to one intent nearly alone, so that even a noun names the action."""
_TYPED = 0.3
"""Weight of a path, number, … beside the words."""
_LIKENESS = 4.0
"""Worth of being like an example (twice that of being the same), beside the log likelihood of the words."""
_HINT = 2.0
_SMOOTH = 1.0

_DEGREES = frozenset({ADVERB, "enough", "exact", "recent", "current", "present"})
"""What qualifies an action, but hardly a wish to know."""


@dataclass(frozen=True, slots=True)
class Match:
    """How one intent fits a request."""

    entry: Entry
    filled: Filled
    score: float
    likelihood: float
    explained: float
    """Weighted share of the words that speak for the intent."""
    similar: float
    """Likeness to its most similar example."""
    left_over: float
    """What nothing explains, in words."""
    unexplained: tuple[str, ...]
    evidence: tuple[int, ...]
    """Character positions of the words that speak for the intent."""
    ordered: bool
    """True if a word names the action itself, not only what it is done to."""


class Index:
    """Finds the intents that a request may mean. Immutable after it is made."""

    def __init__(self, intents: Iterable[Intent]) -> None:
        """Learn from every intent's name, description, schema and examples."""
        listed = list(intents)
        self.lexer = Lexer(vocabulary(listed))
        self.entries = {intent.name: learn_entry(intent, self.lexer) for intent in listed}
        self._postings: dict[str, dict[str, float]] = {}
        for name, entry in self.entries.items():
            for concept in {*entry.counts, *entry.hints}:
                self._postings.setdefault(concept, {})[name] = entry.strength(concept)
        self._weights = {
            concept: 1.0 / (1.0 + math.log2(max(1.0, sum(found.values())))) for concept, found in self._postings.items()
        }
        self._acting: dict[str, float] = {}
        for entry in self.entries.values():
            for concept in entry.counts if entry.intent.effect is not Effect.READ else ():
                self._acting[concept] = max(self._acting.get(concept, 0.0), entry.chance(concept))
        self._background = self._spread_of_terms()
        for entry in self.entries.values():
            entry.verbs = {verb for verb in entry.verbs if verb not in KIND_WORDS or self.weight(verb) > _OWN}
            terms = {*entry.counts, *entry.hints}
            entry.absent = sum(math.log(1.0 - self._chance(entry, term, None)) for term in terms)
            entry.shots = [self._shot(shot.example, shot.bag) for shot in entry.shots]

    def weight(self, concept: str) -> float:
        """How telling a concept is: 1 for one that a single intent uses, less for common ones."""
        return self._weights.get(concept, 1.0)

    def acting(self, concept: str) -> float:
        """In what share of some mutating intent's examples the concept stands, at most."""
        return self._acting.get(concept, 0.0)

    def rank(
        self,
        tokens: Sequence[Token],
        text: str,
        names: Names,
        visible: Collection[str] | None = None,
        without: Shot | None = None,
    ) -> list[Match]:
        """The nearest intents, best first; `without` leaves one example out, as if it had never been seen."""
        first: dict[str, float] = {}
        for token in tokens:
            for name, strength in self._votes(token).items():
                if visible is None or name in visible:
                    first[name] = first.get(name, 0.0) + strength
            if token.typed:
                for name, entry in self.entries.items():
                    if (visible is None or name in visible) and any(slot.takes(token.kind) for slot in entry.slots):
                        first[name] = first.get(name, 0.0) + 0.3
        near = [
            self._match(self.entries[name], tokens, text, names, without)
            for name in sorted(first, key=lambda name: -first[name])[:_NEAR]
        ]
        return sorted(
            (match for match in near if match.ordered), key=lambda match: (-match.score, match.entry.intent.name)
        )

    def similar(self, text: str, visible: Collection[str], count: int) -> list[tuple[Intent, Example]]:
        """The examples most like a text, the most similar last; at most three of one intent."""
        tokens = self.lexer.read(text)
        bag = self._bag(tokens, {})
        norm = _norm(bag)
        scored = [
            (_cosine(bag, norm, shot), name, number, shot.example)
            for name in visible
            if name in self.entries
            for number, shot in enumerate(self.entries[name].shots)
        ]
        scored.sort(key=lambda one: (-one[0], one[1], one[2]))
        used: Counter[str] = Counter()
        found: list[tuple[Intent, Example]] = []
        for _, name, _, example in scored:
            if used[name] < 3 and len(found) < count:
                used[name] += 1
                found.append((self.entries[name].intent, example))
        return found[::-1]

    def _spread_of_terms(self) -> dict[str, float]:
        shares: dict[str, float] = {}
        for entry in self.entries.values():
            for term in {*entry.counts, *entry.hints}:
                share = (entry.counts[term] + 0.5 * entry.hints.get(term, 0.0)) / (len(entry.shots) + 0.5)
                shares[term] = shares.get(term, 0.0) + share
        return {term: share / len(self.entries) for term, share in shares.items()}

    def _chance(self, entry: Entry, term: str, without: Shot | None) -> float:
        """Probability that a request for this intent has the term: counted, hinted, or as common as anywhere."""
        hidden = without.concepts if without is not None and without in entry.shots else frozenset()
        count = float(entry.counts[term] - (term in hidden))
        for near, share in RELATED.get(term, {}).items():
            count = max(count, share * (entry.counts[near] - (near in hidden)))
        seen = count + _HINT * entry.hints.get(term, 0.0) + _SMOOTH * self._background.get(term, 0.0)
        return min(0.97, max(0.004, seen / (len(entry.shots) - bool(hidden) + _HINT + _SMOOTH)))

    def _likelihood(self, entry: Entry, terms: Iterable[str], without: Shot | None) -> float:
        total = entry.absent
        for term in terms:
            chance = self._chance(entry, term, without)
            total += math.log(chance / (1.0 - chance))
        return total

    def speaks_of(self, token: Token, intent: str, least: float = _STRONG) -> bool:
        """True if the word belongs to the intent, strongly unless told otherwise."""
        entry = self.entries[intent]
        return any(_explains(entry, concept, None) >= least for concept in token.concepts)

    def orders(self, tokens: Sequence[Token], intent: str) -> bool:
        """True if some word is one that orders the intent, or the text does not begin with a verb at all."""
        head = imperative(tokens)
        return head is None or any(not self.entries[intent].verbs.isdisjoint(token.concepts) for token in tokens)

    def _shot(self, example: Example, plain: Mapping[str, float]) -> Shot:
        bag = {term: value * self._term_weight(term) for term, value in plain.items()}
        return Shot(example, bag, _norm(bag), frozenset(plain))

    def _term_weight(self, term: str) -> float:
        return _TYPED if term.startswith("<") else self.weight(term)

    def _votes(self, token: Token) -> dict[str, float]:
        votes: dict[str, float] = {}
        for concept in token.concepts:
            weight = self.weight(concept)
            for near, share in ((concept, 1.0), *RELATED.get(concept, {}).items()):
                for name, strength in self._postings.get(near, {}).items():
                    votes[name] = max(votes.get(name, 0.0), weight * share * strength)
        return votes

    def _bag(self, tokens: Sequence[Token], labels: Mapping[int, str]) -> Bag:
        return {term: value * self._term_weight(term) for term, value in plain_bag(tokens, labels).items()}

    def _match(self, entry: Entry, tokens: Sequence[Token], text: str, names: Names, without: Shot | None) -> Match:
        filled = fill(entry.slots, tokens, text, names)
        mutates = entry.intent.effect is not Effect.READ
        total = explained = left_over = 0.0
        unexplained: list[str] = []
        evidence: list[int] = []
        ordered = not mutates
        for number, token in enumerate(tokens):
            if token.stop:
                continue
            weight, cost, share = self._explain(entry, number, token, filled, without, mutates=mutates)
            total += weight
            explained += weight * share
            left_over += cost * max(0.0, 1.0 - share / _STRONG)
            if share < 0.3 and cost >= 0.5:
                unexplained.append(token.text)
            named = not entry.verbs.isdisjoint(token.concepts)
            ordered = ordered or named
            if share >= _STRONG and (named or number not in filled.used):
                evidence.append(token.start)
        bag = self._bag(tokens, filled.owner)
        norm = _norm(bag)
        similar = max((_cosine(bag, norm, shot) for shot in entry.shots if shot is not without), default=0.0)
        share = explained / total if total else 0.0
        likelihood = self._likelihood(entry, bag, without)
        score = likelihood + _LIKENESS * (similar + similar**8) - min(3, len(filled.missing))
        return Match(
            entry, filled, score, likelihood, share, similar, left_over, tuple(unexplained), tuple(evidence), ordered
        )

    def _explain(
        self, entry: Entry, number: int, token: Token, filled: Filled, without: Shot | None, *, mutates: bool
    ) -> tuple[float, float, float]:
        """Weight, cost if unexplained, and explained share of one token."""
        if number in filled.used:
            return (_TYPED, 1.0, 1.0)
        if token.typed or not token.concepts:
            return (1.0, 1.0, entry.strength(token.text, without) if token.kind == "option" else 0.0)
        share = max(_explains(entry, concept, without) for concept in token.concepts)
        weight = max(self.weight(concept) for concept in token.concepts)
        if token.text.lower() in QUANTIFIERS or token.concepts[0] in _DEGREES:
            return (weight, 1.0, share) if mutates else (0.1, 0.1, share)
        return (weight, 0.3 if token.concepts[0] in WEAK else 1.0, share)


def _explains(entry: Entry, concept: str, without: Shot | None) -> float:
    best = entry.strength(concept, without)
    for near, share in RELATED.get(concept, {}).items():
        if share > best:
            best = max(best, share * entry.strength(near, without))
    return best


def _norm(bag: Mapping[str, float]) -> float:
    return math.sqrt(sum(value * value for value in bag.values())) or 1.0


def _cosine(bag: Bag, norm: float, shot: Shot) -> float:
    short, long = (bag, shot.bag) if len(bag) < len(shot.bag) else (shot.bag, bag)
    dot = sum(value * long[term] for term, value in short.items() if term in long)
    return dot / (norm * shot.norm)
