"""Loads the settings: layers joined, defaults filled in, checked together, made into frozen values.

Called once by `cli` at the start of a process.
"""

import os
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import TypeAdapter

from llmcore.settings.layers import (
    Document,
    from_environment,
    from_file,
    from_object,
    from_overrides,
    put_over,
    variable,
)
from llmcore.settings.schema import SAME_AS, Node, SettingsError, load_schema, suggest
from llmcore.settings.values import ALIASES, Settings

BUNDLED = ("openai", "anthropic", "local", "offline", "scripted")
_VENDOR_VARIABLE = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


def load(
    config_path: Path | str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    conf: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of this process: defaults, then the file, then the environment, then overrides.

    Args:
        config_path: JSON file, or None.
        environ: variables; None takes those of the process.
        overrides: `section.key` -> value, from the command line; None values count as not given.
        conf: what a program that we live in hands over instead of a file; relative paths count from its folder of work.

    Raises:
        SettingsError: one line that names the setting, what is wrong and how to fix it.
    """
    schema = load_schema()
    document: Document = {}
    if config_path is not None:
        put_over(document, from_file(Path(config_path)), schema)
    if conf is not None:
        put_over(document, from_object(conf, Path.cwd(), "conf"), schema)
    for layer in from_environment(os.environ if environ is None else environ):  # noqa: TID251 - the one place
        put_over(document, layer, schema)
    for layer in from_overrides(overrides or {}):
        put_over(document, layer, schema)
    _fill(document, schema)
    document["data_dir"] = os.path.abspath(os.path.expanduser(document["data_dir"]))
    document["store"]["url"] = document["store"]["url"] or f"sqlite:///{document['data_dir']}/llmcore.db"
    _choose_providers(document["llm"])
    settings = _adapter().validate_python(document)
    _check_together(settings)
    return settings


@cache
def _adapter() -> TypeAdapter[Settings]:
    return TypeAdapter(Settings)


def _fill(document: Document, node: Node) -> None:
    """Put defaults where nothing is set, in the entries of maps too."""
    for key, inner in node["properties"].items():
        if key.startswith("$") or SAME_AS in inner:
            document.pop(key, None)
        elif "properties" in inner:
            _fill(document.setdefault(key, {}), inner)
        else:
            value = document.setdefault(key, inner["default"])
            entries = inner.get("additionalProperties")
            if value and isinstance(entries, Mapping) and "properties" in entries:
                for entry in value.values():
                    _fill(entry, entries)


def _choose_providers(llm: Document) -> None:
    """Replace aliases and refuse names that nobody offers."""
    known = {*BUNDLED, *(point.name for point in entry_points(group="llmcore.providers"))}
    llm["provider"] = _provider(llm["provider"], known, "provider")
    llm["fallback"] = [_provider(name.strip(), known, "fallback") for name in llm["fallback"]]


def _provider(name: str, known: set[str], key: str) -> str:
    found = ALIASES.get(name, name)
    if found not in known:
        raise SettingsError(
            f"llm.{key}: there is no provider {name!r}{suggest(name, [*known, *ALIASES])}."
            f" Set {variable(('llm', key))} to one of {', '.join(sorted(known))}."
        )
    return found


def zone_exists(name: str) -> bool:
    """True for UTC, and for a zone of the machine's time zone database."""
    try:
        return name == "UTC" or ZoneInfo(name) is not None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _check_together(settings: Settings) -> None:
    """Raise SettingsError for settings that need each other."""
    for name in settings.llm.chain:
        chosen = settings.llm.of(name)
        if name in _VENDOR_VARIABLE and chosen.api_key is None:
            raise SettingsError(
                f"llm.{name}_api_key: is missing, provider {name} needs it;"
                f" set {_VENDOR_VARIABLE[name]} or choose LLMCORE_LLM__PROVIDER=offline."
            )
        if name == "local" and chosen.base_url is None:
            raise SettingsError(
                "llm.base_url: is missing, provider local needs it;"
                " set LLMCORE_LLM__BASE_URL, for example to http://localhost:11434/v1."
            )
    if not zone_exists(settings.policy.timezone):
        raise SettingsError(
            f"policy.timezone: there is no time zone {settings.policy.timezone!r} on this machine;"
            " set LLMCORE_POLICY__TIMEZONE to a name such as Europe/Berlin, or install the package tzdata."
        )
    tls = settings.server.tls
    if (tls.cert is None) != (tls.key is None):
        missing = "cert" if tls.cert is None else "key"
        raise SettingsError(f"server.tls.{missing}: is missing, encryption needs both; set it or remove the other.")
