"""RPCs for looking back: records of the audit trail, and runs that are planned again from their recordings."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.api.core import ID, Caller, Core, rpc
from llmcore.errors import BadParams, Forbidden
from llmcore.ports import AuditFilter, from_rfc3339, rfc3339

WINDOWS = 8
"""How many reads of the store one request may take: about two million records."""
_WORD = {"type": "string", "minLength": 1, "maxLength": 200}
_TIME = {"type": "string", "minLength": 10, "maxLength": 40}
_SEQ = {"type": "integer", "minimum": 0, "maximum": 2**62}


@rpc(
    "audit_query",
    actor=_WORD,
    action=_WORD,
    plan_id=ID,
    run_id=ID,
    since=_TIME,
    until=_TIME,
    text=_WORD,
    limit={"type": "integer", "minimum": 1, "maximum": 5000},
    before_seq=_SEQ,
    after_seq=_SEQ,
)
async def audit_query(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Records of the audit trail, newest first; an admin sees all, others what they did themselves (`actor`).

    `before_seq` in the answer is where to go on, null if nothing is left. With `after_seq` the first ones after it.
    """
    wanted, limit = _wanted(params, caller), params.get("limit", 1000)
    if "after_seq" in params:
        rows = await core.store.audit_rows(params["after_seq"], limit)
        found = await _among(core, wanted, rows)
        return {"records": [record_json(*row) for row in found], "before_seq": None}
    found, before = await _search(core, wanted, params.get("before_seq"), limit)
    return {"records": [record_json(*row) for row in found], "before_seq": before or None}


@rpc("audit_export", since=_TIME, after_seq=_SEQ, limit={"type": "integer", "minimum": 1, "maximum": 5000})
async def audit_export(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Rows of the audit trail as they are stored, oldest first, for `llmcore audit export`; for admins.

    `previous` is the hash before the first row, `last_seq` the newest there is.
    """
    if caller.principal.role != "admin":
        raise Forbidden("Only an admin may export the audit trail.")
    after, previous, last = await core.store.audit_ends(_moment("since", params["since"]) if "since" in params else "")
    rows = await core.store.audit_rows(params.get("after_seq", after), params.get("limit", 1000))
    return {
        "rows": [{"seq": seq, "record": record, "hash": link} for seq, record, link in rows],
        "previous": previous,
        "last_seq": last,
    }


@rpc("run_replay", {"run_id": ID})
async def run_replay(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Plan a run again from its recording: no model is called and nothing runs.

    `same`, else `differences`; which versions have `changed` since; the request as a `case` for `llmcore eval`.
    """
    run = await core.session.visible_run(params["run_id"], caller.principal)
    return await core.replayer.replay(run)


def _wanted(params: Mapping[str, Any], caller: Caller) -> AuditFilter:
    principal = caller.principal
    if principal.role != "admin" and params.get("actor") != principal.name:
        raise Forbidden("Only an admin may read the audit trail; others may ask for `actor` with their own name.")
    words = {key: params.get(key, "") for key in ("actor", "action", "plan_id", "run_id", "text")}
    times = {key: _moment(key, params[key]) for key in ("since", "until") if key in params}
    kind = "" if principal.role == "admin" else principal.kind
    return AuditFilter(**words, **times, actor_kind=kind)


def _moment(name: str, text: str) -> str:
    try:
        return rfc3339(from_rfc3339(text))
    except (ValueError, OverflowError) as error:
        message = "must be a time of RFC 3339, such as 2026-01-31T08:00:00Z"
        raise BadParams(f"{name} {message}.", [{"pointer": f"/{name}", "message": message}]) from error


async def _search(
    core: Core, wanted: AuditFilter, before: int | None, limit: int
) -> tuple[list[tuple[int, str, str]], int]:
    found: list[tuple[int, str, str]] = []
    for _ in range(WINDOWS):
        rows, before = await core.store.audit_search(wanted, before, limit - len(found))
        found += rows
        if before == 0 or len(found) >= limit:
            break
    return found, before or 0


async def _among(
    core: Core, wanted: AuditFilter, rows: Sequence[tuple[int, str, str]]
) -> Sequence[tuple[int, str, str]]:
    """Those of a page that fit, newest first."""
    if not rows or wanted == AuditFilter():
        return list(reversed(rows))
    found, _ = await core.store.audit_search(wanted, rows[-1][0] + 1, len(rows))
    return [row for row in found if row[0] >= rows[0][0]]


def record_json(seq: int, record: str, link: str) -> dict[str, Any]:
    """A row as the wire has it; one that is no record any more is shown as `damaged`."""
    try:
        data = json.loads(record)
        told = {key: data[key] for key in ("time", "actor", "action", "facts")}
    except (ValueError, KeyError, TypeError):
        told = {"time": None, "actor": None, "action": "damaged", "facts": {"record": str(record)[:2000]}}
    return {"seq": seq, **told, "hash": link}
