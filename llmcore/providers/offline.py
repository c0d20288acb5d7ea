"""No model at all: what runs until somebody chooses one.

Loaded by name through the entry point group `llmcore.providers`. Must not know other providers.
"""

from collections.abc import AsyncIterator
from typing import ClassVar

from llmcore.errors import Unavailable
from llmcore.ports import ModelEvent, ModelRequest
from llmcore.provider import LLMProvider


class OfflineProvider(LLMProvider):
    """Never answers, and says how to switch a model on."""

    name: ClassVar[str] = "offline"
    idle: ClassVar[str] = (
        "No language model is switched on; set LLMCORE_LLM__PROVIDER to openai, anthropic or local to use one."
    )

    @property
    def available(self) -> bool:
        """False."""
        return False

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Raises Unavailable."""
        said: tuple[ModelEvent, ...] = ()
        for event in said:
            yield event
        raise Unavailable(self.idle, provider=self.name)
