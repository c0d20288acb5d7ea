"""The bundled packs keep to the table of the contract, and their examples are fit to learn from."""

import pytest

from llmcore.catalog import Catalog, load_packs
from llmcore.intent import Effect, Intent

R, W, D = Effect.READ, Effect.WRITE, Effect.DESTRUCTIVE
TABLE: dict[str, tuple[str, Effect, str]] = {
    "get_system_stats": ("system", R, ""),
    "get_cpu_stats": ("system", R, ""),
    "get_memory_stats": ("system", R, ""),
    "get_disk_stats": ("system", R, ""),
    "get_network_stats": ("system", R, ""),
    "get_system_time": ("system", R, ""),
    "get_software_version": ("system", R, ""),
    "check_process": ("system", R, "name"),
    "list_processes": ("system", R, "sort_by? limit?"),
    "get_accessible_paths": ("files", R, ""),
    "list_content": ("files", R, "root path?"),
    "read_file": ("files", R, "path"),
    "create_folder": ("files", W, "path"),
    "copy_file": ("files", W, "source destination"),
    "write_file": ("files", D, "path content"),
    "move_file": ("files", D, "source destination"),
    "delete_file": ("files", D, "path"),
    "delete_folder": ("files", D, "root dirname delete_non_empty?"),
    "list_logs": ("logs", R, ""),
    "read_log": ("logs", R, "name lines? contains?"),
    "list_targets": ("services", R, ""),
    "get_target_status": ("services", R, "module"),
    "start_target": ("services", W, "module"),
    "scale_target": ("services", W, "module replicas"),
    "stop_target": ("services", D, "module"),
    "restart_target": ("services", D, "module"),
    "list_scripts": ("scripts", R, ""),
    "start_script_execution": ("scripts", D, "name args?"),
    "stop_script_execution": ("scripts", W, "script_id"),
    "simple_http_notify": ("notify", W, "http message?"),
    "simple_telegram_notify": ("notify", W, "message chat_id? bot?"),
}
"""Intent -> pack, effect, params (`?`: may be left out), as the contract has them."""
CATALOG = Catalog(load_packs())
BUNDLED = [one for one in CATALOG if one.pack in {pack for pack, _, _ in TABLE.values()}]


def test_the_packs_offer_exactly_the_table() -> None:
    """No intent is missing and none is there that the contract does not know."""
    assert {one.name for one in BUNDLED} == set(TABLE)


@pytest.mark.parametrize("one", BUNDLED, ids=lambda one: one.name)
def test_an_intent_has_the_effect_and_params_of_the_table(one: Intent) -> None:
    """Names of params, which may be left out, and what it does to the world."""
    pack, effect, params = TABLE[one.name]
    assert (one.pack, one.effect) == (pack, effect)
    assert set(one.schema["properties"]) == {param.rstrip("?") for param in params.split()}
    assert set(one.required) == {param for param in params.split() if not param.endswith("?")}
    assert one.schema["additionalProperties"] is False


@pytest.mark.parametrize("one", BUNDLED, ids=lambda one: one.name)
def test_an_intent_has_varied_examples_that_fit(one: Intent) -> None:
    """At least eight, all different, none saying more than its text does, each fitting the schema."""
    assert len(one.examples) >= 8
    assert len({example.text.lower() for example in one.examples}) == len(one.examples)
    for example in one.examples:
        assert CATALOG.validate(one.name, example.params) is one
        for value in example.params.values():
            if isinstance(value, str) and one.name not in {"delete_folder", "list_processes"}:
                assert value in example.text, f"{value!r} is not said in {example.text!r}"


def test_no_text_stands_for_two_intents() -> None:
    """The same words never mean two things."""
    texts = [example.text.lower() for one in BUNDLED for example in one.examples]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("one", [one for one in BUNDLED if one.effect is not R], ids=lambda one: one.name)
def test_what_changes_something_can_be_previewed(one: Intent) -> None:
    """Every param and the intent itself are described; a change shows what it would touch."""
    assert one.preview is not None
    assert all(prop.get("description") for prop in one.schema["properties"].values())


def test_host_lists_are_named_for_the_params_that_come_from_them() -> None:
    """Services, logs, scripts, roots and processes."""
    found = {(one.name, param): lists for one in BUNDLED for param, lists in one.vocabulary.items()}
    assert found["restart_target", "module"] == "targets"
    assert found["read_log", "name"] == "logs"
    assert found["start_script_execution", "name"] == "scripts"
    assert found["list_content", "root"] == "roots"
    assert found["check_process", "name"] == "processes"
