"""A judge may be asked at the hour of another day: for replays."""

from llmcore.catalog import Catalog
from llmcore.plan import Decision, Effect, Origin, Principal, Step
from llmcore.policy import Judge, load
from tests.rooms import INTENTS, HandClock

ANNA = Principal(name="anna", role="admin")
NIGHT = """
@id("all") permit (principal, action, resource);
@id("night") forbid (principal, action, resource) when { context.hour < 6 };
"""


def test_a_judge_at_another_time_decides_as_it_was_then() -> None:
    """The one it was made of goes on with the present."""
    catalog = Catalog(INTENTS)
    clock = HandClock()
    noon = 1_700_000_000.0 - 1_700_000_000.0 % 86_400 + 12 * 3600
    clock.ahead_s = noon - clock.now()
    judge = Judge(load(NIGHT, catalog), lambda _: {}, clock)
    step = Step(id="s1", intent="look", effect=Effect.READ)
    origin = Origin(kind="chat", id="rn_1")
    assert judge.verdict(step, ANNA, origin).decision is Decision.ALLOW
    assert judge.at(noon - 9 * 3600).verdict(step, ANNA, origin).rules == ("night",)
    assert judge.verdict(step, ANNA, origin).decision is Decision.ALLOW
