"""Intents about the operator's scripts: list, run, stop.

Found by the catalogue through the entry point `scripts`; asks the service `scripts` of the host, which knows the
folder. Arguments are split into words as a shell splits them, but no shell ever sees them. Must not know who asks.
"""

from typing import Annotated, Any

from pydantic import Field

from llmcore.intent import Context, Effect, Preview, intent


async def _preview_start(name: str, args: str = "", *, ctx: Context) -> Preview:
    facts = await ctx.services["scripts"].facts(name)
    return Preview(
        targets=(facts["name"],),
        before=facts,
        after={"argv": [facts["name"], *ctx.services["scripts"].split(args)]},
    )


async def _preview_stop(script_id: str, *, ctx: Context) -> Preview:
    running = ctx.services["scripts"].running(script_id)
    return Preview(targets=(running["script_id"],), before={**running, "state": "running"}, after={"state": "stopped"})


async def _verify_stop(script_id: str, *, ctx: Context) -> bool:
    return not ctx.services["scripts"].is_running(script_id)


@intent(
    effect=Effect.READ,
    examples=[
        ("which scripts are there?", {}),
        ("list scripts", {}),
        ("what scripts can you run", {}),
        ("show me all available scripts", {}),
        ("are any scripts running right now?", {}),
        ("scripts", {}),
        ("what's in the scripts folder", {}),
        ("list the maintenance scripts please", {}),
        ("which script is still running?", {}),
        ("do we have a script for backups? list them", {}),
        ("names of the scripts", {}),
    ],
)
async def list_scripts(*, ctx: Context) -> dict[str, Any]:
    """List the scripts that can be run, and those that are running with their ids."""
    return dict(await ctx.services["scripts"].list())


@intent(
    effect=Effect.DESTRUCTIVE,
    long_running=True,
    vocabulary={"name": "scripts"},
    preview=_preview_start,
    examples=[
        ("run backup.sh", {"name": "backup.sh"}),
        ("start the cleanup script", {"name": "cleanup"}),
        ("execute deploy.sh with arguments staging v1.4", {"name": "deploy.sh", "args": "staging v1.4"}),
        ("please run rotate_logs", {"name": "rotate_logs"}),
        ("run migrate.py --dry-run", {"name": "migrate.py", "args": "--dry-run"}),
        ("launch the script sync_users", {"name": "sync_users"}),
        ("kick off nightly-report.sh", {"name": "nightly-report.sh"}),
        ("can you run the healthcheck script?", {"name": "healthcheck"}),
        (
            "start script import_data.py with args --file orders.csv --limit 100",
            {"name": "import_data.py", "args": "--file orders.csv --limit 100"},
        ),
        ("./purge_cache.sh eu-west", {"name": "purge_cache.sh", "args": "eu-west"}),
        ("run greet.sh 'hello world'", {"name": "greet.sh", "args": "'hello world'"}),
        ("trigger the warmup script with -n 3", {"name": "warmup", "args": "-n 3"}),
        ("do a run of vacuum.sh please", {"name": "vacuum.sh"}),
        ("execute the renew_certs script", {"name": "renew_certs"}),
    ],
)
async def start_script_execution(
    name: Annotated[str, "file name of the script, extension optional", Field(min_length=1, max_length=255)],
    args: Annotated[str, "arguments, split into words as a shell does", Field(max_length=8192)] = "",
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Run a script of the scripts folder and wait for its end; its output is shown while it runs."""
    return dict(await ctx.services["scripts"].run(name, args, ctx.progress))


@intent(
    effect=Effect.WRITE,
    idempotent=True,
    vocabulary={"script_id": "scripts"},
    preview=_preview_stop,
    verify=_verify_stop,
    examples=[
        ("stop script sc_4f2a91c0", {"script_id": "sc_4f2a91c0"}),
        ("kill the running backup.sh script", {"script_id": "backup.sh"}),
        ("abort sc_00b7e3d1", {"script_id": "sc_00b7e3d1"}),
        ("please stop the script sync_users", {"script_id": "sync_users"}),
        ("cancel the cleanup script", {"script_id": "cleanup"}),
        ("stop script execution sc_9c8d7e6f", {"script_id": "sc_9c8d7e6f"}),
        ("terminate script sc_a1b2c3d4 now", {"script_id": "sc_a1b2c3d4"}),
        ("the deploy.sh script hangs, stop it", {"script_id": "deploy.sh"}),
        ("end the run of nightly-report.sh", {"script_id": "nightly-report.sh"}),
        ("interrupt script migrate.py", {"script_id": "migrate.py"}),
        ("can you halt the healthcheck script?", {"script_id": "healthcheck"}),
        ("quit running the import_data.py script", {"script_id": "import_data.py"}),
    ],
)
async def stop_script_execution(
    script_id: Annotated[
        str, "id of the run, or the script's name if it runs once", Field(min_length=1, max_length=255)
    ],
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Stop a script that is running, with everything it has started."""
    return dict(await ctx.services["scripts"].stop(script_id))
