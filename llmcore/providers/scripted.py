"""A model that says what a script tells it: for tests, demonstrations and trying the panel without a vendor.

Loaded by name through the entry point group `llmcore.providers`; also built directly by tests. Must not know other
providers.

A script is a list of replies that are used up in order, a function from the request to a reply, or rules, of which the
first that matches answers, again and again. `LLMCORE_LLM__SCRIPT` names a JSON file with rules:

    [{"match": "disk", "schema": true, "reply": {"kind": "plan", "steps": []}},
     {"match": "slow", "reply": "one two three", "chunks": 3, "delay_s": 0.5},
     {"match": "down", "error": 503},
     {"match": "", "reply": "I do not know."}]
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import orjson

from llmcore.errors import LLMCoreError, ProviderError, TimedOut, Unavailable
from llmcore.ports import Finished, ModelEvent, ModelRequest, TextDelta, Usage
from llmcore.provider import LLMProvider, Misconfigured, ProviderOptions, ProviderRejected, status_error

_ERRORS: Mapping[str, type[LLMCoreError]] = {error.code: error for error in (ProviderError, TimedOut, Unavailable)}
_KEYS = frozenset({"match", "schema", "reply", "chunks", "delay_s", "error", "unfinished", "reason"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is said, and how."""

    text: str = ""
    chunks: int = 1
    """Deltas the text comes in, of about the same length."""
    delay_s: float = 0.0
    """Wait before each delta, and before an error."""
    error: LLMCoreError | None = None
    """Raised after the text."""
    unfinished: bool = False
    """The stream stops after the text without a finish reason."""
    reason: str = "stop"
    usage: Usage | None = None
    """None: words are counted as tokens."""

    def pieces(self) -> list[str]:
        """The deltas."""
        size = max(1, -(-len(self.text) // max(1, self.chunks)))
        return [self.text[start : start + size] for start in range(0, len(self.text), size)]


@dataclass(frozen=True, slots=True)
class Rule:
    """A reply for requests whose last user message the pattern is found in."""

    match: re.Pattern[str]
    reply: Reply
    schema: bool | None = None
    """Only requests with (True) or without (False) a JSON Schema; None: both."""

    def fits(self, request: ModelRequest) -> bool:
        """True if it answers this request."""
        if self.schema is not None and self.schema is not (request.schema is not None):
            return False
        said = next((message.content for message in reversed(request.messages) if message.role == "user"), "")
        return self.match.search(said) is not None


Answer = str | Reply | LLMCoreError
Script = Sequence[Answer | Rule] | Callable[[ModelRequest], Answer]


class ScriptedProvider(LLMProvider):
    """Answers by script and remembers what it was asked."""

    name: ClassVar[str] = "scripted"

    def __init__(self, options: ProviderOptions | None = None, script: Script | None = None) -> None:
        """Take the script given, else the file that the options name; Misconfigured if it is none."""
        super().__init__(options or ProviderOptions())
        self.requests: list[ModelRequest] = []
        """All requests so far."""
        self.cancelled = 0
        """How many streams were left before their end."""
        self._script = _from_file(self.options.script) if script is None else script
        self._next = 0

    @property
    def model(self) -> str:
        """The configured name."""
        return self.options.model or "scripted"

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """As the port says; delays can be cancelled."""
        self.requests.append(request)
        answer = self._answer(request)
        reply = Reply(text=answer) if isinstance(answer, str) else answer
        reply = Reply(error=reply) if isinstance(reply, LLMCoreError) else reply
        ended = False
        try:
            for piece in reply.pieces():
                await asyncio.sleep(reply.delay_s)
                yield TextDelta(piece)
            if reply.error is not None:
                await asyncio.sleep(reply.delay_s)
            ended = True
        finally:
            self.cancelled += not ended
        yield self._end(request, reply)

    def _end(self, request: ModelRequest, reply: Reply) -> Finished:
        if reply.error is not None:
            reply.error.details["partial"] = bool(reply.text)
            raise reply.error.with_traceback(None)
        if reply.unfinished:
            raise ProviderError(
                f"{self.name} stopped in the middle of its answer.", provider=self.name, partial=bool(reply.text)
            )
        asked = sum(len(message.content.split()) for message in request.messages)
        usage = reply.usage or Usage(input_tokens=asked, output_tokens=len(reply.text.split()))
        return Finished(reason=reply.reason, model=request.model or self.model, provider=self.name, usage=usage)

    def _answer(self, request: ModelRequest) -> Answer:
        if callable(self._script):
            return self._script(request)
        for rule in self._script:
            if isinstance(rule, Rule) and rule.fits(request):
                return rule.reply
        left = [answer for answer in self._script if not isinstance(answer, Rule)][self._next :]
        self._next += 1
        if left:
            return left[0]
        return ProviderRejected("The script has no reply for this.", provider=self.name)


def _from_file(path: str | None) -> Sequence[Rule]:
    setting = "LLMCORE_LLM__SCRIPT"
    if path is None:
        raise Misconfigured(setting, "the provider scripted needs a JSON file with rules.")
    try:
        return rules(orjson.loads(Path(path).read_bytes()))
    except OSError as error:
        problem = f"the file cannot be read ({error.strerror})."
    except (ValueError, TypeError) as error:
        problem = f"{path}: {error}"
    raise Misconfigured(setting, problem)


def rules(raw: Any) -> Sequence[Rule]:
    """Rules from their JSON form; ValueError or TypeError naming the rule that is wrong."""
    if not isinstance(raw, list):
        raise TypeError("a script is a list of rules")
    return [_rule(index, item) for index, item in enumerate(raw)]


def _rule(index: int, item: Any) -> Rule:
    if not isinstance(item, dict) or not isinstance(item.get("match"), str):
        raise TypeError(f"rule {index} is no object with a text 'match'")
    if unknown := sorted(set(item) - _KEYS):
        raise ValueError(f"rule {index} has the unknown key {unknown[0]!r}")
    said = item.get("reply", "")
    reply = Reply(
        text=said if isinstance(said, str) else orjson.dumps(said).decode(),
        chunks=int(item.get("chunks", 1)),
        delay_s=float(item.get("delay_s", 0)),
        unfinished=bool(item.get("unfinished", False)),
        reason=str(item.get("reason", "stop")),
    )
    if "error" in item:
        reply = replace(reply, error=_error(index, item["error"]))
    try:
        return Rule(re.compile(item["match"], re.IGNORECASE), reply, item.get("schema"))
    except re.error as error:
        raise ValueError(f"rule {index}: 'match' is no pattern: {error}") from error


def _error(index: int, code: Any) -> LLMCoreError:
    if isinstance(code, int):
        return status_error("scripted", code)
    if code in _ERRORS:
        return _ERRORS[code]("The script says so.", provider="scripted")
    raise ValueError(f"rule {index}: 'error' is an HTTP status or one of {', '.join(sorted(_ERRORS))}")
