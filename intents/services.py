"""Intents about the services (targets) of this host: list, state, start, stop, restart, scale.

Found by the catalogue through the entry point `services`; asks the service `targets` of the host, which knows whether a
target is a systemd unit or a set of commands. Must not know who asks, or policy.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from llmcore.intent import Context, Effect, Preview, Undo, intent

Module = Annotated[str, "name of the service, as listed by list_targets", Field(min_length=1, max_length=255)]


async def _will_be(ctx: Context, module: str, state: str) -> Preview:
    facts = await ctx.services["targets"].facts(module)
    return Preview(targets=(facts["module"],), before=facts, after={"state": state})


async def _preview_running(module: str, *, ctx: Context) -> Preview:
    return await _will_be(ctx, module, "running")


async def _preview_stopped(module: str, *, ctx: Context) -> Preview:
    return await _will_be(ctx, module, "stopped")


async def _preview_scale(module: str, replicas: int, *, ctx: Context) -> Preview:
    facts = await ctx.services["targets"].facts(module, scale=True)
    return Preview(targets=(facts["module"],), before=facts, after={"replicas": replicas})


async def _verify_running(module: str, *, ctx: Context) -> bool:
    return bool(await ctx.services["targets"].reaches(module, "running"))


async def _verify_stopped(module: str, *, ctx: Context) -> bool:
    return bool(await ctx.services["targets"].reaches(module, "stopped"))


async def _undo_start(module: str, *, before: Any, result: Any, ctx: Context) -> Undo | None:
    return Undo(intent="stop_target", params={"module": module}) if _was(before) == "stopped" else None


async def _undo_stop(module: str, *, before: Any, result: Any, ctx: Context) -> Undo | None:
    return Undo(intent="start_target", params={"module": module}) if _was(before) == "running" else None


async def _undo_scale(module: str, replicas: int, *, before: Any, result: Any, ctx: Context) -> Undo | None:
    earlier = before.get("replicas") if isinstance(before, Mapping) else None
    if earlier is None:
        return None
    return Undo(intent="scale_target", params={"module": module, "replicas": earlier})


def _was(before: Any) -> Any:
    return before.get("state") if isinstance(before, Mapping) else None


@intent(
    effect=Effect.READ,
    examples=[
        ("which services are there?", {}),
        ("list targets", {}),
        ("what services do you manage", {}),
        ("show all services and their state", {}),
        ("which services can I restart?", {}),
        ("are all services running?", {}),
        ("list the services please", {}),
        ("services", {}),
        ("which targets are down", {}),
        ("give me an overview of the services on this host", {}),
        ("what can you start and stop here?", {}),
        ("is any service broken at the moment", {}),
    ],
)
async def list_targets(*, ctx: Context) -> dict[str, Any]:
    """List the services that can be managed here, each with its present state."""
    return {"targets": await ctx.services["targets"].list()}


@intent(
    effect=Effect.READ,
    vocabulary={"module": "targets"},
    examples=[
        ("is nginx up?", {"module": "nginx"}),
        ("status of redis", {"module": "redis"}),
        ("is the postgres service running", {"module": "postgres"}),
        ("how is web-frontend doing?", {"module": "web-frontend"}),
        ("systemctl status docker", {"module": "docker"}),
        ("did mysql crash?", {"module": "mysql"}),
        ("check the state of the payments service", {"module": "payments"}),
        ("rabbitmq status?", {"module": "rabbitmq"}),
        ("what's the status of grafana please", {"module": "grafana"}),
        ("has haproxy stopped?", {"module": "haproxy"}),
        ("tell me if the mail service is alive", {"module": "mail"}),
        ("is apache2 still down", {"module": "apache2"}),
        ("get target status elasticsearch", {"module": "elasticsearch"}),
    ],
)
async def get_target_status(module: Module, *, ctx: Context) -> dict[str, Any]:
    """State of one service: running, stopped, failed or unknown."""
    return dict(await ctx.services["targets"].status(module))


@intent(
    effect=Effect.WRITE,
    idempotent=True,
    vocabulary={"module": "targets"},
    preview=_preview_running,
    verify=_verify_running,
    undo=_undo_start,
    examples=[
        ("start nginx", {"module": "nginx"}),
        ("bring redis up", {"module": "redis"}),
        ("please start the postgres service", {"module": "postgres"}),
        ("systemctl start docker", {"module": "docker"}),
        ("launch web-frontend", {"module": "web-frontend"}),
        ("can you fire up grafana?", {"module": "grafana"}),
        ("turn on the mail service", {"module": "mail"}),
        ("mysql is down, start it", {"module": "mysql"}),
        ("get the payments service going again", {"module": "payments"}),
        ("start target rabbitmq", {"module": "rabbitmq"}),
        ("spin up haproxy", {"module": "haproxy"}),
        ("boot the scheduler service", {"module": "scheduler"}),
    ],
)
async def start_target(module: Module, *, ctx: Context) -> dict[str, Any]:
    """Start a service that is not running."""
    return dict(await ctx.services["targets"].start(module))


@intent(
    effect=Effect.WRITE,
    idempotent=True,
    vocabulary={"module": "targets"},
    preview=_preview_scale,
    undo=_undo_scale,
    examples=[
        ("scale web to 3 replicas", {"module": "web", "replicas": 3}),
        ("run 5 instances of worker", {"module": "worker", "replicas": 5}),
        ("set the number of api replicas to 2", {"module": "api", "replicas": 2}),
        ("scale checkout up to ten", {"module": "checkout", "replicas": 10}),
        ("I need 8 copies of the renderer service please", {"module": "renderer", "replicas": 8}),
        ("scale queue-consumer down to one", {"module": "queue-consumer", "replicas": 1}),
        ("make it 4 backend instances", {"module": "backend", "replicas": 4}),
        ("scale search to zero", {"module": "search", "replicas": 0}),
        ("docker service scale gateway=6", {"module": "gateway", "replicas": 6}),
        ("can we have 12 replicas of the ingest service?", {"module": "ingest", "replicas": 12}),
        ("reduce payments to 2 instances", {"module": "payments", "replicas": 2}),
        ("scale target frontend 7", {"module": "frontend", "replicas": 7}),
    ],
)
async def scale_target(
    module: Module,
    replicas: Annotated[int, "how many instances shall run", Field(ge=0, le=10_000)],
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Change how many instances (replicas) of a service run."""
    return dict(await ctx.services["targets"].scale(module, replicas))


@intent(
    effect=Effect.DESTRUCTIVE,
    idempotent=True,
    vocabulary={"module": "targets"},
    preview=_preview_stopped,
    verify=_verify_stopped,
    undo=_undo_stop,
    examples=[
        ("stop nginx", {"module": "nginx"}),
        ("shut down redis", {"module": "redis"}),
        ("please stop the postgres service", {"module": "postgres"}),
        ("systemctl stop docker", {"module": "docker"}),
        ("take web-frontend down", {"module": "web-frontend"}),
        ("turn off grafana", {"module": "grafana"}),
        ("halt the mail service now", {"module": "mail"}),
        ("kill the mysql service", {"module": "mysql"}),
        ("bring haproxy down for maintenance", {"module": "haproxy"}),
        ("stop target rabbitmq", {"module": "rabbitmq"}),
        ("could you switch the scheduler service off?", {"module": "scheduler"}),
        ("stopp the payments service", {"module": "payments"}),
    ],
)
async def stop_target(module: Module, *, ctx: Context) -> dict[str, Any]:
    """Stop a running service; whoever uses it is cut off."""
    return dict(await ctx.services["targets"].stop(module))


@intent(
    effect=Effect.DESTRUCTIVE,
    vocabulary={"module": "targets"},
    preview=_preview_running,
    verify=_verify_running,
    examples=[
        ("restart nginx", {"module": "nginx"}),
        ("bounce redis", {"module": "redis"}),
        ("please restart the postgres service", {"module": "postgres"}),
        ("systemctl restart docker", {"module": "docker"}),
        ("reboot web-frontend, it hangs", {"module": "web-frontend"}),
        ("can you restart grafana?", {"module": "grafana"}),
        ("give haproxy a kick", {"module": "haproxy"}),
        ("stop and start the mail service again", {"module": "mail"}),
        ("recycle the payments service", {"module": "payments"}),
        ("mysql is stuck, restart it", {"module": "mysql"}),
        ("restart target rabbitmq", {"module": "rabbitmq"}),
        ("restrat apache2", {"module": "apache2"}),
        ("cycle the scheduler service", {"module": "scheduler"}),
    ],
)
async def restart_target(module: Module, *, ctx: Context) -> dict[str, Any]:
    """Stop a service and start it again; it is away for a moment."""
    return dict(await ctx.services["targets"].restart(module))
