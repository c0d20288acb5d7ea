"""Remembers what a model made of a request, for the next request of the same shape with other values.

Asked by `Planner` between the local matcher and the model. What it gives back is no more than the reply that a model
would have given to these words: it is read, grounded and guarded like one, and policy and approval follow as always.
Only values that stand in the request word for word become slots; everything else has to be said again exactly.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmcore.catalog import Catalog
from llmcore.errors import BadParams
from llmcore.plan import Shape, fill, generalise, is_reference, tokens, written
from llmcore.planner.fill import Names
from llmcore.planner.values import DraftStep
from llmcore.planner.words import Lexer

MAX_SHAPES = 256
_KINDS = frozenset({"word", "number", "path", "relative", "file", "url"})
"""What a slot may take; never an option or a quotation, which may say anything."""
_TYPES: Mapping[type, str] = {str: "string", int: "integer", float: "number"}
_JOINTS = ",;:"


@dataclass(frozen=True, slots=True)
class _Slot:
    """What a value has to be to take the place of the one that was there."""

    kind: str
    lists: frozenset[str]
    """Host lists of which one has to have it; empty: it must be a word that no dictionary knows."""


@dataclass(frozen=True, slots=True)
class _Entry:
    shape: Shape
    slots: Mapping[str, _Slot]


class PlanCache:
    """The shapes of one process. What else a plan depends on is in the `scope` that comes with each request."""

    def __init__(self, catalog: Catalog, lexer: Lexer) -> None:
        """Empty."""
        self._catalog = catalog
        self._lexer = lexer
        self._entries: OrderedDict[tuple[Hashable, str], _Entry] = OrderedDict()

    def __len__(self) -> int:
        """How many shapes are remembered."""
        return len(self._entries)

    def get(self, scope: Hashable, text: str, names: Names) -> tuple[DraftStep, ...] | None:
        """The steps of a remembered request of the same shape, with the values of this one; None if there is none."""
        best: tuple[int, tuple[Hashable, str], dict[str, Any]] | None = None
        said = tokens(text)
        for key, entry in self._entries.items():
            if key[0] != scope:
                continue
            values = self._values(entry, said, names)
            if values is not None and (best is None or len(values) < best[0]):
                best = len(values), key, values
        if best is None:
            return None
        self._entries.move_to_end(best[1])
        return _draft_steps(fill(self._entries[best[1]].shape.steps, best[2]))

    def put(self, scope: Hashable, text: str, steps: Sequence[DraftStep], names: Names) -> None:
        """Remember what a request meant; one that cannot be told apart for sure is not remembered."""
        raw = [{"intent": step.intent, "params": dict(step.params), "needs": list(step.needs)} for step in steps]
        said = tokens(text)
        if any("{" in token or "}" in token for token in said):
            return
        found = self._slots(said, steps, names)
        values = {f"v{number}": value for number, (value, _) in enumerate(found.values())}
        slots = {f"v{number}": slot for number, (_, slot) in enumerate(found.values())}
        holes = {word: f"{{v{number}}}" for number, word in enumerate(found)}
        schemas = {name: {"type": _TYPES[type(value)]} for name, value in values.items()}
        open_steps = tuple(generalise(raw, values, inside=False))
        try:
            shape = Shape(" ".join(_with_hole(token, holes) for token in said), open_steps, schemas)
        except BadParams:
            return
        self._entries[(scope, shape.text)] = _Entry(shape, slots)
        self._entries.move_to_end((scope, shape.text))
        while len(self._entries) > MAX_SHAPES:
            self._entries.popitem(last=False)

    def _slots(
        self, said: Sequence[str], steps: Sequence[DraftStep], names: Names
    ) -> dict[str, tuple[str | int | float, _Slot]]:
        """The words of the text that are values and nothing else, with the value and what may take its place."""
        words = {_word(token) for token in said}
        leaves = [(value, at) for step in steps for value, at in _leaves(step.params, self._lists(step))]
        found: dict[str, tuple[str | int | float, _Slot]] = {}
        for value, declared in leaves:
            word = written(value)
            same = [other for other, _ in leaves if written(other) == word]
            if word not in words or word in found or len({type(other) for other in same}) > 1:
                continue
            if any(_holds(other, word) for other, _ in leaves):
                continue  # it stands inside another value too, which would keep the old one
            slot = self._slot(word, declared, names)
            if slot is not None:
                found[word] = value, slot
        return found

    def _slot(self, word: str, declared: str | None, names: Names) -> _Slot | None:
        kind, known = self._kind(word)
        listed = frozenset(name for name, members in names.items() if word.lower() in members)
        if declared in listed and declared is not None:
            listed = frozenset({declared})
        if kind not in _KINDS or (known and not listed):
            return None
        return _Slot(kind, listed)

    def _lists(self, step: DraftStep) -> Mapping[str, str]:
        return self._catalog.get(step.intent).vocabulary

    def _kind(self, word: str) -> tuple[str, bool]:
        """What sort of word it is, and whether it is one of a dictionary."""
        read = self._lexer.read(word)
        if len(read) != 1 or read[0].text != word:
            return "", True
        plain = read[0].kind == "word"
        return read[0].kind, plain and (read[0].known or read[0].fuzzy)

    def _values(self, entry: _Entry, said: Sequence[str], names: Names) -> dict[str, Any] | None:
        values = entry.shape.fits(said)
        if values is None:
            return None
        for name, slot in entry.slots.items():
            word = written(values[name])
            kind, known = self._kind(word)
            listed = [names[one][word.lower()] for one in sorted(slot.lists) if word.lower() in names.get(one, {})]
            if slot.lists and not listed:
                return None
            if not slot.lists and (kind != slot.kind or known):
                return None
            values[name] = listed[0] if listed else values[name]
        return values


def _leaves(value: Any, lists: Mapping[str, str], key: str = "") -> Iterator[tuple[Any, str | None]]:
    """Texts and numbers inside params, each with the host list that its param comes from."""
    if is_reference(value) or isinstance(value, bool):
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, lists, key or name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner, lists, key)
    elif isinstance(value, str | int | float):
        yield value, lists.get(key)


def _holds(value: Any, word: str) -> bool:
    """True if a longer text has the word in it."""
    return isinstance(value, str) and value != word and word.casefold() in value.casefold()


def _word(token: str) -> str:
    return token.rstrip(_JOINTS)


def _with_hole(token: str, holes: Mapping[str, str]) -> str:
    word = _word(token)
    return f"{holes[word]}{token[len(word) :]}" if word in holes else token


def _draft_steps(raw: Sequence[Mapping[str, Any]]) -> tuple[DraftStep, ...]:
    return tuple(DraftStep(intent=step["intent"], params=step["params"], needs=tuple(step["needs"])) for step in raw)
