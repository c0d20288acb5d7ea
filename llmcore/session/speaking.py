"""Says things in a turn: words of our own as one message, or a model's as they come.

Called by the segments. Leaves what was shown in the turn, whatever happens.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from llmcore import events
from llmcore.events import Event
from llmcore.ports import ModelRequest
from llmcore.session.prose import ModelCalls, Prose
from llmcore.session.turn import Turn
from llmcore.session.understanding import Models


def say(turn: Turn, text: str) -> Sequence[Event]:
    """Words of our own, as one message."""
    turn.text = text
    return [
        events.text_start(turn.message_id),
        events.text_content(turn.message_id, text),
        events.text_end(turn.message_id),
    ]


async def said(turn: Turn, text: str) -> AsyncIterator[Event]:
    """The same, as a course of events."""
    for event in say(turn, text):
        yield event


@dataclass(frozen=True, slots=True)
class Speaker:
    """Streams what a model says."""

    models: Models
    calls: ModelCalls

    async def speak(self, turn: Turn, request: ModelRequest, may_claim: bool = False) -> AsyncIterator[Event]:
        """Words of the model, as they come; what was shown is kept in `turn.text` whatever happens."""
        prose = Prose()
        model = self.models(turn.run.request.get("options", {}))
        turn.prose = True
        try:
            async with self.calls.watched(turn.run.topic):
                async for piece in prose.stream(model, request, may_claim):
                    if not turn.speaking:
                        turn.speaking = True
                        yield events.text_start(turn.message_id)
                    yield events.text_content(turn.message_id, piece)
        finally:
            turn.text = prose.text
            turn.usage += prose.usage
            turn.answered_by = prose.provider or turn.answered_by
            turn.meta["incomplete"] = not prose.complete
        if turn.speaking:
            turn.speaking = False
            yield events.text_end(turn.message_id)
