"""RPCs of users: an admin adds and lists them, everybody may change their own password."""

from collections.abc import Mapping
from typing import Any

from llmcore.api.core import Caller, Core, rpc
from llmcore.errors import Forbidden

_NAME = {"type": "string", "minLength": 1, "maxLength": 64}
_PASSWORD = {"type": "string", "minLength": 8, "maxLength": 1024}
_ROLE = {"enum": ["admin", "developer", "observer"]}


def _admin_only(caller: Caller) -> None:
    if caller.principal.role != "admin":
        raise Forbidden("Only an admin may do this.")


@rpc("user_add", {"name": _NAME, "role": _ROLE, "password": _PASSWORD})
async def user_add(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Add a person."""
    _admin_only(caller)
    await core.accounts.add(params["name"], params["role"], params["password"])
    await core.audit.record("user.add", caller.principal, user=params["name"], role=params["role"])
    return {"user": {"name": params["name"], "role": params["role"]}}


@rpc("user_list")
async def user_list(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """All people who can log in."""
    _admin_only(caller)
    users = await core.accounts.list()
    return {"users": [{"name": user.name, "role": user.role, "created_at": user.created_at} for user in users]}


@rpc("user_passwd", {"password": _PASSWORD}, name=_NAME)
async def user_passwd(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Change one's own password, or as an admin anybody's; tokens from before end."""
    name = params.get("name", caller.principal.name)
    if name != caller.principal.name:
        _admin_only(caller)
    await core.accounts.set_password(name, params["password"])
    await core.audit.record("user.passwd", caller.principal, user=name)
    return {"user": {"name": name}}


@rpc("user_token", days={"type": "integer", "minimum": 1, "maximum": 3650}, name=_NAME)
async def user_token(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """A long-lived token for scripts; shown once."""
    name = params.get("name", caller.principal.name)
    if name != caller.principal.name:
        _admin_only(caller)
    token = await core.accounts.issue(name, params.get("days", 90) * 86_400.0)
    await core.audit.record("user.token", caller.principal, user=name, days=params.get("days", 90))
    return {"token": token}
