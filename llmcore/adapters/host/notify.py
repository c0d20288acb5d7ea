"""Tells people and programs elsewhere: webhooks over HTTP, messages over Telegram.

Behind the intents of the pack `notify`, as the service `notify`. Where a request may go is decided on the address that
is then really connected to, so that no name can lead inside. Redirects are not followed. Tokens come from the settings
and appear in no result and no error. Must not know plans or people.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from pydantic import SecretStr

from llmcore.adapters.host.guarded_http import Guard, Request, send
from llmcore.adapters.host.names import pick
from llmcore.errors import BadParams, Conflict, Forbidden, LLMCoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """A Telegram bot and the chats it writes to when none is named."""

    token: SecretStr
    chat_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyOptions:
    """Who may be told."""

    bots: Mapping[str, Bot] = field(default_factory=dict)
    allowed_hosts: tuple[str, ...] = ()
    """`host` or `host:port`; with none every public host may be called, with some only these, private ones too."""
    telegram_url: str = "https://api.telegram.org"
    timeout_s: float = 10.0


class Notify:
    """The service `notify`."""

    def __init__(self, options: NotifyOptions) -> None:
        """Connect to nothing yet."""
        self._options = options
        self._guard = Guard(options.allowed_hosts)
        telegram = urlsplit(options.telegram_url)
        self._telegram_guard = Guard((telegram.netloc,))

    def check(self, webhooks: Sequence[str]) -> list[str]:
        """The `host` or `host:port` of each address; BadParams for what is no address, Forbidden if not allowed."""
        return [self._guard.check_name(_parsed(url, number)) for number, url in enumerate(webhooks)]

    async def webhooks(self, webhooks: Sequence[str], method: str, message: str) -> dict[str, Any]:
        """Call all addresses: `{"sent": [{host, status}]}`.

        Raises LLMCoreError if any of them failed, with `sent` and `failed` as details; the first error itself if there
        is but one address.
        """
        self.check(webhooks)
        requests = [_webhook(_parsed(url, number), method, message) for number, url in enumerate(webhooks)]
        return await self._send_all(requests, self._guard)

    def recipients(self, chat_id: Sequence[str] | None, bot: str | None) -> tuple[str, tuple[str, ...]]:
        """The bot's name and the chats it will write to; NotFound, BadParams or Conflict if that is not clear."""
        bots = self._options.bots
        if bot is not None:
            name = pick(bot, bots, "bot")
        elif len(bots) == 1 or "default" in bots:
            name = "default" if "default" in bots else next(iter(bots))
        elif bots:
            raise BadParams(f"Name a bot: {', '.join(bots)}.", [{"pointer": "/bot", "message": "is needed"}])
        else:
            raise Conflict("No Telegram bot is set up. Set LLMCORE_NOTIFY__TELEGRAM_BOTS.")
        chats = tuple(chat_id or bots[name].chat_ids)
        if not chats:
            message = "is needed, because the settings name no chat for this bot"
            raise BadParams(f"chat_id {message}.", [{"pointer": "/chat_id", "message": message}])
        return name, chats

    async def telegram(self, message: str, chat_id: Sequence[str] | None, bot: str | None) -> dict[str, Any]:
        """Send a message to each chat: `{"bot", "sent": [{host, status, chat_id}]}`."""
        name, chats = self.recipients(chat_id, bot)
        token = quote(self._options.bots[name].token.get_secret_value(), safe=":")
        url = urlsplit(f"{self._options.telegram_url}/bot{token}/sendMessage")
        requests = [
            Request(url=url, method="POST", body=_json({"chat_id": chat, "text": message}), label={"chat_id": chat})
            for chat in chats
        ]
        return {"bot": name, **await self._send_all(requests, self._telegram_guard)}

    async def _send_all(self, requests: Sequence[Request], guard: Guard) -> dict[str, Any]:
        work = (asyncio.to_thread(send, one, guard, self._options.timeout_s) for one in requests)
        answers = await asyncio.gather(*work, return_exceptions=True)
        sent: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for request, answer in zip(requests, answers, strict=True):
            facts = {"host": request.url.hostname or "", **request.label}
            if isinstance(answer, LLMCoreError):
                if len(requests) == 1:
                    raise answer
                failed.append({**facts, **answer.data(), "message": answer.message})
            elif isinstance(answer, BaseException):
                raise answer
            else:
                sent.append({**facts, "status": answer})
        if failed:
            raise LLMCoreError(f"{len(failed)} of {len(requests)} were not reached.", sent=sent, failed=failed)
        return {"sent": sent}


def _parsed(url: str, number: int) -> SplitResult:
    pointer = f"/http/webhook/{number}"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for a bad one
    except ValueError as error:
        raise _bad(pointer, f"is not a URL: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise _bad(pointer, "must begin with http:// or https://")
    if not parts.hostname or not url.isascii() or any(letter <= " " or letter == "\x7f" for letter in url):
        raise _bad(pointer, "must name a host, in plain ASCII without blanks")
    if parts.username is not None or parts.password is not None:
        raise Forbidden("A webhook must not carry a user name or a password.")
    return parts


def _bad(pointer: str, problem: str) -> BadParams:
    return BadParams(f"A webhook {problem}.", [{"pointer": pointer, "message": problem}])


def _webhook(url: SplitResult, method: str, message: str) -> Request:
    if method != "GET":
        return Request(url=url, method=method, body=_json({"text": message} if message else {}))
    if message:
        url = url._replace(query="&".join(filter(None, (url.query, urlencode({"text": message})))))
    return Request(url=url, method=method)


def _json(value: Mapping[str, str]) -> bytes:
    return json.dumps(value).encode()
