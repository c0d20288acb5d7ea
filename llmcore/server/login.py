"""`/authorize`: tokens for a name and a password, new ones for old ones, and their end.

Called by Tornado; the accounts decide. Answers are CloudiSENSE's, so a refusal is 403 here.
"""

import re
from http import HTTPStatus
from typing import Any

from llmcore.errors import LLMCoreError, RateLimited, Unauthorized, Unavailable
from llmcore.server.ports import Token, TokenPair
from llmcore.server.web import Handler

SHA256_HEX = re.compile(r"[0-9a-f]{64}")
MAX_NAME = 200


class _LoginHandler(Handler):
    def error_body(self, error: LLMCoreError) -> Any:
        """The status of the answer, which may differ from the error's own."""
        return {"status": "error", "code": self._status_of(error), "message": error.message, "data": error.data()}

    def finish_error(self, status: int, body: Any) -> None:
        """A refused login is 403, as CloudiSENSE's client knows it."""
        super().finish_error(body["code"] if isinstance(body, dict) else status, body)

    @staticmethod
    def _status_of(error: LLMCoreError) -> int:
        return error.status if isinstance(error, RateLimited | Unavailable) else int(HTTPStatus.FORBIDDEN)

    def count(self, result: str) -> None:
        """Count a request for tokens."""
        self.hub.metrics.logins.labels(result).inc()

    def field(self, name: str) -> str:
        """A field of the form, urlencoded or multipart; empty if absent."""
        return self.get_body_argument(name, "", strip=False)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Count it and answer."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        self.count(error.code if isinstance(error, LLMCoreError) else "error")
        super().write_error(status_code, **kwargs)

    def success(self, data: Any) -> None:
        """Count it and answer."""
        self.count("success")
        self.send({"status": "success", "code": 200, "data": data})


class AuthorizeHandler(_LoginHandler):
    """`POST /authorize`, form `username` and `password` (lower-case hex SHA-256 of what was typed)."""

    async def post(self) -> None:
        """Log in."""
        username, password = self.field("username"), self.field("password")
        if not 0 < len(username) <= MAX_NAME or not SHA256_HEX.fullmatch(password):
            raise Unauthorized("The name or the password is wrong.")
        remote = self.request.remote_ip or ""
        self.success(_pair(await self.hub.rooms.auth.login(username, password, remote)))


class RefreshHandler(_LoginHandler):
    """`POST /authorize/refresh`, form `token` (a refresh token)."""

    async def post(self) -> None:
        """Give a new pair."""
        self.success(_pair(await self.hub.rooms.auth.refresh(self.field("token"))))


class RevokeHandler(_LoginHandler):
    """`POST /authorize/revoke`, form `token` (either kind)."""

    async def post(self) -> None:
        """Make a token void; sockets that were opened with it end."""
        token = self.field("token")
        await self.hub.rooms.auth.revoke(token)
        self.hub.logged_out(token)
        self.success(None)


def _pair(pair: TokenPair) -> dict[str, Any]:
    return {"access": _token(pair.access), "refresh": _token(pair.refresh)}


def _token(token: Token) -> dict[str, Any]:
    return {"token": token.token, "issued": token.issued, "expires": token.expires}
