"""RPCs that keep the installation clean: the trash of deleted and overwritten files.

The daily round of `app` empties the trash in the same way.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from llmcore.api.core import Caller, Core, TrashCan, rpc
from llmcore.audit import Audit
from llmcore.errors import Forbidden, Unavailable
from llmcore.plan import Plan, PlanStatus, Principal
from llmcore.ports import Store

log = logging.getLogger(__name__)

TRASH = "trash:"
DAY_S = 86_400.0
_OPEN = (PlanStatus.PROPOSED, PlanStatus.APPROVED, PlanStatus.RUNNING, PlanStatus.WAITING)


@rpc(
    "trash_purge",
    older_than_days={"type": "number", "minimum": 0, "maximum": 36_500},
    force={"type": "boolean"},
)
async def trash_purge(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Empty the trash for good, of what is older; items that a waiting plan puts back stay, unless forced."""
    if caller.principal.role != "admin":
        raise Forbidden("Only an admin may empty the trash.")
    if core.trash is None:
        raise Unavailable("This host keeps no trash.", component="trash")
    older_than_s = params.get("older_than_days", 0) * DAY_S
    return await empty_trash(
        core.store, core.audit, core.trash, caller.principal, older_than_s, force=params.get("force", False)
    )


async def empty_trash(
    store: Store, audit: Audit, trash: TrashCan, actor: Principal, older_than_s: float | None, *, force: bool = False
) -> dict[str, Any]:
    """`{items, bytes, kept, plans}`: what went, items that stayed, and the open plans that need (or needed) some.

    None: what is older than the trash's own limit. Raises Unavailable if it cannot be audited; then nothing goes.
    """
    needed = {item: plan.plan_id for plan in await store.plan_list(statuses=_OPEN) for item in _items_of(plan)}
    await audit.record("trash.purge", actor, older_than_s=older_than_s, force=force, needed=needed)
    purged = await trash.purge(older_than_s, () if force else needed)
    plans = sorted(set(needed.values()) if force else {needed[item] for item in purged.needed})
    audit.note("trash.purged", actor, items=purged.items, size_bytes=purged.size_bytes, kept=list(purged.needed))
    return {"items": purged.items, "bytes": purged.size_bytes, "kept": len(purged.needed), "plans": plans}


def _items_of(plan: Plan) -> Iterator[str]:
    """The trash items that a plan would put back."""
    for step in plan.steps:
        source = step.params.get("source")
        if isinstance(source, str) and source.startswith(TRASH):
            yield source.removeprefix(TRASH)
