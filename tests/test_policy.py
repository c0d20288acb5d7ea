"""Policy: three answers with rules and reasons, wrong policies stopped at load."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.intent import Effect, Intent
from llmcore.plan import Decision, Origin, Preview, Principal, Step, Verdict
from llmcore.policy import (
    Facts,
    Judge,
    Policy,
    PolicyError,
    approval_of,
    load,
    stricter,
    types_of_attributes,
)
from tests.clocks import HandClock

INTENTS = [
    Intent(name=name, description=name, schema={"type": "object"}, effect=effect)
    for name, effect in (("look", Effect.READ), ("start_it", Effect.WRITE), ("restart_it", Effect.DESTRUCTIVE))
]
DEFAULT = (Path(__file__).parent.parent / "config" / "policy" / "default.cedar").read_text()
CHAT = Origin(kind="chat", id="rn")


def step(intent: str, target: str = "nginx") -> Step:
    """A step on that target."""
    effect = next(found.effect for found in INTENTS if found.name == intent)
    return Step(id="s1", intent=intent, params={"module": target}, effect=effect)


@pytest.fixture(scope="module")
def policy() -> Policy:
    """The policy of a new installation."""
    return load(DEFAULT, INTENTS)


@pytest.mark.parametrize(
    ("role", "intent", "decision"),
    [
        ("admin", "look", "allow"),
        ("developer", "look", "allow"),
        ("observer", "look", "allow"),
        ("admin", "start_it", "ask"),
        ("developer", "restart_it", "ask"),
        ("admin", "restart_it", "ask"),
        ("observer", "start_it", "deny"),
        ("observer", "restart_it", "deny"),
    ],
)
def test_default_policy(policy: Policy, role: str, intent: str, decision: str) -> None:
    """Reads are allowed, changes ask one admin or developer, observers only read."""
    verdict = policy.decide(step(intent), Principal(name="x", role=role), Facts(target="nginx", blast=1))
    assert verdict.decision == decision
    assert verdict.rules
    assert verdict.reason
    if decision == "ask":
        assert (verdict.approvals, verdict.roles) == (1, ("admin", "developer"))
        assert verdict.would_allow == "Approval by one person with the role admin or developer."


def test_default_policy_stands_where_a_host_lacks_an_effect() -> None:
    """A rule about changes is no mistake on a host that changes nothing."""
    reads = load(DEFAULT, INTENTS[:1])
    assert reads.decide(step("look"), Principal(name="x", role="observer"), Facts()).decision is Decision.ALLOW
    changes = load(DEFAULT, INTENTS[2:])
    assert changes.decide(step("restart_it"), Principal(name="x", role="admin"), Facts()).decision is Decision.ASK


def test_approved_step_is_allowed_and_an_observers_never(policy: Policy) -> None:
    """Approvals count for those who may ask at all."""
    approved = Facts(target="nginx", approvals=1)
    assert policy.decide(step("restart_it"), Principal(name="x", role="admin"), approved).decision is Decision.ALLOW
    denied = policy.decide(step("restart_it"), Principal(name="x", role="observer"), approved)
    assert denied.decision is Decision.DENY
    assert denied.rules == ("observer-reads-only",)


def test_unknown_intent_and_unknown_role_are_denied(policy: Policy) -> None:
    """What no rule speaks of is not allowed; an evaluation error is a no."""
    stranger = Principal(name="x", role="guest")
    unknown = policy.decide(Step(id="s1", intent="format_disk"), stranger, Facts(target="a"))
    assert unknown.decision is Decision.DENY
    assert unknown.reason


@given(st.text(max_size=50), st.text(max_size=50))
def test_any_name_can_be_asked_about(name: str, target: str) -> None:
    """Names come from outside; none of them breaks or widens a decision."""
    verdict = POLICY.decide(step("restart_it", target), Principal(name=name, role="observer"), Facts(target=target))
    assert verdict.decision is Decision.DENY


POLICY = load(DEFAULT, INTENTS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("permit (principal, action", "not valid Cedar"),
        ('@id("r1") permit (principal, action == Action::"restrt_it", resource);', "r1"),
        ('@id("r2") permit (principal, action, resource) when { context.aprovals > 1 };', "r2"),
        ('@id("r3") permit (principal, action, resource) when { resource.prodution };', "r3"),
        ('@id("r4") @approvers("many") permit (principal, action, resource);', "@approvers must be a number"),
        ('@id("r5") @role("boss") permit (principal, action, resource);', "boss"),
    ],
)
def test_wrong_policy_is_refused_with_file_and_rule(text: str, words: str) -> None:
    """A typo stops the start instead of opening a door."""
    with pytest.raises(PolicyError) as refused:
        load(text, INTENTS, "site.cedar")
    assert refused.value.message.startswith("site.cedar:1: ")
    assert words in refused.value.message


SITE = """
@id("all") permit (principal, action, resource);
@id("prod-two") @reason("Production needs two.") @approvers("2") @role("admin")
permit (principal, action == Action::"restart_it", resource) when { resource.production && context.approvals >= 2 };
@id("prod") @reason("Production is guarded.")
forbid (principal, action == Action::"restart_it", resource) when { resource.production && context.approvals < 2 };
"""


def test_attributes_of_targets_count() -> None:
    """Production asks two admins where the site says so."""
    judge = Judge(load(SITE, INTENTS), lambda name: {"production": True} if name == "shop" else {}, HandClock())
    anna = Principal(name="anna", role="developer")
    assert judge.verdict(step("restart_it", "test"), anna, CHAT).decision is Decision.ALLOW
    asked = judge.verdict(step("restart_it", "shop"), anna, CHAT)
    assert (asked.decision, asked.approvals, asked.roles) == (Decision.ASK, 2, ("admin",))
    assert "Production is guarded." in asked.reason
    assert judge.verdict(step("restart_it", "shop"), anna, CHAT, approvals=2).decision is Decision.ALLOW
    shown = replace(step("restart_it", "x"), preview=Preview(targets=("shop", "test"), blast=2))
    assert judge.verdict(shown, anna, CHAT).decision is Decision.ASK


def test_tainted_plan_asks_even_where_policy_allows_alone() -> None:
    """The rule of the default policy that no other rule can widen."""
    text = '@id("open") permit (principal, action, resource);\n' + DEFAULT
    judge = Judge(load(text, INTENTS), lambda _: {}, HandClock())
    agent = Principal(name="bot", role="developer", kind="agent")
    assert judge.verdict(step("start_it"), agent, CHAT).decision is Decision.ALLOW
    tainted = judge.verdict(step("start_it"), agent, Origin(kind="alert", id="a", tainted=True))
    assert tainted.decision is Decision.ASK
    assert "tainted-needs-person" in tainted.rules


def test_worst_step_decides_what_the_plan_needs() -> None:
    """Most people, the roles that all accept."""
    steps = [
        replace(step("look"), verdict=Verdict(decision=Decision.ALLOW)),
        replace(step("start_it"), verdict=Verdict(decision=Decision.ASK, approvals=1, roles=("admin", "developer"))),
        replace(
            step("restart_it"),
            verdict=Verdict(decision=Decision.ASK, approvals=2, roles=("admin",), excludes_requester=True),
        ),
    ]
    assert approval_of(steps) == (2, ("admin",), True)
    assert approval_of(steps[:1]) == (0, (), False)


def test_stricter_only_where_policy_closed_meanwhile() -> None:
    """An approved `ask` has become `allow`; anything above that is stricter."""
    asked = Verdict(decision=Decision.ASK)
    assert not stricter(Verdict(decision=Decision.ALLOW), asked)
    assert stricter(Verdict(decision=Decision.ASK), asked)
    assert stricter(Verdict(decision=Decision.DENY), None)


# --- facts --------------------------------------------------------------------------------------------------------

SCALE = Intent(
    name="scale_it",
    description="s",
    effect=Effect.WRITE,
    schema={
        "type": "object",
        "properties": {
            "module": {"type": "string"},
            "replicas": {"type": "integer"},
            "force": {"type": "boolean"},
            "job": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "size": {"enum": ["s", "m"]},
            "weird": {"anyOf": [{"$ref": "#/x"}, "no schema"]},
            "mixed": {"enum": [1, "a", True, None]},
            "ratio": {"type": "number"},
            "list": {"type": ["array", "null"]},
            "any": True,
        },
    },
)
ANNA = Principal(name="anna", role="developer")


def judge_of(
    text: str, *, attributes: Mapping[str, Mapping[str, Any]] | None = None, clock: HandClock | None = None
) -> Judge:
    """A judge over a policy of its own, with a scaling intent and what targets tell."""
    targets = attributes or {}
    policy = load(text, [*INTENTS, SCALE], "site.cedar", types_of_attributes(targets))
    return Judge(policy, lambda name: targets.get(name, {}), clock or HandClock(), ZoneInfo("Europe/Berlin"))


def scaled(**params: Any) -> Step:
    """A step that scales."""
    return Step(id="s1", intent="scale_it", params=params, effect=Effect.WRITE, preview=Preview(targets=("web",)))


@pytest.mark.parametrize(
    ("condition", "params", "allowed"),
    [
        ("context.params has replicas && context.params.replicas <= 3", {"replicas": 3}, True),
        ("context.params has replicas && context.params.replicas <= 3", {"replicas": 4}, False),
        ("context.params has replicas && context.params.replicas <= 3", {"replicas": 2.0}, True),
        ("context.params has replicas && context.params.replicas <= 3", {"replicas": 2**80}, False),
        ("context.params has replicas && context.params.replicas <= 3", {}, False),
        ("context.params has replicas && context.params.replicas <= 3", {"replicas": {"$from": "s0"}}, False),
        ('context.params has module && context.params.module like "we*"', {"module": "web"}, True),
        ("context.params has force && !context.params.force", {"force": False}, True),
        ("context.params has force && !context.params.force", {"force": 1}, False),
        ('context.params has job && context.params.job == "12"', {"job": 12}, True),
        ('context.params has size && context.params.size == "s"', {"size": "s"}, True),
        ('context.params has size && context.params.size == "s"', {"size": "m", "ratio": 1.5}, False),
        ("context has params && context.confidence == 100", {}, True),
        ("context == context && context.tainted == false", {"module": "x"}, True),
    ],
)
def test_params_are_facts_of_their_types(condition: str, params: dict[str, Any], allowed: bool) -> None:
    """What has no value yet, or another type, is absent; numbers beyond 64 bits stay large."""
    judge = judge_of(f'permit (principal, action == Action::"scale_it", resource) when {{ {condition} }};')
    found = judge.verdict(scaled(**params), ANNA, CHAT)
    assert (found.decision is Decision.ALLOW) is allowed


def test_params_that_no_rule_speaks_of_do_not_tell_questions_apart() -> None:
    """Nor do names, amounts and moments: such a question is decided once."""
    clock = HandClock()
    judge = judge_of(DEFAULT, clock=clock)
    verdicts = set()
    for number in range(50):
        clock.time += 3601
        step = replace(
            scaled(module=f"m{number}", replicas=number), preview=Preview(targets=(f"t{number}",), blast=number)
        )
        verdicts.add(id(judge.verdict(step, replace(ANNA, name=f"n{number}"), CHAT, confidence=number)))
    assert len(verdicts) == 1


def test_hours_and_days_are_those_of_the_policys_zone() -> None:
    """2026-03-29 is the day on which Berlin's clocks go forward: 00:30 UTC is 01:30, 01:30 UTC is 03:30."""
    rule = "permit (principal, action, resource) when { context.hour == 3 && context.weekday == 7 };"
    clock = HandClock(datetime(2026, 3, 29, 0, 30, tzinfo=UTC).timestamp())
    judge = judge_of(rule, clock=clock)
    assert judge.verdict(step("look"), ANNA, CHAT).decision is Decision.DENY
    clock.time += 3600
    assert judge.verdict(step("look"), ANNA, CHAT).decision is Decision.ALLOW


def test_attributes_of_the_settings_are_facts_and_typed() -> None:
    """The settings go before what an intent tells; a wrong type anywhere stops the start."""
    targets: dict[str, dict[str, Any]] = {
        "web": {"team": "core", "level": 2, "old": True, "owner": "bo", "kind": "http", "weight": 1.5},
        "db": {"level": 3},
    }
    rule = """permit (principal, action, resource) when {
        resource has team && resource.team == "core" && resource has level && resource.level < 3 && resource has old
        && resource.old && resource.owner == "bo" && resource.kind == "http" };"""
    judge = judge_of(rule, attributes=targets)
    told = Preview(targets=("web",), attributes={"team": "other", "owner": "anna"})
    assert judge.verdict(replace(step("start_it"), preview=told), ANNA, CHAT).decision is Decision.ALLOW
    assert judge.verdict(step("start_it", "db"), ANNA, CHAT).decision is Decision.DENY
    strange = Preview(targets=("new",), attributes={"team": 3})
    wrong = judge.verdict(replace(step("start_it"), preview=strange), ANNA, CHAT)
    assert (wrong.decision, wrong.reason) == (Decision.DENY, "The policy could not be evaluated, so the answer is no.")
    clashes: list[dict[str, dict[str, Any]]] = [{"a": {"team": "x"}, "b": {"team": 3}}, {"a": {"production": "yes"}}]
    for clash in clashes:
        with pytest.raises(PolicyError, match="LLMCORE_SYSTEM__TARGETS"):
            types_of_attributes(clash)


OWN = """
@id("own") @reason("One's own.")
permit (principal, action == Action::"restart_it", resource) when { resource.owner == principal.name };
"""


def test_owner_is_told_by_the_preview_or_foreseen() -> None:
    """Before there is a preview nobody is refused for what only it can tell."""
    judge = judge_of(OWN)
    plain = step("restart_it")
    assert judge.verdict(plain, ANNA, CHAT).decision is Decision.DENY
    assert judge.verdict(plain, ANNA, CHAT, foreseen=True).decision is Decision.ALLOW
    for owner, decision in (("anna", Decision.ALLOW), ("bo", Decision.DENY)):
        told = replace(plain, preview=Preview(targets=("job 1",), attributes={"owner": owner}))
        assert judge.verdict(told, ANNA, CHAT, foreseen=True).decision is decision
    refused = judge.verdict(replace(plain, preview=Preview(targets=("job 1",), attributes={"owner": "bo"})), ANNA, CHAT)
    assert refused.would_allow == "On what belongs to anna."


def test_strictest_target_decides() -> None:
    """Asked for each target on its own; of several who ask, all have their say."""
    targets = {"a": {"team": "a"}, "b": {"team": "b"}, "no": {"team": "no"}}
    rules = """
    permit (principal, action, resource) when { !(resource has team) };
    @id("a") @reason("A.") @approvers("1") @role("admin,developer")
    permit (principal, action, resource) when { resource has team && resource.team == "a" && context.approvals >= 1 };
    @id("b") @reason("B.") @approvers("2") @role("admin") @excludes("requester")
    permit (principal, action, resource) when { resource has team && resource.team == "b" && context.approvals >= 2 };
    """
    judge = judge_of(rules, attributes=targets)

    def of(*names: str) -> Verdict:
        return judge.verdict(replace(step("start_it"), preview=Preview(targets=names)), ANNA, CHAT)

    assert of("free").decision is Decision.ALLOW
    assert of("free", "a").roles == ("admin", "developer")
    both = of("a", "b", "free")
    assert (both.approvals, both.roles, both.excludes_requester) == (2, ("admin",), True)
    assert (both.rules, both.reason) == (("a", "b"), "B. A.") or both.reason == "A. B."
    assert of("b").would_allow == "Approval by 2 people other than who asked with the role admin."
    assert of("a", "no").decision is Decision.DENY
    assert of().decision is Decision.ALLOW


def test_other_moments_and_unknown_intents_can_be_asked_about() -> None:
    """The same judge at another time; what the catalogue has not is refused."""
    judge = judge_of(when("context.now == 5"))
    assert judge.at(5.7).verdict(step("look"), ANNA, CHAT).decision is Decision.ALLOW
    assert judge.verdict(step("look"), ANNA, CHAT).decision is Decision.DENY
    unknown = judge.verdict(Step(id="s1", intent="format_disk"), ANNA, CHAT)
    assert (unknown.decision, unknown.reason) == (Decision.DENY, "The policy knows no intent format_disk.")


def test_read_without_a_preview_touches_nothing() -> None:
    """Its params name no target."""
    judge = judge_of('permit (principal, action, resource == Target::"");')
    assert judge.verdict(step("look", "nginx"), ANNA, CHAT).decision is Decision.ALLOW
    assert judge.verdict(step("start_it", "nginx"), ANNA, CHAT).decision is Decision.DENY


# --- who asks -----------------------------------------------------------------------------------------------------


def test_agents_have_a_level_of_autonomy() -> None:
    """A rule may let an agent of some level run alone; what would do is told."""
    rules = """
    @id("agents") permit (principal is Agent, action == Action::"restart_it", resource)
    when { principal.autonomy >= 3 };
    @id("named") permit (principal == Service::"cron", action == Action::"start_it", resource);
    """
    judge = judge_of(rules)
    agent = Principal(name="bot", role="developer", kind="agent", autonomy=1)
    refused = judge.verdict(step("restart_it"), agent, CHAT)
    assert refused.would_allow == "By an agent of autonomy 3."
    assert judge.verdict(step("restart_it"), replace(agent, autonomy=3), CHAT).decision is Decision.ALLOW
    cron = Principal(name="cron", role="observer", kind="service")
    assert judge.verdict(step("start_it"), cron, CHAT).decision is Decision.ALLOW
    assert judge.verdict(step("start_it"), replace(cron, name="at"), CHAT).decision is Decision.DENY
    assert judge.verdict(step("start_it"), replace(cron, kind="robot"), CHAT).decision is Decision.ALLOW


@pytest.mark.parametrize("name", ["\ud83d", "a\nb", 'x"; permit'])
def test_strange_names_widen_nothing(name: str) -> None:
    """Even one that is no text at all."""
    judge = judge_of('permit (principal, action == Action::"look", resource) when { principal.name like "a*" };')
    found = judge.verdict(step("start_it"), Principal(name=name, role=name), CHAT)
    assert found.decision is Decision.DENY
    assert judge.verdict(step("look"), Principal(name="anna", role=name), CHAT).decision is not Decision.ASK


# --- what would make it pass ----------------------------------------------------------------------------------------


def denial(rules: str, **facts: Any) -> str:
    """What would make a restart by anna pass."""
    actor = facts.pop("actor", ANNA)
    policy = load(rules, [*INTENTS, SCALE])
    verdict = policy.decide(facts.pop("step", step("restart_it")), actor, Facts(**facts))
    assert verdict.decision is Decision.DENY, verdict
    return verdict.would_allow or ""


def when(condition: str) -> str:
    """A policy of one rule."""
    return f'@id("r") permit (principal, action, resource) when {{ {condition} }};'


@pytest.mark.parametrize(
    ("condition", "facts", "words"),
    [
        ("context.hour >= 6 && context.hour < 9", {"hour": 3}, "From 06:00."),
        ("6 <= context.hour && 9 > context.hour", {"hour": 12}, "From 06:00."),
        ("context.weekday == 6", {"weekday": 2}, "From Saturday 00:00."),
        ("context.hour == 5 && context.weekday == 2", {"weekday": 2, "hour": 6}, "From Tuesday 05:00."),
        ("context.now > 1800000000", {"now": 1_700_000_000}, "From 2027-01-15 08:00:01 UTC."),
        ("context.blast <= 3", {"blast": 9}, "With a blast radius of at most 3."),
        (
            "context.blast < 3 && context.confidence >= 80",
            {"blast": 2, "confidence": 40},
            "With a confidence of at least 80 per cent.",
        ),
        ('context.origin == "chat"', {"origin": "alert"}, "Asked for by chat."),
        ("!context.tainted", {"tainted": True}, "If no untrusted text had a part in the plan."),
        ('context.origin == "api"', {"origin": "alert"}, "Asked for by api."),
        ('principal.role == "admin"', {}, "Asked by the role admin."),
        ("principal is User", {"actor": Principal(name="n", role="admin", kind="node")}, "Asked by a person."),
        (
            "context.approvals >= 2 && context.hour == 4",
            {},
            "From 04:00, with approval by 2 people with the role admin or developer.",
        ),
    ],
)
def test_denial_says_what_would_pass(condition: str, facts: dict[str, Any], words: str) -> None:
    """By having asked the policy again with it."""
    assert denial(when(condition), **facts) == words


def test_denial_by_several_rules_gets_one_after_the_other_out_of_the_way() -> None:
    """As many as can be; where one stays, only another rule helps."""
    rules = """
    @id("all") permit (principal, action, resource);
    @id("f1") forbid (principal, action, resource) when { context.blast > 2 };
    @id("f2") forbid (principal, action, resource) unless { context.hour >= 8 };
    """
    assert denial(rules, blast=5, hour=3) == "From 08:00, with a blast radius of at most 2."
    never = rules + '@id("f3") forbid (principal, action, resource == Target::"db");'
    assert denial(never, blast=5, target="db").startswith(
        "A policy rule that permits restart_it for the role developer;"
    )
    many = rules + "".join(
        f"forbid (principal, action, resource) unless {{ context.params has {name} }};" for name in ("module", "force")
    )
    for _ in range(2):
        assert "an admin can add one" in denial(many.replace("action,", 'action == Action::"scale_it",'), step=scaled())


def test_where_nothing_helps_only_another_rule_does() -> None:
    """An origin that nobody can choose, a level that no agent has."""
    agent = Principal(name="bot", role="admin", kind="agent", autonomy=4)
    for condition, facts in (
        ('context.origin == "bus"', {}),
        ("principal is Agent && principal.autonomy > 9", {"actor": agent}),
        ("context.approvals == 5 && context.approvals == 6", {}),
    ):
        assert denial(when(condition), **facts).startswith("A policy rule that permits restart_it for the role ")


def test_numbers_among_the_params_are_tried() -> None:
    """The nearest one that does."""
    rule = (
        when("context has params")
        .replace("action,", 'action == Action::"scale_it",')
        .replace(
            "context has params",
            "context.params has replicas && context.params.replicas <= 5 && context.params has module",
        )
    )
    facts = {"step": scaled(), "params": (("module", "web"), ("replicas", 9))}
    assert denial(rule, **facts) == "With replicas 5."
    too_far = rule.replace("<= 5", "> 9 && context.params.replicas < 9")
    assert "an admin can add one" in denial(too_far, step=scaled(), params=(("module", "web"), ("replicas", 0)))


def test_default_denial_names_the_rules_about_the_intent() -> None:
    """So that a person knows where to look; blanket rules say nothing about it."""
    rules = """
    @id("reads") permit (principal, action in Action::"read", resource);
    @id("mine") permit (principal == User::"bo", action in [Action::"restart_it", Action::"start_it"], resource);
    @id("blanket") permit (principal == User::"eva", action, resource);
    """
    policy = load(rules, INTENTS)
    restart = policy.decide(step("restart_it"), ANNA, Facts())
    assert restart.rules == ("mine",)
    assert restart.reason == "No rule allows restart_it for the role developer as things are; about it: mine."
    nothing = load('@id("blanket") permit (principal == User::"eva", action, resource);', INTENTS)
    assert nothing.decide(step("start_it"), ANNA, Facts()).reason.endswith("as things are; none is about it.")


def test_people_are_counted_by_what_lets_it_pass() -> None:
    """The annotation, or more where the condition wants more."""
    rules = """
    @id("a") @approvers("1") permit (principal, action, resource) when { context.approvals > 1 };
    @id("f") @approvers("1") @role("observer") forbid (principal, action, resource) unless { context.approvals >= 1 };
    @id("g") @approvers("2") @role("admin") forbid (principal, action, resource) when { 3 > context.approvals };
    """
    asked = load(rules, INTENTS).decide(step("look"), ANNA, Facts())
    assert (asked.decision, asked.approvals, asked.roles) == (Decision.ASK, 3, ("admin",))
