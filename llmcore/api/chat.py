"""RPCs of the chat: ask, follow, and CloudiSENSE's smart-assist calls."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from llmcore.api.core import ID, Caller, Core, rpc
from llmcore.api.views import run_answer
from llmcore.errors import BadParams, TimedOut
from llmcore.events import TOPIC_PREFIX

_OPTIONS = {
    "type": "object",
    "properties": {
        "stream": {"type": "boolean"},
        "provider": {"type": "string", "minLength": 1, "maxLength": 64},
        "model": {"type": "string", "minLength": 1, "maxLength": 200},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "max_tokens": {"type": "integer", "minimum": 1, "maximum": 200_000},
        "mode": {"enum": ["auto", "answer", "plan"]},
    },
    "additionalProperties": False,
}
_PROMPT = {"type": "string", "minLength": 1, "maxLength": 32_000}
_TOPIC = {"type": "string", "pattern": f"^{TOPIC_PREFIX}[^\\s]{{1,150}}$"}


@rpc("chat_llm", {"prompt": _PROMPT}, context={"type": "object"}, params=_OPTIONS, conversation_id=ID, topic=_TOPIC)
async def chat_llm(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Ask in plain words; the acknowledgement comes at once, the rest as events on the topic."""
    if not params["prompt"].strip():
        raise BadParams("chat_llm: prompt must not be blank.", [{"pointer": "/prompt", "message": "must not be blank"}])
    options = params.get("params", {})
    conversation, first = await core.conversations.begin(
        params.get("conversation_id"), caller.principal, params["prompt"]
    )
    topic = params.get("topic") or f"{TOPIC_PREFIX}{conversation.conversation_id}"
    asked = {
        "prompt": params["prompt"],
        "mode": options.get("mode", "auto"),
        "options": {key: options[key] for key in ("provider", "model", "temperature", "max_tokens") if key in options},
        "context": params.get("context", {}),
        "propose_only": caller.propose_only,
        "first": first,
    }
    try:
        run = await core.session.chat(asked, conversation, topic, caller.principal)
    except BadParams as refused:
        fields = [{**field, "pointer": f"/params{field['pointer']}"} for field in refused.details["fields"]]
        raise BadParams(refused.message, fields) from refused
    acknowledged = {
        "accepted": True,
        "conversation_id": run.conversation_id,
        "run_id": run.run_id,
        "topic": topic,
    }
    if options.get("stream", True):
        return acknowledged
    try:
        await core.session.settled(run.run_id)
    except TimedOut:
        return {**acknowledged, "status": "running"}
    return await run_answer(core, run.run_id)


@rpc(
    "stream_resume",
    {"topic": {"type": "string", "minLength": 1, "maxLength": 200}, "after_seq": {"type": "integer", "minimum": 0}},
    epoch={"type": "integer", "minimum": 0},
)
async def stream_resume(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Subscribe and get what was missed, in order."""
    if caller.sink is None:
        raise BadParams("stream_resume needs a connection that events can be sent to.")
    return await core.topics.resume(params["topic"], caller.sink, params["after_seq"], params.get("epoch"))


@rpc("subscribe_channel", {"topic": {"type": "string", "minLength": 1, "maxLength": 200}})
async def subscribe_channel(core: Core, params: Mapping[str, Any], caller: Caller) -> None:
    """Get the events of a topic from now on."""
    if caller.sink is None:
        raise BadParams("subscribe_channel needs a connection that events can be sent to.")
    await core.topics.subscribe(params["topic"], caller.sink)


@rpc("unsubscribe_channel", {"topic": {"type": "string", "minLength": 1, "maxLength": 200}})
async def unsubscribe_channel(core: Core, params: Mapping[str, Any], caller: Caller) -> None:
    """Get them no more."""
    if caller.sink is not None:
        core.topics.unsubscribe(params["topic"], caller.sink)


# --- CloudiSENSE's smart assist: one conversation of its own a person ---


def _assist_title(name: str) -> str:
    return f"Assist of {name}"


@rpc("query_assist", {"query": _PROMPT})
async def query_assist(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """A question of CloudiSENSE's assist panel: the whole answer, or as much as there is after eight seconds."""
    title = _assist_title(caller.principal.name)
    known = await core.store.conversation_list(caller.principal.name)
    found = next((conversation for conversation in known if conversation.title == title), None)
    if found is None:
        found, _ = await core.conversations.begin(None, caller.principal, title)
    topic = f"{TOPIC_PREFIX}{found.conversation_id}"
    asked = {"prompt": params["query"], "mode": "auto", "options": {}, "context": {}}
    run = await core.session.chat(asked, found, topic, caller.principal)
    with suppress(TimedOut):
        await core.session.settled(run.run_id)
    answer = await run_answer(core, run.run_id)
    return {**answer, "topic": topic}


@rpc("clear_assist_session")
async def clear_assist_session(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Forget what was said in the assist panel."""
    title = _assist_title(caller.principal.name)
    mine = [found for found in await core.store.conversation_list(caller.principal.name) if found.title == title]
    for conversation in mine:
        await core.store.conversation_delete(conversation.conversation_id)
    return {"cleared": len(mine)}


@rpc("assist_introduction")
async def assist_introduction(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """A greeting with requests that work here."""
    examples = [intent.examples[0].text for intent in core.catalog.visible_to(caller.principal) if intent.examples]
    return {"text": "Ask for what this host can do, in plain words.", "examples": examples[:5]}
