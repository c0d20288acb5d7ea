"""RPCs of conversations: list, read, rename, delete, export."""

from collections.abc import Mapping
from typing import Any

from llmcore.api.core import ID, Caller, Core, rpc
from llmcore.conversation import conversation_json, message_json


@rpc("conversation_list", limit={"type": "integer", "minimum": 1, "maximum": 1000})
async def conversation_list(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """The caller's conversations, last used first."""
    found = await core.store.conversation_list(caller.principal.name, params.get("limit", 200))
    return {"conversations": [conversation_json(conversation) for conversation in found]}


@rpc("conversation_get", {"conversation_id": ID})
async def conversation_get(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """One conversation with its messages."""
    conversation = await core.conversations.of(params["conversation_id"], caller.principal)
    messages = await core.store.message_list(conversation.conversation_id)
    view = {**conversation_json(conversation), "messages": [message_json(said) for said in messages]}
    return {"conversation": view}


@rpc("conversation_rename", {"conversation_id": ID, "title": {"type": "string", "minLength": 1, "maxLength": 500}})
async def conversation_rename(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Give it another title."""
    renamed = await core.conversations.rename(params["conversation_id"], params["title"], caller.principal)
    return {"conversation": conversation_json(renamed)}


@rpc("conversation_delete", {"conversation_id": ID})
async def conversation_delete(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Remove it with its messages; plans, runs and audit stay."""
    conversation = await core.conversations.of(params["conversation_id"], caller.principal)
    await core.store.conversation_delete(conversation.conversation_id)
    await core.audit.record("conversation.delete", caller.principal, conversation_id=conversation.conversation_id)
    return {"conversation_id": conversation.conversation_id, "deleted": True}


@rpc("conversation_export", {"conversation_id": ID})
async def conversation_export(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """All of it, as JSON and as Markdown."""
    return {"conversation": await core.conversations.export(params["conversation_id"], caller.principal)}
