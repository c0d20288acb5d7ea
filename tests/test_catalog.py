"""The catalogue: what is refused at load, how params and chains are checked."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.catalog import Catalog, CatalogError, load_folder, load_packs
from llmcore.errors import BadParams, UnknownIntent
from llmcore.intent import Effect, Example, Intent
from llmcore.plan import OnError, Principal

SCHEMA = {
    "type": "object",
    "properties": {"module": {"type": "string", "minLength": 1}, "count": {"type": "integer", "minimum": 1}},
    "required": ["module"],
    "additionalProperties": False,
}
LOOK = Intent(name="look", description="Looks.", schema={"type": "object"}, effect=Effect.READ, idempotent=True)
ACT = Intent(name="act", description="Acts.", schema=SCHEMA, effect=Effect.WRITE, pack="mine")


@pytest.fixture
def catalog() -> Catalog:
    """A read and a change."""
    return Catalog([LOOK, ACT])


def fields_of(refused: pytest.ExceptionInfo[BadParams]) -> Mapping[str, str]:
    """Pointer -> message."""
    return {field["pointer"]: field["message"] for field in refused.value.details["fields"]}


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (replace(ACT, description="  "), "act/description"),
        (replace(ACT, name="Act Now"), "Act Now/name"),
        (replace(ACT, effect=cast(Effect, "dangerous")), "act/effect"),
        (replace(ACT, schema={"type": "string"}), "act/schema"),
        (replace(ACT, schema={"type": "object", "properties": {"a": {"type": "nonsense"}}}), "act/schema"),
        (replace(ACT, examples=(Example("do it", {}),)), "act/examples/0/params/module"),
        (replace(ACT, examples=(Example(" ", {"module": "a"}),)), "act/examples/0/text"),
    ],
)
def test_unsound_intent_is_refused_with_pack_and_field(broken: Intent, field: str) -> None:
    """At load, not when somebody calls it."""
    with pytest.raises(CatalogError) as refused:
        Catalog([broken])
    assert refused.value.details == {"source": "mine", "field": field}


def test_name_registered_twice_is_refused() -> None:
    """Two packs must not fight for a name."""
    with pytest.raises(CatalogError, match="registered twice"):
        Catalog([ACT, ACT])


def test_intent_is_found_with_and_without_prefix(catalog: Catalog) -> None:
    """CloudiSENSE writes `intent_`, people do not."""
    assert catalog.get("intent_act") is catalog.get("act") is ACT
    assert "intent_look" in catalog
    assert 3 not in catalog
    with pytest.raises(UnknownIntent, match="look"):
        catalog.get("lok")
    with pytest.raises(UnknownIntent, match="intents_list"):
        catalog.get("zzzzzz")


def test_observer_sees_reads_only(catalog: Catalog) -> None:
    """What they could never run is not offered."""
    assert catalog.visible_to(Principal(name="o", role="observer")) == [LOOK]
    assert len(catalog.visible_to(Principal(name="d", role="developer"))) == len(catalog) == 2


def test_version_changes_with_schemas_and_names() -> None:
    """Approvals remember it."""
    assert Catalog([LOOK]).version != Catalog([LOOK, ACT]).version
    assert Catalog([LOOK]).version != Catalog([replace(LOOK, effect=Effect.WRITE)]).version


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {"/module": "is missing"}),
        ({"module": ""}, {"/module": "must not be empty"}),
        ({"module": 3}, {"/module": "must be string"}),
        ({"module": "a", "count": 0}, {"/count": "must be at least 1"}),
        ({"module": "a", "x/y": 1}, {"/x/y": "is not a param of this intent; known: module, count"}),
    ],
)
def test_wrong_params_are_told_field_by_field(catalog: Catalog, params: Any, expected: Mapping[str, str]) -> None:
    """Pointers are relative to params, the message says what to do."""
    with pytest.raises(BadParams) as refused:
        catalog.validate("act", params)
    assert fields_of(refused) == expected
    assert "act: " in refused.value.message


def test_chain_gets_defaults_of_the_contract(catalog: Catalog) -> None:
    """Ids count from s1."""
    steps = catalog.steps([{"intent": "intent_look"}, {"intent": "act", "params": {"module": {"$from": "s1"}}}])
    assert [step.id for step in steps] == ["s1", "s2"]
    assert (steps[1].on_error, steps[1].retries, steps[1].timeout_s, steps[1].needs) == (OnError.STOP, 0, 60.0, ())
    assert steps[1].effect is Effect.WRITE
    assert steps[1].schema_hash == ACT.schema_hash


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        ([], "/steps"),
        ([{"intent": "look"}] * 101, "/steps"),
        ([3], "/steps/0"),
        ([{}], "/steps/0/intent"),
        ([{"intent": "gone"}], "/steps/0/intent"),
        ([{"intent": "act"}], "/steps/0/params/module"),
        ([{"intent": "look", "needs": ["s7"]}], "/steps/0/needs/0"),
        ([{"id": "a", "intent": "look"}, {"id": "a", "intent": "look"}], "/steps/1/id"),
        ([{"intent": "look", "approved": True}], "/steps/0/approved"),
        ([{"intent": "look", "timeout_s": 0}], "/steps/0/timeout_s"),
        ([{"intent": "act", "params": {"module": "a"}, "retries": 1}], "/steps/0/retries"),
        ([{"intent": "act", "params": {"module": {"$from": "s2"}}}, {"intent": "look"}], "/steps/0/params/module"),
        ([{"intent": "act", "params": {"module": {"$from": "s9"}}}], "/steps/0/params/module"),
        ([{"intent": "look", "params": {"a/b": [{"$from": "s9"}]}}], "/steps/0/params/a~1b/0"),
        (
            [{"intent": "look"}, {"intent": "act", "params": {"module": {"$from": "s1", "path": "["}}}],
            "/steps/1/params/module",
        ),
        ([{"intent": "look", "needs": ["s2"]}, {"intent": "look", "needs": ["s1"]}], "/steps/0/needs"),
    ],
)
def test_unsound_chain_is_refused_with_the_field(catalog: Catalog, raw: list[Any], pointer: str) -> None:
    """Cycles, unknown intents, wrong params, references that lead nowhere, too many steps."""
    with pytest.raises(BadParams) as refused:
        catalog.steps(raw)
    assert pointer in fields_of(refused)


def test_reference_may_stand_for_a_value_of_any_type(catalog: Catalog) -> None:
    """What it finds is checked when it is known."""
    raw = [{"intent": "look"}, {"intent": "act", "params": {"module": "a", "count": {"$from": "s1", "path": "n"}}}]
    assert catalog.steps(raw)[1].sources() == {"s1"}


@given(st.lists(st.dictionaries(st.sampled_from(["id", "intent", "params", "needs", "x"]), st.text() | st.integers())))
def test_no_chain_breaks_the_check(raw: list[Any]) -> None:
    """Whatever comes, it is steps or BadParams."""
    try:
        steps = Catalog([LOOK, ACT]).steps(raw)
    except BadParams as refused:
        steps = tuple(refused.details["fields"])
    assert steps


# --- loading ---


def test_bundled_packs_are_found_and_sound() -> None:
    """By entry point; every intent has its examples."""
    catalog = Catalog(load_packs())
    assert "list_processes" in catalog
    assert all(len(intent.examples) >= 8 for intent in catalog if intent.offered)


def test_file_of_a_hosts_own_intents_is_read(tmp_path: Path) -> None:
    """YAML and JSON; no effect said counts as destructive."""
    entry = {"name": "intent_reload_rules", "description": "Reads the rules again."}
    (tmp_path / "rules.json").write_text(json.dumps({"intents": [entry]}))
    (tmp_path / "more.yaml").write_text(
        "- {name: list_rules, description: Lists., effect: read, examples: [{text: rules}]}"
    )
    catalog = Catalog(load_folder(tmp_path))
    assert catalog.get("reload_rules").effect is Effect.DESTRUCTIVE
    assert catalog.get("list_rules").idempotent
    assert catalog.get("list_rules").handler is None


def test_folder_of_packs_is_read(tmp_path: Path) -> None:
    """A Python file with a decorated function is enough."""
    (tmp_path / "greet.py").write_text(
        "from llmcore.intent import Context, Effect, intent\n"
        "@intent(effect=Effect.READ, examples=[('greet bo', {'name': 'bo'})])\n"
        "async def greet(name: str, *, ctx: Context) -> dict[str, str]:\n"
        "    '''Greets somebody.'''\n"
        "    return {'text': name}\n"
    )
    assert Catalog(load_folder(tmp_path / "greet.py")).get("greet").required == ("name",)


@pytest.mark.parametrize(
    ("name", "text", "field"),
    [
        ("a.yaml", "{", "/"),
        ("a.yaml", "intents: 3", "intents"),
        ("a.yaml", "- 3", "0/"),
        ("a.yaml", "- {name: x_y}", "x_y/description"),
        ("a.yaml", "- {description: d}", "0/name"),
        ("a.yaml", "- {name: x_y, description: d, effect: wild}", "x_y/effect"),
        ("a.yaml", "- {name: x_y, description: d, risk: low}", "x_y/risk"),
        ("a.yaml", "- {name: x_y, description: d, schema: 3}", "x_y/schema"),
        ("a.yaml", "- {name: x_y, description: d, examples: 3}", "x_y/examples"),
        ("a.yaml", "- {name: x_y, description: d, examples: [{}]}", "x_y/examples/0/text"),
        ("a.yaml", "- {name: x_y, description: d, examples: [{text: t, params: 3}]}", "x_y/examples/0/params"),
        ("a.py", "import no_such_module_at_all", "import"),
        ("a.py", "def", "import"),
    ],
)
def test_broken_file_is_refused_with_file_and_field(tmp_path: Path, name: str, text: str, field: str) -> None:
    """The start stops with a line that says where."""
    (tmp_path / name).write_text(text)
    with pytest.raises(CatalogError) as refused:
        list(load_folder(tmp_path))
    assert refused.value.details["source"] == str(tmp_path / name)
    assert refused.value.details["field"] == field


def test_missing_folder_is_told(tmp_path: Path) -> None:
    """By the name of its setting."""
    with pytest.raises(CatalogError, match=r"packs\.path"):
        list(load_folder(tmp_path / "gone"))
