"""RPCs of alerts and suggestions."""

from collections.abc import Mapping
from typing import Any

from llmcore.api.core import ID, TEXT, Caller, Core, Suggestions, rpc
from llmcore.errors import Unavailable


def _room(core: Core) -> Suggestions:
    if core.suggestions is None:
        raise Unavailable("Alerts are not set up on this server.")
    return core.suggestions


@rpc("alert_list")
async def alert_list(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Alert groups, newest first."""
    return {"alerts": await _room(core).alerts()}


@rpc("suggestion_list")
async def suggestion_list(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Suggestion cards, newest first."""
    return {"suggestions": await _room(core).suggestions(caller.principal)}


@rpc("suggestion_accept", {"suggestion_id": ID})
async def suggestion_accept(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Turn a card into a plan that waits for approval."""
    return await _room(core).accept(params["suggestion_id"], caller.principal)


@rpc("suggestion_dismiss", {"suggestion_id": ID}, reason=TEXT)
async def suggestion_dismiss(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Put a card away."""
    return await _room(core).dismiss(params["suggestion_id"], caller.principal, params.get("reason", ""))
