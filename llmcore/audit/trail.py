"""Writes the trail: what was asked, decided and done, by whom and when, secrets removed.

Called by every room that decides or acts, through `Audit`. Knows neither how to replay nor how anything is shown.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any

import orjson

from llmcore.errors import LLMCoreError
from llmcore.plan import Principal
from llmcore.ports import Clock, Store, rfc3339

NOTE_DELAY_S = 0.04
"""How long a note may wait for others to share a commit with."""
RETRY_DELAY_S = 1.0
NOTES_LIMIT = 10_000
SUMMARY_CHARS = 300
"""How much of a result a record shows."""
SUMMARY_TEXT = 1_000
"""Texts of a result that are longer are only told by their length."""
SUMMARY_ITEMS = 5
"""How many items of a list, and four times as many keys of an object, a summary is made of."""

_VERSIONED = ("intent", "plan.", "run.segment", "step.begin", "step.refused")
"""Beginnings of the actions that a catalogue and a policy took part in."""
_ABSENT = object()

_log = logging.getLogger(__name__)


class Audit:
    """Writes records to the chain; made once, in `app`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        redact: Callable[[Any], Any],
        versions: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`redact` takes a JSON value and gives it back without secrets; `versions` tells those of what decides."""
        self._store = store
        self._clock = clock
        self._redact = redact
        self._versions = versions
        self._notes: list[dict[str, Any]] = []
        self._writing: set[asyncio.Future[int]] = set()
        self._unwritten = 0
        self._timer: asyncio.TimerHandle | None = None
        self.lost = 0
        """Notes given up because the store was away for too long."""

    @property
    def pending(self) -> int:
        """Notes that are not on disk yet."""
        return self._unwritten

    async def record(self, action: str, actor: Principal, *, result: Any = _ABSENT, **facts: Any) -> int:
        """Append a record, after all notes taken before, and return its `seq` once it is on disk.

        Of `result`, what an intent gave back, it keeps the hash and the beginning.
        Raises Unavailable; then the action must not happen. Cancelled before it is written, it is not written.
        """
        self._write_notes()
        return await self._store.audit_append(self._compose(action, actor, facts, result))

    def note(self, action: str, actor: Principal, *, result: Any = _ABSENT, **facts: Any) -> None:
        """Append a record soon, for reads: on disk within 50 ms, together with others. Never raises.

        While the store is away notes are kept and tried again, up to `NOTES_LIMIT`; more are counted in `lost`.
        """
        if self._unwritten >= NOTES_LIMIT:
            self._lose(1)
            return
        self._unwritten += 1
        self._notes.append(self._compose(action, actor, facts, result))
        self._write_notes_in(NOTE_DELAY_S)

    async def flush(self) -> None:
        """Write what was noted; raises Unavailable if that fails: the notes are then kept and tried again."""
        self._submit_notes()
        await asyncio.gather(*self._writing)

    async def close(self) -> None:
        """Write what was noted, or say how much of it is lost."""
        try:
            await self.flush()
        except LLMCoreError:
            self._lose(self._unwritten)
            self._notes, self._unwritten = [], 0
        if self._timer:
            self._timer.cancel()

    def _compose(self, action: str, actor: Principal, facts: Mapping[str, Any], result: Any) -> dict[str, Any]:
        told = self._redact(facts)
        if result is not _ABSENT:
            told["result"] = self._told(result)
        if action.startswith(_VERSIONED) and (versions := self._versions()):
            told["versions"] = dict(versions)
        return {
            "time": rfc3339(self._clock.now()),
            "actor": {"name": actor.name, "role": actor.role, "kind": actor.kind},
            "action": action,
            "facts": told,
        }

    def _told(self, result: Any) -> dict[str, Any]:
        """Hash, size and beginning of a result; secrets are taken out before any text is cut, so none is cut in two."""
        text = canonical(result)
        shown = canonical(self._redact(_outline(result))).decode()
        summary = shown if len(shown) <= SUMMARY_CHARS else f"{shown[:SUMMARY_CHARS]}…"
        return {"sha256": hashlib.sha256(text).hexdigest(), "bytes": len(text), "summary": summary}

    def _write_notes_in(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._write_notes)

    def _write_notes(self) -> None:
        try:
            self._submit_notes()
        except LLMCoreError:
            self._write_notes_in(RETRY_DELAY_S)

    def _submit_notes(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._notes:
            writing = self._store.audit_submit(self._notes)
            writing.add_done_callback(partial(self._written, self._notes))
            self._writing.add(writing)
            self._notes = []

    def _written(self, notes: list[dict[str, Any]], writing: asyncio.Future[int]) -> None:
        self._writing.discard(writing)
        if writing.cancelled() or writing.exception():
            self._notes = notes + self._notes
            self._write_notes_in(RETRY_DELAY_S)
            _log.warning("audit notes wait for the store", extra={"action": "audit_wait", "notes": len(self._notes)})
        else:
            self._unwritten -= len(notes)

    def _lose(self, notes: int) -> None:
        if not self.lost:
            _log.error("audit notes are lost: the store takes none", extra={"action": "audit_lost"})
        self.lost += notes


def _outline(value: Any) -> Any:
    """The beginning of a JSON value, with whole texts or none."""
    if isinstance(value, str):
        return value if len(value) <= SUMMARY_TEXT else f"({len(value)} characters)"
    if isinstance(value, Mapping):
        return {str(key): _outline(inner) for key, inner in islice(value.items(), 4 * SUMMARY_ITEMS)}
    if isinstance(value, list | tuple):
        more = len(value) - SUMMARY_ITEMS
        return [*map(_outline, value[:SUMMARY_ITEMS]), *([f"({more} more)"] if more > 0 else [])]
    return value


def canonical(value: Any) -> bytes:
    """A JSON value as the one text that hashes of results are taken of: UTF-8, keys sorted, no blanks.

    What JSON has no word for stands there as its text.
    """
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS
    try:
        return orjson.dumps(value, default=str, option=options)
    except TypeError:  # a lone surrogate or an integer beyond 64 bits
        text = json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return text.encode("utf-8", "replace")
