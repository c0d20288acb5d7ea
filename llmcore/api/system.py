"""RPCs about the server itself: status and readiness."""

import asyncio
from collections.abc import Mapping
from typing import Any

from llmcore.api.core import Caller, Core, rpc
from llmcore.errors import LLMCoreError

PROBE_S = 2.0
_ORDER = ("ok", "degraded", "down")


async def ready(core: Core) -> dict[str, Any]:
    """Ask every component how it is; a required one that is down makes the whole `down`."""
    names = list(core.probes)
    answers = await asyncio.gather(*(_probe(core, name) for name in names))
    components = dict(zip(names, answers, strict=True))
    worst = "ok"
    for component in components.values():
        state = component["status"] if component["required"] else min(component["status"], "degraded", key=_ORDER.index)
        worst = max(worst, state, key=_ORDER.index)
    return {"status": worst, "components": components}


async def _probe(core: Core, name: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(PROBE_S):
            return dict(await core.probes[name]())
    except TimeoutError:
        reason = f"no answer within {PROBE_S:g} s"
    except LLMCoreError as error:
        reason = error.message
    return {"status": "down", "required": name in ("store", "policy"), "reason": reason}


@rpc("status")
async def status(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """What runs here, how it is, whether everything is on hold, and who the caller is."""
    principal, hold = caller.principal, core.session.orders.hold
    return {
        **core.status(),
        "ready": await ready(core),
        "intents": len(core.catalog),
        "catalog_version": core.catalog.version,
        "policy_version": core.judge.policy.version,
        "hold": hold and {"by": hold.by, "at": hold.at, "reason": hold.reason},
        "user": {"name": principal.name, "role": principal.role, "kind": principal.kind},
    }
