"""Templates: saved from plans or steps, checked then and when they run, seen and changed by whom they concern."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmcore.catalog import Catalog, CatalogError, load_packs
from llmcore.errors import BadParams, Conflict, Forbidden, NotFound
from llmcore.plan import Effect, Origin, Principal
from llmcore.templates import Template, Templates, Texts, bundled_template
from llmcore.templates.room import FRESH_S, MAX_TEMPLATES
from tests.rooms import ANNA, BO, OLGA, Rooms, rooms

CY = Principal(name="cy", role="developer")
BOT = Principal(name="bot", role="developer", kind="agent")
STEPS: list[dict[str, Any]] = [
    {"id": "a", "intent": "start_it", "params": {"module": "web@shop"}},
    {"id": "b", "intent": "set_it", "params": {"module": "shop"}, "needs": ["a"], "on_error": "undo", "retries": 2},
]
NAME = {"name": {"value": "shop", "description": "of the shop", "pattern": "^[a-z]+$"}}


@asynccontextmanager
async def desk(folder: Path, *bundled: Template) -> AsyncIterator[tuple[Templates, Rooms]]:
    """A room over a real store."""
    async with rooms(folder) as house:
        yield Templates(house.store, house.catalog, house.audit, house.clock, bundled), house


def asked(name: str = "shop", **more: Any) -> dict[str, Any]:
    """What a person asks to be saved."""
    return {"name": name, "params": NAME, **more}


async def refusal(templates: Templates, steps: Sequence[Any] = STEPS, **more: Any) -> list[Mapping[str, str]]:
    """The fields for which saving is refused."""
    with pytest.raises(BadParams) as refused:
        await templates.save(asked(**more), ANNA, steps=steps)
    fields: list[Mapping[str, str]] = refused.value.details["fields"]
    assert refused.value.message
    return fields


@pytest.mark.asyncio
async def test_a_plan_is_saved_and_filled_with_other_values(tmp_path: Path) -> None:
    """Wherever the value stood; with the plan's own rules; audited."""
    async with desk(tmp_path) as (templates, house):
        plan = house.plan(*STEPS)
        saved = await templates.save(asked(title="A shop", examples=["open {name}"]), BO, plan)
        assert saved.params == {"name": {"type": "string", "description": "of the shop", "pattern": "^[a-z]+$"}}
        assert saved.steps[0]["params"] == {"module": {"$join": ["web@", {"$param": "name"}]}}
        assert (await templates.save(asked("short", params={"name": "shop"}), BO, plan)).steps == saved.steps
        assert (saved.owner, saved.owner_role, saved.tainted, saved.intents) == (
            "bo",
            "developer",
            False,
            ("start_it", "set_it"),
        )
        filled = await templates.filled("shop", {"name": "cafe"}, ANNA)
        steps = house.catalog.steps(filled.steps)
        assert [dict(step.params) for step in steps] == [{"module": "web@cafe"}, {"module": "cafe"}]
        assert (steps[1].needs, steps[1].on_error.value, steps[1].retries) == (("a",), "undo", 2)
        assert house.catalog.steps((await templates.filled("shop", {"name": "shop"}, ANNA)).steps) == plan.steps
        assert (await house.actions())[-1] == "template.save"


@pytest.mark.asyncio
async def test_values_have_to_fit_their_params(tmp_path: Path) -> None:
    """The params' own schemas, and those of the intents; each problem with its place."""
    async with desk(tmp_path) as (templates, _):
        await templates.save(asked(), BO, steps=STEPS)
        for params, pointer in (({}, "/params/name"), ({"name": "9"}, "/params/name"), ({"x": 1}, "/params/name")):
            with pytest.raises(BadParams) as refused:
                await templates.filled("shop", params, BO)
            assert refused.value.details["fields"][0]["pointer"] == pointer
        open_steps = [{"intent": "set_it", "params": {"module": {"$param": "m"}}}]
        saved = await templates.save({"name": "open"}, BO, steps=open_steps)
        assert saved.params == {"m": {"type": "string"}}
        with pytest.raises(BadParams) as refused:
            await templates.filled("open", {"m": ""}, BO)
        assert refused.value.details["fields"] == [{"pointer": "/params/m", "message": "must not be empty"}]


@pytest.mark.asyncio
async def test_patterns_of_people_are_matched_in_linear_time(tmp_path: Path) -> None:
    """A pattern that makes others run for ever."""
    async with desk(tmp_path) as (templates, _):
        slow: dict[str, Any] = {"name": {"value": "aaa", "pattern": "^(a+)+$"}}
        await templates.save(asked(params=slow), BO, steps=[{"intent": "set_it", "params": {"module": "aaa"}}])
        with pytest.raises(BadParams):
            await templates.filled("shop", {"name": "a" * 5000 + "!"}, BO)
        for pattern in ("(?=x)x", "(", r"(a)\1"):
            fields = await refusal(templates, params={"name": {"value": "shop", "pattern": pattern}})
            assert fields[0]["pointer"] == "/params/name/pattern"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("steps", "more", "pointer"),
    [
        ([], {}, "/steps"),
        (["x"], {}, "/steps/0"),
        ([{"intent": "set_it", "params": "x"}], {}, "/steps/0/params"),
        ([{"intent": "sing", "params": {"module": "shop"}}], {}, "/steps/0/intent"),
        ([{"intent": "set_it", "params": {"modul": "shop"}}], {}, "/steps/0/params/module"),
        ([{"intent": "set_it", "params": {"module": "shop", "n": [{"$param": "z"}]}}], {}, "/steps/0/params/n"),
        (STEPS, {"params": {"other": {"value": "cafe"}}}, "/params/other"),
        (STEPS, {"params": {"name": {"value": True}}}, "/params/name/value"),
        (STEPS, {"params": {"name": {"value": ""}}}, "/params/name/value"),
        (STEPS, {"params": {"name": {"value": "shop"}, "two": {"value": "shop"}}}, "/params/two/value"),
        (STEPS, {"params": {"name": {"value": "shop", "pattern": "^x$"}}}, "/params/name"),
        (STEPS, {"params": {"name": {"value": "shop", "default": 7}}}, "/params/name"),
        (STEPS, {"examples": ["open it", "open {name}"]}, "/examples/0"),
        (STEPS, {"examples": ["{name}"]}, "/examples"),
        ([STEPS[0], {**STEPS[1], "when": "steps.a.result.name == 'shop'"}], {}, "/params/name/value"),
        (
            [
                {"id": "l", "intent": "list_all"},
                {"intent": "set_it", "params": {"module": {"$from": "l", "path": "x[?y=='shop']"}}},
                {"intent": "set_it", "params": {"module": "shop"}},
            ],
            {},
            "/params/name/value",
        ),
        (
            [
                {"id": "a", "intent": "set_it", "params": {"module": {"$param": "m"}}, "needs": ["b"]},
                {"id": "b", "intent": "set_it", "params": {"module": "shop"}, "needs": ["a"]},
            ],
            {},
            "/steps/0/needs",
        ),
        (
            [
                {"id": "a", "intent": "set_it", "params": {"module": {"$param": "m"}}, "needs": ["b"]},
                {"id": "b", "intent": "set_it", "params": {"module": "shop"}, "needs": ["a"]},
            ],
            {"params": {"name": {"value": "shop"}, "m": {"type": "integer"}}},
            "/steps/0/needs",
        ),
    ],
)
async def test_what_cannot_run_is_not_saved(
    tmp_path: Path, steps: list[Any], more: dict[str, Any], pointer: str
) -> None:
    """With the field that is wrong."""
    async with desk(tmp_path) as (templates, house):
        assert pointer in [field["pointer"] for field in await refusal(templates, steps, **more)]
        assert await templates.list(ANNA) == []
        assert await house.actions() == []


@pytest.mark.asyncio
async def test_params_take_their_types_from_where_they_stand(tmp_path: Path) -> None:
    """From their value, their default, the intent's own schema; what nobody knows is a text."""
    steps: list[dict[str, Any]] = [
        {"intent": "list_all", "params": {"a": 3, "b": {"$param": "b"}, "c": {"$join": ["x", {"$param": "c"}]}}},
        {"intent": "set_it", "params": {"module": {"$param": "m"}}},
    ]
    params: dict[str, Any] = {"a": {"value": 3}, "b": {"default": 1.5}, "e": {"enum": ["y", "z"]}}
    steps[0]["params"] |= {"e": {"$param": "e"}}
    async with desk(tmp_path) as (templates, _):
        saved = await templates.save({"name": "typed", "params": params}, ANNA, steps=steps)
        assert {name: schema["type"] for name, schema in saved.params.items()} == {
            "a": "integer",
            "b": "number",
            "e": "string",
            "c": "string",
            "m": "string",
        }
        filled = await templates.filled("typed", {"a": 4, "c": "1", "m": "n", "e": "z"}, ANNA)
        assert filled.steps[0]["params"] == {"a": 4, "b": 1.5, "c": "x1", "e": "z"}


@pytest.mark.asyncio
async def test_nested_chains_are_saved_flat(tmp_path: Path) -> None:
    """So that a value is never taken for the name of an intent or a step."""
    inner = [{"id": "set_it", "intent": "set_it", "params": {"module": "set_it"}}]
    async with desk(tmp_path) as (templates, _):
        wanted = {"name": "nested", "params": {"what": {"value": "set_it"}}}
        saved = await templates.save(wanted, ANNA, steps=[{"id": "x", "intent": "chain", "params": {"steps": inner}}])
        (step,) = saved.steps
        assert (step["id"], step["intent"], step["params"]) == ("x_set_it", "set_it", {"module": {"$param": "what"}})


@pytest.mark.asyncio
async def test_who_may_save_and_delete(tmp_path: Path) -> None:
    """A developer what is theirs, an admin all; neither observers nor programs."""
    async with desk(tmp_path) as (templates, house):
        for nobody in (OLGA, BOT):
            with pytest.raises(Forbidden):
                await templates.save(asked(), nobody, steps=STEPS)
            with pytest.raises(Forbidden):
                await templates.delete("shop", nobody)
        first = await templates.save(asked(), BO, steps=STEPS)
        again = await templates.save(asked(title="Again"), BO, steps=STEPS)
        assert (again.created_at, again.title) == (first.created_at, "Again")
        for change in (templates.save(asked(), CY, steps=STEPS), templates.delete("shop", CY)):
            with pytest.raises(Forbidden, match="somebody else"):
                await change
        assert (await templates.save(asked(), ANNA, steps=STEPS)).owner == "anna"
        assert (await templates.delete("shop", ANNA)).name == "shop"
        with pytest.raises(NotFound):
            await templates.delete("shop", ANNA)
        with pytest.raises(NotFound):
            await templates.get("shop", ANNA)
        assert (await house.actions())[-1] == "template.delete"


@pytest.mark.asyncio
async def test_who_sees_what(tmp_path: Path) -> None:
    """An observer what only reads; templates of a lost intent only those who could delete them."""
    async with desk(tmp_path) as (templates, house):
        await templates.save(asked("looks"), BO, steps=[{"intent": "look", "params": {"module": "shop"}}])
        await templates.save(asked("acts"), BO, steps=STEPS)
        assert [template.name for template in await templates.list(CY)] == ["acts", "looks"]
        assert [template.name for template in await templates.list(OLGA)] == ["looks"]
        with pytest.raises(NotFound):
            await templates.get("acts", OLGA)
        assert templates.effect(await templates.get("acts", BO)) is Effect.WRITE
        others = Templates(house.store, Catalog([house.catalog.get("look")]), house.audit, house.clock)
        lost = await others.get("acts", CY)
        assert others.effect(lost) is None
        with pytest.raises(BadParams):
            await others.filled("acts", {"name": "x"}, CY)
        assert [template.name for template in await others.list(OLGA)] == ["looks"]


@pytest.mark.asyncio
async def test_a_template_of_a_tainted_plan_stays_tainted(tmp_path: Path) -> None:
    """Saving washes nothing."""
    async with desk(tmp_path) as (templates, house):
        plan = replace(house.plan(*STEPS), origin=Origin(kind="chat", id="rn_1", tainted=True))
        assert (await templates.save(asked(examples=["open {name}"]), BO, plan)).tainted
        assert (await templates.filled("shop", {"name": "x"}, BO)).tainted
        meant = templates.meant("open x", BO)
        assert meant is not None
        assert meant.tainted


@pytest.mark.asyncio
async def test_words_mean_a_template(tmp_path: Path) -> None:
    """The caller's own and those of admins; only with values that fit; the one with the most words."""
    async with desk(tmp_path) as (templates, house):
        await templates.save(asked(examples=["open the {name}"]), BO, steps=STEPS)
        meant = templates.meant("Please open the cafe.", BO)
        assert meant is not None
        assert (await house.actions())[-1] == "template.meant"
        assert (meant.name, meant.steps[1]["params"]) == ("shop", {"module": "cafe"})
        for text in ("open the c4", "do not open the cafe", "open the cafe and the bar", "open"):
            assert templates.meant(text, BO) is None
        assert templates.meant("open the cafe", CY) is None, "another developer's words"
        assert templates.meant("open the cafe", OLGA) is None
        every = [{"intent": "set_it", "params": {"module": "all"}}]
        await templates.save({"name": "whole", "examples": ["open the lot"]}, ANNA, steps=every)
        exact = templates.meant("open the lot", BO)
        assert exact is not None
        assert exact.name == "whole"
        assert templates.meant("open the lot", CY) is not None, "an admin's words"


@pytest.mark.asyncio
async def test_no_words_mean_two_templates(tmp_path: Path) -> None:
    """The second is refused; one may be saved again."""
    async with desk(tmp_path) as (templates, _):
        await templates.save(asked(examples=["open {name}"]), BO, steps=STEPS)
        await templates.save(asked(examples=["open {name}"]), BO, steps=STEPS)
        other: dict[str, Any] = {"params": {"what": {"value": "shop"}}, "examples": ["start {what}", "OPEN {what}"]}
        fields = await refusal(templates, name="other", **other)
        assert fields == [{"pointer": "/examples/1", "message": "means shop already"}]


@pytest.mark.asyncio
async def test_another_node_sees_it_soon(tmp_path: Path) -> None:
    """Within a second, and at once what it wants to change; two at a time make one."""
    async with desk(tmp_path) as (here, house):
        there = Templates(house.store, house.catalog, house.audit, house.clock)
        assert await there.list(ANNA) == []
        saved = await here.save(asked(), BO, steps=STEPS)
        assert await there.list(ANNA) == []
        with pytest.raises(Forbidden):
            await there.save(asked(), CY, steps=STEPS)
        assert await there.list(ANNA) == [saved]
        there._looked -= FRESH_S + 1
        await here.delete("shop", BO)
        await there.refresh()
        assert await there.list(ANNA) == []
        both = (here.save(asked(), BO, steps=STEPS), there.save(asked(), BO, steps=STEPS))
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Conflict, Template}


@pytest.mark.asyncio
async def test_there_is_an_end(tmp_path: Path) -> None:
    """So many templates and no more."""
    async with desk(tmp_path) as (templates, house):
        first = await templates.save(asked("t0"), BO, steps=STEPS)
        for number in range(1, MAX_TEMPLATES):
            await house.store.template_put(replace(first, name=f"t{number}").json())
        with pytest.raises(Conflict, match="already"):
            await templates.save(asked("more"), BO, steps=STEPS)
        await templates.save(asked("t1"), BO, steps=STEPS)


# --- files ---

FILE: dict[str, Any] = {
    "name": "file",
    "params": {"name": {"pattern": "^[a-z]+$"}},
    "examples": ["open {name}"],
    "steps": [{"intent": "set_it", "params": {"module": {"$param": "name"}}}],
}


def catalog() -> Catalog:
    """Of the toys."""
    return Catalog(load_packs())


@pytest.mark.asyncio
async def test_bundled_ones_stay(tmp_path: Path) -> None:
    """They are listed last, run like others, and cannot be replaced or deleted."""
    async with rooms(tmp_path) as house:
        bundled = bundled_template(FILE, "file.yaml", house.catalog, needed=True)
        assert bundled is not None
        templates = Templates(house.store, house.catalog, house.audit, house.clock, [bundled])
        await templates.save(asked(), BO, steps=STEPS)
        assert [template.json()["bundled"] for template in await templates.list(BO)] == [False, True]
        meant = templates.meant("open cafe", CY)
        assert meant is not None
        assert meant.name == "file"
        for change in (templates.save(asked("file"), ANNA, steps=STEPS), templates.delete("file", ANNA)):
            with pytest.raises(Conflict, match="comes with"):
                await change


@pytest.mark.asyncio
async def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    """With the field; one that this host lacks the intents for is left out, unless it is the operator's own."""
    async with rooms(tmp_path) as house:
        wrong: list[tuple[Any, str]] = [
            ("text", "template"),
            ({"name": "x"}, "steps"),
            ({**FILE, "name": "X"}, "name"),
            ({**FILE, "examples": ["open"]}, "examples/0"),
            ({**FILE, "steps": []}, "steps"),
            ({**FILE, "steps": [{"params": {"module": {"$param": "name"}}}]}, "steps/0/intent"),
        ]
        for data, field in wrong:
            with pytest.raises(CatalogError) as refused:
                bundled_template(data, "file.yaml", house.catalog, needed=True)
            assert (refused.value.details["source"], refused.value.details["field"]) == ("file.yaml", field)
        foreign = {**FILE, "steps": [{"intent": "sing", "params": {"module": {"$param": "name"}}}]}
        assert bundled_template(foreign, "file.yaml", house.catalog, needed=False) is None
        with pytest.raises(CatalogError):
            bundled_template(foreign, "file.yaml", house.catalog, needed=True)


def test_texts_that_cannot_be_read_any_more_are_left_out() -> None:
    """A template whose examples another version took still runs by its name."""
    kept = Template(name="old", steps=({"intent": "list_targets", "params": {}},), examples=("{x}",))
    assert Texts([kept], catalog()).meant("anything", lambda _: True) is None
