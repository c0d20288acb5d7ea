"""Fills an intent's slots from the tokens of a request, by what its schema and examples taught.

Used by the index for every intent that comes near. Values are taken from the text, never made up; the few constants
that examples always mean without saying are the exception.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmcore.planner.lexicon import KIND_WORDS, NEVER_NAMES, QUANTIFIERS, SYNONYMS, WEAK
from llmcore.planner.slots import Pointer, Slot, derive, is_marker, surroundings
from llmcore.planner.words import Token, one_apart

_ARTICLES = frozenset({"the", "a", "an", "my", "our", "this", "that", "some"})
_TEXT_MARKS = frozenset({":", "saying", "says", "say", "that", "reading", "stating"})
_POLITE_TAIL = frozenset({"please", "pls", "plz", "thanks", "now"})
_SURE = 0.5
_TAKEN_AS: Mapping[str, frozenset[str]] = {
    "number": frozenset({"number", "word"}),
    "path": frozenset({"path"}),
    "relative": frozenset({"relative", "path", "file"}),
    "file": frozenset({"file", "path", "word"}),
    "quoted": frozenset({"quoted", "path", "word"}),
    "url": frozenset({"url"}),
    "option": frozenset({"option"}),
    "word": frozenset({"word"}),
    "punct": frozenset(),
}
"""Kinds of token that a slot must have been filled by in some example to take this one."""
_OPTIONS = 4
_LIKELY = 0.3
_HINTED = 0.1
"""Context that a word no dictionary knows needs to be taken for an optional value."""
_REQUIRED = 0.15

_PATTERN = re.compile(r"[*?\[\]{}]")
"""What makes a path stand for many: no intent takes that, unless it says so itself."""
_TOPICS = frozenset(concept for concepts in SYNONYMS.values() for concept in concepts)

Names = Mapping[str, Mapping[str, str]]
"""List of the host -> lower-case name -> name."""


@dataclass(slots=True)
class Filled:
    """Params found in a text, and which tokens they explain."""

    params: dict[str, Any] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    spans: list[tuple[int, int]] = field(default_factory=list)
    """Character spans that went into params word for word."""
    missing: list[Slot] = field(default_factory=list)
    weakest: float = 1.0
    """How certain the least certain value is, 0 to 1."""
    owner: dict[int, str] = field(default_factory=dict)
    free: bool = False
    """True if unquoted free text was taken, which may hold anything."""

    def put(self, slot: Slot, value: Any) -> None:
        """Set the value at the slot's pointer; an array slot collects."""
        target = self.params
        for part in slot.pointer[:-1]:
            target = target.setdefault(part, {})
        if slot.array:
            target.setdefault(slot.name, []).append(value)
        else:
            target[slot.name] = value

    def has(self, slot: Slot) -> bool:
        """True if the slot has a value."""
        target: Any = self.params
        for part in slot.pointer:
            if part not in target:
                return False
            target = target[part]
        return True

    def take(self, slot: Slot, tokens: Sequence[Token], first: int, last: int) -> None:
        """Mark tokens as explained by the slot."""
        self.used.update(range(first, last))
        self.spans.append((tokens[first].start, tokens[last - 1].end))
        self.owner.update(dict.fromkeys(range(first, last), slot.label))


@dataclass(frozen=True, slots=True)
class _Candidate:
    score: float
    order: int
    slot: Slot
    index: int
    how: str
    value: Any = None


def fill(slots: Sequence[Slot], tokens: Sequence[Token], text: str, names: Names) -> Filled:
    """The params that the text gives for these slots."""
    filled = Filled()
    texts = [slot for slot in slots if slot.takes("text")]
    for slot in texts:
        if slot.required and not slot.takes("word"):
            _fill_text(slot, tokens, text, filled)
    _fill_values(slots, tokens, names, filled)
    for slot in texts:
        if not filled.has(slot):
            _fill_text(slot, tokens, text, filled)
    for slot in slots:
        if not filled.has(slot):
            _fill_choice(slot, tokens, filled)
    filled.missing = [slot for slot in slots if slot.required and not filled.has(slot)]
    return filled


def _fill_values(slots: Sequence[Slot], tokens: Sequence[Token], names: Names, filled: Filled) -> None:
    wanted = [slot for slot in slots if not (slot.choices or slot.rest or "boolean" in slot.types or filled.has(slot))]
    found = [
        candidate
        for order, slot in enumerate(wanted)
        for index, token in enumerate(tokens)
        if not token.stop
        and index not in filled.used
        and (candidate := _candidate(slot, order, index, token, tokens, names))
    ]
    chosen = _assign(found)
    for index, one in sorted(chosen.items()):
        filled.put(one.slot, one.value if one.value is not None else derive(tokens[index], one.how, one.slot))
        filled.take(one.slot, tokens, index, index + 1)
        filled.weakest = min(filled.weakest, one.score)
    _share(wanted, tokens, filled)


def _assign(found: Sequence[_Candidate]) -> dict[int, _Candidate]:
    """One value a slot and one slot a token, by the best total; array slots then take what is left."""
    by_slot: dict[Pointer, list[_Candidate]] = {}
    for one in sorted(found, key=lambda one: (one.order, -one.score, one.index)):
        options = by_slot.setdefault(one.slot.pointer, [])
        if len(options) < _OPTIONS:
            options.append(one)
    chosen = dict(_best(list(by_slot.values()), {})[1])
    filled = {one.slot.pointer for one in chosen.values()}
    for one in found:
        if one.slot.array and one.slot.pointer in filled:
            chosen.setdefault(one.index, one)
    return chosen


def _best(
    options: Sequence[Sequence[_Candidate]], chosen: Mapping[int, _Candidate]
) -> tuple[float, Mapping[int, _Candidate]]:
    """The best assignment of the first slot and those behind it; values in the slots' order win, earlier slots too."""
    if not options:
        return 0.0, chosen
    best: tuple[float, Mapping[int, _Candidate]] = (-1.0, chosen)
    for one in options[0]:
        if one.index in chosen:
            continue
        crossed = sum(one.index < other.index for other in chosen.values() if other.order < one.order)
        total, others = _best(options[1:], {**chosen, one.index: one})
        if total + one.score - 0.01 * crossed > best[0]:
            best = (total + one.score - 0.01 * crossed, others)
    return max(best, _best(options[1:], chosen), key=lambda found: found[0])


_CONTAINING = frozenset({"in", "from", "below", "under", "inside", "within", "of"})


def _share(wanted: Sequence[Slot], tokens: Sequence[Token], filled: Filled) -> None:
    """One path for two slots (`delete the folder /srv/www/old`) where an example showed that.

    Not a path that something else is said to be in: `the folder all in /srv/www` is not the folder /srv/www.
    """
    heads = [slot for slot in wanted if slot.shapes["path", "head"]]
    tails = [slot for slot in wanted if slot.shapes["path", "tail"]]
    for head, tail in zip(heads, tails, strict=False):
        owners = {head.label, tail.label}
        at = [index for index, owner in filled.owner.items() if owner in owners]
        inside = bool(at) and at[0] > 0 and tokens[at[0] - 1].text.lower() in _CONTAINING
        whole = len(at) == 1 and tokens[at[0]].kind == "path" and "/" in tokens[at[0]].text.strip("/")
        if whole and not inside:
            filled.put(head, derive(tokens[at[0]], "head", head))
            filled.put(tail, derive(tokens[at[0]], "tail", tail))


def _candidate(
    slot: Slot, order: int, index: int, token: Token, tokens: Sequence[Token], names: Names
) -> _Candidate | None:
    listed = names.get(slot.vocabulary or "", {})
    name = listed.get(token.text.lower())
    if name is not None and token.kind in ("word", "file", "quoted", "path", "relative"):
        return _Candidate(2.0, order, slot, index, "same", name)
    if not slot.kinds.keys() & _TAKEN_AS[token.kind]:
        return None
    context = _context(slot, tokens, index)
    before = tokens[index - 1].text.lower() if index else ""
    base = _fit(slot, token, before, context, _anchored(slot, tokens, index))
    if base is None or base + context < _SURE:
        return None
    near = [known for lower, known in listed.items() if one_apart(lower, token.text.lower())] if not token.typed else []
    value = near[0] if len(near) == 1 and not token.concepts else _plain_case(slot, token)
    base += _REQUIRED if slot.required else 0.0
    return _Candidate(base + context, order, slot, index, _how(slot, token), value)


def _how(slot: Slot, token: Token) -> str:
    """How examples make such values of such tokens; a plural gives the singular only if some example had that."""
    lower = token.text.lower()
    if token.kind == "word":
        return "singular" if lower.endswith("s") and slot.seen[lower[:-1]] else "same"
    how = next((how for (kind, how), _ in slot.shapes.most_common() if kind == token.kind), "same")
    return "same" if how in ("head", "tail") else how


def _plain_case(slot: Slot, token: Token) -> str | None:
    """`Restart Nginx`: a name of a host's list is in small letters where the examples' names are."""
    if slot.vocabulary and token.kind == "word" and token.text.isalpha() and not slot.cased:
        return token.text.lower()
    return None


def _fit(slot: Slot, token: Token, before: str, context: float, anchored: bool) -> float | None:
    """How well a token's kind suits the slot, None if not at all."""
    match token.kind:
        case "number":
            return _fit_number(slot, token, before)
        case "path":
            return 1.0 if slot.takes("path") and not _PATTERN.search(token.text) else None
        case "relative":
            return None if _PATTERN.search(token.text) else 1.0 if slot.takes("relative") else 0.9
        case "file":
            return 1.0 if slot.takes("file") else 0.8 if slot.takes("path") else 0.6 if slot.takes("word") else None
        case "quoted":
            if token.text.startswith(("/", "~")):
                return 1.0 if slot.takes("path") else None
            one_word = slot.takes("word") > 0 and not re.search(r"\s", token.text)
            return 1.0 if slot.takes("quoted") else 0.7 if one_word else None
        case "url" | "option":
            return 1.0 if slot.takes(token.kind) else None
        case _:
            return _fit_word(slot, token, context, anchored) if slot.takes("word") else None


def _fit_number(slot: Slot, token: Token, before: str) -> float | None:
    if slot.types & {"integer", "number"}:
        if before == "by" and not slot.left["by"]:
            return None  # `scale it by 2` says a difference
        whole = token.value is not None and token.value.is_integer()
        return 0.8 if (whole or "number" in slot.types) and (not token.unit or slot.takes("number")) else None
    if slot.takes("number"):
        return 0.5
    digits = sum(any(letter.isdigit() for letter in value) for value in slot.seen)
    return 0.4 if slot.takes("word") and digits > 0.35 * len(slot.seen) else None


def _fit_word(slot: Slot, token: Token, context: float, anchored: bool) -> float | None:
    lower = token.text.lower()
    if token.stop or lower in NEVER_NAMES:
        seen = slot.seen[lower] > 0 and context > _LIKELY
        return 0.4 if seen and not token.stop and lower not in QUANTIFIERS else None
    if token.namelike:
        return 1.0
    if not token.known:
        return 0.9 if slot.required or context > _HINTED else None
    if token.fuzzy:
        return 0.4
    if token.concepts and (token.concepts[0] in _TOPICS or " " in lower):
        return 0.3 if slot.seen[lower.removesuffix("s")] and context > _LIKELY else None
    if slot.seen[lower]:
        return 0.7
    return 0.2 if context > 0 and anchored else None


def _anchored(slot: Slot, tokens: Sequence[Token], index: int) -> bool:
    """True if a neighbour says what kind of thing this word names (`the mail service`, `a folder called reports`)."""
    near = (*tokens[max(0, index - 1) : index], *tokens[index + 1 : index + 2])
    return any(concept in KIND_WORDS or slot.right[concept] > 1 for token in near for concept in token.concepts)


def _context(slot: Slot, tokens: Sequence[Token], index: int) -> float:
    """How much the neighbours look like those in the examples, 0 to about 1.3."""
    left, right = index - 1, index + 1
    while left >= 0 and tokens[left].text.lower() in _ARTICLES:
        left -= 1
    uses = max(1, slot.used)
    score = 0.0
    if left >= 0:
        score += 0.8 * min(1.0, 2 * _share_of(slot.left, tokens[left]) / uses)
    if left >= 1:
        score += 0.2 * min(1.0, 2 * _share_of(slot.left, tokens[left - 1], " _") / uses)
    if right < len(tokens):
        score += 0.5 * min(1.0, 2 * _share_of(slot.right, tokens[right]) / uses)
    return score


def _share_of(counter: Counter[str], token: Token, suffix: str = "") -> int:
    best = max((counter[mark + suffix] for mark in surroundings(token) if is_marker(mark)), default=0)
    if token.typed or not token.known:
        best += sum(count for mark, count in counter.items() if mark.startswith("<") and mark.endswith(">" + suffix))
    return best


def _fill_text(slot: Slot, tokens: Sequence[Token], text: str, filled: Filled) -> None:
    quoted = [index for index, token in enumerate(tokens) if token.kind == "quoted" and index not in filled.used]
    if quoted and slot.takes("quoted"):
        filled.put(slot, tokens[quoted[0]].text)
        filled.take(slot, tokens, quoted[0], quoted[0] + 1)
        return
    first = _text_start(slot, tokens, filled)
    if first is None:
        return
    last = _text_end(slot, tokens, first, filled)
    if last > first and any(
        not token.stop or token.text.lower() in ("on", "off", "up", "down") for token in tokens[first:last]
    ):
        filled.put(slot, text[tokens[first].start : tokens[last - 1].end])
        filled.take(slot, tokens, first, last)
        filled.free = True


def _text_start(slot: Slot, tokens: Sequence[Token], filled: Filled) -> int | None:
    """Index of the first token of free text: behind a marker, or behind the slot that examples put in front of it."""
    after: int | None = None
    for index, token in enumerate(tokens[:-1]):
        if index + 1 in filled.used:
            continue
        owner = filled.owner.get(index)
        if owner:
            if slot.lead[owner] and _literal(tokens[index + 1]):
                return index + 1
            continue
        marks = [mark for mark in surroundings(token) if is_marker(mark)]
        explicit = token.text.lower() in _TEXT_MARKS and (slot.required or slot.lead[token.text.lower()] > 0)
        if explicit and index > 0:
            return index + 1
        if index > 0 and any(slot.lead[mark] for mark in marks) and after in (None, index):
            after = index + 1
    return after


def _literal(token: Token) -> bool:
    return token.kind in ("option", "quoted", "number", "path", "relative", "file") or token.namelike


def _text_end(slot: Slot, tokens: Sequence[Token], first: int, filled: Filled) -> int:
    last = len(tokens)
    for index in range(first + 1, len(tokens)):
        if index in filled.used or any(slot.right[mark] for mark in surroundings(tokens[index]) if is_marker(mark)):
            last = index
            break
    while last > first and (tokens[last - 1].text.lower() in _POLITE_TAIL or tokens[last - 1].text in "?.!"):
        last -= 1
    return last


def _fill_choice(slot: Slot, tokens: Sequence[Token], filled: Filled) -> None:
    if "boolean" in slot.types:
        _fill_flag(slot, tokens, filled)
        return
    found: dict[str, int] = {}
    for choice in slot.choices:
        word = str(choice).lower()
        concepts = SYNONYMS.get(word, (word,))[:1]
        for index, token in enumerate(tokens):
            if index not in filled.used and (
                token.text.lower() == word or (concepts[0] in token.concepts and concepts[0] not in WEAK)
            ):
                found.setdefault(str(choice), index)
    if len(found) == 1:
        choice_text, index = next(iter(found.items()))
        filled.put(slot, slot.raw[choice_text])
        filled.take(slot, tokens, index, index + 1)
    elif not found:
        _assume(slot, filled)


def _assume(slot: Slot, filled: Filled) -> None:
    """A value that examples mean without saying it: only where the intent cannot do without."""
    common = slot.constants.most_common(1)
    if slot.required and common and common[0][1] > 0.8 * sum(slot.constants.values()):
        filled.put(slot, slot.raw[common[0][0]])


def _fill_flag(slot: Slot, tokens: Sequence[Token], filled: Filled) -> None:
    found: list[int] = []
    for index, token in enumerate(tokens):
        marks: Iterable[str] = (token.text,) if token.kind == "option" else token.concepts
        if index not in filled.used and any(slot.triggers[mark] and not slot.quiet[mark] for mark in marks):
            found.append(index)
    if found:
        filled.put(slot, slot.raw.get("True", True))
    for index in found:
        filled.take(slot, tokens, index, index + 1)
