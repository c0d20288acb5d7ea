"""RPCs of templates: what they take, what they answer, who may."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.errors import BadParams, Forbidden, NotFound
from llmcore.plan import Principal
from tests.rooms import ANNA, BO, OLGA
from tests.test_api import Desk
from tests.turns import stage

pytestmark = pytest.mark.asyncio

STEPS = [{"intent": "set_it", "params": {"module": "shop"}}]
PARAMS = {"name": {"value": "shop"}}
CY = Principal(name="cy", role="developer")


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """On a new store."""
    async with stage(tmp_path) as play:
        yield Desk(play)


async def saved(desk: Desk, who: Principal = ANNA, **more: Any) -> Mapping[str, Any]:
    """A template of one step."""
    asked = {"name": "shop", "steps": STEPS, "params": PARAMS, **more}
    template: Mapping[str, Any] = (await desk.call("template_save", asked, who))["template"]
    return template


async def test_a_template_has_all_that_people_need(desk: Desk) -> None:
    """Saved, listed, shown alike."""
    template = await saved(desk, title="A shop", description="Of one's own.", examples=["open {name}"])
    assert template["params"] == {"name": {"type": "string"}}
    assert template["steps"] == [{"intent": "set_it", "params": {"module": {"$param": "name"}}}]
    assert (template["effect"], template["intents"], template["bundled"]) == ("write", ["set_it"], False)
    assert (await desk.call("template_get", {"name": "shop"}))["template"] == template
    assert await desk.call("template_list") == {"templates": [template]}
    assert {"template.list", "template.get", "template.save"} <= set(await desk.play.rooms.actions())


async def test_a_plan_becomes_a_template_and_a_plan_again(desk: Desk) -> None:
    """That is proposed like a chain, from the template."""
    plan = (await desk.call("chain", {"steps": STEPS}))["plan"]
    asked = {"name": "shop", "plan_id": plan["plan_id"], "params": PARAMS, "title": "A shop"}
    await desk.call("template_save", asked)
    answer = await desk.call("template_run", {"name": "shop", "params": {"name": "cafe"}})
    again = answer["plan"]
    assert (answer["status"], again["answered_by"], again["title"]) == ("proposed", "template", "A shop (name=cafe)")
    assert again["origin"] == {"kind": "template", "id": "shop", "tainted": False}
    assert again["steps"][0]["params"] == {"module": "cafe"}
    assert answer["digest"].startswith("sha256:")
    done = await desk.call("plan_approve", {"plan_id": again["plan_id"], "digest": answer["digest"]})
    await desk.play.session.settled(done["plan"]["run_id"])
    assert desk.play.rooms.host.calls == [("set_it", {"module": "cafe"})]
    assert "template.run" in await desk.play.rooms.actions()


async def test_what_policy_allows_runs_at_once(desk: Desk) -> None:
    """With mode `run`; a title without values is the template's."""
    await desk.call("template_save", {"name": "look", "steps": [{"intent": "look", "params": {"module": "shop"}}]})
    answer = await desk.call("template_run", {"name": "look", "mode": "run"}, OLGA)
    await desk.play.session.settled(answer["run_id"])
    assert (await desk.call("plan_get", {"plan_id": answer["plan_id"]}, OLGA))["plan"]["status"] == "done"
    assert answer["plan"]["title"] == "look"


async def test_a_foreign_plan_is_not_saved(desk: Desk) -> None:
    """What cannot be seen cannot be kept."""
    plan = (await desk.call("chain", {"steps": [{"intent": "look", "params": {"module": "x"}}]}))["plan"]
    with pytest.raises((NotFound, Forbidden)):
        await desk.call("template_save", {"name": "x", "plan_id": plan["plan_id"]}, OLGA)


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"steps": STEPS}, "/name"),
        ({"name": "A b", "steps": STEPS}, "/name"),
        ({"name": "x"}, "/plan_id"),
        ({"name": "x", "steps": STEPS, "plan_id": "pl_1"}, "/plan_id"),
        ({"name": "x", "steps": STEPS, "params": {"A": {}}}, "/params"),
        ({"name": "x", "steps": STEPS, "params": {"a": {"value": []}}}, "/params/a/value"),
        ({"name": "x", "steps": STEPS, "params": {"a": {"$ref": "file:///etc"}}}, "/params/a/$ref"),
        ({"name": "x", "steps": STEPS, "examples": [""]}, "/examples/0"),
        ({"name": "x", "steps": []}, "/steps"),
    ],
)
async def test_wrong_params_are_named(desk: Desk, params: Mapping[str, Any], pointer: str) -> None:
    """With their place."""
    with pytest.raises(BadParams) as refused:
        await desk.call("template_save", params)
    assert pointer in [field["pointer"] for field in refused.value.details["fields"]]


async def test_values_are_plain(desk: Desk) -> None:
    """No reference, no placeholder, no list gets into a plan as a value."""
    await saved(desk)
    for value in ({"$from": "s1"}, {"$param": "x"}, ["a"], None):
        with pytest.raises(BadParams):
            await desk.call("template_run", {"name": "shop", "params": {"name": value}})
    with pytest.raises(BadParams):
        await desk.call("template_run", {"name": "shop"})


async def test_only_who_may_changes_it(desk: Desk) -> None:
    """And only what is there."""
    await saved(desk, BO)
    with pytest.raises(Forbidden):
        await saved(desk, CY)
    with pytest.raises(Forbidden):
        await saved(desk, OLGA, name="other")
    with pytest.raises(NotFound):
        await desk.call("template_get", {"name": "shop"}, OLGA)
    with pytest.raises(NotFound):
        await desk.call("template_run", {"name": "none"})
    assert (await desk.call("template_delete", {"name": "shop"}))["template"]["owner"] == "bo"
    assert await desk.call("template_list") == {"templates": []}
