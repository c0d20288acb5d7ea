"""OpenAI's chat completions, and every server that speaks the same (Ollama, llama.cpp, vLLM): `openai` and `local`.

Loaded by name through the entry point group `llmcore.providers`. Must not know other providers, retries or fallbacks.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import orjson

from llmcore.errors import ProviderError
from llmcore.ports import Finished, ModelRequest, Usage
from llmcore.provider import (
    HTTPProvider,
    Misconfigured,
    ProviderOptions,
    RawResponse,
    Sdk,
    StreamDecoder,
    status_error,
    vendor_words,
)


class ChatDecoder(StreamDecoder):
    """Chunks of a chat completion; complete with a finish reason and `[DONE]`."""

    _usage: Mapping[str, Any] | None = None
    _refusal = False

    def take(self, payload: bytes) -> str:
        """Text of one chunk; ProviderError for an error that the server sent in the stream."""
        if payload == b"[DONE]":
            self.done = True
            return ""
        chunk = orjson.loads(payload)
        if error := chunk.get("error"):
            kind, words = vendor_words(error)
            raise status_error(self.provider, _status_in(error), kind=kind, words=words, key_setting=self.key_setting)
        if usage := chunk.get("usage"):
            self._usage = usage
        choices = chunk["choices"]
        if not choices:
            return ""
        return self._choice(chunk, choices[0])

    def _choice(self, chunk: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
        if reason := choice.get("finish_reason"):
            self.reason = str(reason)
        if not self.model:
            self.model = str(chunk.get("model") or "")
        delta = choice.get("delta") or {}
        text: str = delta.get("content") or ""
        if refusal := delta.get("refusal"):
            self._refusal = True
            text += refusal
        return text

    def finished(self) -> Finished:
        """The vendor's reason, or `refusal`."""
        usage = self._usage or {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        return Finished(
            reason="refusal" if self._refusal else self.reason or "",
            model=self.model,
            provider=self.provider,
            usage=Usage(
                input_tokens=usage.get("prompt_tokens") or 0,
                output_tokens=usage.get("completion_tokens") or 0,
                cached_tokens=cached or 0,
            ),
        )


def _status_in(error: object) -> int:
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def fits_strict(schema: object) -> bool:
    """True if OpenAI's strict mode takes this JSON Schema.

    Its root has to be an object, and every object closed with all its properties required.
    """
    return isinstance(schema, Mapping) and schema.get("type") == "object" and _closed(schema)


def _closed(node: object) -> bool:
    if isinstance(node, Mapping):
        if "properties" in node or node.get("type") == "object":
            names = set(node.get("properties", ()))
            if node.get("additionalProperties") is not False or set(node.get("required", ())) != names:
                return False
        return "oneOf" not in node and all(_closed(value) for value in node.values())
    return not isinstance(node, list) or all(_closed(value) for value in node)


class OpenAIProvider(HTTPProvider):
    """OpenAI itself, or a gateway that speaks for it."""

    name: ClassVar[str] = "openai"
    key_setting: ClassVar[str | None] = "OPENAI_API_KEY"
    default_url = "https://api.openai.com/v1"
    _max_tokens = "max_completion_tokens"

    def __init__(self, options: ProviderOptions) -> None:
        """Raises Misconfigured without a key or a model."""
        super().__init__(options)
        self._unwanted: set[tuple[str, str]] = set()
        self.check()

    def check(self) -> None:
        """Raise Misconfigured where a setting is missing."""
        if self.options.api_key is None:
            raise Misconfigured("OPENAI_API_KEY", "the provider openai needs a key; set it or choose another provider.")
        if not self.options.model:
            raise Misconfigured(
                "LLMCORE_LLM__MODEL",
                "the provider openai needs the name of a model (as a fallback: llm.providers.openai.model).",
            )

    def connect(self) -> Sdk:
        """Import `openai`; its own retries and time-outs are off, ours are one floor up."""
        import httpx2
        import openai

        key = self.options.api_key
        client = openai.AsyncOpenAI(
            api_key=key.get_secret_value() if key else "none",
            base_url=self.base_url,
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=self.options.connect_s),
            http_client=openai.DefaultAsyncHttpxClient(**self.http_options()),
        )
        _ = client.chat.completions.with_streaming_response  # the SDK imports it late: here it holds up no loop
        return Sdk(
            client,
            openai.APIStatusError,
            (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError),
            (httpx2.ConnectError, httpx2.ConnectTimeout),
        )

    def decoder(self) -> StreamDecoder:
        """A new ChatDecoder."""
        return ChatDecoder(self.name, self.key_setting)

    @asynccontextmanager
    async def open(self, sdk: Sdk, request: ModelRequest) -> AsyncIterator[RawResponse]:
        """Send the request; once more, and from then on, without a parameter that the model does not know."""
        create = sdk.client.chat.completions.with_streaming_response.create
        body = self.body(request)
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(create(**body))
            except sdk.status_error as error:
                if not self._learned(error, body):
                    raise
                response = await stack.enter_async_context(create(**self.body(request)))
            yield response

    def _learned(self, error: Any, body: Mapping[str, Any]) -> bool:
        named = getattr(error, "param", None)
        if error.status_code != 400 or named not in {"temperature", self._max_tokens} or named not in body:
            return False
        self._unwanted.add((body["model"], named))
        return True

    def body(self, request: ModelRequest) -> dict[str, Any]:
        """The parameters of a chat completion."""
        model = request.model or self.model
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if (limit := request.max_tokens or self.options.max_tokens) is not None:
            body[self._max_tokens] = limit
        if request.schema is not None:
            schema = {"name": "reply", "schema": request.schema, "strict": fits_strict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {name: value for name, value in body.items() if (model, name) not in self._unwanted}


class LocalProvider(OpenAIProvider):
    """A server of one's own; needs an address, a key only if the server wants one."""

    name: ClassVar[str] = "local"
    key_setting: ClassVar[str | None] = "llm.providers.local.api_key"
    _max_tokens = "max_tokens"
    _first: str = ""

    def check(self) -> None:
        """Raise Misconfigured without an address."""
        if not self.options.base_url:
            raise Misconfigured(
                "LLMCORE_LLM__BASE_URL",
                "the provider local needs the address of a server, such as http://localhost:11434/v1.",
            )

    @property
    def model(self) -> str:
        """The configured model, else the first that the server offers (once it was asked)."""
        return self.options.model or self._first

    @asynccontextmanager
    async def open(self, sdk: Sdk, request: ModelRequest) -> AsyncIterator[RawResponse]:
        """Send the request; where no model is named, first ask the server for one."""
        if not (request.model or self.model):
            offered = await sdk.client.models.list()
            if not offered.data:
                raise ProviderError(f"local offers no model at {self.address}.", provider=self.name)
            self._first = offered.data[0].id
        async with super().open(sdk, request) as response:
            yield response
