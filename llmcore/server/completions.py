"""`/v1/chat/completions` and `/v1/models`: llmcore for programs that speak OpenAI's chat API.

Called by Tornado. A turn like any other, with the bearer token's rights; what would change something is only proposed,
and the reply says which plan waits where.
"""

import uuid
from typing import Annotated, Any

from pydantic import BaseModel, Field

from llmcore.errors import BadParams, LLMCoreError
from llmcore.events import Activity, Event
from llmcore.server.turns import Listener, TurnHandler, text_of, turn
from llmcore.server.web import Handler

MODELS = {"llmcore": "auto", "llmcore/answer": "answer", "llmcore/plan": "plan"}
"""Model name -> mode of the turn; any other name counts as the first."""
_STATUS = {"provider_error": 502, "unavailable": 503, "timeout": 504}


class ChatMessage(BaseModel):
    """One message; `content` is a string or a list of parts."""

    role: str
    content: Any = None


class StreamOptions(BaseModel):
    """What else a stream brings."""

    include_usage: bool = False


class CompletionRequest(BaseModel):
    """The part of the request that means something here."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1_000)]
    model: str = "llmcore"
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    def turn(self) -> dict[str, Any]:
        """The params of `chat_llm`; raises BadParams if the last message is not the user's."""
        last = self.messages[-1]
        prompt = text_of(last.content)
        if last.role != "user" or not prompt.strip():
            raise BadParams(
                "The last message has to be a text of the user.", [{"pointer": "/messages", "message": "no prompt"}]
            )
        earlier = [{"role": message.role, "content": text_of(message.content)} for message in self.messages[:-1]]
        params = {
            "stream": True,
            "mode": MODELS.get(self.model, "auto"),
            "temperature": self.temperature,
            "max_tokens": self.max_completion_tokens or self.max_tokens,
        }
        return {
            "prompt": prompt,
            "context": {"messages": earlier},
            "params": {name: value for name, value in params.items() if value is not None},
        }


class Reply:
    """Makes one text of the events of a turn."""

    def __init__(self) -> None:
        """Nothing has been said yet."""
        self.text = ""
        self.usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        self.failure: Event | None = None
        self._plan: dict[str, Any] | None = None

    def take(self, event: Event) -> str:
        """The text that an event adds; may be empty."""
        piece = ""
        match event["type"]:
            case "TEXT_MESSAGE_START" if self.text:
                piece = "\n\n"
            case "TEXT_MESSAGE_CONTENT":
                piece = event["delta"]
            case "ACTIVITY_SNAPSHOT" if event["activityType"] == Activity.PLAN:
                self._plan = event["content"]
            case "RUN_FINISHED":
                piece = self._end(event)
            case "RUN_ERROR":
                self.failure = event
        self.text += piece
        return piece

    def _end(self, event: Event) -> str:
        result = event.get("result") or {}
        usage = result.get("usage") or {}
        said, wrote = int(usage.get("input_tokens", 0)), int(usage.get("output_tokens", 0))
        self.usage = {"prompt_tokens": said, "completion_tokens": wrote, "total_tokens": said + wrote}
        piece = "" if self.text else str(result.get("text") or "")
        if (event.get("outcome") or {}).get("type") != "interrupt" or self._plan is None:
            return piece
        plan_id, digest = self._plan["plan_id"], (self._plan.get("digest") or "").removeprefix("sha256:")[:12]
        if plan_id in self.text + piece:
            return piece
        gap = "\n\n" if self.text + piece else ""
        return (
            f"{piece}{gap}Nothing was changed: plan {plan_id} waits for approval, "
            f"in the dashboard or by `llmcore approve {plan_id} --digest {digest}`."
        )


class _OpenAIHandler(TurnHandler):
    def error_body(self, error: LLMCoreError) -> Any:
        """Errors in the vendor's shape."""
        kind = "invalid_request_error" if error.status < 500 else "api_error"
        return {"error": {"message": error.message, "type": kind, "param": None, "code": error.code}}


class CompletionsHandler(_OpenAIHandler):
    """`POST /v1/chat/completions`."""

    async def post(self) -> None:
        """Answer the last message of the user."""
        session = await self.session(self.bearer())
        request = self.body(CompletionRequest)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(self.hub.rooms.clock.now()), "model": "llmcore"}
        async with turn(self.hub, session, request.turn(), propose_only=True) as self.listener:
            if request.stream:
                await self._stream(self.listener, head, request.stream_options.include_usage)
            else:
                await self._whole(self.listener, head)

    async def _whole(self, listener: Listener, head: dict[str, Any]) -> None:
        reply = Reply()
        async for event in listener:
            if event is not None:
                reply.take(event)
        if reply.failure is not None:
            self.send(_failure(reply.failure), _STATUS.get(reply.failure.get("code", ""), 500))
            return
        message = {"role": "assistant", "content": reply.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        self.send({**head, "object": "chat.completion", "choices": [choice], "usage": reply.usage})

    async def _stream(self, listener: Listener, head: dict[str, Any], include_usage: bool) -> None:
        def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
            return {**head, "object": "chat.completion.chunk", "choices": [choice]}

        reply = Reply()
        self.begin_events()
        await self.send_event(chunk({"role": "assistant", "content": ""}))
        async for event in listener:
            if event is None:
                await self.send_event(None)
            elif piece := reply.take(event):
                await self.send_event(chunk({"content": piece}))
        if reply.failure is not None:
            await self.send_event(_failure(reply.failure))
        else:
            await self.send_event(chunk({}, "stop"))
            if include_usage:
                await self.send_event({**chunk({}), "choices": [], "usage": reply.usage})
        await self.send_event("[DONE]")


class ModelsHandler(Handler):
    """`GET /v1/models`."""

    methods = "GET"

    async def get(self) -> None:
        """The modes of a turn, as models."""
        await self.session(self.bearer())
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "llmcore"} for name in MODELS]
        self.send({"object": "list", "data": models})


def _failure(event: Event) -> dict[str, Any]:
    code = event.get("code", "internal")
    return {"error": {"message": event["message"], "type": "api_error", "param": None, "code": code}}
