"""From a request's text to tokens: typed mentions (paths, numbers, quotations, …) and words with their concepts.

Used by the catalogue's index, the slot filler and the local matcher. Knows no intents; the words of a catalogue are
handed in. Pure functions of the text, a few microseconds a word.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from llmcore.planner.lexicon import COMMON, NUMBERS, PHRASES, QUANTIFIERS, SEPARABLE, STOP_WORDS, SYNONYMS

_PIECE = re.compile(
    r"""
    (?P<url>[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+)
  | (?P<quoted>"[^"\n]+" | “[^”\n]+” | \u2018[^\u2019\n]+\u2019 | «[^»\n]+» | `[^`\n]+` | (?<!\w)'[^'\n]+'(?!\w))
  | (?P<path>(?<![\w/])(?:~\w*|\.{1,2})?/[^\s"'`,;|<>()]* | (?<![\w/.])\.{0,2}\w[\w.@+-]*(?:/[\w.@+-]+)+/?)
  | (?P<option>(?<!\S)--?[A-Za-z][\w-]*(?:=[^\s"']+)?)
  | (?P<word>(?:(?<!\S)[@-](?=\w))?\w[\w@+-]*(?:[.:]\w[\w@+-]*)*%?(?:['\u2019]\w+)?)
  | (?P<punct>\S)
    """,
    re.VERBOSE,
)
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(%|[a-zA-Z]{1,3})?")
_UNITS = "% k m g t kb mb gb tb kib mib gib ms s sec min h hr hrs d w x"
_UNIT = frozenset(_UNITS.split())
_POSSESSIVE = re.compile(r"['\u2019]s$")
_CONTRACTION = re.compile(r"['\u2019](?:t|d|ll|ve|re|m)$")
_LINKED = re.compile(r"[-/]")
_SUFFIXES = (("ies", ("y",)), ("es", ("", "e")), ("s", ("",)), ("ing", ("", "e")), ("ed", ("", "e")), ("er", ("", "e")))
ADVERB = "<adverb>"
_MIN_SPELL = 5
_GAP = 4


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of the text."""

    kind: str
    """`word`, `path`, `relative` (path), `file` (dotted), `url`, `quoted`, `number`, `option` or `punct`."""
    text: str
    """As written, without quotation marks."""
    start: int
    end: int
    concepts: tuple[str, ...] = ()
    stop: bool = False
    """Carries no topic."""
    known: bool = True
    """False for a word of no dictionary: likely a name."""
    namelike: bool = False
    """Has digits, underscores or hyphens as names have."""
    fuzzy: bool = False
    """Known only after a letter was mended."""
    value: float | None = None
    """Of a number."""
    unit: str = ""

    @property
    def typed(self) -> bool:
        """True for a mention that some slot has to take."""
        return self.kind not in ("word", "punct")


class Lexer:
    """Turns text into tokens, knowing the words of one catalogue. Immutable."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        """Take the catalogue's own words (lower case)."""
        own = {form for word in words if word not in STOP_WORDS for form in (word, _singular(word))}
        self._known = frozenset(own | SYNONYMS.keys() | COMMON | STOP_WORDS)
        self._near: dict[str, set[str]] = {}
        for word in own | SYNONYMS.keys():
            if len(word) >= _MIN_SPELL and word.isalpha():
                for form in _deletions(word):
                    self._near.setdefault(form, set()).add(word)

    def read(self, text: str) -> list[Token]:
        """All tokens in order; never raises."""
        tokens = [token for match in _PIECE.finditer(text) for token in self._classify(match)]
        return _separable(_phrases(_pronouns(tokens)))

    def concepts(self, word: str) -> tuple[str, ...]:
        """The concepts of one lower-case word; empty if it is unknown or carries none."""
        forms = [word, *_bases(word)]
        for form in forms:
            if form in SYNONYMS:
                return SYNONYMS[form]
        known = [form for form in forms if form in self._known]
        if not known or word in STOP_WORDS:
            return ()
        return (min(known, key=len),)

    def _classify(self, match: re.Match[str]) -> list[Token]:
        kind, text, start = match.lastgroup or "punct", match[0], match.start()
        if kind == "quoted":
            return [Token(kind, text[1:-1], start, match.end())]
        if kind in ("path", "url"):
            text = text.rstrip(".,:;!?)") or text
            if kind == "path" and not text.startswith(("/", "~", ".")) and self._alternatives(text):
                return self._linked(text, start)
            kind = "relative" if kind == "path" and text[0] not in "/~" else kind
            return [Token(kind, text, start, start + len(text))]
        if kind == "word":
            return [self._word(text, start)]
        return [Token(kind, text, start, match.end(), stop=kind == "punct")]

    def _only_words(self, text: str) -> bool:
        return all(self._lemma(part) is not None for part in _LINKED.split(text.lower()))

    def _alternatives(self, text: str) -> bool:
        """True for `read/write`, false for `archive/old`."""
        return all(part in SYNONYMS or part in STOP_WORDS for part in text.lower().split("/"))

    def _linked(self, text: str, start: int) -> list[Token]:
        return [self._word(part[0], start + part.start()) for part in re.finditer(r"[^/]+", text)]

    def _word(self, text: str, start: int) -> Token:
        if _CONTRACTION.search(text):
            return Token("word", text, start, start + len(text), stop=True)
        text = _POSSESSIVE.sub("", text)
        lower, end = text.lower(), start + len(text)
        number = _NUMBER.fullmatch(text)
        if number and (number[2] or "").lower() in _UNIT | {""}:
            return Token("number", text, start, end, value=float(number[1]), unit=(number[2] or "").lower())
        if lower in NUMBERS:
            return Token("number", text, start, end, value=float(NUMBERS[lower]))
        if "." in text or ":" in text:
            return Token("file", text, start, end, known=False, namelike=True)
        return self._plain(text, lower, start, end)

    def _plain(self, text: str, lower: str, start: int, end: int) -> Token:
        concepts = self.concepts(lower)
        if concepts or self._lemma(lower) is not None:
            stop = not concepts and lower not in QUANTIFIERS
            return Token("word", text, start, end, concepts or ((lower,) if not stop else ()), stop)
        if "-" in text and self._only_words(lower):
            parts = [concept for part in lower.split("-") for concept in self.concepts(part)[:1]]
            return Token("word", text, start, end, tuple(parts), not parts, namelike=True)
        namelike = not lower.isalpha()
        if lower.endswith(("ly", "iest")) and len(lower) > 5 and lower.isalpha():
            return Token("word", text, start, end, (ADVERB,))
        mended = None if namelike else self._mend(lower)
        if mended:
            return Token("word", text, start, end, self.concepts(mended), fuzzy=True)
        return Token("word", text, start, end, known=False, namelike=namelike)

    def _lemma(self, word: str) -> str | None:
        if word in self._known:
            return word
        return next((base for base in _bases(word) if base in self._known and base not in STOP_WORDS), None)

    def _mend(self, word: str) -> str | None:
        if len(word) < _MIN_SPELL - 1:
            return None
        found = {near for form in _deletions(word) for near in self._near.get(form, ()) if _one_apart(word, near)}
        targets = {self.concepts(near) for near in found}
        return min(found) if len(targets) == 1 else None


def _bases(word: str) -> list[str]:
    """What the word may be an inflection of."""
    found: list[str] = []
    for suffix, endings in _SUFFIXES:
        if word.endswith(suffix) and len(word) > len(suffix) + 1:
            stem = word[: -len(suffix)]
            found += [stem + ending for ending in endings]
            if len(stem) > 2 and stem[-1] == stem[-2]:
                found.append(stem[:-1])
    return found


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _deletions(word: str) -> list[str]:
    return [word, *(word[:index] + word[index + 1 :] for index in range(len(word)))]


def _one_apart(one: str, other: str) -> bool:
    """True if one letter was left out, added, changed or swapped with its neighbour; the first letter stays."""
    if one[0] != other[0] or abs(len(one) - len(other)) > 1:
        return False
    short, long = sorted((one, other), key=len)
    at = next((index for index, letter in enumerate(short) if letter != long[index]), len(short))
    if len(short) != len(long):
        return short[at:] == long[at + 1 :]
    return short[at + 1 :] == long[at + 1 :] or (
        short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    )


def one_apart(one: str, other: str) -> bool:
    """True for names that differ by one mistyped letter and not by a digit."""
    if min(len(one), len(other)) < _MIN_SPELL or re.sub(r"\D", "", one) != re.sub(r"\D", "", other):
        return False
    return _one_apart(one, other)


def _phrases(tokens: Sequence[Token]) -> list[Token]:
    found: list[Token] = []
    at = 0
    lowers = [token.text.lower() if token.kind == "word" else "" for token in tokens]
    while at < len(tokens):
        length = _phrase_at(lowers, at)
        if length:
            words = tuple(lowers[at : at + length])
            first, last = tokens[at], tokens[at + length - 1]
            found.append(Token("word", " ".join(words), first.start, last.end, (PHRASES[words],)))
        else:
            found.append(tokens[at])
        at += length or 1
    return found


_STARTS: Mapping[str, int] = {
    phrase[0]: max(len(other) for other in PHRASES if other[0] == phrase[0]) for phrase in PHRASES
}


def _phrase_at(lowers: Sequence[str], at: int) -> int:
    for length in range(_STARTS.get(lowers[at], 0), 1, -1):
        if tuple(lowers[at : at + length]) in PHRASES:
            return length
    return 0


def _pronouns(tokens: list[Token]) -> list[Token]:
    """`one` is a number only behind `to`, as in "down to one"."""
    return [
        replace(token, kind="word", value=None, stop=True)
        if token.text.lower() == "one" and (at == 0 or tokens[at - 1].text.lower() != "to")
        else token
        for at, token in enumerate(tokens)
    ]


_HEADS = frozenset(verb for verb, _ in SEPARABLE)


def _separable(tokens: list[Token]) -> list[Token]:
    for at, token in enumerate(tokens):
        head = token.text.lower()
        if token.kind != "word" or head not in _HEADS:
            continue
        for index in range(at + 1, min(at + 1 + _GAP, len(tokens))):
            concept = SEPARABLE.get((head, tokens[index].text.lower()))
            if tokens[index].kind == "punct":
                break
            if concept:
                tokens[at] = replace(token, concepts=(concept,), stop=False)
                tokens[index] = replace(tokens[index], concepts=(), stop=True)
                break
    return tokens
