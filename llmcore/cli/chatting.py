"""`llmcore chat`: a conversation at a terminal, over the same wire as the browser.

Called by `main`. One loop: read a line, do what it says, show it; events of others appear above the prompt.
"""

import asyncio
import signal
import sys
from argparse import Namespace
from collections.abc import Awaitable, Mapping
from typing import Any

import orjson

from llmcore.cli.asking import show_end
from llmcore.cli.cards import card, short_digest
from llmcore.cli.client import Client
from llmcore.cli.commands import COMMANDS, Commands
from llmcore.cli.credentials import Login, credentials, write_private
from llmcore.cli.deciding import checked_digits, whole_digest
from llmcore.cli.exits import Exit, Usage, report
from llmcore.cli.prompting import Prompt, Words
from llmcore.cli.remote import connected
from llmcore.cli.showing import view
from llmcore.cli.terminal import one_line
from llmcore.cli.turns import TOPIC_PREFIX, Ended, follow, new_topic
from llmcore.errors import LLMCoreError
from llmcore.settings import load_client


def chat(args: Namespace) -> int:
    """Talk until `/quit`, Ctrl-D or Ctrl-C on an empty line."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Usage("`llmcore chat` needs a terminal; in a script take `llmcore ask`.")
    login = credentials().login(args.url)
    memory = Memory(login.url)
    conversation = None if args.new else memory.last()
    return asyncio.run(_run(login, memory, conversation))


async def _run(login: Login, memory: "Memory", conversation: str | None) -> int:
    notes = Notes()
    async with connected(login, notes.take) as client:
        known = await client.call("intents_list")
        await client.call("subscribe_channel", {"topic": "/notification"})
        words = Words(COMMANDS, known["intents"])
        prompt = Prompt(load_client().folder / "history", words)
        await Chat(client, prompt, notes, memory).run(conversation)
    return Exit.DONE


class Memory:
    """Which conversation was the last with a server."""

    def __init__(self, url: str) -> None:
        """Of one server."""
        self._url = url
        self._path = load_client().folder / "conversations.json"

    def last(self) -> str | None:
        """Its id, None if there is none."""
        return self._all().get(self._url)

    def keep(self, conversation: str | None) -> None:
        """Remember it; None forgets."""
        write_private(self._path, orjson.dumps({**self._all(), self._url: conversation}))

    def _all(self) -> dict[str, Any]:
        try:
            found = orjson.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


class Notes:
    """Messages to everybody: shown at once while the prompt waits, after the turn while one is shown."""

    def __init__(self) -> None:
        """Nothing waits."""
        self.busy = False
        self._waiting: list[str] = []

    def take(self, event: Mapping[str, Any]) -> None:
        """Show or keep a notification; other broadcasts are of no interest here."""
        if event.get("name") == "text_notification":
            self._waiting.append(f"* {one_line(str(event.get('data', {}).get('message', '')))}")
            self.show()

    def show(self) -> None:
        """Print what waits, unless a turn is being shown."""
        if not self.busy:
            for line in self._waiting:
                print(line, flush=True)
            self._waiting.clear()


class Chat:
    """One conversation at a time."""

    def __init__(self, client: Client, prompt: Prompt, notes: Notes, memory: Memory) -> None:
        """Nothing is said yet."""
        self.client = client
        self.conversation: str | None = None
        self.run_id: str | None = None
        """The run of the last turn."""
        self._prompt = prompt
        self._notes = notes
        self._memory = memory
        self._commands = Commands(self)
        self._interrupts = 0

    async def run(self, conversation: str | None) -> None:
        """Read and do until the person leaves."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        print("Say what you want; /help shows the commands.")
        if conversation:
            await self._safely(self._commands.open(conversation))
        while True:
            try:
                line = (await self._prompt.line()).strip()
            except (EOFError, KeyboardInterrupt):
                return
            if line in ("/quit", "/exit"):
                return
            if line:
                await self._safely(self._commands.do(line) if line.startswith("/") else self._say(line))

    async def move_to(self, conversation: str | None) -> None:
        """Go on with another conversation, None: a new one."""
        self.conversation = conversation
        await asyncio.to_thread(self._memory.keep, conversation)

    async def decide(self, plan: Mapping[str, Any]) -> None:
        """Show the card, take the decision, show what comes of it; as often as the plan asks."""
        undecided: Mapping[str, Any] | None = plan
        while undecided:
            print(f"\n{card(undecided)}")
            digest = await self._decision(undecided)
            undecided = await self._approved(undecided, digest) if digest else None

    async def _approved(self, plan: Mapping[str, Any], digest: str) -> Mapping[str, Any] | None:
        """Approve and show the run; the plan again if it has to be decided once more."""
        self.client.follow(plan["topic"])
        try:
            answer = await self.client.call("plan_approve", {"plan_id": plan["plan_id"], "digest": digest})
            if answer["plan"]["status"] in ("proposed", "waiting"):
                print("Approved; the plan waits for others.")
                return None
            ended = await self._followed(answer["plan"]["run_id"], plan["topic"])
        finally:
            self.client.unfollow(plan["topic"])
        if not ended.undecided:
            show_end(ended)
        return ended.undecided

    async def _say(self, text: str) -> None:
        topic = f"{TOPIC_PREFIX}{self.conversation}" if self.conversation else new_topic()
        request: dict[str, Any] = {"prompt": text, "topic": topic}
        if self.conversation:
            request["conversation_id"] = self.conversation
        self.client.follow(topic)
        try:
            accepted = await self.client.call("chat_llm", request)
            if accepted["conversation_id"] != self.conversation:
                await self.move_to(accepted["conversation_id"])
            ended = await self._followed(accepted["run_id"], topic)
        finally:
            self.client.unfollow(topic)
        if ended.undecided:
            await self.decide(ended.undecided)
        else:
            show_end(ended)

    async def _followed(self, run_id: str | None, topic: str) -> Ended:
        self.run_id, self._interrupts, self._notes.busy = run_id, 0, True
        try:
            return await follow(self.client.follow(topic), view(), run_id)
        finally:
            self._notes.busy = False
            self._notes.show()

    async def _decision(self, plan: Mapping[str, Any]) -> str | None:
        """The whole digest if the person approves, else None."""
        if one_key_is_enough(plan):
            key = await self._prompt.key("y approves, r rejects, any other key leaves it: ", "yr")
            print()
        else:
            key = await self._prompt.typed(f"Type {short_digest(plan)} to approve, r to reject, Enter leaves it: ")
        if key == "r":
            await self.client.call("plan_reject", {"plan_id": plan["plan_id"], "reason": ""})
            print("Rejected.")
            return None
        if key == "y" and one_key_is_enough(plan):
            return str(plan["digest"])
        if not key:
            print(f"It waits; /approve {plan['plan_id']} comes back to it.")
            return None
        return whole_digest(plan, checked_digits(key))

    async def _safely(self, work: Awaitable[None]) -> None:
        """Errors of one line do not end the chat; only a server that is gone does."""
        try:
            await work
        except LLMCoreError as error:
            report(error, as_json=False)
            if error.code == "unreachable":
                raise

    def _interrupt(self) -> None:
        """Ctrl-C while a turn is shown: the first cancels it, the second leaves."""
        self._interrupts += 1
        if not self._notes.busy:
            return
        if self._interrupts == 1:
            self.client.tell("run_cancel", {"run_id": self.run_id})
        else:
            signal.default_int_handler(signal.SIGINT, None)


def one_key_is_enough(plan: Mapping[str, Any]) -> bool:
    """True for a reversible write that touches one target, in a plan of nothing but such a write and reads."""
    changing = [step for step in plan["steps"] if step["effect"] != "read"]
    return (
        len(changing) == 1
        and plan["effect"] == "write"
        and not plan["origin"]["tainted"]
        and bool(changing[0].get("undo"))
        and (changing[0].get("preview") or {}).get("blast") == 1
    )
