"""Names of people and machines are replaced before a request leaves for a vendor, and put back in the answer.

Wrapped around any `Model` by `app` where the setting is on (it is off by default). Must not know providers.

A placeholder is made from the name by a keyed hash: the same name gets the same one in every request (so the vendor's
prompt cache goes on hitting), and nobody without the key can try names. An answer is restored only from the names of
its own request, so a vendor cannot ask for others.
"""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import orjson

from llmcore.errors import LLMCoreError
from llmcore.ports import Finished, Message, Model, ModelEvent, ModelRequest, TextDelta

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_TOP = "com|org|net|edu|gov|mil|int|info|io|dev|cloud|local|localdomain|lan|internal|intranet|corp|home|arpa"
_PATTERNS = {
    "mail": rf"(?<![\w.%+-])[A-Za-z0-9._%+-]+@{_LABEL}(?:\.{_LABEL})+",
    "addr": r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)"
    r"|(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|(?<=::))(?!\w|:[\w:]|\.\d)",
    # two dots or more, or one and a well-known end; behind "//" but not behind "/", where file names stand
    "host": r"(?<![\w.@-])(?<![^/]/)(?<!^/)"
    rf"(?:{_LABEL}(?:\.{_LABEL})+\.[A-Za-z]{{2,63}}|{_LABEL}\.(?:{_TOP}))(?![\w-])",
}
_HEX = 10
_NO_TEXT = frozenset({"$id", "$ref", "$schema", "pattern", "type", "format"})
"""Members of a JSON Schema whose values are not for reading."""


class Masker:
    """Replaces the configured names, e-mail and IP addresses and full host names."""

    def __init__(self, key: bytes, names: Iterable[str] = ()) -> None:
        """`key` is a secret of the installation; `names` are whole words, matched as they are written, in any case."""
        self._key = key
        listed = "|".join(re.escape(name) for name in sorted(set(names), key=len, reverse=True) if name)
        kinds = {**_PATTERNS, "name": rf"(?<!\w)(?i:{listed})(?!\w)"} if listed else _PATTERNS
        self._pattern = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items()))

    def mask(self, text: str, table: dict[str, str]) -> str:
        """The text with placeholders; `table` gets placeholder -> name."""
        return self._pattern.sub(lambda found: self._placeholder(found, table), text)

    def mask_request(self, request: ModelRequest) -> tuple[ModelRequest, dict[str, str]]:
        """The request as a vendor may see it, and the table for its answer."""
        table: dict[str, str] = {}
        messages = tuple(Message(message.role, self.mask(message.content, table)) for message in request.messages)
        schema = self._masked_schema(request.schema, table) if request.schema is not None else None
        return replace(request, messages=messages, schema=schema), table

    def _masked_schema(self, node: Any, table: dict[str, str]) -> Any:
        if isinstance(node, str):
            return self.mask(node, table)
        if isinstance(node, Mapping):
            return {
                name: value if name in _NO_TEXT and isinstance(value, str) else self._masked_schema(value, table)
                for name, value in node.items()
            }
        return [self._masked_schema(value, table) for value in node] if isinstance(node, list | tuple) else node

    def _placeholder(self, found: re.Match[str], table: dict[str, str]) -> str:
        kind, name = str(found.lastgroup), found.group()
        if kind == "addr" and not _is_address(name):
            return name
        digest = hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()
        placeholder = kind + digest[:_HEX]
        table[placeholder] = name
        return placeholder


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class Restorer:
    """Puts names back into a text that comes in pieces, also where a placeholder is cut."""

    def __init__(self, table: Mapping[str, str], *, json: bool) -> None:
        """`json`: the text is JSON, so names are escaped as they have to be inside its strings."""
        self._names = {
            placeholder: orjson.dumps(name).decode()[1:-1] if json else name for placeholder, name in table.items()
        }
        self._pattern = re.compile("|".join(self._names) or r"(?!)", re.IGNORECASE)
        self._held = ""

    def feed(self, text: str) -> str:
        """All that is certain by now."""
        text = self._held + text
        ends = [found.end() for found in self._pattern.finditer(text)]
        cut = self._cut(text, ends[-1] if ends else 0)
        self._held = text[cut:]
        return self._restored(text[:cut])

    def rest(self) -> str:
        """What was held back, once nothing more comes."""
        text, self._held = self._held, ""
        return text

    def _cut(self, text: str, start: int) -> int:
        """Where the longest tail begins that may become a placeholder; not before `start`."""
        longest = max(map(len, self._names), default=1) - 1
        for at in range(max(start, len(text) - longest), len(text)):
            tail = text[at:].lower()
            if any(placeholder.startswith(tail) for placeholder in self._names):
                return at
        return len(text)

    def _restored(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._names[found.group().lower()], text)


class MaskedModel:
    """A model that never sees the names."""

    def __init__(self, model: Model, masker: Masker) -> None:
        """Wrap `model`."""
        self._model = model
        self._masker = masker

    @property
    def name(self) -> str:
        """Of the model inside."""
        return self._model.name

    @property
    def available(self) -> bool:
        """Of the model inside."""
        return self._model.available

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """As the port says; a few characters may come one delta later than they did."""
        masked, table = self._masker.mask_request(request)
        restorer = Restorer(table, json=request.schema is not None)
        events = cast(AsyncGenerator[ModelEvent, None], self._model.stream(masked))
        async with aclosing(events):
            try:
                async for event in events:
                    text = restorer.rest() if isinstance(event, Finished) else restorer.feed(event.text)
                    if text:
                        yield TextDelta(text)
                    if isinstance(event, Finished):
                        yield event
            except LLMCoreError:
                if text := restorer.rest():
                    yield TextDelta(text)
                raise
