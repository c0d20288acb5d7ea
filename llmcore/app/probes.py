"""How the components are: one probe each, for `/readyz` and `status`.

Used by `app.build` only.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from llmcore.policy import Judge
from llmcore.ports import Bus, Queue, Store
from llmcore.providers import LLMManager

Probe = Callable[[], Awaitable[Mapping[str, Any]]]


def probes(store: Store, model: LLMManager, queue: Queue, judge: Judge, bus: Bus) -> Mapping[str, Probe]:
    """Component -> coroutine that gives `{"status", "required", "reason"}` or raises LLMCoreError."""

    async def store_probe() -> Mapping[str, Any]:
        await store.check()
        return {"status": "ok", "required": True, "reason": None}

    async def policy_probe() -> Mapping[str, Any]:
        return {"status": "ok", "required": True, "reason": None, "version": judge.policy.version}

    async def provider_probe() -> Mapping[str, Any]:
        return {"reason": None, **model.health(), "required": False}

    async def queue_probe() -> Mapping[str, Any]:
        reason = None if queue.healthy else "its database does not answer; runs stay with the nodes that have them"
        status = "ok" if queue.healthy else "degraded"
        return {"status": status, "required": False, "reason": reason, "depth": queue.depth}

    async def bus_probe() -> Mapping[str, Any]:
        reason = None if bus.healthy else "its heartbeat does not come back; messages may be getting lost"
        return {"status": "ok" if bus.healthy else "degraded", "required": False, "reason": reason}

    return {
        "store": store_probe,
        "bus": bus_probe,
        "providers": provider_probe,
        "policy": policy_probe,
        "queue": queue_probe,
    }
