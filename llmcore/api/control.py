"""RPCs for the day when everything has to stop."""

from collections.abc import Mapping
from typing import Any

from llmcore.api.core import TEXT, Caller, Core, rpc
from llmcore.errors import Forbidden


@rpc("stop_all", reason=TEXT, hold={"type": "boolean"})
async def stop_all(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Stop all running runs of all nodes between their steps; with `hold` nothing new begins until it is released."""
    await _admin_only(core, caller, "stop_all")
    order = await core.session.orders.stop_all(
        caller.principal, params.get("reason", "").strip(), params.get("hold", False)
    )
    runs = sorted(segment.rpartition(".")[0] for segment in order.segments)
    return {"stopped": {"by": order.by, "at": order.at, "reason": order.reason, "hold": order.hold, "runs": runs}}


@rpc("stop_all_release")
async def stop_all_release(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Let things begin again after `stop_all` with `hold`."""
    await _admin_only(core, caller, "stop_all_release")
    return {"released": await core.session.orders.release(caller.principal)}


async def _admin_only(core: Core, caller: Caller, name: str) -> None:
    if caller.principal.role != "admin":
        await core.audit.record(f"{name}.refused", caller.principal)
        raise Forbidden("Only an admin may stop everything, or let it begin again.")
