"""The tree of errors that leave a room, each fit to be shown to the person who asked.

Raised by every room, turned into an RPC answer, an HTTP status or an exit code by the doors. Knows nothing of
transport or of who is asking.

LLMCoreError
├── BadRequest            400  the message itself cannot be read
│   └── BadParams         400  a field is missing or wrong (`fields` names each)
├── Unauthorized          401  no valid login
├── Forbidden             403  policy or a boundary says no
│   └── ApprovalRequired  403  a person has to approve a plan first
├── NotFound              404
│   └── UnknownIntent     404
├── Conflict              409  the thing is no longer as the caller thinks
├── Expired               410
├── RateLimited           429
├── ProviderError         502  a model provider failed
├── Unavailable           503  a component that is needed is down
├── TimedOut              504
└── OutcomeUnknown        500  an action may or may not have happened: never repeated without a person
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class LLMCoreError(Exception):
    """Base of all errors with a stable `code`; the message is one sentence for a person."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        """Keep the sentence for the user and machine-readable details (JSON values, no secrets)."""
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details
        self.result: Any = None
        """What the work gave although it failed, such as the output of a script; a JSON value."""

    def data(self) -> dict[str, Any]:
        """The `data` of an RPC error answer: the code and the details."""
        return {"error": self.code, **self.details}


class BadRequest(LLMCoreError):
    """The message cannot be read as a request."""

    code = "bad_request"
    status = 400


class BadParams(BadRequest):
    """Parameters do not fit; `fields` names each by JSON pointer with what is wrong."""

    code = "bad_params"

    def __init__(self, message: str, fields: Sequence[Mapping[str, str]] = (), **details: Any) -> None:
        """Keep `fields`, a list of `{"pointer", "message"}` with pointers relative to `params`."""
        super().__init__(message, fields=[dict(field) for field in fields], **details)


class Unauthorized(LLMCoreError):
    """There is no valid login behind the request."""

    code = "unauthorized"
    status = 401


class Forbidden(LLMCoreError):
    """Policy, ownership or a boundary such as the allowed folders says no."""

    code = "forbidden"
    status = 403


class ApprovalRequired(Forbidden):
    """Policy asks for a person's approval; the waiting plan is in `plan_id`."""

    code = "approval_required"


class NotFound(LLMCoreError):
    """The named thing does not exist, or not for this caller."""

    code = "not_found"
    status = 404


class UnknownIntent(NotFound):
    """No intent of that name is registered."""

    code = "unknown_intent"


class Conflict(LLMCoreError):
    """The thing has changed or is in another state than the caller thinks."""

    code = "conflict"
    status = 409


class Expired(LLMCoreError):
    """The decision or the token came too late."""

    code = "expired"
    status = 410


class RateLimited(LLMCoreError):
    """Too many requests; `retry_after_s` says when to come back."""

    code = "rate_limited"
    status = 429
    retryable = True

    def __init__(self, message: str, retry_after_s: float) -> None:
        """Keep the seconds to wait."""
        super().__init__(message, retry_after_s=round(retry_after_s, 3))
        self.retry_after_s = retry_after_s


class ProviderError(LLMCoreError):
    """A model provider failed; the vendor's words are not repeated verbatim."""

    code = "provider_error"
    status = 502
    retryable = True


class Unavailable(LLMCoreError):
    """A component that the request needs (store, bus, service) is down."""

    code = "unavailable"
    status = 503
    retryable = True


class TimedOut(LLMCoreError):
    """The work did not end in the time allowed."""

    code = "timeout"
    status = 504
    retryable = True


class OutcomeUnknown(LLMCoreError):
    """An action was begun and nobody can say whether it took effect."""
