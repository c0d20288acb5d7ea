"""Requests become plans, questions, answers or an honest "cannot", without a model."""

from dataclasses import replace
from typing import Any

import pytest

from llmcore.catalog import Catalog
from llmcore.intent import Effect
from llmcore.planner import Draft, DraftStep, Planner, PlannerOptions, template_draft
from llmcore.planner.evaluation import Case, evaluate, read_cases
from llmcore.planner.local import LocalPlanner
from tests.planner_kit import ANNA, EVALS, OLGA, bundled, calls, intent, local, offline, plan, request


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """Packs are read before a loop runs."""
    offline()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["requests.jsonl", "more.jsonl"])
async def test_own_requests(name: str) -> None:
    """On requests that are not among the examples: right where it answers, answers most, never acts unasked."""
    cases = read_cases((EVALS / name).read_text("utf-8").splitlines())
    report, _ = await evaluate(cases, offline(), bundled(), ANNA)
    assert (report.unsafe, report.acted_on_question) == (0, 0)
    assert report.answered_right is not None
    assert report.answered_right >= 0.97, report.confusion
    assert report.single_coverage is not None
    assert report.single_coverage >= 0.75, report.confusion


@pytest.mark.parametrize(
    ("text", "intent_name", "params"),
    [
        ("which processes use most of the memory?", "list_processes", {"sort_by": "memory"}),
        ("top 7 processes by RAM", "list_processes", {"sort_by": "memory", "limit": 7}),
        ("last 30 lines of the auth log", "read_log", {"name": "auth", "lines": 30}),
        ("grep timeout in the gateway log", "read_log", {"name": "gateway", "contains": "timeout"}),
        ("copy /srv/a.txt to /srv/b.txt", "copy_file", {"source": "/srv/a.txt", "destination": "/srv/b.txt"}),
        ("write 'x y' to /srv/a.txt", "write_file", {"path": "/srv/a.txt", "content": "x y"}),
        ("delete the folder /srv/www/old", "delete_folder", {"root": "/srv/www", "dirname": "old"}),
        ("run deploy.sh --fast now", "start_script_execution", {"name": "deploy.sh", "args": "--fast"}),
        ("scale the mail service to 4", "scale_target", {"module": "mail", "replicas": 4}),
        ("telegram the team that all is well", "simple_telegram_notify", {"message": "all is well"}),
        ("is the mail service up?", "get_target_status", {"module": "mail"}),
    ],
)
def test_single_requests(text: str, intent_name: str, params: dict[str, object]) -> None:
    """The intent, and only what the text says as params."""
    draft = plan(text)
    assert (draft.kind, draft.answered_by) == ("plan", "local"), draft
    assert calls(draft) == [(intent_name, params)]
    assert 0.5 < draft.confidence <= 1


@pytest.mark.parametrize(
    "text",
    ["delete /tmp/*", "scale web by 2", "execute 'rm -rf /'", "restart nginx twice", "kill 4711", "move /a /b /c"],
)
def test_what_says_more_than_an_intent_can_do(text: str) -> None:
    """Patterns, differences, commands and words that are left over make no plan."""
    assert calls(plan(text)) == []


def test_capitals() -> None:
    """Names of lists whose examples are in small letters are so too; other values stay as they are."""
    assert calls(plan("Restart Nginx.")) == [("restart_target", {"module": "nginx"})]
    assert calls(plan("grep ERROR in the app log")) == [("read_log", {"name": "app", "contains": "ERROR"})]


def test_names_of_the_host_are_known() -> None:
    """A listed name is one whatever word it is, in the host's spelling; a slip of a letter is mended if unique."""
    listed = {"targets": ["Web", "nginx", "postgres-a", "postgres-b"]}
    assert calls(plan("restart web", vocabulary=listed)) == [("restart_target", {"module": "Web"})]
    assert calls(plan("restart ngnix", vocabulary=listed)) == [("restart_target", {"module": "nginx"})]
    assert calls(plan("restart postgres-c", vocabulary=listed)) == [("restart_target", {"module": "postgres-c"})]


@pytest.mark.parametrize(
    ("text", "steps", "needs"),
    [
        ("show cpu load, then the disk space", ["get_cpu_stats", "get_disk_stats"], [(), (0,)]),
        ("cpu load and disk space", ["get_cpu_stats", "get_disk_stats"], [(), ()]),
        ("restart nginx and then show its status", ["restart_target", "get_target_status"], [(), (0,)]),
        ("restart nginx and check the status", ["restart_target", "get_target_status"], [(), (0,)]),
        ("stop redis and postgres", ["stop_target", "stop_target"], [(), ()]),
        ("restart redis then nginx", ["restart_target", "restart_target"], [(), (0,)]),
        ("start redis and nginx and check the status of both", ["start_target"] * 2 + ["get_target_status"] * 2, None),
    ],
)
def test_several_steps(text: str, steps: list[str], needs: list[tuple[int, ...]] | None) -> None:
    """One step for each thing asked; what changes something waits for what comes before."""
    draft = plan(text)
    assert [step.intent for step in draft.steps] == steps, draft
    if needs is not None:
        assert [step.needs for step in draft.steps] == needs


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (
            "scale web-1 to 3 replicas and api-2 to 5",
            [
                ("scale_target", {"module": "web-1", "replicas": 3}),
                ("scale_target", {"module": "api-2", "replicas": 5}),
            ],
        ),
        (
            "last 10 lines of syslog and auth",
            [("read_log", {"name": "syslog", "lines": 10}), ("read_log", {"name": "auth", "lines": 10})],
        ),
        ("nginx log, last 5 lines", [("read_log", {"name": "nginx", "lines": 5})]),
        ("show cpu, memory and disk at a glance", [("get_system_stats", {})]),
        (
            "delete folder old-logs in /srv and all its contents",
            [("delete_folder", {"root": "/srv", "dirname": "old-logs", "delete_non_empty": True})],
        ),
        ("telegram the team that we stop and then restart nginx", []),
        ("copy /srv/a to /srv/b and back", []),
        ("list_it and", []),
    ],
)
def test_one_thing_or_several(text: str, steps: list[tuple[str, dict[str, object]]]) -> None:
    """A list of values is one step a value, unless one step takes them all; what is neither is not planned."""
    assert calls(plan(text)) == steps


def test_values_are_lent() -> None:
    """`it`, a missing value and a name used before mean that of the step before."""
    assert [step.params for step in plan("check the status of redis and restart it").steps] == [{"module": "redis"}] * 2
    draft = plan("stop the worker service, then scale web-1 to 2 replicas, then start worker")
    assert calls(draft)[-1] == ("start_target", {"module": "worker"})
    assert calls(plan('read "/srv/a b.txt" and delete it'))[-1] == ("delete_file", {"path": "/srv/a b.txt"})


@pytest.mark.parametrize(
    "text",
    [
        "is nginx stopped and redis restarted",
        "restart nginx and frobnicate the quux",
        "restart nginx and don't stop redis",
        "stop redis and not nginx",
        "copy /srv/a to /srv/b and read it",
        "it and it",
        "check the status of redis and frobnicate it",
        "a, b, c, d, e, f, g, h",
    ],
)
def test_unclear_parts_make_no_plan(text: str) -> None:
    """Every part has to be sure."""
    assert plan(text).kind != "plan"


def test_a_missing_value_is_asked_for() -> None:
    """One question, whose answer continues the same plan."""
    asked = plan("restart the service", vocabulary={"targets": ["nginx", "redis"]})
    assert (asked.kind, asked.missing, asked.answered_by) == ("clarify", ("module",), "local")
    assert "name of the service" in asked.text
    assert "nginx, redis" in asked.text
    assert calls(plan("nginx", pending=asked)) == [("restart_target", {"module": "nginx"})]
    assert calls(plan("the mail service please", pending=asked)) == [("restart_target", {"module": "mail"})]
    assert not plan("nginx", pending=asked).tainted
    assert plan("nginx", pending=replace(asked, tainted=True)).tainted


def test_two_missing_values() -> None:
    """What is still missing is asked again."""
    asked = plan("copy a file")
    assert set(asked.missing) == {"source", "destination"}
    once = plan("/srv/a.txt", pending=asked)
    assert (once.kind, once.missing) == ("clarify", ("destination",))
    assert calls(plan("/srv/b.txt", pending=once)) == [
        ("copy_file", {"source": "/srv/a.txt", "destination": "/srv/b.txt"})
    ]
    assert calls(plan("from /srv/c to /srv/d", pending=asked)) == [
        ("copy_file", {"source": "/srv/c", "destination": "/srv/d"})
    ]


def test_the_last_step_of_a_chain_may_lack_a_value() -> None:
    """It is asked for, and the answer completes the whole plan."""
    asked = plan("restart nginx and then delete a file")
    assert (asked.kind, asked.missing, len(asked.steps)) == ("clarify", ("path",), 2)
    assert calls(plan("/srv/a", pending=asked)) == [
        ("restart_target", {"module": "nginx"}),
        ("delete_file", {"path": "/srv/a"}),
    ]


def test_free_text_is_taken_whole() -> None:
    """A message is what the answer says."""
    asked = plan("send a telegram message")
    assert asked.missing == ("message",)
    assert calls(plan("restart nginx is done", pending=asked)) == [
        ("simple_telegram_notify", {"message": "restart nginx is done"})
    ]
    assert calls(plan('"done"', pending=asked)) == [("simple_telegram_notify", {"message": "done"})]


def test_a_question_may_be_dropped_or_passed_over() -> None:
    """No is no; another request is another request; nonsense and a "don't" are no answers."""
    asked = plan("restart the service")
    dropped = plan("never mind", pending=asked)
    assert (dropped.kind, dropped.steps) == ("answer", ())
    assert calls(plan("how full are the disks", pending=asked)) == [("get_disk_stats", {})]
    assert plan("don't restart nginx", pending=asked).kind == "none"
    assert plan("colourless green ideas sleep", pending=asked).kind == "none"
    assert plan("nginx", pending=asked, principal=OLGA).kind == "none"
    complete = Draft(kind="clarify", steps=(DraftStep(intent="restart_target", params={"module": "nginx"}),))
    assert plan("redis", pending=complete).kind == "none"
    gone = Draft(kind="clarify", steps=(DraftStep(intent="no_such_intent"),))
    assert plan("redis", pending=gone).kind == "none"


def test_an_answer_that_does_not_fit_is_none() -> None:
    """The schema has the last word."""
    toys = Catalog(
        [
            intent(
                "set_level",
                "Set the level of a pump.",
                {"level": {"type": "integer", "maximum": 10, "description": "the level, up to 10"}},
                [("set the pump level to 3", {"level": 3}), ("pump level 7", {"level": 7})],
                ["level"],
                Effect.WRITE,
            )
        ]
    )
    planner = LocalPlanner(toys, PlannerOptions())
    asked = Draft(kind="clarify", steps=(DraftStep(intent="set_level"),), missing=("level",))
    assert calls(planner.plan(request("9", toys, pending=asked))) == [("set_level", {"level": 9})]
    assert planner.plan(request("99", toys, pending=asked)).kind == "none"
    assert planner.plan(request("set the pump level to 99", toys)).kind == "none"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("how do I restart nginx?", "question about an action"),
        ("don't restart nginx", "what not to do"),
        ("restart nginx tomorrow", "another time"),
        ("order a pizza", "cannot"),
    ],
)
def test_the_honest_cannot(text: str, words: str) -> None:
    """Nobody was sure, and it says why and what it could do."""
    draft = plan(text)
    assert (draft.kind, draft.answered_by, draft.steps) == ("none", None, ())
    assert words in draft.text


def test_the_nearest_are_named() -> None:
    """What comes nearest, only of what the caller may see."""
    assert "list_processes" in plan("show me the 3 strange tasks that use the processor").nearest
    assert "restart_target" not in plan("restart nginx", principal=OLGA).nearest
    assert plan("restart nginx", principal=OLGA).kind != "plan"


@pytest.mark.parametrize("text", ["hello", "Hi there!", "thanks a lot", "what can you do?", "help"])
def test_small_talk_is_answered(text: str) -> None:
    """Greetings, thanks and a call for help."""
    draft = plan(text)
    assert (draft.kind, draft.answered_by) == ("answer", "local")
    assert draft.text


def test_nothing_visible_nothing_offered() -> None:
    """Without intents there is nothing to offer, and nothing breaks."""
    empty = LocalPlanner(Catalog([]), PlannerOptions())
    assert "nothing to offer" in empty.plan(request("help", Catalog([]))).text
    assert empty.plan(request("restart nginx", Catalog([]))).kind == "none"


@pytest.mark.parametrize("text", ["", "   ", "restart nginx " * 400])
def test_empty_and_endless_texts(text: str) -> None:
    """They are not matched."""
    assert plan(text).kind == "none"


def test_the_scores_can_be_seen() -> None:
    """`llmcore plan` shows how near each intent came."""
    scores = offline().explain(request("show the memory"))
    assert scores[0].intent == "get_memory_stats"
    assert scores[0].confidence > scores[1].confidence
    assert local().explain(request("")) == []


@pytest.mark.asyncio
async def test_without_a_model_the_matcher_has_the_word() -> None:
    """Sure or not."""
    assert (await offline().plan(request("restart nginx"))).kind == "plan"
    assert (await offline().plan(request("order a pizza"))).answered_by is None
    assert (await Planner(bundled(), None, PlannerOptions(threshold=1.1)).plan(request("restart nginx"))).kind == "none"


def template_of(*steps: DraftStep) -> Draft:
    """The plan of a template that a text means."""
    return Draft(kind="plan", steps=steps, answered_by="template", confidence=1.0)


@pytest.mark.asyncio
async def test_a_template_goes_before_all_but_the_very_words_of_an_example() -> None:
    """Nobody can make `restart nginx` mean something else by saving a template."""
    other = template_of(DraftStep(intent="stop_target", params={"module": "nginx"}))
    kept = await offline().plan(request("restart nginx", template=other))
    assert (calls(kept), kept.answered_by) == ([("restart_target", {"module": "nginx"})], "local")
    for text in ("provision a shop", "are the disks of the shop fine, roughly speaking, would you say"):
        taken = await offline().plan(request(text, template=other))
        assert (calls(taken), taken.answered_by) == ([("stop_target", {"module": "nginx"})], "template")


def test_a_template_s_steps_are_named_as_drafts_name_them() -> None:
    """Ids, needs, references and conditions; its rules come along."""
    raw: list[dict[str, Any]] = [
        {"id": "look", "intent": "intent_list_targets"},
        {
            "id": "act",
            "intent": "restart_target",
            "params": {"module": {"$from": "look", "path": "targets[0].name"}, "note": ["look"]},
            "needs": ["look"],
            "when": 'steps.look.state == "done"',
            "on_error": "undo",
            "timeout_s": 5,
        },
    ]
    draft = template_draft(raw, tainted=True)
    assert (draft.kind, draft.tainted, draft.steps[0]) == ("plan", True, DraftStep(intent="list_targets"))
    assert draft.raw_steps()[1] == {
        "id": "s2",
        "intent": "restart_target",
        "params": {"module": {"$from": "s1", "path": "targets[0].name"}, "note": ["look"]},
        "needs": ["s1"],
        "when": 'steps.s1.state == "done"',
        "on_error": "undo",
        "timeout_s": 5,
    }


@pytest.mark.asyncio
async def test_eval_knows_templates() -> None:
    """Where it is handed them."""
    case = Case(id="1", text="provision a shop")
    known = template_of(DraftStep(intent="list_targets"))
    _, (answer,) = await evaluate([case], offline(), bundled(), ANNA, lambda text: known if text == case.text else None)
    assert (answer["answered_by"], answer["steps"][0]["intent"]) == ("template", "list_targets")
