"""What would make a refused step pass, found by asking the policy again with other facts.

Used by `cedar` for a denial. Tries only facts that the rules about the intent speak of, and only values at which their
answer can change: so it stays quick, and what it says is true by having been asked.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from llmcore.plan import Principal
from llmcore.policy.facts import Facts
from llmcore.policy.rules import PARAMS, Rule

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_LAST = 253_402_300_800
"""The year 10,000: later moments are no dates."""
MAX_CHANGES = 4
"""How many facts may have to change together."""


class Answer(NamedTuple):
    """One answer of the policy."""

    allowed: bool
    rules: tuple[Rule, ...]
    """Those that decided."""
    errors: tuple[str, ...]


Ask = Callable[[Principal, Facts], Answer]
"""The policy's answer for an actor and facts, as if everybody had approved."""


@dataclass(frozen=True, slots=True)
class Way:
    """Facts with which it would pass."""

    words: Mapping[str, str]
    """What is different, in words, by kind of fact: one that changes again is told once."""
    actor: Principal
    facts: Facts

    def sentence(self, asked: str) -> str:
        """In a sentence; `asked` says whose approval it would still need."""
        text = ", ".join([*self.words.values(), *([f"with {asked}"] if asked else [])])
        return f"{text[:1].upper()}{text[1:]}."


def way_through(ask: Ask, rules: Sequence[Rule], actor: Principal, facts: Facts) -> Way | None:
    """The first small change of the facts that lets a step pass, None if there is none.

    Where several rules forbid, one after the other is got out of the way.
    """
    way = Way({}, actor, facts)
    forbidding = _forbidding(ask(actor, facts))
    for _ in range(MAX_CHANGES):
        for changed in _changes(rules, way):
            answer = ask(changed.actor, changed.facts)
            if answer.allowed:
                return changed
            if not answer.errors and (left := _forbidding(answer)) < forbidding:
                way, forbidding = changed, left
                break
        else:
            return None
    return None


def _forbidding(answer: Answer) -> frozenset[str]:
    return frozenset(rule.policy_id for rule in answer.rules if not rule.permits)


def _changes(rules: Sequence[Rule], way: Way) -> Iterator[Way]:
    uses = frozenset().union(*(rule.uses for rule in rules))
    numbers = _numbers(rules)
    yield from _times(uses, numbers, way)
    yield from _amounts(numbers, way)
    if way.facts.tainted:
        yield _with(way, "tainted", "if no untrusted text had a part in the plan", tainted=False)
    if "context.origin" in uses:
        for origin in ("chat", "api"):
            yield _with(way, "origin", f"asked for by {origin}", origin=origin)
    if "resource.owner" in uses and way.actor.name:
        yield _with(way, "owner", f"on what belongs to {way.actor.name}", owner=way.actor.name)
    yield from _actors(way)


def _with(way: Way, fact: str, words: str, actor: Principal | None = None, **facts: Any) -> Way:
    return Way({**way.words, fact: words}, actor or way.actor, replace(way.facts, **facts))


def _numbers(rules: Iterable[Rule]) -> Mapping[str, Sequence[int]]:
    """Fact -> the values around which an answer can change."""
    found: dict[str, set[int]] = {}
    for rule in rules:
        for fact, values in rule.numbers.items():
            found.setdefault(fact, set()).update(near for value in values for near in (value - 1, value))
    return {fact: sorted(values) for fact, values in found.items()}


def _times(uses: frozenset[str], numbers: Mapping[str, Sequence[int]], way: Way) -> Iterator[Way]:
    """The next hours of a week, as far as rules tell hours and days apart."""
    by_hour, by_day = "context.hour" in uses, "context.weekday" in uses
    if by_hour or by_day:
        start = (way.facts.weekday - 1) * 24 + way.facts.hour
        for ahead in range(1, 24 * 7 if by_day else 24):
            day, hour = divmod((start + ahead) % (24 * 7), 24)
            if by_hour or hour == 0:
                today = hour > way.facts.hour and ahead < 24 and "time" not in way.words
                words = f"from {hour:02}:00" if today or not by_day else f"from {DAYS[day]} {hour:02}:00"
                yield _with(way, "time", words, hour=hour, weekday=day + 1 if by_day else way.facts.weekday)
    for moment in numbers.get("context.now", ()):
        if way.facts.now < moment < _LAST:
            told = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            yield _with(way, "time", f"from {told}", now=moment)


def _amounts(numbers: Mapping[str, Sequence[int]], way: Way) -> Iterator[Way]:
    """The nearest amounts that may do: fewer targets, more confidence, other numbers among the params."""
    for blast in reversed(numbers.get("context.blast", ())):
        if 0 <= blast < way.facts.blast:
            yield _with(way, "blast", f"with a blast radius of at most {blast}", blast=blast)
    for confidence in numbers.get("context.confidence", ()):
        if way.facts.confidence < confidence <= 100:
            yield _with(
                way, "confidence", f"with a confidence of at least {confidence} per cent", confidence=confidence
            )
    for name, value in way.facts.params:
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        for other in sorted(numbers.get(f"{PARAMS}.{name}", ()), key=lambda other: abs(other - value)):
            changed = tuple((key, other if key == name else told) for key, told in way.facts.params)
            yield _with(way, name, f"with {name} {other}", params=changed)


def _actors(way: Way) -> Iterator[Way]:
    """Somebody else: a person, another role, an agent that may do more."""
    actor = way.actor
    for role in ("developer", "admin"):
        if role != actor.role:
            yield _with(way, "role", f"asked by the role {role}", replace(actor, role=role))
    if actor.kind == "agent":
        for level in range(actor.autonomy + 1, 6):
            yield _with(way, "autonomy", f"by an agent of autonomy {level}", replace(actor, autonomy=level))
    if actor.kind != "user":
        yield _with(way, "kind", "asked by a person", replace(actor, kind="user"))
