"""What an edit made of the steps of a plan, step by step, for those who have to approve it again.

Called by session. A pure function: compares what decides what will run, not what policy says of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmcore.plan.codec import canonical
from llmcore.plan.values import Step

Change = dict[str, Any]
"""`{"step_id", "change": "added|removed|changed|same", "fields": {name: {"before", "after"}}}`."""


def step_diff(before: Sequence[Step], after: Sequence[Step], *, previews: bool = False) -> list[Change]:
    """One entry a step, in the new order; steps that are gone stand where they were.

    Params are told one by one as `params.<name>`; `before` or `after` is missing where there was or is none. With
    `previews` it also tells what steps would touch, and what policy asks for them.
    """
    old, new = {step.id: step for step in before}, {step.id: step for step in after}
    changes = [_change(old.get(step.id), step, previews) for step in after]
    for place, step in enumerate(before):
        if step.id not in new:
            changes.insert(_place(before[:place], changes), _change(step, None, previews))
    return changes


def _place(earlier: Sequence[Step], changes: Sequence[Change]) -> int:
    """After the last step that stood before it."""
    known = {step.id for step in earlier}
    return max((index + 1 for index, change in enumerate(changes) if change["step_id"] in known), default=0)


def _change(before: Step | None, after: Step | None, previews: bool) -> Change:
    old, new = dict(_fields(before, previews)), dict(_fields(after, previews))
    fields = {name: _sides(name, old, new) for name in dict.fromkeys([*old, *new]) if _differs(name, old, new)}
    word = "added" if before is None else "removed" if after is None else "changed" if fields else "same"
    return {"step_id": (before or after).id, "change": word, "fields": fields}  # type: ignore[union-attr]


def _differs(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """As the digest sees it: 60 and 60.0 are the same, 1 and true are not."""
    return name not in old or name not in new or canonical(old[name]) != canonical(new[name])


def _sides(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {side: values[name] for side, values in (("before", old), ("after", new)) if name in values}


def _fields(step: Step | None, previews: bool) -> Iterator[tuple[str, Any]]:
    if step is None:
        return
    yield "intent", step.intent
    yield from ((f"params.{name}", value) for name, value in step.params.items())
    yield "needs", list(step.needs)
    yield "when", step.when
    yield "on_error", step.on_error.value
    yield "retries", step.retries
    yield "timeout_s", step.timeout_s
    yield "effect", step.effect.value
    yield "targets", list(step.preview.targets) if step.preview else None
    if previews and step.preview is not None:
        yield "targets", list(step.preview.targets)
        yield "number of targets", step.preview.blast
    if previews and step.verdict is not None:
        yield "policy", step.verdict.would_allow or step.verdict.decision.value
