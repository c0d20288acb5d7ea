"""No question, negation, supposition, report or later time is taken for an order; plain and polite orders are."""

import pytest

from llmcore.plan import Effect
from llmcore.planner.guard import blocking, signs
from tests.planner_kit import bundled, eval_rows, plan

ORDERS = [
    "restart nginx",
    "please restart nginx",
    "can you restart nginx?",
    "could you please restart nginx",
    "would you mind restarting nginx?",
    "ok, now restart nginx",
    "I'd like you to restart nginx",
    "restart memcached",
    "restart nginx, no rush",
    "restart nginx if you can",
    "I changed the config, restart nginx",
    "delete folder tmp in /srv even if it is not empty",
    "run says.sh",
    "can u restart nginx",
    "I want you to restart nginx",
    "delete /srv/if/not/never.txt",
    "I don't need /srv/a any more, delete it",
]
NO_ORDERS = [
    ("how do I restart nginx?", "question"),
    ("How can we delete a folder", "question"),
    ("should I restart nginx?", "question"),
    ("why restart nginx", "question"),
    ("is it safe to restart nginx?", "ask"),
    ("can I restart nginx?", "question"),
    ("could you tell me how to restart nginx?", "question"),
    ("what happens if I restart nginx?", "question"),
    ("don't restart nginx", "negation"),
    ("do not restart nginx", "negation"),
    ("please never restart nginx", "negation"),
    ("leave nginx alone", "negation"),
    ("if load is high restart nginx", "condition"),
    ("restart nginx unless it is busy", "condition"),
    ("when the disk is full delete /tmp/a", "condition"),
    ("restart nginx before you delete it", "waiting"),
    ("suppose we restart nginx", "supposition"),
    ("the log says restart nginx", "report"),
    ("my boss told me to restart nginx", "report"),
    ("I restarted nginx", "narrative"),
    ("nginx was restarted", "narrative"),
    ("nginx restarted", "participle"),
    ("was nginx restarted", "ask"),
    ("restarting nginx", "participle"),
    ("we will restart nginx", "narrative"),
    ("I'm about to restart nginx", "narrative"),
    ("to restart nginx", "narrative"),
    ("> restart nginx", "report"),
    ("nginx should be restarted", "supposition"),
    ("have you restarted nginx", "question"),
    ("restart nginx tomorrow", "later"),
    ("restart nginx at 5", "later"),
    ("restart nginx in ten minutes", "later"),
    ("restart nginx every night", "later"),
    ("restart nginx?", "ask"),
]


@pytest.mark.parametrize("text", ORDERS)
def test_orders_pass(text: str) -> None:
    """A plain or polite order has nothing against it."""
    assert blocking(text, mutates=True, evidence=[_place(text)]) is None


def _place(text: str) -> int:
    words = ("restart", "delete", "run")
    return max(text.lower().rfind(word) for word in words)


@pytest.mark.parametrize(("text", "kind"), NO_ORDERS)
def test_anything_else_is_told_apart(text: str, kind: str) -> None:
    """Each sign is found and named."""
    assert blocking(text, mutates=True) is not None
    assert kind in {sign.kind for sign in signs(text)}


@pytest.mark.parametrize("text", ["what is running?", "is nginx up?", "how much is being used", "nginx restarted?"])
def test_wishes_to_know_may_be_read(text: str) -> None:
    """Questions that ask for facts forbid acting, not reading."""
    assert blocking(text, mutates=True) is not None
    assert blocking(text, mutates=False) is None


def test_what_a_step_quotes_neither_orders_nor_forbids() -> None:
    """Words that went into a param as they stand are nobody's order."""
    text = "telegram the team that we do not deploy today"
    assert blocking(text, mutates=True) == "negation"
    assert blocking(text, mutates=True, quoted=[(text.index("we"), len(text))]) is None


def test_a_question_speaks_only_of_its_own_clause() -> None:
    """An order behind a question or a story stands, if the words that name it stand there."""
    text = "is redis up? restart nginx"
    assert blocking(text, mutates=True) is None
    assert blocking(text, mutates=True, evidence=[text.index("restart")]) is None
    assert blocking(text, mutates=True, evidence=[text.index("redis")]) == "ask"
    assert blocking("is redis up?", mutates=True, evidence=[]) == "ask"


@pytest.mark.parametrize(
    "row",
    [row for row in eval_rows("requests.jsonl") + eval_rows("more.jsonl") if not row["expect"]["steps"]],
    ids=lambda row: row["id"],
)
def test_nothing_that_orders_nothing_mutates(row: dict[str, str]) -> None:
    """The corpus of questions, negations, quotations and things that cannot be done: no step that changes anything."""
    draft = plan(row["text"])
    steps = draft.steps if draft.kind == "plan" else ()
    assert [step for step in steps if bundled().get(step.intent).effect is not Effect.READ] == []
