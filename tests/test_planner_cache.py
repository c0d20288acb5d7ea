"""The plan cache: the same words with other values cost no model call; anything else does."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.errors import Unavailable
from llmcore.planner import Draft, DraftStep, Planner
from llmcore.planner.cache import MAX_SHAPES, PlanCache
from llmcore.planner.local import names_of
from llmcore.providers.scripted import Answer, ScriptedProvider
from tests.planner_kit import OLGA, bundled, calls, local, request, said

SETTING = "policy 1, usual model"
HOSTS: Mapping[str, Sequence[str]] = {"targets": ["nginx", "Redis", "web"], "processes": ["nginx", "sshd"]}


def restart(module: str) -> DraftStep:
    """What a model makes of most texts here."""
    return DraftStep(intent="restart_target", params={"module": module})


def remembered(text: str, *steps: DraftStep, vocabulary: Mapping[str, Sequence[str]] = HOSTS) -> PlanCache:
    """A cache that has seen one request."""
    cache = PlanCache(bundled(), local().reader.index.lexer)
    cache.put("scope", text, steps, names_of(vocabulary))
    return cache


def recalled(cache: PlanCache, text: str, vocabulary: Mapping[str, Sequence[str]] = HOSTS) -> list[Any] | None:
    """What it gives for a text: intents with params."""
    steps = cache.get("scope", text, names_of(vocabulary))
    return None if steps is None else [(step.intent, dict(step.params)) for step in steps]


@pytest.mark.parametrize(
    "text",
    [
        "don't restart nginx",
        "do not restart nginx",
        "never restart nginx",
        "should I restart nginx?",
        "should I restart nginx",
        "restart nginx?",
        "restart nginx and delete /x",
        "restart nginx; delete /x",
        "restart nginx && reboot",
        "restart nginx, redis",
        "restart nginx,redis",
        "restart nginx if it is down",
        "restart nginx tomorrow",
        "restart",
        "restart everything",
        "restart it",
        "restart all",
        "restart --force",
        "restart mysql",
        'restart "nginx now"',
        "stop nginx",
        "restart nginx nginx",
        "restart /etc/passwd",
        "restart nginx\u200b",
        "he said: restart nginx",
        "",
    ],
)
def test_only_the_same_words_are_the_same_request(text: str) -> None:
    """A remembered `restart nginx` says nothing about these."""
    assert recalled(remembered("restart nginx", restart("nginx")), text) is None


@given(st.text(min_size=1, max_size=30), st.booleans())
@settings(max_examples=300)
def test_nothing_that_is_added_gets_through(more: str, before: bool) -> None:
    """Whatever stands before or behind it, unless it is nothing but spaces, a full stop or a `please`."""
    cache = remembered("kindly restart nginx", restart("nginx"))
    text = f"{more} kindly restart nginx" if before else f"kindly restart nginx {more}"
    if recalled(cache, text) is not None:
        assert all(word.strip(".!") in ("", "please") for word in more.casefold().split())


@pytest.mark.parametrize("target", ["nginx", "redis", "REDIS", "web"])
def test_other_values_of_the_same_list_are_taken(target: str) -> None:
    """As the host writes them."""
    cache = remembered("kindly bring nginx back to life", restart("nginx"))
    known = {name.lower(): name for name in HOSTS["targets"]}
    assert recalled(cache, f"Kindly bring {target} back to life.") == [
        ("restart_target", {"module": known[target.lower()]})
    ]
    assert recalled(cache, "kindly bring sshd back to life") is None  # a process, and what was restarted is a target
    assert recalled(cache, f"kindly bring {target} back to life", {}) is None  # lists have changed


def test_values_of_no_list_keep_their_kind() -> None:
    """A number for a number, a path for a path, a name that is in no dictionary for such a name."""
    steps = (
        DraftStep(intent="scale_target", params={"module": "shop7", "replicas": 3}),
        DraftStep(intent="read_file", params={"path": "/srv/a.txt"}, needs=(0,)),
    )
    cache = remembered("make shop7, 3 strong and read /srv/a.txt", *steps)
    assert recalled(cache, "make blog9, 12 strong and read /srv/b.txt") == [
        ("scale_target", {"module": "blog9", "replicas": 12}),
        ("read_file", {"path": "/srv/b.txt"}),
    ]
    for text in (
        "make memory, 12 strong and read /srv/b.txt",
        "make 5, 12 strong and read /srv/b.txt",
        "make blog9, 1.5 strong and read /srv/b.txt",
        "make blog9, many strong and read /srv/b.txt",
        "make blog9, 12 strong and read b",
    ):
        assert recalled(cache, text) is None


@pytest.mark.parametrize(
    ("text", "params", "other"),
    [
        ("tell them shop7 is down", {"module": "shop7", "note": "shop7 is down"}, "tell them blog9 is down"),
        ("sort by memory", {"sort_by": "memory"}, "sort by cpu"),
        ("use --fast on shop7", {"module": "--fast"}, "use --slow on shop7"),
        ("take 2 of 2", {"a": 2, "b": "2"}, "take 3 of 3"),
        ("turn it true", {"a": True}, "turn it false"),
        ("take s1", {"a": {"$from": "s1", "path": "x"}}, "take s2"),
        ("take two", {"a": 2}, "take three"),
    ],
)
def test_what_is_no_plain_value_has_to_be_said_again(text: str, params: Mapping[str, Any], other: str) -> None:
    """A value that stands inside another, words of the dictionary, options, truth values, references, number words."""
    cache = remembered(text, DraftStep(intent="restart_target", params=params))
    assert recalled(cache, text) == [("restart_target", params)]
    assert recalled(cache, other) is None


def test_values_inside_objects_and_lists_are_found() -> None:
    """Wherever they stand alone."""
    params = {"http": {"webhook": ["http://h/x"], "method": "POST"}, "message": "m4"}
    cache = remembered("post m4 to http://h/x", DraftStep(intent="simple_http_notify", params=params))
    assert recalled(cache, "post m5 to http://h/y") == [
        ("simple_http_notify", {"http": {"webhook": ["http://h/y"], "method": "POST"}, "message": "m5"})
    ]


@pytest.mark.parametrize("text", ["restart {nginx}", "nginx", "restart nginx}"])
def test_what_cannot_be_told_apart_is_not_remembered(text: str) -> None:
    """Braces, or nothing but a value."""
    assert len(remembered(text, restart("nginx"))) == 0


def test_it_is_bounded_and_keeps_what_is_used() -> None:
    """The one not used for longest goes first; another scope is another world."""
    cache = remembered("kindly restart nginx", restart("nginx"))
    for number in range(MAX_SHAPES + 5):
        assert recalled(cache, "kindly restart nginx") is not None
        cache.put("scope", f"odd word{number} order", (restart("nginx"),), {})
    assert len(cache) == MAX_SHAPES
    assert recalled(cache, "odd word0 order") is None
    assert recalled(cache, f"odd word{MAX_SHAPES} order") is not None
    assert cache.get("other scope", "kindly restart nginx", names_of(HOSTS)) is None


def test_the_shape_with_the_most_words_wins() -> None:
    """What was said exactly goes before what was only said alike."""
    cache = remembered("kindly bounce nginx", restart("nginx"))
    cache.put("scope", "kindly bounce web", (DraftStep(intent="stop_target", params={"module": "x"}),), {})
    assert recalled(cache, "kindly bounce web") == [("stop_target", {"module": "x"})]
    assert recalled(cache, "kindly bounce redis") == [("restart_target", {"module": "Redis"})]


# --- in the planner ---

ODD = "would you kindly make {} come back to life by a restart"


def reply(*steps: Any) -> str:
    """A model's plan."""
    return json.dumps({"kind": "plan", "steps": [{"intent": name, "params": params} for name, params in steps]})


def planner_with(*answers: Answer) -> tuple[Planner, ScriptedProvider]:
    """A planner with an empty memory whose model counts its calls."""
    model = ScriptedProvider(script=list(answers))
    return Planner(bundled(), model), model


async def plan(planner: Planner, target: str, text: str = ODD, **more: Any) -> Draft:
    """What it makes of an odd request."""
    asked: dict[str, Any] = {"setting": SETTING, "vocabulary": HOSTS, **more}
    return await planner.plan(request(text.format(target), **asked))


@pytest.mark.asyncio
async def test_the_second_request_needs_no_call() -> None:
    """And says so; not even a model that is away is missed."""
    planner, model = planner_with(reply(("restart_target", {"module": "nginx"})), Unavailable("away"))
    first = await plan(planner, "nginx")
    second = await plan(planner, "redis")
    assert (first.answered_by, second.answered_by) == ("scripted", "cache")
    assert calls(second) == [("restart_target", {"module": "Redis"})]
    assert len(model.requests) == 1
    assert (second.usage.output_tokens, second.tainted) == (0, False)
    gone = Planner.over(planner, ScriptedProvider(script=[]))
    assert (await plan(gone, "web")).answered_by == "cache"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "more",
    [
        {"principal": OLGA},
        {"setting": "policy 2, usual model"},
        {"setting": None},
        {"vocabulary": {"targets": ["nginx"]}},
        {"pending": Draft(kind="clarify", text="which?")},
    ],
)
async def test_another_world_asks_again(more: dict[str, Any]) -> None:
    """Another role, policy, provider, list, or the answer to a question."""
    answer = reply(("restart_target", {"module": "nginx"}))
    planner, model = planner_with(answer, '{"kind":"none","steps":[]}', '{"kind":"none","steps":[]}')
    await plan(planner, "nginx")
    assert (await plan(planner, "redis", **more)).answered_by != "cache"
    assert len(model.requests) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "more",
    [
        {"history": [said("user", "hello")], "untrusted": False},
        {"history": [said("assistant", "log: restart redis")], "untrusted": True},
        {"setting": None},
    ],
)
async def test_what_was_said_in_a_conversation_is_not_remembered(more: dict[str, Any]) -> None:
    """It may mean something else alone; and what strangers wrote is remembered by nobody."""
    answer = reply(("restart_target", {"module": "nginx"}))
    planner, model = planner_with(answer, answer)
    assert (await plan(planner, "nginx", **more)).kind == "plan"
    assert (await plan(planner, "nginx")).answered_by == "scripted"
    assert len(model.requests) == 2


@pytest.mark.asyncio
async def test_only_plans_are_remembered() -> None:
    """Questions, answers and refusals are asked again."""
    planner, model = planner_with('{"kind":"none","steps":[]}', '{"kind":"none","steps":[]}')
    await plan(planner, "nginx")
    await plan(planner, "nginx")
    assert len(model.requests) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("target", ["everything", "nothing", "them"])
async def test_what_no_model_could_plan_no_memory_plans(target: str) -> None:
    """A remembered plan passes the checks of a reply: these are no names, even where a host lists them."""
    hosts = {"targets": ["nginx", target]}
    planner, model = planner_with(reply(("restart_target", {"module": "nginx"})), '{"kind":"none","steps":[]}')
    await plan(planner, "nginx", vocabulary=hosts)
    assert (await plan(planner, target, vocabulary=hosts)).answered_by != "cache"
    assert len(model.requests) == 2


@pytest.mark.asyncio
async def test_a_value_has_to_fit_its_schema() -> None:
    """More replicas than a target may have are not planned from memory."""
    odd = "pretty please, nginx ought to run, by scaling, exactly {} replicas strong"
    answers = [reply(("scale_target", {"module": "nginx", "replicas": 3})), '{"kind":"none","steps":[]}']
    planner, model = planner_with(*answers)
    assert (await plan(planner, "3", odd)).answered_by == "scripted"
    assert (await plan(planner, "4", odd)).answered_by == "cache"
    assert (await plan(planner, "99999", odd)).answered_by != "cache"
    assert len(model.requests) == 2
