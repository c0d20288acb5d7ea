"""Catalogues and requests for the tests of the planner."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from llmcore.catalog import Catalog, load_packs
from llmcore.intent import Effect, Example, Intent
from llmcore.plan import Principal
from llmcore.planner import Draft, Planner, PlannerOptions, PlanRequest
from llmcore.planner.local import LocalPlanner
from llmcore.ports import Message

EVALS = Path(__file__).parent / "evals"
ANNA = Principal(name="anna", role="admin")
OLGA = Principal(name="olga", role="observer")


@cache
def bundled() -> Catalog:
    """All packs of this project."""
    return Catalog(load_packs())


@cache
def local() -> LocalPlanner:
    """The local matcher on the bundled packs."""
    return LocalPlanner(bundled(), PlannerOptions())


@cache
def offline() -> Planner:
    """A planner on the bundled packs without a model."""
    return Planner(bundled(), None)


def request(text: str, catalog: Catalog | None = None, principal: Principal = ANNA, **more: Any) -> PlanRequest:
    """A request by Anna for the bundled packs, unless told otherwise."""
    offered = bundled() if catalog is None else catalog
    return PlanRequest(text=text, principal=principal, visible=offered.visible_to(principal), **more)


def plan(text: str, **more: Any) -> Draft:
    """What the local matcher makes of a text."""
    return local().plan(request(text, **more))


def calls(draft: Draft) -> list[tuple[str, Mapping[str, Any]]]:
    """The steps of a plan as pairs; empty for any other kind."""
    return [(step.intent, dict(step.params)) for step in draft.steps] if draft.kind == "plan" else []


def intent(
    name: str,
    description: str = "Do it.",
    properties: Mapping[str, Any] | None = None,
    examples: Sequence[tuple[str, Mapping[str, Any]]] = (),
    required: Sequence[str] = (),
    effect: Effect = Effect.READ,
    vocabulary: Mapping[str, str] | None = None,
) -> Intent:
    """An intent that a host declares."""
    return Intent(
        name=name,
        description=description,
        schema={
            "type": "object",
            "properties": dict(properties or {}),
            "required": list(required),
            "additionalProperties": False,
        },
        effect=effect,
        examples=tuple(Example(text, params) for text, params in examples),
        pack="toys",
        vocabulary=dict(vocabulary or {}),
    )


def said(role: str, content: str) -> Message:
    """One earlier turn."""
    return Message("assistant" if role == "assistant" else "user", content)


def eval_rows(name: str) -> list[dict[str, Any]]:
    """The lines of one of our eval files."""
    return [json.loads(line) for line in (EVALS / name).read_text("utf-8").splitlines()]
