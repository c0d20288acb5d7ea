"""Intents behind "allow this from now on": make a standing rule of the policy, and withdraw one.

Found by the catalogue through the entry point `policy`; put into plans by RPCs alone, so that card, approval, audit and
undo are those of every plan. Asks the service `policy`, which keeps the rules. Must not know how rules are written.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from llmcore.intent import Context, Effect, Preview, Undo, intent

RuleId = Annotated[str, "id of the rule", Field(pattern="^rl_[0-9a-f]{8,40}$")]
Name = Annotated[str, Field(min_length=1, max_length=1_000)]
Role = Literal["admin", "developer"]
Kind = Literal["user", "agent", "service", "node"]


async def _preview_allow(
    rule_id: str, intent: str, target: str, role: Role, kind: Kind, days: int, *, ctx: Context
) -> Preview:
    words = await ctx.services["policy"].foreseen(intent, target, role, kind, days)
    return Preview(targets=(f"{intent} on {target}",), before=None, after={"rule": words})


async def _verify_allow(rule_id: str, *, ctx: Context, **_: Any) -> bool:
    return await ctx.services["policy"].rule(rule_id) is not None


async def _undo_allow(rule_id: str, *, before: Any, result: Any, ctx: Context, **_: Any) -> Undo | None:
    return Undo(intent="withdraw_rule", params={"rule_id": rule_id})


async def _preview_withdraw(rule_id: str, *, ctx: Context) -> Preview:
    rule = await ctx.services["policy"].known(rule_id)
    return Preview(targets=(f"{rule['intent']} on {rule['target']}",), before=rule, after=None)


async def _verify_withdraw(rule_id: str, *, ctx: Context) -> bool:
    return await ctx.services["policy"].rule(rule_id) is None


@intent(
    effect=Effect.DESTRUCTIVE,
    idempotent=True,
    offered=False,
    preview=_preview_allow,
    verify=_verify_allow,
    undo=_undo_allow,
)
async def allow_from_now_on(
    rule_id: RuleId,
    intent: Annotated[Name, "what is allowed"],
    target: Annotated[Name, "on what exactly"],
    role: Annotated[Role, "for whom"],
    kind: Annotated[Kind, "for people, agents, services or nodes of that role"],
    days: Annotated[int, "for how long", Field(ge=1, le=365)],
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Allow an intent on one target without asking, for one role and some days."""
    made = await ctx.services["policy"].allow(rule_id, intent, target, role, kind, days, ctx.principal.name)
    return dict(made)


@intent(
    effect=Effect.WRITE,
    idempotent=True,
    offered=False,
    preview=_preview_withdraw,
    verify=_verify_withdraw,
)
async def withdraw_rule(rule_id: RuleId, *, ctx: Context) -> dict[str, Any]:
    """Withdraw a standing rule: what it allowed is asked about again."""
    return dict(await ctx.services["policy"].withdraw(rule_id))
