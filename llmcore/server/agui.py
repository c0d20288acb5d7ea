"""`POST /agui`: a turn as AG-UI 1.0 over server-sent events, the same events that travel on the WebSocket.

Called by Tornado. Knows AG-UI's request; the events are the session's own.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from llmcore.errors import BadParams, NotFound
from llmcore.server.client import Session
from llmcore.server.turns import TurnHandler, text_of, turn

Id = Annotated[str, Field(min_length=1, max_length=200)]


class AgentMessage(BaseModel):
    """One message; roles other than the user's and the assistant's are passed over."""

    role: str
    content: Any = None


class RunAgentInput(BaseModel):
    """The part of AG-UI's `RunAgentInput` that means something here."""

    model_config = ConfigDict(alias_generator=to_camel)

    thread_id: Id
    run_id: Id
    messages: Annotated[list[AgentMessage], Field(min_length=1, max_length=1_000)]
    resume: list[Any] | None = None

    def turn(self) -> dict[str, Any]:
        """The params of `chat_llm`, without the conversation; raises BadParams."""
        if self.resume:
            raise BadParams(
                "A waiting plan is approved in the dashboard, by `llmcore approve` or by the RPC `plan_approve`.",
                [{"pointer": "/resume", "message": "approval takes the plan's digest"}],
            )
        spoken = [(message.role, text_of(message.content)) for message in self.messages]
        if spoken[-1][0] != "user" or not spoken[-1][1].strip():
            raise BadParams(
                "The last message has to be a text of the user.", [{"pointer": "/messages", "message": "no prompt"}]
            )
        earlier = [{"role": role, "content": text} for role, text in spoken[:-1] if role in ("user", "assistant")]
        return {"prompt": spoken[-1][1], "context": {"messages": earlier}, "params": {"stream": True}}


class AgentHandler(TurnHandler):
    """Runs the agent once."""

    async def post(self) -> None:
        """Answer the last message of the user, in the conversation `threadId` if the caller has one of that name."""
        session = await self.session(self.bearer())
        asked = self.body(RunAgentInput)
        request = asked.turn()
        if await self._known(asked.thread_id, session):
            request["conversation_id"] = asked.thread_id
            request["context"] = {}
        async with turn(self.hub, session, request) as self.listener:
            self.begin_events()
            async for event in self.listener:
                await self.send_event(event)

    async def _known(self, thread_id: str, session: Session) -> bool:
        try:
            await self.hub.rooms.door.call("conversation_get", {"conversation_id": thread_id}, session.caller())
        except NotFound:
            return False
        return True
