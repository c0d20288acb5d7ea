"""llmcore.adapters.divided: a few intents of our own beside a host's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmcore.adapters.divided import DividedCaller
from llmcore.plan import Preview, Principal, Undo
from llmcore.ports import Call

ANNA = Principal(name="anna", role="admin")


@dataclass
class Side:
    """One of the two; answers with its name."""

    name: str
    asked: list[str] = field(default_factory=list)

    async def call(self, call: Call) -> Any:
        """Its name."""
        self.asked.append(f"call {call.intent}")
        return self.name

    async def preview(self, intent: str, params: Mapping[str, Any], principal: Principal) -> Preview | None:
        """Its name as the target."""
        return Preview(targets=(self.name,))

    async def undo_of(
        self, intent: str, params: Mapping[str, Any], before: Any, result: Any, principal: Principal
    ) -> Undo | None:
        """Its name as the intent."""
        return Undo(intent=self.name, params=params)

    async def verify(self, intent: str, params: Mapping[str, Any], principal: Principal) -> bool | None:
        """Only ours can tell."""
        return self.name == "own"


@pytest.mark.asyncio
@pytest.mark.parametrize(("intent", "side"), [("withdraw_rule", "own"), ("restart_target", "host")])
async def test_each_intent_and_its_hooks_go_to_who_runs_it(intent: str, side: str) -> None:
    """By name alone."""
    caller = DividedCaller(Side("own"), {"withdraw_rule"}, Side("host"))
    assert await caller.call(Call(intent=intent, params={}, principal=ANNA, idempotency_key="k")) == side
    assert await caller.preview(intent, {}, ANNA) == Preview(targets=(side,))
    assert await caller.undo_of(intent, {"a": 1}, None, None, ANNA) == Undo(intent=side, params={"a": 1})
    assert await caller.verify(intent, {}, ANNA) is (side == "own")
