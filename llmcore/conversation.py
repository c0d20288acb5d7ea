"""Conversations: who owns which, what was said, and how much of it a model gets to see.

Called by session and api. Knows no transport. A conversation is readable only by its owner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from llmcore.errors import BadParams, NotFound
from llmcore.plan import Principal
from llmcore.ports import Clock, Conversation, Message, Store, StoredMessage, rfc3339

MAX_TITLE = 120


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a conversation that goes to a model."""

    messages: tuple[Message, ...]
    untrusted: bool
    """True if some of it repeats the results of tools (logs, files, names), which anyone may have written."""


@dataclass(frozen=True, slots=True)
class Conversations:
    """All conversations of the store."""

    store: Store
    clock: Clock
    window_chars: int = 24_000
    """About 6,000 tokens of history for a model."""

    async def begin(self, conversation_id: str | None, owner: Principal, title: str) -> tuple[Conversation, bool]:
        """The caller's conversation of that id, or a new one (not stored yet) without id; True if new."""
        if conversation_id is not None:
            return await self.of(conversation_id, owner), False
        now = rfc3339(self.clock.now())
        new = Conversation(
            conversation_id=f"cv_{uuid4().hex}",
            owner=owner.name,
            title=_title(title),
            created_at=now,
            updated_at=now,
        )
        return new, True

    async def of(self, conversation_id: str, owner: Principal) -> Conversation:
        """The caller's conversation; raises NotFound, also for somebody else's."""
        found = await self.store.conversation_get(conversation_id)
        if found is None or found.owner != owner.name:
            raise NotFound("There is no such conversation of yours.", conversation_id=conversation_id)
        return found

    async def touch(self, conversation: Conversation) -> None:
        """Store it as used now."""
        await self.store.conversation_put(replace(conversation, updated_at=rfc3339(self.clock.now())))

    async def say(
        self,
        conversation_id: str,
        role: str,
        content: str,
        run_id: str | None = None,
        meta: Mapping[str, Any] | None = None,
        message_id: str | None = None,
    ) -> None:
        """Append a message of `user` or `assistant`; one with a `message_id` takes the place of its earlier self."""
        await self.store.message_add(
            StoredMessage(
                message_id=message_id or f"ms_{uuid4().hex}",
                conversation_id=conversation_id,
                role=role,
                content=content,
                created_at=rfc3339(self.clock.now()),
                run_id=run_id,
                meta=dict(meta or {}),
            )
        )

    async def rename(self, conversation_id: str, title: str, owner: Principal) -> Conversation:
        """Give it another title; raises BadParams for an empty one."""
        if not title.strip():
            raise BadParams("The title is empty.", [{"pointer": "/title", "message": "must not be empty"}])
        renamed = replace(await self.of(conversation_id, owner), title=_title(title))
        await self.store.conversation_put(renamed)
        return renamed

    async def window(self, conversation_id: str, before_run: str) -> tuple[Window, Sequence[StoredMessage]]:
        """What a model may see of what was said before a run, newest kept; and the stored messages themselves."""
        stored = [said for said in await self.store.message_list(conversation_id, 100) if said.run_id != before_run]
        kept: list[StoredMessage] = []
        room = self.window_chars
        for said in reversed(stored):
            room -= len(said.content)
            if room < 0:
                break
            kept.append(said)
        kept.reverse()
        messages = tuple(Message("assistant" if said.role == "assistant" else "user", said.content) for said in kept)
        return Window(messages, any(said.meta.get("untrusted") for said in kept)), stored

    async def export(self, conversation_id: str, owner: Principal) -> dict[str, Any]:
        """The whole conversation as JSON, and as Markdown in `markdown`."""
        conversation = await self.of(conversation_id, owner)
        messages = await self.store.message_list(conversation_id, 100_000)
        spoken = [f"**{said.role}** ({said.created_at})\n\n{said.content}\n" for said in messages]
        return {
            **conversation_json(conversation),
            "messages": [message_json(said) for said in messages],
            "markdown": "\n".join([f"# {conversation.title}\n", *spoken]),
        }


def conversation_json(conversation: Conversation) -> dict[str, Any]:
    """A conversation as the wire has it."""
    return {
        "conversation_id": conversation.conversation_id,
        "title": conversation.title,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
    }


def message_json(said: StoredMessage) -> dict[str, Any]:
    """A message as the wire has it."""
    return {
        "message_id": said.message_id,
        "role": said.role,
        "content": said.content,
        "created_at": said.created_at,
        "run_id": said.run_id,
        **({"meta": dict(said.meta)} if said.meta else {}),
    }


def _title(text: str) -> str:
    words = " ".join(text.split()) or "New conversation"
    return words if len(words) <= MAX_TITLE else words[: MAX_TITLE - 1] + "…"
