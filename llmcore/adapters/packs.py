"""Runs the handlers and hooks of packs: the port `IntentCaller` over the installed packs.

Built in `app`, called by session, executor and api. Turns whatever a handler raises into an error that is fit to be
shown. Must not know policy, plans or what the services do.
"""

import errno
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from llmcore.errors import (
    BadParams,
    Conflict,
    Forbidden,
    LLMCoreError,
    NotFound,
    TimedOut,
    Unavailable,
    UnknownIntent,
)
from llmcore.intent import Context, Intent
from llmcore.plan import Preview, Principal, Undo
from llmcore.ports import Call

log = logging.getLogger(__name__)

_OS_ERRORS: Mapping[int, tuple[type[LLMCoreError], str]] = {
    errno.ENOENT: (NotFound, "There is no {0}."),
    errno.EEXIST: (Conflict, "{0} exists already."),
    errno.ENOTEMPTY: (Conflict, "{0} is not empty."),
    errno.EACCES: (Forbidden, "The operating system does not allow access to {0}."),
    errno.EPERM: (Forbidden, "The operating system does not allow that on {0}."),
    errno.EROFS: (Forbidden, "{0} is on a file system that can only be read."),
    errno.ELOOP: (Forbidden, "{0} is a symbolic link; links are not followed."),
    errno.ENOTDIR: (NotFound, "{0} is not in a folder."),
    errno.EISDIR: (Conflict, "{0} is a folder."),
    errno.EINVAL: (Conflict, "That cannot be done with {0}."),
    errno.ENAMETOOLONG: (BadParams, "The name of {0} is too long."),
    errno.EBUSY: (Conflict, "{0} is in use."),
    errno.ETXTBSY: (Conflict, "{0} is in use."),
    errno.ENOSPC: (Unavailable, "There is no space left for {0}."),
    errno.EDQUOT: (Unavailable, "There is no space left for {0}."),
    errno.EMFILE: (Unavailable, "Too many files are open."),
    errno.ENFILE: (Unavailable, "Too many files are open."),
}


class Catalogue(Protocol):
    """Where intents are looked up."""

    def get(self, name: str, /) -> Intent:
        """The intent of that name; raises UnknownIntent."""
        ...


class PackCaller:
    """Calls the Python functions behind intents."""

    def __init__(self, catalog: Catalogue, services: Mapping[str, Any]) -> None:
        """Take the catalogue, and the adapters that packs know by name."""
        self._catalog = catalog
        self._services = _Services(services)

    async def call(self, call: Call) -> Any:
        """The intent's result; raises LLMCoreError and nothing else but cancellation."""
        intent = self._catalog.get(call.intent)
        if intent.handler is None:
            raise UnknownIntent(
                f"{intent.name} is known here, but nothing on this machine runs it.", intent=intent.name
            )
        context = Context(
            services=self._services,
            principal=call.principal,
            idempotency_key=call.idempotency_key,
            before=call.before,
            progress=call.progress,
        )
        return await _told(intent, "call", partial(intent.handler, **call.params, ctx=context))

    async def preview(self, intent: str, params: Mapping[str, Any], principal: Principal) -> Preview | None:
        """What a call would touch; None where the intent cannot tell, now or ever.

        Raises NotFound for a missing target, and Forbidden, BadParams or Conflict where the call could never work.
        """
        found = self._catalog.get(intent)
        if found.preview is None:
            return None
        try:
            preview: Preview = await _told(
                found, "preview", partial(found.preview, **params, ctx=self._context(principal))
            )
        except (Unavailable, TimedOut):
            return None
        return preview

    async def undo_of(
        self, intent: str, params: Mapping[str, Any], before: Any, result: Any, principal: Principal
    ) -> Undo | None:
        """The call that takes a finished one back, None where there is none; `result` is None before it has run."""
        found = self._catalog.get(intent)
        if found.undo is None:
            return None
        hook = partial(found.undo, **params, before=before, result=result, ctx=self._context(principal))
        undo: Undo | None = await _told(found, "undo", hook)
        return undo

    async def verify(self, intent: str, params: Mapping[str, Any], principal: Principal) -> bool | None:
        """Whether the effect is there; None where the intent cannot tell."""
        found = self._catalog.get(intent)
        if found.verify is None:
            return None
        return bool(await _told(found, "verify", partial(found.verify, **params, ctx=self._context(principal))))

    def _context(self, principal: Principal) -> Context:
        return Context(services=self._services, principal=principal)


class _Services(Mapping[str, Any]):
    """The services, with a clear error for one that this process does not have."""

    def __init__(self, services: Mapping[str, Any]) -> None:
        self._services = services

    def __getitem__(self, name: str) -> Any:
        if name not in self._services:
            raise Unavailable(f"This machine has no service {name!r}.", service=name)
        return self._services[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)


async def _told(intent: Intent, work: str, hook: Callable[[], Awaitable[Any]]) -> Any:
    """Await a handler or hook and translate its errors."""
    with _translated(intent, work):
        return await hook()


@contextmanager
def _translated(intent: Intent, work: str) -> Iterator[None]:
    try:
        yield
    except LLMCoreError:
        raise
    except TimeoutError as error:
        raise TimedOut(f"{intent.name} did not end in time.") from error
    except OSError as error:
        raise from_os_error(intent, error) from error
    except Exception as error:
        log.exception("pack failed", extra={"action": f"pack_{work}", "intent": intent.name, "pack": intent.pack})
        raise LLMCoreError(f"{intent.name} failed inside; the log of the server says why.") from error


def from_os_error(intent: Intent, error: OSError) -> LLMCoreError:
    """What an OSError of a handler means to the person who asked."""
    kind, sentence = _OS_ERRORS.get(error.errno or 0, (LLMCoreError, "The operating system refused it."))
    subject = error.filename if isinstance(error.filename, str) else f"what {intent.name} needs"
    return kind(sentence.format(subject), errno=errno.errorcode.get(error.errno or 0, "unknown"))
