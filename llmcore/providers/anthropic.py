"""Anthropic's messages.

Loaded by name through the entry point group `llmcore.providers`. Must not know other providers, retries or fallbacks.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

import orjson

from llmcore.ports import Finished, ModelRequest, Usage
from llmcore.provider import (
    Capabilities,
    HTTPProvider,
    Misconfigured,
    ProviderOptions,
    RawResponse,
    Sdk,
    StreamDecoder,
    status_error,
    vendor_words,
)

DEFAULT_MAX_TOKENS = 4096
"""The vendor wants a limit in every request."""
_STATUS = {"overloaded_error": 529, "rate_limit_error": 429, "authentication_error": 401, "permission_error": 403}


class MessageDecoder(StreamDecoder):
    """Events of a message; complete with a stop reason and `message_stop`."""

    _input = 0
    _output = 0
    _cached = 0

    def take(self, payload: bytes) -> str:
        """Text of one event; ProviderError for an error that the vendor sent in the stream."""
        event = orjson.loads(payload)
        kind = event["type"]
        if kind == "content_block_delta":
            delta = event["delta"]
            text: str = delta["text"] if delta["type"] == "text_delta" else ""
            return text
        if kind == "message_start":
            self._start(event["message"])
        elif kind == "message_delta":
            self.reason = event["delta"].get("stop_reason") or self.reason
            self._output = (event.get("usage") or {}).get("output_tokens") or self._output
        elif kind == "message_stop":
            self.done = True
        elif kind == "error":
            word, words = vendor_words(event)
            raise status_error(
                self.provider, _STATUS.get(word, 500), kind=word, words=words, key_setting=self.key_setting
            )
        return ""

    def _start(self, message: dict[str, Any]) -> None:
        self.model = str(message.get("model") or "")
        usage = message.get("usage") or {}
        self._cached = usage.get("cache_read_input_tokens") or 0
        written = usage.get("cache_creation_input_tokens") or 0
        self._input = (usage.get("input_tokens") or 0) + self._cached + written

    def finished(self) -> Finished:
        """The vendor's stop reason; what came from or went to its cache counts as input too."""
        usage = Usage(input_tokens=self._input, output_tokens=self._output, cached_tokens=self._cached)
        return Finished(reason=self.reason or "", model=self.model, provider=self.provider, usage=usage)


class AnthropicProvider(HTTPProvider):
    """Anthropic itself, or a gateway that speaks for it."""

    name: ClassVar[str] = "anthropic"
    key_setting: ClassVar[str | None] = "ANTHROPIC_API_KEY"
    default_url = "https://api.anthropic.com"
    capabilities: ClassVar[Capabilities] = Capabilities(temperature=False)

    def __init__(self, options: ProviderOptions) -> None:
        """Raises Misconfigured without a key or a model."""
        super().__init__(options)
        if options.api_key is None:
            raise Misconfigured(
                "ANTHROPIC_API_KEY", "the provider anthropic needs a key; set it or choose another provider."
            )
        if not options.model:
            raise Misconfigured(
                "LLMCORE_LLM__MODEL",
                "the provider anthropic needs the name of a model (as a fallback: llm.providers.anthropic.model).",
            )
        self._key = options.api_key

    def connect(self) -> Sdk:
        """Import `anthropic`; its own retries and time-outs are off, ours are one floor up."""
        import anthropic
        import httpx2

        client = anthropic.AsyncAnthropic(
            api_key=self._key.get_secret_value(),
            base_url=self.base_url,
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=self.options.connect_s),
            http_client=anthropic.DefaultAsyncHttpxClient(**self.http_options()),
        )
        _ = client.messages.with_streaming_response  # the SDK imports it late: here it holds up no loop
        return Sdk(
            client,
            anthropic.APIStatusError,
            (anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError),
            (httpx2.ConnectError, httpx2.ConnectTimeout),
        )

    def decoder(self) -> StreamDecoder:
        """A new MessageDecoder."""
        return MessageDecoder(self.name, self.key_setting)

    def open(self, sdk: Sdk, request: ModelRequest) -> AbstractAsyncContextManager[RawResponse]:
        """Send the request."""
        manager: AbstractAsyncContextManager[RawResponse] = sdk.client.messages.with_streaming_response.create(
            **self.body(request)
        )
        return manager

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """The parameters of a message; system text goes in front, with a mark that it may be cached."""
        system = [message.content for message in request.messages if message.role == "system"]
        body: dict[str, Any] = {
            "model": request.model or self.model,
            "max_tokens": request.max_tokens or self.options.max_tokens or DEFAULT_MAX_TOKENS,
            "messages": [
                {"role": message.role, "content": message.content}
                for message in request.messages
                if message.role != "system"
            ],
            "stream": True,
        }
        if system:
            text = "\n\n".join(system)
            body["system"] = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]
        if request.schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": self._schema(request.schema)}}
        return body

    @staticmethod
    def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
        """The schema in the subset that the vendor takes, the rest as descriptions; as it is where that fails."""
        from anthropic import transform_schema

        try:
            return transform_schema(dict(schema))
        except ValueError:
            return dict(schema)
