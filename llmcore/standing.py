"""Keeps the standing rules of the policy: in the store for all nodes, in the judge for this one.

The service `policy` of the pack of that name, and what the api lists; built in `app`, which has it `watch` for changes
of other nodes. A rule comes here only by a plan that an admin has approved. Knows no plans and no people's decisions.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.errors import BadParams, LLMCoreError, NotFound
from llmcore.policy import Judge, StandingRule
from llmcore.ports import Clock, Store, rfc3339

log = logging.getLogger(__name__)

DAY_S = 86_400
LOOK_S = 0.5
"""How often other nodes' changes are looked for."""
_PEOPLE = {"user": "anybody", "agent": "every agent", "service": "every service", "node": "every node"}


class StandingRules:
    """All standing rules."""

    def __init__(self, store: Store, judge: Judge, clock: Clock) -> None:
        """Nothing is read before `refresh`."""
        self._store = store
        self._judge = judge
        self._clock = clock
        self._seen: str | None = None
        self._changing = asyncio.Lock()

    async def refresh(self) -> None:
        """Have the judge decide with what the store has now; quick where nothing has changed. Raises Unavailable."""
        async with self._changing:
            version = await self._store.rules_version()
            if version == self._seen:
                return
            rules = await self.active()
            await asyncio.to_thread(self._judge.use, rules)
            self._seen = version

    async def watch(self) -> None:
        """Look again and again for rules that other nodes have made or withdrawn, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.refresh()
            except LLMCoreError as away:
                log.warning("standing rules could not be read: %s", away.message, extra={"action": "rules"})

    async def active(self) -> Sequence[StandingRule]:
        """The rules that count now, those that end last first."""
        now = self._clock.now()
        found = [StandingRule.of(document) for document in await self._store.rule_list()]
        return [rule for rule in found if rule.expires_at > now]

    # --- what the pack asks for ---

    async def foreseen(self, intent: str, target: str, role: str, kind: str, days: int) -> str:
        """What a rule would mean, in a sentence; raises BadParams for one that could never be."""
        if not self._judge.may_stand(intent):
            message = f"{intent!r} is no intent that can be allowed from now on"
            raise BadParams(f"{message}.", [{"pointer": "/intent", "message": message}])
        who = _PEOPLE[kind]
        return (
            f"For {days} days {who} with the role {role} may run {intent} on {target} without being asked,"
            " whatever its other params. Rules that forbid stay in force."
        )

    async def allow(
        self, rule_id: str, intent: str, target: str, role: str, kind: str, days: int, by: str
    ) -> Mapping[str, Any]:
        """Make a rule that counts at once here, and on other nodes as soon as they look."""
        await self.foreseen(intent, target, role, kind, days)
        now = self._clock.now()
        rule = StandingRule(
            rule_id=rule_id,
            intent=intent,
            target=target,
            role=role,
            kind=kind,
            created_at=now,
            expires_at=now + days * DAY_S,
            by=by,
        )
        await self._store.rule_put(rule.json(), now)
        await self.refresh()
        return told(rule)

    async def withdraw(self, rule_id: str) -> Mapping[str, Any]:
        """Withdraw a rule, from now on here and on other nodes as soon as they look; done before is done."""
        withdrawn = await self._store.rule_delete(rule_id)
        await self.refresh()
        return {"rule_id": rule_id, "withdrawn": withdrawn}

    async def rule(self, rule_id: str) -> Mapping[str, Any] | None:
        """One rule that counts now."""
        return next((told(rule) for rule in await self.active() if rule.rule_id == rule_id), None)

    async def known(self, rule_id: str) -> Mapping[str, Any]:
        """One rule that counts now; raises NotFound."""
        found = await self.rule(rule_id)
        if found is None:
            raise NotFound("There is no such rule, or it has ended.", rule_id=rule_id)
        return found


def told(rule: StandingRule) -> dict[str, Any]:
    """A rule as RPCs tell it."""
    return {
        "rule_id": rule.rule_id,
        "intent": rule.intent,
        "target": rule.target,
        "role": rule.role,
        "kind": rule.kind,
        "by": rule.by,
        "created_at": rfc3339(rule.created_at),
        "expires_at": rfc3339(rule.expires_at),
    }
