"""`llmcore plan`.

Called by `main`. Shows what would be done; nothing runs.
"""

import asyncio
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmcore.adapters import host
from llmcore.adapters.local import SystemClock
from llmcore.app import options
from llmcore.app.build import load_catalog, load_policy
from llmcore.catalog import Catalog
from llmcore.cli.asking import request_text
from llmcore.cli.cards import card
from llmcore.cli.client import Client
from llmcore.cli.exits import Exit, exit_of
from llmcore.cli.local import OPERATOR, planner_for, settings_for, template_for
from llmcore.cli.remote import run_with_server_or_alone
from llmcore.cli.terminal import print_json, sanitize
from llmcore.cli.turns import Silent, follow, new_topic
from llmcore.plan import Origin, Plan, plan_json
from llmcore.planner import Draft, PlanRequest
from llmcore.policy import Judge
from llmcore.ports import rfc3339
from llmcore.settings import Settings


def plan(args: Namespace) -> int:
    """Show the plan for a request: exit 0 for a plan, 3 if policy refuses it, 5 if nothing was understood."""
    text = request_text(args.text)

    async def work(client: Client) -> int:
        return _shown(await _ask(client, text, args.provider), args)

    return run_with_server_or_alone(args, work, lambda: _shown(asyncio.run(_alone(settings_for(args), text)), args))


def _shown(answer: Mapping[str, Any], args: Namespace) -> Exit:
    if args.json:
        print_json(answer)
    elif answer.get("plan"):
        print(card(answer["plan"]))
    else:
        print(sanitize(str(answer.get("text") or "")))
    if answer.get("error"):
        return exit_of(str(answer["error"].get("error") or answer["error"].get("code")))
    if not answer.get("plan"):
        return Exit.NOT_UNDERSTOOD
    refused = any(step["verdict"]["decision"] == "deny" for step in answer["plan"]["steps"])
    return Exit.REFUSED if refused else Exit.DONE


async def _ask(client: Client, text: str, provider: str | None) -> Mapping[str, Any]:
    feed = client.follow(new_topic())
    params = {"stream": True, "mode": "plan", **({"provider": provider} if provider else {})}
    await client.call("chat_llm", {"prompt": text, "params": params, "topic": feed.topic})
    ended = await follow(feed, Silent(), None)
    if ended.outcome == "error":
        return {"plan": ended.plan, "text": ended.result["message"], "error": dict(ended.result)}
    return {"plan": ended.plan, **ended.result}


async def _alone(settings: Settings, text: str) -> Mapping[str, Any]:
    """The same without a server: understood, checked and judged here, stored nowhere."""
    catalog = load_catalog(settings)
    services = await asyncio.to_thread(host.services, options.host(settings), SystemClock())
    try:
        request = PlanRequest(
            text=text,
            principal=OPERATOR,
            visible=catalog.visible_to(OPERATOR),
            vocabulary=host.vocabulary(services),
            template=template_for(settings, catalog)(text),
            mode="plan",
        )
        async with planner_for(settings, catalog) as planner:
            draft = await planner.plan(request)
    finally:
        await host.aclose(services)
    known = {"kind": draft.kind, "text": draft.text, "answered_by": draft.answered_by, "confidence": draft.confidence}
    if draft.kind != "plan":
        return {**known, "plan": None, "missing": draft.missing, "nearest": draft.nearest}
    return {**known, "plan": plan_json(_judged(settings, catalog, draft, text))}


def _judged(settings: Settings, catalog: Catalog, draft: Draft, text: str) -> Plan:
    judge = Judge(load_policy(settings, catalog), options.attributes(settings), SystemClock(), options.zone(settings))
    origin = Origin(kind="chat", id="plan", tainted=draft.tainted)
    steps = [replace(step, verdict=judge.verdict(step, OPERATOR, origin)) for step in catalog.steps(draft.raw_steps())]
    return Plan(
        plan_id="not stored",
        requester=OPERATOR,
        conversation_id="",
        topic="",
        created_at=rfc3339(SystemClock().now()),
        origin=origin,
        steps=tuple(steps),
        title=" ".join(text.split())[:80],
        request=text,
        confidence=draft.confidence,
        answered_by=draft.answered_by or "",
    )
