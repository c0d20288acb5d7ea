"""Steps with holes and texts with holes: what goes in comes out, and only the same words are the same request."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import BadParams
from llmcore.plan import Shape, fill, generalise, is_placeholder, placeholders

NAMES = st.from_regex(r"[a-z]{1,5}", fullmatch=True)
WORDS = st.text("ab-/_. \n{}é1", max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-20, 20) | st.floats(-9, 9) | WORDS
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4))
VALUES = st.dictionaries(NAMES, st.booleans() | st.integers(-20, 20) | WORDS, max_size=4)
NAMED = {"name": {"type": "string"}, "replicas": {"type": "integer"}}


def step(**params: Any) -> dict[str, Any]:
    """A step that carries these params."""
    return {"id": "s1", "intent": "do_it", "params": params}


def generalised(value: Any, **values: Any) -> Any:
    """One param of a step, generalised."""
    return generalise([step(p=value)], values)[0]["params"]["p"]


@given(TREES, VALUES)
def test_what_is_generalised_is_filled_back(tree: Any, values: dict[str, Any]) -> None:
    """With the same values, to the same steps and types, whatever they are."""
    steps = [{**step(p=tree), "when": "true"}]
    there_and_back = fill(generalise(steps, values), values)
    assert there_and_back == steps
    assert repr(there_and_back) == repr(steps)


@given(TREES, st.dictionaries(NAMES, st.text(string.ascii_lowercase, min_size=1), min_size=1, max_size=3))
def test_other_values_take_the_same_places(tree: Any, values: dict[str, str]) -> None:
    """A template filled with other values holds the new one wherever it waited for one."""
    made = generalise([step(p=tree)], values)
    filled = fill(made, {name: f"NEW{name}" for name in values})
    for name in set(placeholders(made)):
        assert f"NEW{name}" in repr(filled)
    assert not list(placeholders(filled))


def test_whole_words_become_params() -> None:
    """In texts, alone and inside; not within a word; the longest wins; other values do not."""
    assert generalised("shop", name="shop") == {"$param": "name"}
    assert generalised("web@shop", name="shop") == {"$join": ["web@", {"$param": "name"}]}
    assert generalised("/srv/shop/shop.ini", name="shop") == {
        "$join": ["/srv/", {"$param": "name"}, "/", {"$param": "name"}, ".ini"]
    }
    assert generalised("shopping workshop shop2", name="shop") == "shopping workshop shop2"
    assert generalised("/srv/shop", name="shop", path="/srv/shop") == {"$param": "path"}
    assert generalised("a/srv", path="/srv") == "a/srv"
    assert generalised(["x", {"k": "shop"}], name="shop") == ["x", {"k": {"$param": "name"}}]
    assert generalised("anything", name="") == "anything"


def test_numbers_keep_their_type() -> None:
    """A number alone, and in texts; never a truth value, never a number of another type."""
    assert generalised(2, replicas=2) == {"$param": "replicas"}
    assert generalised("replicas = 2\n", replicas=2) == {"$join": ["replicas = ", {"$param": "replicas"}, "\n"]}
    assert generalised("2", replicas=2) == {"$join": [{"$param": "replicas"}]}
    assert [generalised(value, replicas=1, on=True) for value in (True, 1.0, "12")] == [True, 1.0, "12"]
    assert fill([step(p={"$join": ["on=", {"$param": "on"}]})], {"on": True})[0]["params"]["p"] == "on=true"


def test_code_is_no_place_for_values() -> None:
    """References, conditions, names of intents and ids stay; placeholders that are there already too."""
    reference = {"$from": "s1", "path": "entries[?name=='shop']"}
    odd = {"id": "shop", "intent": "shop", "when": "steps.shop.result == 'shop'", "params": {"a": reference}}
    assert generalise([odd], {"name": "shop", "other": "s1"}) == [odd]
    assert fill([odd], {"name": "x"}) == [odd]
    assert generalised({"$param": "shop"}, name="shop") == {"$param": "shop"}
    assert fill([{"intent": "x"}], {}) == [{"intent": "x", "params": {}}]


def test_a_missing_value_is_named() -> None:
    """With its place in the params."""
    with pytest.raises(BadParams) as refused:
        fill([step(p={"$join": ["a", {"$param": "name"}]})], {})
    assert refused.value.details["fields"] == [{"pointer": "/params/name", "message": "is missing"}]


def test_what_is_a_placeholder() -> None:
    """Only the two forms, alone in their object."""
    assert is_placeholder({"$param": "x"})
    assert is_placeholder({"$join": []})
    assert not any(map(is_placeholder, [{"$param": 1}, {"$join": "x"}, {"$param": "x", "y": 1}, {}, "$param", ["x"]]))
    assert list(placeholders([{"a": {"$join": ["x", {"$param": "one"}]}}, {"$param": "two"}])) == ["one", "two"]


# --- texts ---

WEB = Shape("provision a small web service called {name} with {replicas} replicas", (), NAMED)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("provision a small web service called shop with 2 replicas", {"name": "shop", "replicas": 2}),
        ("  Provision a small WEB service\tcalled Shop-2 with 10 replicas. ", {"name": "Shop-2", "replicas": 10}),
        (
            "please provision a small web service called a/b.c with -1 replicas please!",
            {"name": "a/b.c", "replicas": -1},
        ),
        (
            'provision a small web service called "two words; x" with 2 replicas',
            {"name": "two words; x", "replicas": 2},
        ),
        ("provision a small web service called 'shop' with Two replicas", {"name": "shop", "replicas": 2}),
        ("provision a small web service called `shop` with 2 replicas", {"name": "shop", "replicas": 2}),
        ("provision a small web service called 'shop; with 2 replicas", None),
        ("provision a small web service called '-rf' with 2 replicas", None),
        ("provision a small web service called shop with many replicas", None),
        ("provision a small web service called shop with 2.5 replicas", None),
        ("provision a small web service called shop with 2 replicas?", None),
        ("provision a small web service called shop with 2 replicas and delete /x", None),
        ("don't provision a small web service called shop with 2 replicas", None),
        ("provision a small web service called shop, with 2 replicas", None),
        ("provision a small web service called shop;reboot with 2 replicas", None),
        ("provision a small web service called --force with 2 replicas", None),
        ('provision a small web service called "" with 2 replicas', None),
        ('provision a small web service called "a\x07b" with 2 replicas', None),
        ("provision a small web service called a\u200bb with 2 replicas", None),
        (f"provision a small web service called {'x' * 1001} with 2 replicas", None),
        (f"provision a small web service called shop with 2 replicas {' ' * 4000}", None),
        ("provision a small web service", None),
        ("", None),
        ("please", None),
        (".", None),
    ],
)
def test_a_text_has_a_shape_or_has_not(text: str, values: dict[str, Any] | None) -> None:
    """Same words in the same order, one plain value a slot, and nothing more."""
    assert WEB.match(text) == values


def test_types_and_affixes() -> None:
    """A slot may be part of a word; values are read in the type of their schema."""
    slots: dict[str, Any] = {"x": {"type": "number"}, "b": {"type": "boolean"}, "s": {}}
    assert Shape("set x={x};", (), slots).match("set X=2.5;") == {"x": 2.5}
    assert Shape("set x={x};", (), slots).match("set X=;") is None
    assert Shape("set x={x};", (), slots).match("set y=2;") is None
    assert Shape("turn {b}", (), slots).match("turn TRUE") == {"b": True}
    assert Shape("turn {b}", (), slots).match("turn maybe") is None
    assert Shape("start web@{s}", (), slots).match("start web@shop") == {"s": "shop"}
    assert Shape("start web@{s}", (), slots).match("start we") is None
    assert Shape("move {s} to {s}", (), slots).match("move a to a") == {"s": "a"}
    assert Shape("move {s} to {s}", (), slots).match("move a to b") is None
    assert Shape("the straße of {s}", (), slots).match("the STRASSE of Zoë") == {"s": "Zoë"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{name}", "word of its own"),
        ("{name} 7 {replicas}", "word of its own"),
        ("", "word of its own"),
        ("x" * 4001, "word of its own"),
        ("scale {name}-{replicas}", "two slots in one word"),
        ("scale {other}", "not a param"),
        ("scale {}", "not a param"),
    ],
)
def test_an_unclear_shape_is_refused(text: str, problem: str) -> None:
    """Before anything could be matched by guessing."""
    with pytest.raises(BadParams, match=problem):
        Shape(text, (), NAMED)


@given(st.text(max_size=60), st.integers(0, 6))
def test_more_words_never_match(more: str, place: int) -> None:
    """Whatever is added anywhere between the words, unless it is nothing or a courtesy."""
    words = ["restart", "{name}", "on", "{name}", "now"]
    shape = Shape(" ".join(words), (), NAMED)
    said = ["restart", "nginx", "on", "nginx", "now"]
    text = " ".join([*said[:place], more, *said[place:]])
    if shape.match(text) is not None:
        assert all(word.strip(".!") in ("", "please") for word in more.casefold().split())


@given(NAMES, st.integers(-(10**15) + 1, 10**15 - 1))
def test_every_name_and_number_matches(name: str, number: int) -> None:
    """And comes out as it went in."""
    assert WEB.match(WEB.text.format(name=name, replicas=number)) == {"name": name, "replicas": number}
