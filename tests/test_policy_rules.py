"""llmcore.policy: how Cedar text is read, and the rules besides a file."""

from dataclasses import replace
from typing import Any

import pytest

from llmcore.intent import Effect, Intent
from llmcore.plan import Decision, Origin, Step
from llmcore.policy import ALLOW, Facts, Judge, PolicyError, StandingRule, load, targets_of
from llmcore.policy.schema import quoted
from tests.clocks import HandClock
from tests.test_policy import ANNA, CHAT, DEFAULT, INTENTS, SCALE, judge_of, step, when

# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n// a comment; with one\n\npermit (principal,,);", "site.cedar:4: not valid Cedar"),
        ('@id("a;b")\npermit (principal, action, resource);\n\npermit (principal, action', "site.cedar:4: not valid"),
        ("permit (principal == ?principal, action, resource);", "site.cedar:1: a template"),
        (
            "\npermit (principal, action, resource) when { context.huor > 1 };",
            "site.cedar:2: rule line-2: context has no 'huor'",
        ),
        (
            "permit (principal, action, resource) when { principal has nmae };",
            "principal has no 'nmae' (there are autonomy",
        ),
        ("permit (principal, action, resource) when { resource has taem };", "LLMCORE_SYSTEM__TARGETS gives more"),
        (
            'permit (principal, action == Action::"scale_it", resource) when { context.params has modul };',
            "no intent of this rule has a param 'modul' (there are force, job",
        ),
        (
            'permit (principal, action == Action::"look", resource) when { context.params has modul };',
            "'modul' that rules can ask for",
        ),
        ('permit (principal, action == Action::"write", resource);', 'write action in Action::"write"'),
        ('@excludes("me") permit (principal, action, resource);', "@excludes names me; it takes requester"),
        ('@approvers("0") permit (principal, action, resource);', "@approvers must be a number from 1 to 10, not '0'"),
        ('@approvers("²") permit (principal, action, resource);', "@approvers must be a number"),
        ('permit (principal in Role::"amdin", action, resource);', "amdin"),
        ("permit (principal, action, resource) when { context.blast };", "site.cedar:1: rule line-1: "),
    ],
)
def test_mistake_in_cedar_is_told_with_its_line(text: str, words: str) -> None:
    """File, line of the rule, its name, and what is wrong."""
    with pytest.raises(PolicyError) as refused:
        load(text, [*INTENTS, SCALE], "site.cedar")
    assert words in refused.value.message


@pytest.mark.parametrize(
    "condition",
    [
        'principal == User::"anna"',
        'resource == Target::"nginx" || resource.name == "x"',
        "[1, 2].contains(context.weekday)",
        "if context.tainted then false else context.hour + 1 > 0",
        '(if context.tainted then User::"a" else User::"anna") has name',
        '{"a": context.now}["a"] > 0',
        'User::"anna".name == "x" || true',
        "-1 < context.blast",
        'principal in Role::"developer" && principal is User && context.hour != -5',
        'datetime("2024-01-01") < datetime("2025-01-01")',
    ],
)
def test_every_kind_of_expression_is_read(condition: str) -> None:
    """What a rule speaks of is found inside of anything."""
    found = load(when(condition), INTENTS).decide(step("look"), ANNA, Facts(target="nginx", now=5, hour=3))
    assert found.decision is Decision.ALLOW


def test_catalogue_that_makes_no_schema_is_told() -> None:
    """An intent that is called like a group."""
    clash = Intent(name="read", description="r", schema={"type": "object"}, effect=Effect.READ)
    with pytest.raises(PolicyError, match="site: the catalogue makes no schema"):
        load("", [clash], "site")


def test_attribute_names_of_any_kind() -> None:
    """Settings may name attributes as they like."""
    judge = judge_of(
        r'permit (principal, action, resource) when { resource has "a\"b" };', attributes={"x": {'a"b': 1}}
    )
    assert judge.verdict(step("start_it", "x"), ANNA, CHAT).decision is Decision.ALLOW
    assert quoted('a"\\\n\x00é') == '"a\\"\\\\\\u{a}\\u{0}é"'


# --- rules besides the file -----------------------------------------------------------------------------------------


def standing(**changes: Any) -> StandingRule:
    """Restarting nginx for developers, for a while."""
    rule = StandingRule(
        rule_id="rl_1",
        intent="restart_it",
        target="nginx",
        role="developer",
        created_at=0.0,
        expires_at=1_700_000_100.0,
        by='an"na',
    )
    return replace(rule, **changes)


def test_standing_rule_allows_exactly_what_it_says_until_it_ends() -> None:
    """Intent, target, role and kind; a forbid stands above it; withdrawn it is gone."""
    clock = HandClock()
    judge = judge_of(DEFAULT, clock=clock)
    version = judge.policy.version
    judge.use([standing(), standing(rule_id="rl_2", intent="gone_intent")])
    assert judge.policy.version != version
    allowed = judge.verdict(step("restart_it"), ANNA, CHAT)
    assert (allowed.decision, allowed.rules) == (Decision.ALLOW, ("rl_1",))
    assert allowed.reason == 'Allowed from now on, as an"na asked and an admin approved.'
    others = [
        judge.verdict(step("restart_it", "db"), ANNA, CHAT),
        judge.verdict(step("start_it"), ANNA, CHAT),
        judge.verdict(step("restart_it"), replace(ANNA, role="admin"), CHAT),
        judge.verdict(step("restart_it"), replace(ANNA, kind="agent"), CHAT),
        judge.verdict(step("restart_it"), ANNA, Origin(kind="chat", id="x", tainted=True)),
    ]
    assert {verdict.decision for verdict in others} == {Decision.ASK}
    clock.time += 100
    assert judge.verdict(step("restart_it"), ANNA, CHAT).decision is Decision.ASK
    clock.time -= 100
    judge.use([])
    assert judge.policy.version == version
    assert judge.verdict(step("restart_it"), ANNA, CHAT).decision is Decision.ASK
    assert StandingRule.of({**standing().json(), "of a newer version": 1}) == standing()


def test_two_rules_hold_under_every_policy() -> None:
    """Whatever a file permits: a person for tainted changes, an admin for standing rules."""
    allow = Intent(name=ALLOW, description="a", schema={"type": "object"}, effect=Effect.DESTRUCTIVE, offered=False)
    judge = Judge(
        load('@id("open") permit (principal, action, resource);', [*INTENTS, allow]), lambda _: {}, HandClock()
    )
    made = judge.verdict(Step(id="s", intent=ALLOW), ANNA, CHAT)
    assert (made.decision, made.roles, made.approvals) == (Decision.ASK, ("admin",), 1)
    tainted = judge.verdict(step("start_it"), ANNA, Origin(kind="alert", id="a", tainted=True))
    assert (tainted.decision, tainted.rules) == (Decision.ASK, ("open", "tainted-needs-person"))
    assert judge.may_stand("start_it")
    assert not judge.may_stand(ALLOW)
    assert not judge.may_stand("nothing")
    assert targets_of(step("look")) == ()
