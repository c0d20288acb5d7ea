"""What all HTTP handlers share: security headers, allowed origins, bearer tokens, errors as JSON, a discreet log.

Subclassed by the handlers of this package. Knows no route.
"""

import logging
from http import HTTPStatus
from types import TracebackType
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from tornado.web import HTTPError, RequestHandler

from llmcore.errors import BadParams, Forbidden, LLMCoreError, RateLimited, Unauthorized
from llmcore.events import encode
from llmcore.server.client import Hub, Session

logger = logging.getLogger(__name__)

Body = TypeVar("Body", bound=BaseModel)

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors {ancestors}; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def security_headers(frame_ancestors: tuple[str, ...]) -> dict[str, str]:
    """Headers of every answer."""
    return {
        "Content-Security-Policy": _CSP.format(ancestors=" ".join(frame_ancestors)),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def log_request(handler: RequestHandler) -> None:
    """One line a request, without its query: a token may be in there."""
    status = handler.get_status()
    level = logging.DEBUG if status < HTTPStatus.INTERNAL_SERVER_ERROR else logging.WARNING
    request = handler.request
    logger.log(level, "%s %s %d %.1f ms", request.method, request.path, status, 1000 * request.request_time())


class Handler(RequestHandler):
    """Base of all routes."""

    methods: ClassVar[str] = "POST"
    """What a page of an allowed origin may do here."""

    @property
    def hub(self) -> Hub:
        """What the handlers share."""
        return cast(Hub, self.settings["hub"])

    def set_default_headers(self) -> None:
        """Security headers, and CORS for origins that are allowed by name; also on errors."""
        self.clear_header("Server")
        for name, value in self.settings["security_headers"].items():
            self.set_header(name, value)
        if not self.hub.options.origins:
            return
        self.set_header("Vary", "Origin")
        origin = self.request.headers.get("Origin", "")
        if origin in self.hub.options.origins:
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Expose-Headers", "Retry-After")

    def origin_is_foreign(self) -> bool:
        """True if a page that is neither ours nor allowed by name sent this."""
        origin = self.request.headers.get("Origin")
        if origin is None or origin in self.hub.options.origins:
            return False
        return urlsplit(origin).netloc.lower() != self.request.host.lower()

    async def prepare(self) -> None:
        """Refuse what pages of other origins send."""
        if self.request.method not in ("GET", "HEAD", "OPTIONS") and self.origin_is_foreign():
            raise Forbidden("Requests from pages of this origin are not allowed.")

    def options(self, *_: str) -> None:
        """Answer a browser that asks what it may do (CORS preflight)."""
        self.set_header("Access-Control-Allow-Methods", self.methods)
        self.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
        self.set_header("Access-Control-Max-Age", "600")
        self.set_status(HTTPStatus.NO_CONTENT)

    def bearer(self) -> str:
        """The bearer token of the request, or an empty string."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    async def session(self, token: str) -> Session:
        """Who sent this; raises Unauthorized, RateLimited."""
        if not token:
            raise Unauthorized("A token is needed.")
        principal, expires = await self.hub.rooms.auth.authenticate(token)
        wait_s = self.hub.limit.wait_s(principal.name)
        if wait_s:
            self.hub.metrics.traffic.rate_limited += 1
            raise RateLimited("Too many requests a second.", wait_s)
        return Session(principal=principal, token=token, expires=expires)

    def body(self, model: type[Body]) -> Body:
        """The JSON body, validated; raises BadParams."""
        try:
            return model.model_validate_json(self.request.body)
        except ValidationError as error:
            raise BadParams("The body does not fit.", _fields(error)) from None

    def send(self, value: Any, status: int = HTTPStatus.OK) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.write(encode(value))

    # --- errors ---

    def error_body(self, error: LLMCoreError) -> Any:
        """An error as this route's clients expect it."""
        return {"status": "error", "code": error.status, "message": error.message, "data": error.data()}

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """An error as JSON; what went wrong inside stays inside."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(error, LLMCoreError):
            error = LLMCoreError(HTTPStatus(status_code).phrase)
            self.finish_error(status_code, {"status": "error", "code": status_code, "message": error.message})
            return
        if isinstance(error, RateLimited):
            self.set_header("Retry-After", str(max(1, round(error.retry_after_s + 0.5))))
        if isinstance(error, Unauthorized):
            self.set_header("WWW-Authenticate", "Bearer")
        self.finish_error(error.status, self.error_body(error))

    def finish_error(self, status: int, body: Any) -> None:
        """End with an error."""
        self.send(body, status)
        self.finish()

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log what nobody expected; never the query, which may hold a token."""
        if not isinstance(value, HTTPError | LLMCoreError):
            logger.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb))  # type: ignore[arg-type]


class Nothing(Handler):
    """Every route that does not exist."""

    async def prepare(self) -> None:
        """Always 404."""
        raise HTTPError(HTTPStatus.NOT_FOUND)


def _fields(error: ValidationError) -> list[dict[str, str]]:
    return [
        {"pointer": "".join(f"/{part}" for part in item["loc"]), "message": item["msg"]}
        for item in error.errors(include_url=False, include_input=False, include_context=False)[:20]
    ]
