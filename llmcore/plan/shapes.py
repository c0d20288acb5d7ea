"""Steps with holes, and texts with holes: what one plan has in common with others like it.

Used by saved templates and by the planner's cache. A placeholder is `{"$param": name}` for a whole value and
`{"$join": [text or placeholder, …]}` inside a text. Pure functions of JSON values; matching a text takes time that
grows with its length alone. Knows no catalogue, so what is filled in has to be checked by the caller.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmcore.errors import BadParams
from llmcore.plan.references import is_reference

PARAM = "$param"
JOIN = "$join"
SLOT_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
MAX_TEXT = 4_000
"""Longer texts match no shape; characters."""
MAX_VALUE = 1_000
"""The longest value that a slot takes out of a text; characters."""

_SLOT = re.compile(r"\{([^{}\s]*)\}")
_TOKEN = re.compile(r'"[^"\n]*"|\S+')
_INTEGER = re.compile(r"-?\d{1,15}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_INSIDE = frozenset("/~@+%_.:=#-")
"""What a bare value may hold beside letters and digits."""
_EDGE = frozenset("/~@+%_")
"""And what it may begin and end with: neither a sentence's punctuation nor the dash of an option."""
_COURTESY = frozenset({"please"})
_QUOTES = frozenset("'`")
"""Beside double quotes, which may hold several words."""
_COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

Values = Mapping[str, Any]
"""Name of a param -> text, number or truth value."""
RawStep = Mapping[str, Any]
"""A step as the contract writes it; its params may hold placeholders."""


def is_placeholder(value: Any) -> bool:
    """True for `{"$param": name}` and `{"$join": […]}`."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return False
    return isinstance(value.get(PARAM), str) or isinstance(value.get(JOIN), list | tuple)


def placeholders(value: Any) -> Iterator[str]:
    """Names of all params that a JSON value waits for, each time it does."""
    if is_placeholder(value):
        yield from (value[PARAM],) if PARAM in value else (name for part in value[JOIN] for name in placeholders(part))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from placeholders(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from placeholders(inner)


def generalise(steps: Sequence[RawStep], values: Values, *, inside: bool = True) -> list[dict[str, Any]]:
    """The steps with each whole-word occurrence of a value in their params replaced by its param.

    Without `inside` only where a value stands alone.
    Numbers are replaced where one stands alone, and inside texts. Names of intents, ids, conditions and references are
    code, so they stay as they are. `fill` with the same values gives back the same steps.
    """
    finder = _Finder(values, inside)
    return [{**step, "params": finder.replaced(step.get("params", {}))} for step in steps]


def fill(steps: Sequence[RawStep], values: Values) -> list[dict[str, Any]]:
    """The steps with values in the place of their params; BadParams for a param without a value."""
    return [{**step, "params": _filled(step.get("params", {}), values)} for step in steps]


def written(value: Any) -> str:
    """A value as it stands inside a text."""
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


class _Finder:
    """Finds the values in texts: all at once, the longest first, in one pass."""

    def __init__(self, values: Values, inside: bool) -> None:
        self._values = {name: value for name, value in values.items() if not isinstance(value, bool) and value != ""}
        self._names: dict[str, str] = {}
        for name, value in self._values.items():
            self._names.setdefault(written(value), name)
        known = sorted(self._names, key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, known))})(?!\w)") if known and inside else None

    def replaced(self, value: Any) -> Any:
        if is_reference(value) or is_placeholder(value):
            return value
        if isinstance(value, Mapping):
            return {key: self.replaced(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.replaced(inner) for inner in value]
        if isinstance(value, str):
            return self._whole(value) or self._joined(value)
        return self._whole(value) or value

    def _whole(self, value: Any) -> dict[str, Any] | None:
        """The param that has this very value, of the same type."""
        for name, known in self._values.items():
            if type(known) is type(value) and known == value:
                return {PARAM: name}
        return None

    def _joined(self, text: str) -> Any:
        parts: list[Any] = []
        end = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            parts += [text[end : match.start()], {PARAM: self._names[match[0]]}]
            end = match.end()
        return {JOIN: [part for part in (*parts, text[end:]) if part != ""]} if parts else text


def _filled(value: Any, values: Values) -> Any:
    if is_placeholder(value):
        return _value(value[PARAM], values) if PARAM in value else _text(value[JOIN], values)
    if isinstance(value, Mapping) and not is_reference(value):
        return {key: _filled(inner, values) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, values) for inner in value]
    return value


def _value(name: str, values: Values) -> Any:
    if name not in values:
        raise BadParams(f"{name} is missing.", [{"pointer": f"/params/{name}", "message": "is missing"}])
    return values[name]


def _text(parts: Sequence[Any], values: Values) -> str:
    return "".join(part if isinstance(part, str) else written(_filled(part, values)) for part in parts)


# --- texts ---


@dataclass(frozen=True, slots=True)
class _Piece:
    """One token of a shape's text: literal, or a slot with what stands right before and behind it."""

    before: str
    slot: str | None = None
    behind: str = ""

    def value(self, token: str) -> str | None:
        """What the slot takes of a token, None if the token is another one."""
        start, end = len(self.before), len(token) - len(self.behind)
        same = _same(token[:start], self.before) and _same(token[max(end, 0) :], self.behind)
        return token[start:end] if same and start < end else None


@dataclass(frozen=True, slots=True)
class Shape:
    """A text with `{slot}`s and the steps that it means: the same words with other values mean the same steps.

    A slot takes one word, quoted or not, or a text in double quotes; one for integers also the name of a small number.
    All other words have to be there, in this order, and no more.
    """

    text: str
    steps: tuple[RawStep, ...]
    slots: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name -> JSON Schema; only `type` is looked at here (`string`, `integer`, `number`, `boolean`)."""
    pieces: tuple[_Piece, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Take the text apart; BadParams if it cannot be matched without guessing."""
        object.__setattr__(self, "pieces", tuple(map(self._piece, tokens(self.text))))
        if not any(piece.slot is None and any(map(str.isalpha, piece.before)) for piece in self.pieces):
            raise _unclear(self.text, "needs a word of its own beside its slots")

    def _piece(self, token: str) -> _Piece:
        found = list(_SLOT.finditer(token))
        if not found:
            return _Piece(token)
        slot = found[0]
        if len(found) > 1:
            raise _unclear(self.text, "has two slots in one word; put a space between them")
        if slot[1] not in self.slots:
            raise _unclear(self.text, f"has a slot {{{slot[1]}}} that is not a param")
        return _Piece(token[: slot.start()], slot[1], token[slot.end() :])

    def says_same(self, other: "Shape") -> bool:
        """True if both have the same words, with slots at the same places, whatever those are called."""
        return len(self.pieces) == len(other.pieces) and all(
            (one.slot is None) == (two.slot is None) and _same(one.before, two.before) and _same(one.behind, two.behind)
            for one, two in zip(self.pieces, other.pieces, strict=True)
        )

    def match(self, text: str) -> dict[str, Any] | None:
        """The values of the slots where the text has this shape, else None. A value twice has to be the same twice."""
        return self.fits(tokens(text))

    def fits(self, said: Sequence[str]) -> dict[str, Any] | None:
        """The same for the `tokens` of a text, which many shapes are tried on."""
        if len(said) != len(self.pieces):
            return None
        found: dict[str, Any] = {}
        for piece, token in zip(self.pieces, said, strict=True):
            if piece.slot is None:
                if not _same(token, piece.before):
                    return None
                continue
            value = self._read(piece, token)
            if value is None or found.setdefault(piece.slot, value) != value:
                return None
        return found

    def _read(self, piece: _Piece, token: str) -> Any:
        """The value in the type that its schema asks for; None where there is none."""
        text = piece.value(token)
        kind = self.slots[piece.slot or ""].get("type", "string")
        if text is None or len(text) > MAX_VALUE:
            return None
        if kind == "integer":
            counted = _COUNTS.index(text.casefold()) if text.casefold() in _COUNTS else None
            return int(text) if _INTEGER.fullmatch(text) else counted
        if kind == "number":
            return float(text) if _NUMBER.fullmatch(text) else None
        if kind == "boolean":
            return {"true": True, "false": False}.get(text.casefold())
        if len(text) > 2 and text[0] == text[-1] == '"':
            return text[1:-1] if text.isprintable() else None
        if len(text) > 2 and text[0] == text[-1] and text[0] in _QUOTES:
            text = text[1:-1]
        return text if _is_bare(text) else None


def tokens(text: str) -> list[str]:
    """The words of a text as shapes see them: what stands in quotes is one word.

    Courtesies and the full stop of the last one are left out; never the mark of a question. A text that is too long has
    none.
    """
    found: list[str] = _TOKEN.findall(text) if len(text) <= MAX_TEXT else []
    if found:
        found[-1] = found[-1].rstrip(".!")
    while found and found[-1].casefold() in (*_COURTESY, ""):
        found.pop()
    while found and found[0].casefold() in _COURTESY:
        found.pop(0)
    return found


def _is_bare(text: str) -> bool:
    """True for a name, a path, a number: one word that says nothing but itself."""
    return bool(text) and all(_fits(text[at], _EDGE) for at in (0, -1)) and all(_fits(one, _INSIDE) for one in text)


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _fits(letter: str, others: frozenset[str]) -> bool:
    return letter.isalnum() or letter in others


def _unclear(text: str, problem: str) -> BadParams:
    return BadParams(f"The example {text[:80]!r} {problem}.", [{"pointer": "/examples", "message": problem}])
