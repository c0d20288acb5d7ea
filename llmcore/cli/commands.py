"""The commands of the chat that begin with `/`.

Used by the chat.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.markdown import Markdown

from llmcore.cli.cards import plan_table
from llmcore.cli.client import Client
from llmcore.cli.exits import Usage
from llmcore.cli.terminal import one_line, sanitize, table
from llmcore.cli.turns import cancel

COMMANDS: Mapping[str, str] = {
    "/plans": "plans that wait",
    "/approve": "come back to a plan: /approve [PLAN]",
    "/reject": "reject a plan: /reject [PLAN] [REASON]",
    "/suggestions": "what alerts suggest to do",
    "/accept": "make a plan of a suggestion: /accept [ID]",
    "/dismiss": "put a suggestion away: /dismiss ID [REASON]",
    "/cancel": "stop the last run, or the one named: /cancel [RUN]",
    "/new": "begin a new conversation",
    "/open": "list conversations, or go on with one: /open [ID]",
    "/intents": "what can be done here: /intents [WORD]",
    "/help": "this list",
    "/quit": "leave",
}
SHOWN_MESSAGES = 4


class Talk(Protocol):
    """The chat, as far as commands need it."""

    client: Client
    conversation: str | None
    run_id: str | None

    async def move_to(self, conversation: str | None) -> None:
        """Go on with another conversation."""

    async def decide(self, plan: Mapping[str, Any]) -> None:
        """Show a plan and take the decision."""


class Commands:
    """Does what a line says that begins with `/`."""

    def __init__(self, talk: Talk) -> None:
        """For one chat."""
        self._talk = talk

    async def do(self, line: str) -> None:
        """Run a command; Usage for an unknown one."""
        name, _, rest = line.partition(" ")
        if name not in COMMANDS:
            raise Usage(f"{one_line(name)} is no command; /help shows them.")
        await getattr(self, name.removeprefix("/"))(rest.strip())

    async def plans(self, rest: str) -> None:
        """Plans that wait."""
        waiting = await self._waiting()
        print(plan_table(waiting) if waiting else "No plan waits.")

    async def approve(self, rest: str) -> None:
        """Come back to a plan."""
        await self._talk.decide(await self._plan(rest))

    async def reject(self, rest: str) -> None:
        """Reject a plan."""
        name, _, reason = rest.partition(" ")
        plan = await self._plan(name)
        await self._talk.client.call("plan_reject", {"plan_id": plan["plan_id"], "reason": reason})
        print(f"Rejected {plan['plan_id']}.")

    async def suggestions(self, rest: str) -> None:
        """What alerts suggest."""
        rows = [[one["id"], one["created_at"], one["title"], _alert(one["alert"])] for one in await self._suggested()]
        print(table(["suggestion", "since", "what", "because of"], rows) if rows else "Nothing is suggested.")

    async def accept(self, rest: str) -> None:
        """Make a plan of a suggestion and decide on it."""
        waiting = [rest] if rest else [one["id"] for one in await self._suggested()]
        if len(waiting) != 1:
            raise Usage(f"{len(waiting)} suggestions wait; /suggestions lists them, then name one.")
        plan = (await self._talk.client.call("suggestion_accept", {"suggestion_id": waiting[0]}))["plan"]
        if plan["status"] == "proposed":
            await self._talk.decide(plan)
        else:
            print(f"{plan['plan_id']} is {plan['status']}.")

    async def dismiss(self, rest: str) -> None:
        """Put a suggestion away."""
        name, _, reason = rest.partition(" ")
        await self._talk.client.call("suggestion_dismiss", {"suggestion_id": name, "reason": reason})
        print("Dismissed.")

    async def cancel(self, rest: str) -> None:
        """Stop a run."""
        run_id = rest or self._talk.run_id
        if run_id is None:
            raise Usage("Nothing was run here; /cancel RUN stops a run by its id.")
        await cancel(self._talk.client, run_id)
        print(f"Asked to stop {one_line(run_id)}.")

    async def new(self, rest: str) -> None:
        """Begin anew."""
        await self._talk.move_to(None)
        print("A new conversation begins.")

    async def open(self, rest: str) -> None:
        """List conversations, or show the end of one and go on with it."""
        if not rest:
            answer = await self._talk.client.call("conversation_list", {"limit": 20})
            rows = [[one["conversation_id"], one["updated_at"], one["title"]] for one in answer["conversations"]]
            print(table(["conversation", "last used", "title"], rows) if rows else "There is none yet.")
            return
        found = (await self._talk.client.call("conversation_get", {"conversation_id": rest}))["conversation"]
        await self._talk.move_to(found["conversation_id"])
        print(f"Going on with: {one_line(found['title'])}")
        _show_messages(found["messages"][-SHOWN_MESSAGES:])

    async def intents(self, rest: str) -> None:
        """What can be done here."""
        answer = await self._talk.client.call("intents_list")
        rows = [[one["name"], one["effect"], one["description"]] for one in answer["intents"] if rest in one["name"]]
        print(table(["intent", "effect", "description"], rows))

    async def help(self, rest: str) -> None:
        """The list of commands."""
        print(table(["command", "what it does"], [[name, text] for name, text in COMMANDS.items()]))

    async def _waiting(self) -> Sequence[Mapping[str, Any]]:
        answer = await self._talk.client.call("plan_list", {"status": "proposed"})
        found: Sequence[Mapping[str, Any]] = answer["plans"]
        return found

    async def _suggested(self) -> Sequence[Mapping[str, Any]]:
        answer = await self._talk.client.call("suggestion_list")
        return [one for one in answer["suggestions"] if one["status"] == "open"]

    async def _plan(self, name: str) -> Mapping[str, Any]:
        """The plan of an id, or the only one that waits."""
        if name:
            named: Mapping[str, Any] = (await self._talk.client.call("plan_get", {"plan_id": name}))["plan"]
            return named
        waiting = await self._waiting()
        if len(waiting) != 1:
            raise Usage(f"{len(waiting)} plans wait; /plans lists them, then name one.")
        return waiting[0]


def _alert(alert: Mapping[str, Any]) -> str:
    labels = alert.get("labels", {})
    return " ".join(str(labels[name]) for name in ("alertname", "instance", "service") if name in labels)


def _show_messages(messages: Sequence[Mapping[str, Any]]) -> None:
    console = Console(highlight=False)
    for message in messages:
        if message["role"] == "user":
            print(f"> {sanitize(message['content'])}")
        else:
            console.print(Markdown(sanitize(message["content"]), hyperlinks=False))
