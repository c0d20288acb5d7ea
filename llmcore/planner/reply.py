"""From a model's reply to checked steps, or to the list of what is wrong with it.

Used by the model planner. A reply is text from outside: one JSON object is looked for, everything in it is checked
against the catalogue and against the words of the request, and whatever else it says is dropped.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmcore.catalog import Catalog
from llmcore.errors import BadParams
from llmcore.plan import MAX_STEPS, condition_sources, is_reference
from llmcore.planner.lexicon import GENERIC, NEVER_NAMES, NUMBERS, STOP_WORDS, SYNONYMS
from llmcore.planner.values import Draft, DraftStep

_KINDS = ("plan", "answer", "none", "clarify")
_DECODER = json.JSONDecoder()
_WORDS = re.compile(r"\w+")
_ENOUGH = 0.8
_NO_NAMES = NEVER_NAMES | STOP_WORDS | {word for word, concepts in SYNONYMS.items() if GENERIC & set(concepts)}
"""Words that are no value by themselves: `everything`, `the host`, `all services`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that can be used."""

    kind: str
    steps: tuple[DraftStep, ...] = ()
    missing: tuple[str, ...] = ()
    """Params that the first incomplete step lacks."""
    incomplete: int = 0
    """Index of that step."""
    more: bool = False
    """True if the model wants to see results before it says what to do next."""


class UnusableReply(Exception):
    """A reply that says nothing usable; `problems` are sentences for the model."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep the problems."""
        super().__init__("; ".join(problems))
        self.problems = list(problems)


def parse(text: str, catalog: Catalog, visible: Collection[str], said: str) -> Reply:
    """Read a reply to the request `said` (with its history); raises UnusableReply."""
    data = _object(text)
    kind = data.get("kind", "plan" if data.get("steps") else None)
    if kind not in _KINDS:
        raise UnusableReply([f"kind must be one of {', '.join(_KINDS[:3])}"])
    raw = data.get("steps", [])
    if kind in ("answer", "none"):
        return Reply(kind)
    if not isinstance(raw, list) or not raw:
        raise UnusableReply(["a plan needs at least one step"])
    if len(raw) > MAX_STEPS:
        raise UnusableReply([f"a plan has at most {MAX_STEPS} steps"])
    steps = _steps(raw, catalog, visible, said)
    for number, step in enumerate(steps):
        missing = tuple(name for name in catalog.get(step.intent).required if name not in step.params)
        if missing:
            return Reply("clarify", tuple(steps), missing, number)
    return replace(_checked(steps, catalog), more=data.get("more") is True)


def _object(text: str) -> Mapping[str, Any]:
    """The one JSON object in a text that may have prose or fences around it."""
    found: list[Mapping[str, Any]] = []
    at = text.find("{")
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        if isinstance(value, dict) and ("kind" in value or "steps" in value) and value not in found:
            found.append(value)
        at = text.find("{", end)
    if len(found) != 1:
        raise UnusableReply(
            [
                "reply with exactly one JSON object that has kind and steps"
                if found
                else "there is no complete JSON object"
            ]
        )
    return found[0]


def _steps(raw: Sequence[Any], catalog: Catalog, visible: Collection[str], said: str) -> list[DraftStep]:
    problems: list[str] = []
    found: list[DraftStep] = []
    for number, item in enumerate(raw):
        step = _step(item, catalog, visible, said)
        if isinstance(step, str):
            problems.append(f"step {number}: {step}")
        else:
            found.append(step)
    if problems:
        raise UnusableReply(problems)
    return found


def _step(item: Any, catalog: Catalog, visible: Collection[str], said: str) -> DraftStep | str:
    """The step, or what is wrong with it. What the schema does not know is dropped."""
    if not isinstance(item, Mapping) or not isinstance(item.get("intent"), str):
        return "must be an object with intent and params"
    name = item["intent"].removeprefix("intent_")
    if name not in visible:
        return f"{name[:80]!r} is not in the list of intents"
    params, needs = item.get("params") or {}, item.get("needs") or []
    if not isinstance(params, Mapping):
        return "params must be an object"
    if not isinstance(needs, list) or not all(type(need) is int and need >= 0 for need in needs):
        return "needs must be a list of step numbers"
    schema = catalog.get(name).schema
    kept = {
        key: value
        for key, value in params.items()
        if value is not None and value != "" and grounded(value, schema.get("properties", {}).get(key, {}), said)
    }
    when, on_error = item.get("when") or None, item.get("on_error")
    if when is not None and not isinstance(when, str):
        return "when must be a CEL expression in a string"
    try:
        if when is not None and not condition_sources(when):
            when = None  # it reads no step, so it says nothing
    except BadParams as refused:
        return f"when {refused.details['fields'][0]['message']}"
    rules = {"on_error": on_error} if on_error in ("continue", "undo") else {}
    return DraftStep(intent=name, params=kept, needs=tuple(dict.fromkeys(needs)), when=when, rules=rules)


def grounded(value: Any, prop: Mapping[str, Any], said: str) -> bool:
    """True if the words said hold the value: nothing that was made up gets into a plan."""
    if isinstance(value, bool) or is_reference(value) or "enum" in prop or "const" in prop:
        return True
    if isinstance(value, Mapping):
        inner = prop.get("properties", {})
        return all(grounded(item, inner.get(key, {}), said) for key, item in value.items())
    if isinstance(value, list):
        return all(grounded(item, prop.get("items", {}), said) for item in value)
    if isinstance(value, int | float):
        words = set(_WORDS.findall(said.lower()))
        return f"{value:g}" in re.findall(r"\d+(?:\.\d+)?", said) or any(NUMBERS.get(word) == value for word in words)
    return _spoken(str(value), said)


def _spoken(value: str, said: str) -> bool:
    lower = said.lower()
    if all({word, word.removesuffix("s")} & _NO_NAMES for word in value.lower().split()):
        return False
    if value.lower() in lower:
        return True
    words = _WORDS.findall(value.lower())
    known = set(_WORDS.findall(lower))
    return len(words) > 2 and sum(word in known for word in words) >= _ENOUGH * len(words)


def _checked(steps: Sequence[DraftStep], catalog: Catalog) -> Reply:
    raw = Draft(kind="plan", steps=tuple(steps)).raw_steps()
    try:
        checked = catalog.steps(raw)
    except BadParams as error:
        fields = error.details.get("fields") or [{"pointer": "", "message": error.message}]
        raise UnusableReply([f"{field['pointer']} {field['message']}".strip() for field in fields]) from error
    ids = [step.id for step in checked]
    sources = [sorted(ids.index(source) for source in step.sources()) for step in checked]
    if any(source >= number for number, found in enumerate(sources) for source in found):
        raise UnusableReply(["a step may only wait for earlier steps"])
    return Reply("plan", tuple(replace(step, needs=tuple(found)) for step, found in zip(steps, sources, strict=True)))
