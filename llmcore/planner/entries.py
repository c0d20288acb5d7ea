"""One intent as the local planner knows it: its words, its slots and its examples with their values masked.

Used by `index`, which ranks what is learned here. Knows no other intents.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llmcore.intent import Example, Intent
from llmcore.planner.lexicon import COURTESY, KIND_WORDS, STOP_WORDS
from llmcore.planner.slots import Slot, guess, learn, slots_of
from llmcore.planner.words import Lexer, Token

_FULL = 3
"""Examples with a word from which on more do not count."""
_WITHIN = frozenset({"in", "inside", "under", "below", "within"})

Bag = dict[str, float]


@dataclass(frozen=True, slots=True)
class Shot:
    """An example with its masked bag of words."""

    example: Example
    bag: Mapping[str, float]
    norm: float
    concepts: frozenset[str]


@dataclass(slots=True)
class Entry:
    """One intent with what was learned of it."""

    intent: Intent
    slots: list[Slot]
    shots: list[Shot] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    hints: dict[str, float] = field(default_factory=dict)
    """Concept -> strength that name, description and schema give it."""
    verbs: set[str] = field(default_factory=set)
    """Concepts that examples (and the name) begin with: what orders the action, beside its objects."""
    absent: float = 0.0
    """Log probability that a request has none of the intent's words."""

    def strength(self, concept: str, without: Shot | None = None) -> float:
        """How much the concept belongs to the intent, 0 to 1; `without` leaves one example out."""
        count = self.counts[concept] - (without is not None and concept in without.concepts)
        seen = (0.0, 0.62, 0.85, 1.0)[min(count, _FULL)]
        return max(seen, self.hints.get(concept, 0.0))

    def chance(self, concept: str) -> float:
        """Share of the examples that have the concept."""
        return self.counts[concept] / max(1, len(self.shots))


def learn_entry(intent: Intent, lexer: Lexer) -> Entry:
    """All that an intent's name, description, schema and examples tell."""
    entry = Entry(intent, slots_of(intent))
    name = _split(intent.name)
    entry.verbs.update(lexer.concepts(name[0])[:1])
    for strength, words in ((0.9, name), (0.3, _split(intent.description)), (0.25, list(_schema_words(entry.slots)))):
        for word in words:
            for concept in lexer.concepts(word)[:1]:
                entry.hints.setdefault(concept, strength)
    for example in intent.examples:
        _learn_example(entry, example, lexer)
    for slot in entry.slots:
        guess(slot)
    return entry


def _learn_example(entry: Entry, example: Example, lexer: Lexer) -> None:
    tokens = lexer.read(example.text)
    labels: dict[int, str] = {}
    for aligned in learn(entry.slots, example, tokens, lexer):
        labels.update(dict.fromkeys(range(aligned.first, aligned.last), aligned.slot.label))
    bag = plain_bag(tokens, labels)
    entry.counts.update(bag.keys())
    head = next((index for index, token in enumerate(tokens) if not token.stop), None)
    if head is not None and (head not in labels or tokens[head].kind == "word"):
        entry.verbs.update(tokens[head].concepts)
    entry.shots.append(Shot(example, bag, 1.0, frozenset(bag)))


def vocabulary(intents: Sequence[Intent]) -> set[str]:
    """Words that the catalogue uses as words, not as values of params."""
    plain = Lexer()
    found: set[str] = set()
    for intent in intents:
        slots = slots_of(intent)
        found.update(_split(intent.name), _split(intent.description), _schema_words(slots))
        for example in intent.examples:
            tokens = plain.read(example.text)
            masked = {index for one in learn(slots, example, tokens, plain) for index in range(one.first, one.last)}
            found.update(
                token.text.lower() for index, token in enumerate(tokens) if index not in masked and token.kind == "word"
            )
    return {word for word in found if word not in STOP_WORDS and " " not in word}


def imperative(tokens: Sequence[Token]) -> Token | None:
    """The word that a request begins with behind courtesies, if it may be a verb."""
    head = next((token for token in tokens if token.text.lower() not in COURTESY and token.kind != "punct"), None)
    return None if head is None or head.stop or head.typed else head


def plain_bag(tokens: Sequence[Token], labels: Mapping[int, str]) -> Bag:
    """The terms of a text, each once, with values masked by their slots' labels."""
    bag: Bag = {}
    for number, token in enumerate(tokens):
        if token.kind == "path" and number and tokens[number - 1].text.lower() in _WITHIN:
            bag["<within>"] = 1.0
        if number in labels:
            bag[labels[number]] = 1.0
            if token.kind in ("path", "relative", "quoted") and "." in token.text.rpartition("/")[2]:
                bag["<suffix>"] = 1.0
        elif token.typed:
            bag[token.text if token.kind == "option" else f"<{token.kind}>"] = 1.0
        elif not token.stop:
            concept = token.concepts[0] if token.concepts else "<?>"
            bag[concept] = 1.0
            if concept in KIND_WORDS and token.text.endswith("s"):
                bag[f"<{concept}s>"] = 1.0
    return bag


def _split(text: str) -> list[str]:
    return [
        word
        for word in "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
        if len(word) > 1
    ]


def _schema_words(slots: Sequence[Slot]) -> Iterator[str]:
    for slot in slots:
        for part in (*slot.pointer, *map(str, slot.choices)):
            yield from _split(part)
