"""Reads the short policy: YAML lines such as `restart_target@production: 2 approvals`.

Used by `compiled`, which makes Cedar of what is read here. Every mistake names file, line, key and what to write
instead. Knows no Cedar.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from llmcore.intent import Intent
from llmcore.plan import Effect
from llmcore.policy.facts import PolicyError
from llmcore.policy.rules import MAX_APPROVERS
from llmcore.policy.schema import ROLES

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_KEY = re.compile(r"(?:intent_)?([a-z0-9_*]+)(?:@(\S[^\n]*))?")
_HOURS = re.compile(r"([01]?\d|2[0-3])(?::00)?\s*-\s*([01]?\d|2[0-4])(?::00)?")
_APPROVALS = re.compile(r"(\d+) approvals?")
_WORDS = "write yes, no, ask, own, `2 approvals`, or {ask: 1, role: admin, hours: 08-18, days: mon-fri, max_blast: 3}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which targets a line is about: an attribute and its value, in which `*` stands for anything."""

    attribute: str
    value: str

    def within(self, other: "Selector | None") -> bool:
        """True if this is as exact as the other or more so; a target by its name is more exact than any attribute."""
        if other is None or self == other:
            return True
        if self.attribute == other.attribute:
            return matches(other.value, self.value)
        return self.attribute == "name" and "*" not in self.value and other.attribute != "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a line says of its intents."""

    allow: bool = True
    approvals: int = 0
    """People who have to approve; 0: nobody is asked."""
    roles: tuple[str, ...] = ()
    excludes_requester: bool = False
    hours: tuple[int, int] | None = None
    """From this hour until before that one; over midnight where the first is the later one."""
    days: frozenset[int] | None = None
    """1 (Monday) to 7 (Sunday)."""
    max_blast: int | None = None
    min_confidence: int | None = None
    own: bool = False
    """Only on targets whose owner is who asks."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a short policy."""

    key: str
    number: int
    """Where it stands in the file."""
    pattern: str
    """The part before `@`."""
    intents: frozenset[str]
    """Those that the pattern means here."""
    selector: Selector | None = None
    terms: Terms = field(default_factory=Terms)

    def replaces(self, other: "Line") -> bool:
        """True if this line is more exact, so that the other does not count where this one does."""
        narrower = self._within(other)
        return narrower and not other._within(self)

    def _within(self, other: "Line") -> bool:
        targets = other.selector is None if self.selector is None else self.selector.within(other.selector)
        return targets and _pattern_within(self, other)


def _pattern_within(one: Line, other: Line) -> bool:
    if one.pattern == other.pattern:
        return True
    if other.pattern in _EFFECTS:
        return "*" not in one.pattern and one.pattern not in _EFFECTS and one.intents <= other.intents
    return other.pattern == "*" if one.pattern in _EFFECTS else matches(other.pattern, one.pattern)


_EFFECTS = frozenset(effect.value for effect in Effect)


def matches(pattern: str, text: str) -> bool:
    """True if the text, or every text that it stands for as a pattern itself, fits the pattern."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class Site:
    """What a short policy may name here."""

    intents: Sequence[Intent]
    attributes: Mapping[str, str]
    """Further attributes of targets, with their Cedar types."""
    targets: Collection[str]
    """Targets of the settings."""

    def kind_of(self, attribute: str) -> str | None:
        """Cedar type of an attribute that targets have; None for an unknown one."""
        return {"name": "String", "kind": "String", "owner": "String", "production": "Bool", **self.attributes}.get(
            attribute
        )


def read_short(text: str, source: str, site: Site) -> Sequence[Line]:
    """The lines of a short policy; raises PolicyError."""
    found: dict[str, Line] = {}
    for place, value in _entries(text, source):
        if place.key in found:
            raise place.wrong(f"stands on line {found[place.key].number} already; remove one of the two")
        found[place.key] = _line(place, value, site)
    return list(found.values())


def _entries(text: str, source: str) -> "Sequence[tuple[_Place, Any]]":
    """Every key with its place and its value."""
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return []
        if not isinstance(root, yaml.MappingNode):
            raise PolicyError(f"{source}:{root.start_mark.line + 1}: must be lines of `intent: what`; {_WORDS}")
        return [
            (_Place(source, key.start_mark.line + 1, str(key.value)), loader.construct_object(value, deep=True))
            for key, value in root.value
        ]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PolicyError(f"{source}:{line}: not valid YAML: it has a character that is not allowed") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PolicyError(f"{source}:{line}: not valid YAML: {error.problem}") from error


@dataclass(frozen=True, slots=True)
class _Place:
    source: str
    line: int
    key: str

    def wrong(self, problem: str) -> PolicyError:
        return PolicyError(f"{self.source}:{self.line}: {self.key}: {problem}", line=self.line, key=self.key)


def _line(place: _Place, value: Any, site: Site) -> Line:
    found = _KEY.fullmatch(place.key)
    if found is None:
        raise place.wrong(
            "is no key; write an intent, `delete_*`, read, write or destructive, with @target if you like"
        )
    pattern, selected = found.groups()
    return Line(
        key=place.key,
        number=place.line,
        pattern=pattern,
        intents=_intents(place, pattern, site),
        selector=None if selected is None else _selector(place, selected, site),
        terms=_terms(place, value),
    )


def _intents(place: _Place, pattern: str, site: Site) -> frozenset[str]:
    offered = {intent.name: intent.effect.value for intent in site.intents if intent.offered}
    if pattern in _EFFECTS:
        return frozenset(name for name, effect in offered.items() if effect == pattern)
    found = frozenset(name for name in offered if matches(pattern, name))
    if not found:
        near = difflib.get_close_matches(pattern, offered, n=2, cutoff=0.6)
        remedy = f"did you mean {' or '.join(near)}?" if near else "`llmcore intents` lists what there is"
        raise place.wrong(f"no intent of this host is called {pattern}; {remedy}")
    return found


def _selector(place: _Place, text: str, site: Site) -> Selector:
    attribute, equals, value = text.partition("=")
    if not equals:
        if site.kind_of(text) == "Bool":
            return Selector(text, "true")
        if text.startswith("/") or any(_names(text, target) for target in site.targets):
            return Selector("name", text)
        known = sorted(
            {"production", *(name for name, kind in site.attributes.items() if kind == "Bool"), *site.targets}
        )
        near = difflib.get_close_matches(text, known, n=2, cutoff=0.6)
        remedy = f"did you mean {' or '.join('@' + name for name in near)}?" if near else f"write @name={text}"
        raise place.wrong(f"no target and no yes-or-no attribute of targets is called {text}; {remedy}")
    kind = site.kind_of(attribute)
    if kind is None:
        there = ", ".join(sorted({"kind", "name", "owner", "production", *site.attributes}))
        raise place.wrong(f"targets have no attribute {attribute}; there are {there}")
    if kind == "Bool":
        words = {"yes": "true", "true": "true", "no": "false", "false": "false"}
        if value not in words:
            raise place.wrong(f"{attribute} is yes or no; write @{attribute}=yes")
        return Selector(attribute, words[value])
    if kind == "Long" and re.fullmatch(r"-?\d{1,18}", value) is None:
        raise place.wrong(f"{attribute} is a whole number; write @{attribute}=3")
    return Selector(attribute, value)


def _names(text: str, target: str) -> bool:
    """True if a text means a target of the settings, or one instance of those that `web@` stands for."""
    return matches(text, target) or (target.endswith("@") and text.startswith(target))


def _terms(place: _Place, value: Any) -> Terms:
    if isinstance(value, Mapping):
        return _of_mapping(place, value)
    words = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
    simple = {
        "yes": Terms(),
        "no": Terms(allow=False),
        "ask": Terms(approvals=1),
        "own": Terms(own=True),
    }
    if isinstance(words, str) and words in simple:
        return simple[words]
    asked = _APPROVALS.fullmatch(words) if isinstance(words, str) else None
    if asked is None:
        raise place.wrong(f"{value!r} is no answer; {_WORDS}")
    return Terms(approvals=_count(place, "approvals", int(asked[1])))


def _of_mapping(place: _Place, value: Mapping[Any, Any]) -> Terms:
    terms = Terms()
    for name, given in value.items():
        read = _TERMS.get(name) if isinstance(name, str) else None
        if read is None:
            near = difflib.get_close_matches(str(name), _TERMS, n=1, cutoff=0.6)
            remedy = f"did you mean {near[0]}?" if near else f"known: {', '.join(_TERMS)}"
            raise place.wrong(f"{name} is unknown; {remedy}")
        terms = replace(terms, **read(place, given))
    if (terms.roles or terms.excludes_requester) and not terms.approvals:
        raise place.wrong("says who approves, but not how many; add ask: 1")
    return terms


Reader = Callable[[_Place, Any], dict[str, Any]]


def _count(place: _Place, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_APPROVERS:
        raise place.wrong(f"{name} is {value!r}, but must be a number from 1 to {MAX_APPROVERS}")
    return value


def _whole(field_name: str, name: str, lowest: int, highest: int) -> Reader:
    def read(place: _Place, value: Any) -> dict[str, Any]:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise place.wrong(f"{name} is {value!r}, but must be a number from {lowest} to {highest}")
        return {field_name: value}

    return read


def _flag(field_name: str, name: str) -> Reader:
    def read(place: _Place, value: Any) -> dict[str, Any]:
        if not isinstance(value, bool):
            raise place.wrong(f"{name} is {value!r}; write yes or no")
        return {field_name: value}

    return read


def _roles(place: _Place, value: Any) -> dict[str, Any]:
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or any(name not in ROLES for name in names):
        raise place.wrong(f"role is {value!r}; write {' or '.join(ROLES)}, or several with commas")
    return {"roles": tuple(role for role in ROLES if role in names)}


def _hours(place: _Place, value: Any) -> dict[str, Any]:
    found = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) == int(found[2]):
        raise place.wrong(f'hours is {value!r}; write whole hours such as "08-18", or "22-06" over midnight')
    return {"hours": (int(found[1]), int(found[2]))}


def _days(place: _Place, value: Any) -> dict[str, Any]:
    found: set[int] = set()
    for part in value.split(",") if isinstance(value, str) else [""]:
        first, _, last = (name.strip().lower() for name in part.partition("-"))
        if first not in DAYS or (last or first) not in DAYS:
            raise place.wrong(f"days is {value!r}; write mon-fri or sat,sun")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found.update((begin + ahead) % 7 + 1 for ahead in range((end - begin) % 7 + 1))
    return {"days": frozenset(found)}


def _reason(place: _Place, value: Any) -> dict[str, Any]:
    if not isinstance(value, str):
        raise place.wrong(f"reason is {value!r}; write a sentence")
    return {"reason": value.strip()}


def _ask(place: _Place, value: Any) -> dict[str, Any]:
    return {"approvals": _count(place, "ask", value)}


_TERMS: Mapping[str, Reader] = {
    "ask": _ask,
    "role": _roles,
    "exclude_requester": _flag("excludes_requester", "exclude_requester"),
    "hours": _hours,
    "days": _days,
    "max_blast": _whole("max_blast", "max_blast", 0, 1_000_000),
    "min_confidence": _whole("min_confidence", "min_confidence", 0, 100),
    "own": _flag("own", "own"),
    "reason": _reason,
}
"""Key of a mapping -> what reads its value into fields of `Terms`."""
