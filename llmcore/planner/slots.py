"""What the params of an intent look like in a sentence, learned from its schema and its examples.

Used by `index` (which masks the examples with what was learned) and by `fill`. Knows no scoring of intents.
"""

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmcore.intent import Example, Intent
from llmcore.planner.lexicon import STOP_WORDS
from llmcore.planner.words import Lexer, Token

Pointer = tuple[str, ...]


@dataclass(slots=True, eq=False)
class Slot:
    """One leaf of an intent's params, with what the examples taught about it. Built once, then only read."""

    pointer: Pointer
    types: frozenset[str]
    required: bool
    array: bool = False
    choices: tuple[Any, ...] = ()
    vocabulary: str | None = None
    shapes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(kind of token, derivation) -> how often."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Kind of token -> how often."""
    left: Counter[str] = field(default_factory=Counter)
    """What stands before the value: word, concept or `<slot>`."""
    right: Counter[str] = field(default_factory=Counter)
    lead: Counter[str] = field(default_factory=Counter)
    """What stands right before a value of several words."""
    constants: Counter[str] = field(default_factory=Counter)
    """Values (as text) that some example meant without saying them."""
    raw: dict[str, Any] = field(default_factory=dict)
    """The constants and choices themselves by their text."""
    seen: Counter[str] = field(default_factory=Counter)
    """Values (lower case) that the examples spelled out."""
    triggers: Counter[str] = field(default_factory=Counter)
    """For a flag: concepts of the examples that set it."""
    quiet: Counter[str] = field(default_factory=Counter)
    """For a flag: concepts of the examples that do not set it."""
    cased: bool = False
    """True if some example's value has a capital letter."""
    used: int = 0
    """In how many examples it has a value."""

    @property
    def name(self) -> str:
        """The last part of the pointer, which people know the param by."""
        return self.pointer[-1]

    @property
    def label(self) -> str:
        """What stands for its value in masked text."""
        return f"<{'.'.join(self.pointer)}>"

    @property
    def rest(self) -> bool:
        """True if it takes whatever follows another slot's value (arguments behind a script's name)."""
        return self.takes("text") > 0 and any(mark.startswith("<") for mark in self.lead)

    def takes(self, kind: str) -> int:
        """How many examples filled it by a token of this kind."""
        return self.kinds[kind]


@dataclass(frozen=True, slots=True)
class Aligned:
    """Where in an example's text a slot's value stands."""

    slot: Slot
    first: int
    """Index of the first token."""
    last: int
    """Index after the last token."""
    kind: str
    how: str


def slots_of(intent: Intent) -> list[Slot]:
    """A slot for every leaf of the schema."""
    schema = intent.schema
    return list(_leaves(schema, schema.get("$defs", {}), (), True, intent.vocabulary))


def _leaves(
    schema: Mapping[str, Any], defs: Mapping[str, Any], at: Pointer, required: bool, lists: Mapping[str, str]
) -> Iterator[Slot]:
    must = schema.get("required", ())
    for name, prop in schema.get("properties", {}).items():
        here, needed = (*at, name), required and name in must
        options = _options(prop, defs)
        nested = next((option for option in options if option.get("properties")), None)
        if nested is not None and len(here) < 4:
            yield from _leaves(nested, defs, here, needed, lists)
            continue
        array = all(option.get("type") == "array" for option in options)
        items = [inner for option in options for inner in _options(option.get("items", {}), defs)] if array else options
        choices = [
            value for option in items for value in option.get("enum", (option["const"],) if "const" in option else ())
        ]
        yield Slot(
            pointer=here,
            types=frozenset(kind for option in items for kind in _types(option)),
            required=needed,
            array=array,
            choices=tuple(choices),
            vocabulary=lists.get(here[0]),
            raw={str(choice): choice for choice in choices},
        )


def _options(prop: Mapping[str, Any], defs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schema's alternatives with references resolved, null left out."""
    if "$ref" in prop:
        prop = defs.get(str(prop["$ref"]).rpartition("/")[2], {})
    found = [inner for option in prop.get("anyOf", prop.get("oneOf", ())) for inner in _options(option, defs)]
    return [option for option in (found or [prop]) if option.get("type") != "null"]


def _types(option: Mapping[str, Any]) -> Sequence[str]:
    kind = option.get("type")
    if kind is None:
        values = option.get("enum", ())
        return ["string"] if not values or isinstance(values[0], str) else ["number"]
    return [kind] if isinstance(kind, str) else list(kind)


def learn(slots: Sequence[Slot], example: Example, tokens: Sequence[Token], lexer: Lexer) -> list[Aligned]:
    """Teach the slots one example; returns where their values stand, for masking."""
    found: list[Aligned] = []
    taken: set[int] = set()
    for slot in slots:
        value = lookup(example.params, slot.pointer)
        if value is None or isinstance(value, bool):
            continue
        slot.used += 1
        for item in value if slot.array and isinstance(value, list) else [value]:
            aligned = _align(slot, item, example.text, tokens, taken, lexer)
            if aligned is None:
                slot.constants[str(item)] += 1
                slot.raw[str(item)] = item
                continue
            taken.update(range(aligned.first, aligned.last))
            slot.seen[str(item).lower()] += 1
            slot.cased = slot.cased or str(item) != str(item).lower()
            found.append(aligned)
    _learn_flags(slots, example, [token for index, token in enumerate(tokens) if index not in taken])
    labels = {index: one.slot.label for one in found for index in range(one.first, one.last)}
    for one in found:
        one.slot.shapes[one.kind, one.how] += 1
        one.slot.kinds[one.kind] += 1
        _context(one.slot.left, tokens, range(one.first - 1, max(-1, one.first - 3), -1), labels)
        if one.kind == "text" or one.first - 1 in labels:
            _context(one.slot.lead, tokens, range(one.first - 1, max(-1, one.first - 2), -1), labels)
        _context(one.slot.right, tokens, range(one.last, min(len(tokens), one.last + 1)), labels)
    return found


def guess(slot: Slot) -> None:
    """Give a slot that no example fills the kinds of token that its schema and name suggest."""
    if slot.used or "boolean" in slot.types or slot.choices:
        return
    if slot.types & {"integer", "number"}:
        slot.kinds["number"] += 1
    if "string" in slot.types:
        likely = [kinds for part, kinds in _LIKELY.items() if part in slot.name.lower()]
        slot.kinds.update(likely[0] if likely else ("word", "file", "quoted"))


def lookup(params: Mapping[str, Any], pointer: Pointer) -> Any:
    """The value at a pointer, None if there is none."""
    value: Any = params
    for part in pointer:
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def surroundings(token: Token) -> tuple[str, ...]:
    """What a neighbouring token counts as."""
    return (token.text.lower(), *token.concepts) if token.kind in ("word", "punct") else (token.kind,)


def _context(counter: Counter[str], tokens: Sequence[Token], window: range, labels: Mapping[int, str]) -> None:
    for distance, index in enumerate(window):
        for mark in dict.fromkeys([labels[index]] if index in labels else surroundings(tokens[index])):
            counter[mark if distance == 0 else f"{mark} _"] += 1


def _learn_flags(slots: Sequence[Slot], example: Example, tokens: Sequence[Token]) -> None:
    """Which words beside the values go with a flag, and which stand there without it."""
    words = _concepts(tokens)
    for slot in slots:
        value = lookup(example.params, slot.pointer)
        if isinstance(value, bool):
            slot.triggers.update(words)
            slot.raw[str(value)] = value
        elif "boolean" in slot.types:
            slot.quiet.update(words)


def _concepts(tokens: Sequence[Token]) -> set[str]:
    words = {concept for token in tokens for concept in token.concepts}
    return words | {token.text for token in tokens if token.kind == "option"}


def _align(slot: Slot, value: Any, text: str, tokens: Sequence[Token], taken: set[int], lexer: Lexer) -> Aligned | None:
    if isinstance(value, bool | dict | list):
        return None
    for index, token in enumerate(tokens):
        how = derivation(token, value) if index not in taken else None
        if how:
            return Aligned(slot, index, index + 1, token.kind, how)
    if slot.choices:
        wanted = set(lexer.concepts(str(value).lower())[:1])
        for index, token in enumerate(tokens):
            if index not in taken and wanted & set(token.concepts):
                return Aligned(slot, index, index + 1, token.kind, "choice")
    return _split(slot, value, tokens) or _span(slot, str(value), text, tokens, taken)


def derivation(token: Token, value: Any) -> str | None:
    """How the value can be made of the token; None if it cannot."""
    if isinstance(value, int | float):
        return "number" if token.value == value else None
    if token.text == value:
        return "same"
    if token.text.lower() == str(value).lower():
        return "fold"
    if token.kind in ("path", "relative") and posixpath.normpath(token.text) == value:
        return "plain"
    return "singular" if token.kind == "word" and token.text.lower().removesuffix("s") == value else None


def derive(token: Token, how: str, slot: Slot) -> Any:
    """The value that a token gives; the opposite of `derivation`."""
    text = token.text
    if how in ("head", "tail"):
        return posixpath.split(text.rstrip("/"))[how == "tail"]
    if how == "plain" or text.startswith("./"):
        return posixpath.normpath(text)
    if how == "singular":
        return text.lower().removesuffix("s")
    if token.value is not None and not ("string" in slot.types and how != "number"):
        return int(token.value) if token.value.is_integer() else token.value
    return text


def _split(slot: Slot, value: Any, tokens: Sequence[Token]) -> Aligned | None:
    """The folder or the last part of a path that another slot may share."""
    for index, token in enumerate(tokens):
        if token.kind == "path" and value and value in posixpath.split(token.text.rstrip("/")):
            how = "tail" if posixpath.split(token.text.rstrip("/"))[1] == value else "head"
            return Aligned(slot, index, index + 1, "path", how)
    return None


def _span(slot: Slot, value: str, text: str, tokens: Sequence[Token], taken: set[int]) -> Aligned | None:
    at = text.lower().find(value.lower()) if len(value) > 1 else -1
    inside = [index for index, token in enumerate(tokens) if at <= token.start and token.end <= at + len(value)]
    if at < 0 or not inside or taken & set(inside):
        return None
    return Aligned(slot, inside[0], inside[-1] + 1, "text", "text")


_LIKELY: Mapping[str, tuple[str, ...]] = {
    "url": ("url",),
    "webhook": ("url",),
    "path": ("path", "relative", "file"),
    "source": ("path", "relative", "file"),
    "destination": ("path", "relative", "file"),
    "file": ("path", "relative", "file"),
    "dir": ("path", "relative", "file"),
    "root": ("path",),
    "id": ("word", "number"),
    "text": ("quoted",),
    "message": ("quoted",),
    "content": ("quoted",),
}
"""Part of a param's name -> kinds of token that fit."""


def is_marker(mark: str) -> bool:
    """True for a word that is worth remembering as an anchor (not an article)."""
    return mark not in ("the", "a", "an", "my", "our") and (mark not in STOP_WORDS or mark in _PREPOSITIONS)


_PREPOSITION_WORDS = "to into from in of at on as with by for under below inside within that"
_PREPOSITIONS = frozenset(_PREPOSITION_WORDS.split())
