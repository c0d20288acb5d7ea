"""Follows a turn on its topic until it ends, and tells a view what to show.

Used by ask, approve and chat. Knows the events, not how they look.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from llmcore.cli.cards import undecided
from llmcore.cli.client import Client, Feed
from llmcore.cli.exits import Exit, exit_of
from llmcore.errors import LLMCoreError

TOPIC_PREFIX = "/ui/updates/llm/"
CANCEL_S = 2.0


class View(Protocol):
    """What shows a turn."""

    def text(self, piece: str) -> None:
        """More of the reply; not yet sanitized."""

    def plan(self, plan: Mapping[str, Any]) -> None:
        """The plan as it is now."""

    def progress(self, intent: str, text: str) -> None:
        """Output of a step that runs; not yet sanitized."""

    def end(self) -> None:
        """The segment is over."""


class Silent:
    """Shows nothing."""

    def text(self, piece: str) -> None:
        """Nothing."""

    def plan(self, plan: Mapping[str, Any]) -> None:
        """Nothing."""

    def progress(self, intent: str, text: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


@dataclass(slots=True)
class Ended:
    """How a segment ended."""

    outcome: str = ""
    """`success`, `interrupt`, `cancelled` or `error`."""
    result: Mapping[str, Any] = field(default_factory=dict)
    """`RUN_FINISHED.result`; for an error its `code` and `message`."""
    plan: Mapping[str, Any] | None = None
    """The plan's last snapshot."""

    @property
    def waits(self) -> bool:
        """True if a plan waits for a person."""
        return self.outcome == "interrupt"

    @property
    def undecided(self) -> Mapping[str, Any] | None:
        """The plan, if it waits for an approval; one of which a step is unknown waits for something else."""
        return self.plan if self.waits and self.plan and undecided(self.plan) else None

    @property
    def exit(self) -> Exit:
        """What the shell is told."""
        if self.outcome == "error":
            return exit_of(str(self.result.get("code")))
        if self.waits:
            return Exit.WAITS
        if self.outcome == "cancelled" or (self.plan and self.plan["status"] not in ("done", "proposed")):
            return Exit.FAILED
        return Exit.NOT_UNDERSTOOD if self.result.get("kind") in ("clarify", "none") else Exit.DONE


def new_topic() -> str:
    """A topic of our own, so that no event can come before we listen."""
    return f"{TOPIC_PREFIX}cli-{uuid4().hex}"


async def follow(feed: Feed, view: View, run_id: str | None) -> Ended:
    """Show the events of one segment until it ends; of any run if `run_id` is None. Raises Unreachable."""
    ended = Ended()
    plans: dict[str, Mapping[str, Any]] = {}
    said = ""
    while not ended.outcome:
        data = await feed.next()
        event = data["event"]
        if run_id is not None and data.get("run_id") not in (None, run_id):
            continue
        match event["type"]:
            case "TEXT_MESSAGE_CONTENT":
                said += event["delta"]
                view.text(event["delta"])
            case "ACTIVITY_SNAPSHOT" if event["activityType"] == "llmcore.plan":
                ended.plan = plans[event["content"]["plan_id"]] = event["content"]
                view.plan(event["content"])
            case "ACTIVITY_DELTA":
                _progress(ended.plan, event["patch"], view)
            case "RUN_FINISHED":
                ended.outcome, ended.result = event["outcome"]["type"], event["result"]
                ended.plan = plans.get(str(event["result"].get("plan_id")), ended.plan)  # not the one it took back
                view.text(_missed(said, str(event["result"].get("text") or "")))
            case "RUN_ERROR":
                ended.outcome, ended.result = "error", {"code": event.get("code"), "message": event["message"]}
    view.end()
    return ended


async def cancel(client: Client, run_id: str | None) -> None:
    """Ask the server to stop a run, briefly and at most once; errors are of no interest any more."""
    if run_id is not None:
        with suppress(LLMCoreError, TimeoutError):
            async with asyncio.timeout(CANCEL_S):
                await client.call("run_cancel", {"run_id": run_id})


def _missed(said: str, whole: str) -> str:
    """What of the reply has not been shown, where deltas were lost with a connection."""
    if whole == said:
        return ""
    return whole[len(said) :] if whole.startswith(said) else f"\n\n{whole}"


def _progress(plan: Mapping[str, Any] | None, patch: list[Mapping[str, Any]], view: View) -> None:
    for change in patch:
        parts = str(change.get("path")).split("/")
        value = change.get("value")
        if plan and len(parts) > 2 and parts[1] == "steps" and isinstance(value, Mapping) and "text" in value:
            view.progress(plan["steps"][int(parts[2])]["intent"], str(value["text"]))
