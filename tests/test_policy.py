"""Policy: three answers with rules and reasons, wrong policies stopped at load."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.intent import Effect, Intent
from llmcore.plan import Decision, Origin, Preview, Principal, Step, Verdict
from llmcore.policy import Facts, Judge, Policy, PolicyError, approval_of, load, stricter
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
