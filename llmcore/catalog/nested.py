"""Chains inside chains, made flat, so that every step is shown, judged and run by itself.

Used by the check of drafts. Everything here comes from outside and has not been checked yet, so what does not look like
a nested chain is left as it is for the checks that follow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.catalog.problems import Problems
from llmcore.errors import BadParams
from llmcore.plan import MAX_STEPS, condition_sources, renamed_sources

MAX_DEPTH = 5
"""How deep chains may be nested."""
_CHAIN = frozenset({"chain", "intent_chain"})
_OF_A_CHAIN = frozenset({"id", "intent", "params", "needs", "when"})


def flattened(raw: Sequence[Any], problems: Problems, here: str = "/steps", depth: int = 1) -> list[tuple[str, Any]]:
    """The steps with those of nested chains in their place, each with the pointer of where it stood.

    A step `a` of the chain `s2` becomes `s2_a`. It waits for what the chain waits for, has the chain's condition beside
    its own, and what waits for the chain waits for its last steps.
    """
    flat: list[tuple[str, Any]] = []
    ends: dict[str, list[str]] = {}
    """Id of a nested chain -> its steps that no other of its steps waits for."""
    chains = any(_inner(item) is not None for item in raw)
    for number, item in enumerate(raw):
        place, inner = f"{here}/{number}", _inner(item)
        if chains and isinstance(item, Mapping):
            item = _waiting({"id": f"s{number + 1}", **item}, ends)
        if inner is None:
            flat.append((place, item))
            continue
        if depth >= MAX_DEPTH:
            problems.add(place, f"is nested more than {MAX_DEPTH} chains deep; make two plans")
            return flat
        for name in item.keys() - _OF_A_CHAIN:
            problems.add(f"{place}/{name}", "cannot be said of a nested chain; say it of its steps")
        steps = flattened(inner, problems, f"{place}/params/steps", depth + 1)
        nested = _prefixed(item, steps)
        waited = {need for _, step in nested if isinstance(step, Mapping) for need in step["needs"]}
        names = [step["id"] for _, step in nested if isinstance(step, Mapping)]
        ends[str(item["id"])] = [name for name in names if name not in waited]
        flat.extend(nested)
        if len(flat) > MAX_STEPS:
            problems.add(here, f"must have at most {MAX_STEPS} steps")
            return flat
    return flat


def _inner(item: Any) -> Sequence[Any] | None:
    if not isinstance(item, Mapping) or item.get("intent") not in _CHAIN:
        return None
    params = item.get("params")
    steps = params.get("steps") if isinstance(params, Mapping) else None
    return steps if isinstance(steps, list) and steps else None


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _waiting(item: Any, ends: Mapping[str, Sequence[str]]) -> Any:
    """A step that waits for the last steps of a chain instead of for the chain."""
    if not isinstance(item, Mapping) or not isinstance(item.get("needs"), list):
        return item
    needs = [name for need in item["needs"] for name in (ends.get(need, [need]) if isinstance(need, str) else [need])]
    return {**item, "needs": needs}


def _prefixed(outer: Mapping[str, Any], steps: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The steps of a chain under its name, waiting for what it waits for."""
    prefix = str(outer["id"])
    names = {_id(step, number) for number, (_, step) in enumerate(steps)}
    found: list[tuple[str, Any]] = []
    for number, (place, step) in enumerate(steps):
        if not isinstance(step, Mapping):
            found.append((place, step))
            continue
        needs = [f"{prefix}_{need}" if need in names else need for need in _list(step.get("needs"))]
        when = _both(outer.get("when"), _renamed_condition(step.get("when"), prefix, names), needs)
        changed = {
            "id": f"{prefix}_{_id(step, number)}",
            "needs": [*_list(outer.get("needs")), *needs],
            "params": _renamed(step.get("params", {}), prefix, names),
            **({"when": when} if when is not None else {}),
        }
        found.append((place, {**step, **changed}))
    return found


def _both(outer: Any, own: Any, needs: Sequence[str]) -> Any:
    """A step's condition under that of its chain; one without its own still waits for its needs to be done."""
    if not isinstance(outer, str):
        return own
    waits = " && ".join(f'steps.{need}.state == "done"' for need in needs)
    return " && ".join(f"({part})" for part in (outer, own or waits) if part)


def _id(step: Any, position: int) -> str:
    return str(step.get("id", f"s{position + 1}")) if isinstance(step, Mapping) else ""


def _renamed(value: Any, prefix: str, names: set[str]) -> Any:
    if isinstance(value, Mapping):
        renamed = {key: _renamed(inner, prefix, names) for key, inner in value.items()}
        if value.get("$from") in names:
            renamed["$from"] = f"{prefix}_{value['$from']}"
        return renamed
    if isinstance(value, list):
        return [_renamed(inner, prefix, names) for inner in value]
    return value


def _renamed_condition(condition: Any, prefix: str, names: set[str]) -> Any:
    if not isinstance(condition, str):
        return condition
    try:
        sources = condition_sources(condition)
    except BadParams:
        return condition  # refused by the check that follows, in its own words
    return renamed_sources(condition, {source: f"{prefix}_{source}" for source in sources & names})
