"""llmcore.policy: the short YAML means what it says, whatever is written, and every mistake is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.intent import Effect, Intent
from llmcore.plan import Decision, Origin, Preview, Principal, Step, Verdict
from llmcore.policy import Judge, Policy, PolicyError, Site, compile_short, load
from tests.clocks import HandClock

EFFECTS = {
    "look": Effect.READ,
    "start_it": Effect.WRITE,
    "restart_it": Effect.DESTRUCTIVE,
    "delete_a": Effect.DESTRUCTIVE,
    "delete_b": Effect.DESTRUCTIVE,
}
INTENTS = [
    *(
        Intent(name=name, description=name, schema={"type": "object"}, effect=effect)
        for name, effect in EFFECTS.items()
    ),
    Intent(name="hidden_it", description="h", schema={"type": "object"}, effect=Effect.WRITE, offered=False),
]
TARGETS: Mapping[str, Mapping[str, Any]] = {
    "shop": {"production": True, "team": "web", "level": 3},
    "shoptest": {"team": "web-1"},
    "mine": {"owner": "anna", "kind": "db"},
    "plain": {},
}
SITE = Site(INTENTS, {"team": "String", "level": "Long", "old": "Bool"}, [*TARGETS, "many@"])
DEFAULT = (Path(__file__).parent.parent / "config" / "policy" / "default.cedar").read_text()


def policy_of(text: str) -> Policy:
    """A short policy, ready to decide."""
    return load(compile_short(text, "site.yaml", SITE, DEFAULT), INTENTS, "site.yaml", SITE.attributes)


# --- the plain meaning, written down by hand ----------------------------------------------------------------------

PATTERNS = {
    "look": ["look"],
    "start_it": ["start_it"],
    "restart_it": ["restart_it"],
    "delete_a": ["delete_a"],
    "delete_*": ["delete_a", "delete_b"],
    "*_it": ["start_it", "restart_it"],
    "*": list(EFFECTS),
    "write": ["start_it"],
    "destructive": ["restart_it", "delete_a", "delete_b"],
    "read": ["look"],
}
SELECTORS = {
    "": ["shop", "shoptest", "mine", "plain"],
    "@production": ["shop"],
    "@production=no": ["shoptest", "mine", "plain"],
    "@team=web": ["shop"],
    "@team=web*": ["shop", "shoptest"],
    "@level=3": ["shop"],
    "@kind=db": ["mine"],
    "@shop": ["shop"],
    "@shop*": ["shop", "shoptest"],
    "@name=*": ["shop", "shoptest", "mine", "plain"],
}
MORE_EXACT = {
    "look": {"*", "read"},
    "start_it": {"*_it", "*", "write"},
    "restart_it": {"*_it", "*", "destructive"},
    "delete_a": {"delete_*", "*", "destructive"},
    "delete_*": {"*"},
    "*_it": {"*"},
    "write": {"*"},
    "destructive": {"*"},
    "read": {"*"},
    "*": set[str](),
}
CLOSER = {
    "": set[str](),
    "@production": {""},
    "@production=no": {""},
    "@team=web": {"", "@team=web*"},
    "@team=web*": {""},
    "@level=3": {""},
    "@kind=db": {""},
    "@shop": {
        "",
        "@shop*",
        "@name=*",
        "@production",
        "@production=no",
        "@team=web",
        "@team=web*",
        "@level=3",
        "@kind=db",
    },
    "@shop*": {"", "@name=*"},
    "@name=*": {""},
}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Asked:
    """One question."""

    intent: str
    target: str
    role: str = "developer"
    name: str = "anna"
    approvals: int = 0
    tainted: bool = False
    blast: int = 1
    confidence: int = 100
    hour: int = 12
    weekday: int = 3

    def verdict(self, policy: Policy) -> Verdict:
        """What the compiled policy says; 2024-01-01 was a Monday."""
        clock = HandClock(datetime(2024, 1, self.weekday, self.hour, 30, tzinfo=UTC).timestamp())
        judge = Judge(policy, lambda name: TARGETS.get(name, {}), clock)
        effect = EFFECTS[self.intent]
        step = Step(
            id="s1", intent=self.intent, effect=effect, preview=Preview(targets=(self.target,), blast=self.blast)
        )
        origin = Origin(kind="chat", id="x", tainted=self.tainted)
        return judge.verdict(step, Principal(name=self.name, role=self.role), origin, self.approvals, self.confidence)


WORDS: Mapping[str, Mapping[str, Any]] = {
    "yes": {},
    "no": {"never": True},
    "ask": {"ask": 1},
    "own": {"own": True},
    "3 approvals": {"ask": 3},
}


@dataclass
class Meaning:
    """What the lines together want for one question."""

    denied: bool = False
    people: int = 0
    roles: list[set[str]] = field(default_factory=list)
    excludes: bool = False

    def line(self, value: Any, asked: Asked) -> None:
        """One line that counts."""
        terms: Mapping[str, Any] = value if isinstance(value, dict) else WORDS[value]
        self.denied |= terms.get("never", False) or not fits(terms, asked)
        people = terms.get("ask", 0)
        if people > asked.approvals:
            self.people = max(self.people, people)
            self.roles += [set(terms["role"].split(","))] if "role" in terms else []
            self.excludes |= terms.get("exclude_requester", False)


def fits(terms: Mapping[str, Any], asked: Asked) -> bool:
    """All conditions of a line hold."""
    first, last = map(int, terms.get("hours", "0-24").split("-"))
    inside = range(first, last) if first < last else [*range(first, 24), *range(last)]
    return (
        asked.hour in inside
        and DAYS[asked.weekday - 1] in terms.get("days", ",".join(DAYS)).split(",")
        and asked.blast <= terms.get("max_blast", 10**6)
        and asked.confidence >= terms.get("min_confidence", 0)
        and (not terms.get("own") or TARGETS[asked.target].get("owner") == asked.name)
    )


def meaning(lines: Mapping[tuple[str, str], Any], asked: Asked) -> Meaning:
    """The decision by the words of the how-to: more exact lines replace others, the rest count together."""
    found = [key for key in lines if asked.intent in PATTERNS[key[0]] and asked.target in SELECTORS[key[1]]]

    def replaced(key: tuple[str, str]) -> bool:
        return any(
            other != key
            and (other[0] == key[0] or key[0] in MORE_EXACT[other[0]])
            and (other[1] == key[1] or key[1] in CLOSER[other[1]])
            for other in found
        )

    wanted = Meaning()
    for key in found:
        if not replaced(key):
            wanted.line(lines[key], asked)
    changes = EFFECTS[asked.intent] is not Effect.READ
    if not found and changes and asked.approvals < 1:
        wanted.people, wanted.roles = 1, [{"admin", "developer"}]
    if changes and asked.tainted and asked.approvals < 1:
        wanted.people = max(wanted.people, 1)
    wanted.denied |= changes and asked.role == "observer"
    return wanted


TERMS = st.fixed_dictionaries(
    {},
    optional={
        "hours": st.sampled_from(["8-18", "22-6", "0-24", "12-13"]),
        "days": st.sampled_from(["mon,tue,wed,thu,fri", "sat,sun", "wed"]),
        "max_blast": st.integers(0, 3),
        "min_confidence": st.sampled_from([0, 50, 100]),
        "own": st.booleans(),
    },
)
PEOPLE = st.fixed_dictionaries(
    {"ask": st.integers(1, 4)},
    optional={
        "role": st.sampled_from(["admin", "developer", "admin,developer"]),
        "exclude_requester": st.booleans(),
    },
)
VALUES = st.one_of(
    st.sampled_from(["yes", "no", "ask", "own", "3 approvals"]),
    TERMS,
    st.builds(lambda terms, people: {**terms, **people}, TERMS, PEOPLE),
)
LINES = st.dictionaries(st.tuples(st.sampled_from([*PATTERNS]), st.sampled_from([*SELECTORS])), VALUES, max_size=6)
ASKED = st.builds(
    Asked,
    intent=st.sampled_from([*EFFECTS]),
    target=st.sampled_from([*TARGETS]),
    role=st.sampled_from(["admin", "developer", "observer"]),
    name=st.sampled_from(["anna", "bo"]),
    approvals=st.integers(0, 4),
    tainted=st.booleans(),
    blast=st.integers(0, 4),
    confidence=st.sampled_from([49, 50, 99, 100]),
    hour=st.integers(0, 23),
    weekday=st.integers(1, 7),
)


@settings(max_examples=60, deadline=None)
@given(LINES, st.lists(ASKED, min_size=10, max_size=30))
def test_compiled_policy_decides_as_its_lines_say(lines: Mapping[tuple[str, str], Any], questions: list[Asked]) -> None:
    """Decision, people, roles and exclusion are those of the plain meaning."""
    text = yaml.safe_dump({"".join(key): value for key, value in lines.items()})
    policy = policy_of(text)
    for asked in questions:
        wanted, found = meaning(lines, asked), asked.verdict(policy)
        expected = Decision.DENY if wanted.denied else Decision.ASK if wanted.people else Decision.ALLOW
        assert found.decision is expected, (text, asked, found)
        if expected is Decision.ASK:
            common = set.intersection({"admin", "developer"}, *wanted.roles)
            assert (found.approvals, found.excludes_requester) == (wanted.people, wanted.excludes), (text, asked)
            assert set(found.roles) == common or not common, (text, asked)


# --- words --------------------------------------------------------------------------------------------------------


def test_refusal_names_the_line_the_condition_and_what_would_do() -> None:
    """Ids are the keys of the file, so that a person finds the line."""
    policy = policy_of('restart_it: {ask: 2, role: admin, hours: "08-18", days: mon-fri, max_blast: 3}\n')
    refused = Asked("restart_it", "shop", blast=5, hour=6).verdict(policy)
    assert refused.rules == ("restart_it/hours", "restart_it/max_blast")
    assert refused.reason == "Only from 08:00 to 18:00. At most 3 targets at once."
    would = "From 08:00, with a blast radius of at most 3, with approval by 2 people with the role admin."
    assert refused.would_allow == would
    asked = Asked("restart_it", "shop").verdict(policy)
    assert (asked.decision, asked.approvals, asked.roles) == (Decision.ASK, 2, ("admin",))


def test_own_words_stand_in_the_card() -> None:
    """The reason of a line is told instead of ours, whatever characters it has."""
    policy = policy_of(
        'restart_it: {ask: 1, reason: "It wakes \\"Bo\\" \\\\ & co.\\nAt night."}\nlook: {reason: Fine.}\n'
    )
    assert 'It wakes "Bo" \\ & co.\nAt night.' in Asked("restart_it", "plain").verdict(policy).reason
    assert Asked("look", "plain").verdict(policy).reason == "Fine."


def test_one_of_many_like_it_can_be_named() -> None:
    """`many@shop` is a target where `many@` is one."""
    lines = compile_short("intent_restart_it@many@shop: no\nstart_it@/srv/x: no", "site.yaml", SITE, DEFAULT)
    assert '"name"] == "many@shop"' in lines
    assert '"name"] == "/srv/x"' in lines


def test_lines_about_an_effect_that_the_host_lacks_say_nothing() -> None:
    """And hidden intents are never meant by a pattern."""
    reads = Site(INTENTS[:1], {}, [])
    text = compile_short("destructive: no\nwrite@production: no", "site.yaml", reads, DEFAULT)
    assert "forbid (principal, action in [])" not in text
    policy = load(text, INTENTS[:1], "site.yaml")
    assert len(policy.rules) == len(load(DEFAULT, INTENTS[:1]).rules)
    assert "hidden_it" not in compile_short("'*': no", "site.yaml", SITE, DEFAULT)


def test_empty_policy_is_the_default_one() -> None:
    """Nothing said, nothing changed."""
    policy = policy_of("# nothing yet\n")
    assert [rule.id for rule in policy.rules] == [rule.id for rule in load(DEFAULT, INTENTS).rules]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("restart_it: [", "site.yaml:1: not valid YAML: "),
        ("\x00", "site.yaml:1: not valid YAML: "),
        ("- restart_it", "site.yaml:1: must be lines of `intent: what`"),
        (
            "look: yes\nrestart_itt: yes",
            "site.yaml:2: restart_itt: no intent of this host is called restart_itt; did you",
        ),
        ("zzz: yes", "`llmcore intents` lists what there is"),
        ("Restart It: yes", "site.yaml:1: Restart It: is no key; write an intent"),
        ("restart_it: yes\nrestart_it: no", "site.yaml:2: restart_it: stands on line 1 already; remove one"),
        ("restart_it: maybe", "site.yaml:1: restart_it: 'maybe' is no answer; write yes, no, ask"),
        ("restart_it: 2", "write yes, no, ask, own, `2 approvals`"),
        ("restart_it:", "None is no answer"),
        ("restart_it: 11 approvals", "approvals is 11, but must be a number from 1 to 10"),
        ("restart_it: {aks: 1}", "aks is unknown; did you mean ask?"),
        ("restart_it: {7: 1}", "7 is unknown; known: ask, role"),
        ("restart_it: {ask: yes}", "ask is True, but must be a number from 1 to 10"),
        ("restart_it: {role: admin}", "says who approves, but not how many; add ask: 1"),
        ("restart_it: {ask: 1, role: boss}", "role is 'boss'; write admin or developer or observer"),
        ("restart_it: {ask: 1, role: 3}", "role is 3; write admin"),
        ("restart_it: {ask: 1, exclude_requester: 1}", "exclude_requester is 1; write yes or no"),
        ("restart_it: {hours: 8}", 'hours is 8; write whole hours such as "08-18"'),
        ("restart_it: {hours: 08-08}", "hours is '08-08'"),
        ("restart_it: {hours: 08-30}", "hours is '08-30'"),
        ("restart_it: {days: 5}", "days is 5; write mon-fri or sat,sun"),
        ("restart_it: {days: mon-funday}", "days is 'mon-funday'"),
        ("restart_it: {max_blast: -1}", "max_blast is -1, but must be a number from 0 to 1000000"),
        ("restart_it: {min_confidence: 0.8}", "min_confidence is 0.8, but must be a number from 0 to 100"),
        ("restart_it: {own: maybe}", "own is 'maybe'; write yes or no"),
        ("restart_it: {reason: 3}", "reason is 3; write a sentence"),
        ("restart_it@prodution: no", "called prodution; did you mean @production?"),
        ("restart_it@elsewhere: no", "called elsewhere; write @name=elsewhere"),
        ("restart_it@colour=red: no", "targets have no attribute colour; there are kind, level, name"),
        ("restart_it@production=maybe: no", "production is yes or no; write @production=yes"),
        ("restart_it@level=high: no", "level is a whole number; write @level=3"),
    ],
)
def test_mistake_is_told_with_line_key_and_remedy(text: str, words: str) -> None:
    """Nothing wrong is guessed right."""
    with pytest.raises(PolicyError) as refused:
        compile_short(text, "site.yaml", SITE, DEFAULT)
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("restart_it: {days: fri-mon}", {5, 6, 7, 1}),
        ("restart_it: {days: 'tue, Thu-fri'}", {2, 4, 5}),
        ("restart_it: {ask: 1, role: [developer, admin]}", set()),
    ],
)
def test_days_may_go_over_the_week_end(line: str, allowed: set[int]) -> None:
    """And lists of roles may be lists."""
    policy = policy_of(line)
    found = [
        day for day in range(1, 8) if Asked("restart_it", "plain", weekday=day).verdict(policy).decision == "allow"
    ]
    assert set(found) == allowed


def test_later_in_the_week_is_told_by_its_day() -> None:
    """A Saturday at noon waits for Monday, a Friday evening too."""
    policy = policy_of('restart_it: {hours: "08-18", days: mon-fri}')
    for weekday, hour in ((6, 12), (5, 19), (7, 3)):
        assert (
            Asked("restart_it", "shop", weekday=weekday, hour=hour).verdict(policy).would_allow == "From Monday 08:00."
        )
    assert Asked("restart_it", "shop", weekday=2, hour=3).verdict(policy).would_allow == "From 08:00."
    only_days = policy_of("restart_it: {days: wed}")
    assert Asked("restart_it", "shop", weekday=4).verdict(only_days).would_allow == "From Wednesday 00:00."
