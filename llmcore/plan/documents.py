"""Values as JSON text and back.

Used by the stores, and by the seal, which has to write the same. Knows no database. Whatever a pack or a program
returned can be written: what JSON has no word for is replaced, never refused, because a result that cannot be stored
would be lost.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

loads = json.loads  # exact for integers of any size, which orjson reads as floats
"""JSON text to a value."""


def dumps(value: Any, *, canonical: bool = False) -> str:
    """A value as compact JSON text; `canonical` sorts the keys of objects."""
    options = orjson.OPT_NON_STR_KEYS | (orjson.OPT_SORT_KEYS if canonical else 0)
    try:
        return orjson.dumps(value, default=_readable, option=options).decode()
    except TypeError:  # a lone surrogate or an integer beyond 64 bits
        plain = _plain(value)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), sort_keys=canonical)


def text(value: str) -> str:
    """A text that every database takes: no NUL, no lone surrogate."""
    if "\x00" in value:
        value = value.replace("\x00", "\ufffd")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _readable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, set | frozenset) else str(value)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {text(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    return text(str(value))
