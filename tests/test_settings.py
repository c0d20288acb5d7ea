"""llmcore.settings: layers, secrets, errors that say what to do, and one truth for keys, docs and code."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from llmcore.settings import Settings, SettingsError, defaults, load, load_client, reference
from llmcore.settings.schema import SAME_AS, Node, load_schema

ROOT = Path(__file__).resolve().parent.parent


def write(path: Path, value: Any) -> Path:
    """A settings file."""
    path.write_text(json.dumps(value), "utf-8")
    return path


def refused(environ: Mapping[str, str], config: Path | None = None, port: int | None = None) -> str:
    """The one line that stops the start."""
    with pytest.raises(SettingsError) as caught:
        load(config, environ, {"server.port": port})
    line = str(caught.value)
    assert line.isprintable()
    return line


# --- one truth ----------------------------------------------------------------------------------------------------


def agree(kind: Any, node: Node, where: str = "") -> None:
    """Every field of a class is a key of the schema and the other way round, in the same order."""
    keys = [key for key, inner in node["properties"].items() if not key.startswith("$") and SAME_AS not in inner]
    assert [field.name for field in dataclasses.fields(kind)] == keys, where
    for name, hint in get_type_hints(kind).items():
        inner = node["properties"][name]
        if dataclasses.is_dataclass(hint):
            agree(hint, inner, f"{where}.{name}")
            continue
        parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        filled_in = f"{where}.{name}" == ".store.url"
        assert (type(None) in parts) == ("null" in inner["type"] and not filled_in), name
        assert any("SecretStr" in str(part) for part in parts) == bool(inner.get("writeOnly")), f"{where}.{name}"
        assert inner["description"], name
        assert "default" in inner, name
        entries = inner.get("additionalProperties")
        if isinstance(entries, dict) and "properties" in entries:
            agree(get_args(hint)[1], entries, f"{where}.{name}")


def test_classes_have_the_keys_of_the_schema() -> None:
    """Code and schema name the same settings; the store's address alone is filled in when it is not set."""
    agree(Settings, load_schema())


def test_page_and_default_file_are_made_from_the_schema() -> None:
    """`scripts/settings-reference` was run after the last change of the schema."""
    assert (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8") == reference()
    assert json.loads((ROOT / "config" / "default.json").read_text("utf-8")) == defaults()


def test_default_file_changes_nothing() -> None:
    """It may be copied as a start."""
    assert load(ROOT / "config" / "default.json", {}) == load(None, {})


# --- layers -------------------------------------------------------------------------------------------------------


def test_without_anything_no_model_and_all_below_the_data_folder() -> None:
    """Two commands on a fresh machine: offline, SQLite, loopback, no folders to touch."""
    found = load(None, {})
    assert (found.llm.provider, found.server.host, found.server.port) == ("offline", "127.0.0.1", 8000)
    assert found.data_dir == Path.home() / ".local/share/llmcore"
    assert found.store.url.get_secret_value() == f"sqlite:///{found.data_dir}/llmcore.db"
    assert found.system.roots == ()
    assert found.llm.notice is None


def test_later_layers_win(tmp_path: Path) -> None:
    """File, then environment, then command line; sections are joined."""
    config = write(tmp_path / "c.json", {"server": {"port": 1, "host": "a", "rate_limit": 7}, "$schema": "x"})
    found = load(
        config, {"LLMCORE_SERVER__PORT": "2", "LLMCORE_SERVER__HOST": "b"}, {"server.port": 3, "data_dir": None}
    )
    assert (found.server.port, found.server.host, found.server.rate_limit) == (3, "b", 7)


def test_a_host_may_hand_over_an_object_instead_of_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It lies where a file does: checked by itself, below the environment; paths count from the folder of work."""
    monkeypatch.chdir(tmp_path)
    conf = {"data_dir": "here", "server": {"port": 1, "host": "a"}}
    found = load(None, {"LLMCORE_SERVER__PORT": "2"}, conf=conf)
    assert (found.data_dir, found.server.port, found.server.host) == (tmp_path / "here", 2, "a")
    with pytest.raises(SettingsError, match="conf: "):
        load(None, {}, conf={"llm": {"provder": "x"}})


def test_environment_reads_json_numbers_truth_and_plain_text(tmp_path: Path) -> None:
    """Each by the type in the schema; deeper keys by more underscores; empty means not set."""
    found = load(
        None,
        {
            "HOME": "/elsewhere",
            "LLMCORE_URL": "http://x",
            "LLMCORE_TOKEN": "t",
            "LLMCORE_DATA_DIR": str(tmp_path),
            "LLMCORE_SERVER": '{"port": 9, "host": "0.0.0.0"}',
            "LLMCORE_SERVER__HOST": "::1",
            "LLMCORE_SERVER__RATE_LIMIT": "",
            "LLMCORE_SYSTEM__ROOTS": '["/srv", "relative"]',
            "LLMCORE_SYSTEM__TARGETS": '{"web": {"unit": "nginx", "attributes": {"production": true}}}',
            "LLMCORE_LLM__MASKING__ENABLED": "on",
            "LLMCORE_LLM__TEMPERATURE": "0.5",
            "LLMCORE_LLM__TIMEOUTS__CONNECT_S": "2",
            "LLMCORE_LLM__MODEL": "[x]",
            "LLMCORE_BUS__KEYS": '{"a": "one"}',
            "LLMCORE_BUS__KEYS__B": "two",
            "LLMCORE_PACKS__PATH": "/p:/q",
        },
    )
    assert (found.server.port, found.server.host, found.server.rate_limit) == (9, "::1", 200)
    assert found.system.roots == (Path("/srv"), Path.cwd() / "relative")
    web = found.system.targets["web"]
    assert (web.unit, web.start, web.attributes) == ("nginx", None, {"production": True})
    assert (found.llm.masking.enabled, found.llm.temperature, found.llm.timeouts.connect_s) == (True, 0.5, 2)
    assert found.llm.model == "[x]"
    assert found.bus.keys == {"a": SecretStr("one"), "b": SecretStr("two")}
    assert found.packs.path == (Path("/p"), Path("/q"))
    assert found.store.url.get_secret_value() == f"sqlite:///{tmp_path}/llmcore.db"


def test_maps_are_replaced_as_a_whole_and_paths_count_from_the_file(tmp_path: Path) -> None:
    """A log of the file does not linger behind the environment's logs."""
    config = write(tmp_path / "c.json", {"system": {"logs": {"old": "old.log"}, "scripts": "run"}})
    assert load(config, {}).system.logs == {"old": tmp_path / "old.log"}
    found = load(config, {"LLMCORE_SYSTEM__LOGS": '{"new": "/n"}'}).system
    assert (found.logs, found.scripts) == ({"new": Path("/n")}, tmp_path / "run")


def test_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing handed in: the variables of the process."""
    monkeypatch.setenv("LLMCORE_SERVER__PORT", "77")
    monkeypatch.setenv("LLMCORE_URL", "http://h:1")
    assert load().server.port == 77
    assert load_client().url == "http://h:1"


# --- providers ----------------------------------------------------------------------------------------------------


def test_flat_file_of_the_card_is_accepted(tmp_path: Path) -> None:
    """`llm_provider`, `openai_api_key`, `anthropic_api_key` at the top; the alias is resolved."""
    flat = {"llm_provider": "chatgpt", "openai_api_key": "sk-1", "anthropic_api_key": "sk-2"}
    llm = load(write(tmp_path / "c.json", flat), {"LLMCORE_LLM__FALLBACK": "claude, local", **LOCAL}).llm
    assert llm.chain == ("openai", "anthropic", "local")
    keys = [llm.of(name).api_key for name in llm.chain]
    assert keys == [SecretStr("sk-1"), SecretStr("sk-2"), None]
    assert [llm.of(name).model for name in llm.chain] == [*llm.default_models.values(), None]


LOCAL = {"LLMCORE_LLM__BASE_URL": "http://localhost:11434/v1"}


def test_address_and_model_go_where_they_belong() -> None:
    """`base_url` is local's where local is in the chain; `providers` overrides per name."""
    environ = {
        "ANTHROPIC_API_KEY": "k",
        "LLMCORE_LLM__PROVIDER": "claude",
        "LLMCORE_LLM__MODEL": "m1",
        "LLMCORE_LLM__FALLBACK": '["local"]',
        "LLMCORE_LLM__PROVIDERS__LOCAL__MODEL": "m2",
        **LOCAL,
    }
    llm = load(None, environ).llm
    assert (llm.of("anthropic").model, llm.of("anthropic").base_url) == ("m1", None)
    assert (llm.of("local").model, llm.of("local").base_url) == ("m2", LOCAL["LLMCORE_LLM__BASE_URL"])


def test_a_key_alone_sends_nothing_out_and_says_how_to_switch_on() -> None:
    """The start line takes this text."""
    llm = load(None, {"OPENAI_API_KEY": "sk-secret"}).llm
    assert llm.provider == "offline"
    assert llm.notice is not None
    assert "LLMCORE_LLM__PROVIDER=openai" in llm.notice
    assert "sk-secret" not in llm.notice


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"LLMCORE_LLM__PROVIDER": "openai"}, ["llm.openai_api_key", "missing", "OPENAI_API_KEY"]),
        ({"LLMCORE_LLM__FALLBACK": '["anthropic"]'}, ["llm.anthropic_api_key", "ANTHROPIC_API_KEY"]),
        ({"LLMCORE_LLM__PROVIDER": "local"}, ["llm.base_url", "LLMCORE_LLM__BASE_URL"]),
        ({"LLMCORE_LLM__PROVIDER": "opnai"}, ["llm.provider", "did you mean openai", "scripted"]),
        ({"LLMCORE_LLM__PROVDER": "x"}, ["LLMCORE_LLM__PROVDER", "did you mean LLMCORE_LLM__PROVIDER"]),
        ({"LLMCORE_LLM__PROVIDER__DEEP": "x"}, ["LLMCORE_LLM__PROVIDER__DEEP", "not a setting"]),
        ({"LLMCORE_SERVER__PORT": "many"}, ["LLMCORE_SERVER__PORT", "an integer", "8000"]),
        ({"LLMCORE_SERVER__PORT": "70000"}, ["at most 65535"]),
        ({"LLMCORE_LLM__MASKING__ENABLED": "maybe"}, ["llm.masking.enabled", "true or false"]),
        ({"LLMCORE_SYSTEM__ROOTS": "/srv"}, ["system.roots", "a list", '["/srv/data"]']),
        ({"LLMCORE_SYSTEM__TARGETS": '{"a": {"start": ["x"]}}'}, ["system.targets.a", "unit or status"]),
        ({"LLMCORE_SYSTEM__TARGETS": '{"a@": {"unit": "a.service"}}'}, ["system.targets.a@.unit", "needs %i"]),
        ({"LLMCORE_SYSTEM__TARGETS": '{"a@": {"status": ["b"]}}'}, ["system.targets.a@.status", "needs %i"]),
        ({"LLMCORE_SYSTEM__TARGETS": '{"a": {"unti": "x"}}'}, ["system.targets.a.unti", "did you mean unit"]),
        ({"LLMCORE_SYSTEM__SCRIPTS_FILE": "x"}, ["LLMCORE_SYSTEM__SCRIPTS_FILE", "not a setting"]),
        ({"LLMCORE_LOG__LEVEL": "loud"}, ["log.level", "debug or info"]),
        ({"LLMCORE_STATS__INTERVAL_S": "0"}, ["more than 0"]),
        ({"LLMCORE_SERVER__TLS__KEY": "/k"}, ["server.tls.cert", "needs both"]),
        ({"LLMCORE_POLICY__TIMEZONE": "Europe/Berln"}, ["policy.timezone", "Europe/Berlin", "tzdata"]),
        ({"LLMCORE_POLICY__TIMEZONE": "../x"}, ["policy.timezone", "LLMCORE_POLICY__TIMEZONE"]),
        ({"LLMCORE_DATA_DIR": "a\0b"}, ["NUL"]),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(environ: dict[str, str], words: list[str]) -> None:
    """One line: which setting, what, how to fix it."""
    line = refused(environ)
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1]", ["must be an object"]),
        ("{,", ["is not JSON"]),
        ('{"server": {"port": NaN}}', ["is not JSON"]),
        ('{"sever": {}}', ["sever is not a setting", "did you mean server"]),
        ('{"a\\u001b[31m": 1}', ["is not a setting"]),
        ('{"server": {"port": "8"}}', ["server.port must be an integer"]),
        ('{"bus": {"keys": {"a": 5}}}', ["bus.keys.a must be a string"]),
        ('{"packs": {"path": ["a", ""]}}', ["packs.path.1 must not be empty"]),
        ('{"store": {"url": "mysql://u:hidden@h"}}', ["store.url has not the right form"]),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, words: list[str]) -> None:
    """The line begins with the file."""
    config = tmp_path / "c.json"
    config.write_text(content, "utf-8")
    line = refused({}, config)
    assert line.startswith(str(config))
    assert all(word in line for word in words), line


def test_a_file_that_is_absent_and_a_bad_option() -> None:
    """Both are settings errors too."""
    assert "--config" in refused({}, Path("/nowhere/c.json"))
    assert "command line" in refused({}, port=-1)


# --- secrets ------------------------------------------------------------------------------------------------------


def test_secrets_may_stand_in_files(tmp_path: Path) -> None:
    """`<key>_file` in the file and in the environment, at any depth; maps as JSON."""
    (tmp_path / "key").write_text("sk-1\n", "utf-8")
    write(tmp_path / "keys", {"a": "one"})
    config = write(tmp_path / "c.json", {"llm": {"openai_api_key_file": "key"}, "bus": {"keys_file": "keys"}})
    found = load(config, {"LLMCORE_ADMIN_PASSWORD_FILE": str(tmp_path / "key")})
    assert found.llm.openai_api_key == SecretStr("sk-1")
    assert found.bus.keys == {"a": SecretStr("one")}
    assert found.admin_password == SecretStr("sk-1")


def test_secret_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Absent, unreadable text, of a wrong form, or given twice."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "text").write_text("not json", "utf-8")
    assert "cannot be read" in refused({"LLMCORE_LLM__OPENAI_API_KEY_FILE": "/nowhere"})
    assert "cannot be read" in refused({"LLMCORE_LLM__OPENAI_API_KEY_FILE": str(tmp_path / "binary")})
    assert "must be an object" in refused({"LLMCORE_BUS__KEYS_FILE": str(tmp_path / "text")})
    both = write(tmp_path / "c.json", {"admin_password": "x", "admin_password_file": "text"})
    assert "keep one" in refused({}, both)


def test_secrets_do_not_show() -> None:
    """Neither in a repr of settings nor in an error about the secret itself."""
    environ = {
        "OPENAI_API_KEY": "hidden1",
        "LLMCORE_BUS__URL": "redis://:hidden2@h",
        "LLMCORE_BUS__KEYS": '{"a": "hidden3"}',
        "LLMCORE_STORE__URL": "postgresql://u:hidden4@h/d",
        "LLMCORE_NOTIFY__TELEGRAM_BOTS": '{"b": {"token": "hidden5"}}',
    }
    assert "hidden" not in repr(load(None, environ))
    assert "hidden" not in refused({"LLMCORE_BUS__URL": "amqp://:hidden@h"})
    client = load_client({"LLMCORE_TOKEN": "hidden", "LLMCORE_ADMIN_PASSWORD": "hidden", "XDG_CONFIG_HOME": "/c"})
    assert "hidden" not in repr(client)
    assert (client.token, client.folder) == ("hidden", Path("/c/llmcore"))


# --- anything at all ----------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
WORDS = st.sampled_from(
    ["llm", "server", "port", "provider", "keys", "bus", "url", "system", "targets", "unit", "path"]
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def settings_or_line(environ: Mapping[str, str], config: Path | None = None) -> str:
    """What comes out of the loader, as one line; nothing but SettingsError may escape."""
    try:
        return type(load(config, environ)).__name__
    except SettingsError as error:
        return str(error)


@given(value=DOCUMENTS)
def test_any_json_is_settings_or_one_line(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    """No file crashes the loader."""
    config = write(tmp_path_factory.getbasetemp() / "any.json", value)
    assert settings_or_line({}, config).isprintable()


@given(
    name=st.sampled_from(["SERVER__PORT", "SERVER", "LLM", "BUS__KEYS", "SYSTEM__TARGETS", "PACKS__PATH", "DATA_DIR"]),
    text=st.text(max_size=12) | DOCUMENTS.map(json.dumps),
)
def test_any_variable_is_settings_or_one_line(name: str, text: str) -> None:
    """No variable does either."""
    assert settings_or_line({f"LLMCORE_{name}": text}).isprintable()
