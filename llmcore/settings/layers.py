"""Where settings come from: a JSON file, then the environment, then the command line.

Used by `loading`. Each layer is checked by itself, so that an error names the file or the variable; then it is put over
the ones before. Knows the schema, not what the settings mean.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from llmcore.settings.schema import (
    SAME_AS,
    Node,
    SettingsError,
    check,
    child,
    is_secret_file,
    leaves,
    load_schema,
    suggest,
    types,
)

PREFIX = "LLMCORE_"
VENDOR_KEYS: Mapping[str, tuple[str, ...]] = {
    "OPENAI_API_KEY": ("llm", "openai_api_key"),
    "ANTHROPIC_API_KEY": ("llm", "anthropic_api_key"),
}
CLIENT_ONLY = frozenset({"LLMCORE_URL", "LLMCORE_TOKEN"})
"""Variables that the commands read, not the server."""

Document = dict[str, Any]
_TRUTH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def variable(path: tuple[str, ...]) -> str:
    """Name of the environment variable of a setting."""
    return PREFIX + "__".join(path).upper()


def from_file(path: Path) -> Document:
    """The settings of a JSON file; relative paths in it count from its folder. Raises SettingsError."""
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check --config.") from None
    except ValueError as error:
        raise SettingsError(f"{path}: is not JSON ({error}); correct it there.") from None
    return from_object(found, path.absolute().parent, str(path))


def from_object(found: Any, base: Path, where: str) -> Document:
    """The settings of a JSON object; relative paths in it count from `base`. Raises SettingsError."""
    check(found, load_schema(), where)
    return _resolved(found, load_schema(), base, where)


def from_environment(environ: Mapping[str, str]) -> Iterator[Document]:
    """One document for each variable that sets something; a later one goes over an earlier. Raises SettingsError."""
    for name, path in VENDOR_KEYS.items():
        if environ.get(name):
            yield _nested(path, environ[name], name)
    for name in sorted(environ):  # so that a section comes before its parts
        if name.startswith(PREFIX) and name not in CLIENT_ONLY and environ[name]:
            path = tuple(name.removeprefix(PREFIX).lower().split("__"))
            yield _nested(path, _parsed(environ[name], _node(path, name)), name)


def from_overrides(overrides: Mapping[str, Any]) -> Iterator[Document]:
    """One document for each `section.key` that is not None. Raises SettingsError."""
    for name, value in overrides.items():
        if value is not None:
            yield _nested(tuple(name.split(".")), value, "command line")


def put_over(below: Document, above: Mapping[str, Any], node: Node) -> None:
    """Put a layer over what is there: sections are joined, everything else is replaced."""
    for key, value in above.items():
        inner = child(node, key) or {}
        if isinstance(value, _Part) or "properties" in inner:
            put_over(below.setdefault(key, {}), value, inner)
        else:
            below[key] = value


class _Part(dict[str, Any]):
    """Part of a map whose other entries stay: `LLMCORE_BUS__KEYS__NAME` sets one key."""


def _nested(path: tuple[str, ...], value: Any, where: str) -> Document:
    node = _node(path, where)
    check(value, node, where, path)
    found: Any = value
    for key in reversed(path):
        found = _Part({key: found})
    return _resolved(found, load_schema(), Path.cwd(), where)


def _node(path: tuple[str, ...], where: str) -> Node:
    node: Node | None = load_schema()
    for key in path:
        node = child(node, key) if node is not None else None
    if node is None:
        known = [variable(leaf) for leaf, _ in leaves(load_schema())]
        raise SettingsError(f"{where}: is not a setting{suggest(where, known)}. Unset or correct it.")
    return node


def _parsed(text: str, node: Node) -> Any:
    """The value of a variable as its schema reads it; what does not fit stays text and is refused by the check."""
    kinds = types(node)
    if "string" in kinds and not ("array" in kinds and text.startswith("[")):
        return text
    if kinds == ("boolean",):
        return _TRUTH.get(text.lower(), text)
    try:
        return orjson.loads(text)
    except ValueError:
        return text


def _resolved(found: Mapping[str, Any], node: Node, base: Path, where: str) -> Document:
    """Paths made absolute, secrets read from their files, other names of a key replaced by its own."""
    result: Document = type(found)() if isinstance(found, dict) else {}
    for key, value in found.items():
        inner = child(node, key) or {}
        if is_secret_file(node, key):
            secret = key.removesuffix("_file")
            if secret in found:
                raise SettingsError(f"{where}: both {secret} and {key} are set; keep one.")
            inner = child(node, secret) or {}
            key, value = secret, _read_secret(_absolute(value, base, where), inner, where)
        else:
            value = _resolved_value(value, inner, base, where)
        path = tuple(inner[SAME_AS].split(".")) if SAME_AS in inner else (key,)
        _set(result, path, value)
    return result


def _resolved_value(value: Any, node: Node, base: Path, where: str) -> Any:
    if isinstance(value, str) and "array" in types(node):
        value = value.split(os.pathsep if node.get("format") == "path" else ",")
    if isinstance(value, list):
        return [_resolved_value(entry, node.get("items", {}), base, where) for entry in value]
    if isinstance(value, dict):
        return _resolved(value, node, base, where)
    if isinstance(value, str) and node.get("format") == "path":
        return _absolute(value, base, where)
    return value


def _set(document: Document, path: tuple[str, ...], value: Any) -> None:
    *sections, key = path
    for section in sections:
        document = document.setdefault(section, {})
    document[key] = value


def _absolute(text: str, base: Path, where: str) -> str:
    if "\0" in text:
        raise SettingsError(f"{where}: a path must not hold a NUL character.")
    return os.path.abspath(base / os.path.expanduser(text))


def _read_secret(path: str, node: Node, where: str) -> Any:
    try:
        text = Path(path).read_text("utf-8").strip()
    except (OSError, ValueError):
        raise SettingsError(
            f"{where}: the secret file {path} cannot be read; check its name and permissions."
        ) from None
    value = text if "string" in types(node) else _parsed(text, node)
    check(value, node, path)
    return value
