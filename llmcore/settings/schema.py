"""The JSON Schema of the settings: reading it, walking it, and saying in one line where a value does not fit.

Used by `layers`, `loading` and `reference`; knows neither files of users nor the environment.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from llmcore.errors import LLMCoreError

Node = Mapping[str, Any]

SAME_AS = "x-same-as"
"""Keyword of a key that is another name for the one it tells."""


class SettingsError(LLMCoreError):
    """A setting is unknown, wrong or missing; the message is one line that says which, what and how to fix it."""

    code = "bad_settings"


@cache
def load_schema() -> Node:
    """The one truth about keys, types, defaults and descriptions."""
    schema: Node = json.loads((files("llmcore.config") / "settings.schema.json").read_text("utf-8"))
    return schema


def child(node: Node, key: str) -> Node | None:
    """The schema of one key of an object, None if there is no such key."""
    named: Node | None = node.get("properties", {}).get(key)
    if named is not None:
        return named
    if is_secret_file(node, key):
        return next(iter(node["patternProperties"].values()), None)
    others = node.get("additionalProperties")
    return others if isinstance(others, Mapping) else None


def is_secret_file(node: Node, key: str) -> bool:
    """True for `x_file` where `x` is a secret of this object."""
    return bool(node.get("patternProperties")) and key.endswith("_file") and is_secret(node, key.removesuffix("_file"))


def is_secret(node: Node, key: str) -> bool:
    """True for a key whose value must never be shown."""
    return bool(node.get("properties", {}).get(key, {}).get("writeOnly"))


def types(node: Node) -> Sequence[str]:
    """The JSON types a value may have."""
    found = node.get("type", ())
    return (found,) if isinstance(found, str) else tuple(found)


def leaves(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every key that holds a value, with its path; `<name>` stands for a name that the user chooses."""
    for key, inner in node.get("properties", {}).items():
        if "properties" in inner:
            yield from leaves(inner, (*path, key))
        elif not key.startswith("$") and SAME_AS not in inner:
            yield (*path, key), inner
            entries = inner.get("additionalProperties")
            if isinstance(entries, Mapping) and "properties" in entries:
                yield from leaves(entries, (*path, key, "<name>"))


def check(value: Any, node: Node, where: str, path: Sequence[str] = ()) -> None:
    """Raise SettingsError for the worst misfit of `value`; the values themselves are never told.

    Args:
        value: what was found.
        node: schema it has to fit.
        where: the file or variable it was found in.
        path: keys that lead to it.
    """
    error = best_match(Draft202012Validator(node).iter_errors(value))
    if error is not None:
        raise SettingsError(f"{where}: {_one_line(_sentence(error, path))}")


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean x?` or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _sentence(error: ValidationError, path: Sequence[str]) -> str:
    name = ".".join([*path, *(str(part) for part in error.absolute_path)])
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if error.validator == "additionalProperties":
        return _unknown(schema, error.instance, name)
    what = _WHAT.get(str(error.validator), "does not fit").format(_words(error.validator_value))
    return f"{name or 'the file'} {what}{_example(schema)}."


_WHAT = {
    "type": "must be {}",
    "enum": "must be one of {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "minLength": "must not be empty",
    "minItems": "must not be empty",
    "required": "lacks {}",
    "anyOf": "needs either {}",
    "pattern": "has not the right form",
}


def _words(value: Any) -> str:
    if isinstance(value, list):
        return " or ".join(_words(inner) for inner in value if inner != "null")
    if isinstance(value, Mapping):
        return _words(value.get("required", "another form"))
    articles = {"integer": "an integer", "array": "a list", "object": "an object", "boolean": "true or false"}
    return articles.get(value, f"a {value}" if value in {"string", "number"} else str(value))


def _example(schema: Node) -> str:
    for sample in [*schema.get("examples", ()), schema.get("default")]:
        if sample not in (None, [], {}):
            return f", for example {json.dumps(sample)}"
    return f": {schema['description']}" if "description" in schema else ""


def _unknown(schema: Node, found: Any, name: str) -> str:
    known = [key for key in schema.get("properties", {}) if not key.startswith("$")]
    unknown = min(key for key in found if child(schema, key) is None)
    full = f"{name}.{unknown}" if name else unknown
    return f"{full} is not a setting{suggest(unknown, known)}. Remove it or take one of {', '.join(known)}."


def _one_line(text: str) -> str:
    """Without control characters that a key from a file may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
